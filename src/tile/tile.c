#include "tile/tile.h"

#include <inttypes.h>
#include <stdio.h>

uint64_t eml_tile_count(uint64_t size, unsigned level)
{
    EML_ASSERT(level <= EML_TILE_ENTRIES);
    return level == EML_TILE_ENTRIES ? size : size >> 8 * level;
}

unsigned eml_tile_width(uint64_t size, unsigned level, uint64_t n)
{
    uint64_t count = eml_tile_count(size, level);
    if (n > count / EML_TILE_WIDTH)
        return 0;
    return n < count / EML_TILE_WIDTH ? EML_TILE_WIDTH : (unsigned)(count % EML_TILE_WIDTH);
}

void eml_tile_path(unsigned level, uint64_t n, unsigned width, char out[EML_TILE_PATH_MAX])
{
    char digits[32], kind[8] = "entries", tail[8] = "";
    EML_ASSERT(level <= EML_TILE_ENTRIES && width >= 1 && width <= EML_TILE_WIDTH);
    if (level != EML_TILE_ENTRIES)
        (void)snprintf(kind, sizeof kind, "%u", level);
    if (width < EML_TILE_WIDTH)
        (void)snprintf(tail, sizeof tail, ".p/%u", width);
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    len = snprintf(digits, sizeof digits, "%0*" PRIu64, (len + 2) / 3 * 3, n);
    int used = snprintf(out, EML_TILE_PATH_MAX, "tile/%s", kind);
    for (int at = 0; at < len; at += 3)
        used += snprintf(out + used, EML_TILE_PATH_MAX - (size_t)used, "/%s%.3s",
                         at + 3 < len ? "x" : "", digits + at);
    (void)snprintf(out + used, EML_TILE_PATH_MAX - (size_t)used, "%s", tail);
}

struct eml_bytes eml_tile_entry(struct eml_cur *bundle)
{
    size_t len = eml_cur_u16(bundle);
    return eml_cur_take(bundle, len);
}
