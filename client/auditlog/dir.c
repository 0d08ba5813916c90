#include "auditlog/dir.h"

#include "file/file.h"

#include <stdio.h>
#include <string.h>

enum { PATH = 4096, BUNDLE_MAX = 256 * (2 + 65535) };

void eml_log_dir_close(struct eml_log_dir *d)
{
    for (unsigned i = 0; i < EML_LOG_PARTS; i++) {
        eml_buf_free(&d->part[i].bytes);
        d->part[i].loaded = false;
    }
}

enum eml_err eml_log_dir_file(const struct eml_log_dir *d, const char *name, uint64_t max,
                              struct eml_buf *out, struct eml_why *why)
{
    char path[PATH];
    int n = snprintf(path, sizeof path, "%s/%s", d->path, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return eml_fail(why, EML_E_USAGE, "log: the path is too long", -1);
    return eml_file_read(path, max, out, why);
}

static bool whole(unsigned part, unsigned width, struct eml_bytes b)
{
    struct eml_cur c = eml_cur(b);
    if (part != EML_TILE_ENTRIES)
        return b.len == width * (size_t)EML_TILE_HASH;
    for (unsigned i = 0; i < width; i++)
        (void)eml_tile_entry(&c);
    return eml_cur_done(&c);
}

/* The first `width` items of a tile that may be wider. */
static void narrow(unsigned part, unsigned width, struct eml_buf *b)
{
    struct eml_cur c = eml_cur(eml_buf_bytes(b));
    if (part != EML_TILE_ENTRIES)
        (void)eml_cur_take(&c, width * (size_t)EML_TILE_HASH);
    for (unsigned i = 0; part == EML_TILE_ENTRIES && i < width; i++)
        (void)eml_tile_entry(&c);
    if (eml_cur_ok(&c))
        b->len = c.pos;
}

/* A log that grows replaces a partial tile by a wider one, which begins with the same; it puts the
 * wider one there first, so that going upwards finds it, however often that happens meanwhile. */
static enum eml_err read_tile(const struct eml_log_dir *d, unsigned part, uint64_t n,
                              unsigned width, struct eml_buf *b)
{
    char path[EML_TILE_PATH_MAX];
    for (unsigned w = width; w <= EML_TILE_WIDTH; w++) {
        b->len = 0;
        eml_tile_path(part, n, w, path);
        enum eml_err err = eml_log_dir_file(d, path, BUNDLE_MAX, b, NULL);
        if (err == EML_E_USAGE) /* there is none */
            continue;
        if (err == EML_OK && w > width)
            narrow(part, width, b);
        return err;
    }
    return EML_E_INPUT;
}

enum eml_err eml_log_dir_tile(struct eml_log_dir *d, unsigned part, uint64_t n,
                              struct eml_bytes *out, struct eml_why *why)
{
    struct eml_buf *b = &d->part[part].bytes;
    unsigned width = eml_tile_width(d->size, part, n);
    *out = (struct eml_bytes){0};
    if (width == 0)
        return eml_fail(why, EML_E_USAGE, "log: no such tile in a tree of this size", (long)n);
    if (!d->part[part].loaded || d->part[part].n != n) {
        d->part[part].loaded = false;
        if (read_tile(d, part, n, width, b) != EML_OK)
            return eml_fail(why, EML_E_INPUT,
                            part == EML_TILE_ENTRIES
                                ? "files: a bundle of entries is missing or cannot be read"
                                : "files: a tile is missing or cannot be read",
                            (long)n);
        if (!whole(part, width, eml_buf_bytes(b)))
            return eml_fail(why, EML_E_INPUT,
                            part == EML_TILE_ENTRIES
                                ? "files: a bundle of entries is cut short or too long"
                                : "files: a tile is cut short or too long",
                            (long)n);
        d->part[part].loaded = true;
        d->part[part].n = n;
    }
    *out = eml_buf_bytes(b);
    return EML_OK;
}

enum eml_err eml_log_dir_entry(struct eml_log_dir *d, uint64_t index, struct eml_bytes *out,
                               struct eml_why *why)
{
    struct eml_bytes bundle;
    *out = (struct eml_bytes){0};
    if (index >= d->size)
        return eml_fail(why, EML_E_USAGE, "log: there is no record of this index", -1);
    EML_TRY(eml_log_dir_tile(d, EML_TILE_ENTRIES, index / EML_TILE_WIDTH, &bundle, why));
    struct eml_cur c = eml_cur(bundle);
    for (uint64_t i = 0; i < index % EML_TILE_WIDTH; i++)
        (void)eml_tile_entry(&c);
    *out = eml_tile_entry(&c);
    return eml_cur_ok(&c) ? EML_OK : EML_E_INPUT;
}

/* The hashes of a tile are nodes of height 8 * part; a node between two levels is made of them. */
static enum eml_err node(void *ctx, unsigned level, uint64_t index, struct eml_sha256 *out)
{
    struct eml_log_dir *d = ctx;
    unsigned part = level / 8, low = level % 8;
    uint64_t first = index << low;
    struct eml_bytes tile;
    struct eml_tree t = {0};
    if (part >= EML_TILE_LEVELS)
        return EML_E_USAGE;
    EML_TRY(eml_log_dir_tile(d, part, first / EML_TILE_WIDTH, &tile, NULL));
    struct eml_cur c = eml_cur(tile);
    (void)eml_cur_take(&c, (size_t)(first % EML_TILE_WIDTH) * EML_TILE_HASH);
    for (unsigned i = 0; i < 1u << low; i++) {
        struct eml_sha256 h;
        struct eml_bytes b = eml_cur_take(&c, sizeof h.b);
        if (b.len != sizeof h.b)
            return EML_E_INPUT;
        memcpy(h.b, b.ptr, sizeof h.b);
        EML_TRY(eml_tree_append(&t, &h));
    }
    return eml_tree_root(&t, out);
}

struct eml_tree_source eml_log_dir_source(struct eml_log_dir *d)
{
    return (struct eml_tree_source){node, d};
}
