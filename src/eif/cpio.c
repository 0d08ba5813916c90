#include "eif/cpio.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HEADER = 110, ALIGN = 4, NAME_MAX_BYTES = 4095 };

static void pad(struct eml_buf *out, size_t start)
{
    static const uint8_t zero[ALIGN];
    eml_buf_put(out, eml_bytes(zero, (ALIGN - (out->len - start) % ALIGN) % ALIGN));
}

static void put(struct eml_buf *out, size_t start, const char *name, uint32_t inode, uint32_t mode,
                struct eml_bytes data)
{
    char header[HEADER + 1];
    const uint32_t links = (mode & 0170000) == 0040000 ? 2 : 1;
    /* magic, inode, mode, uid, gid, links, time, size, device, device of node, name, checksum */
    (void)snprintf(header, sizeof header,
                   "070701%08" PRIX32 "%08" PRIX32 "%08X%08X%08" PRIX32 "%08X%08" PRIX32
                   "%08X%08X%08X%08X%08" PRIX32 "%08X",
                   inode, mode, 0u, 0u, links, 0u, (uint32_t)data.len, 0u, 0u, 0u, 0u,
                   (uint32_t)strlen(name) + 1, 0u);
    eml_buf_put(out, eml_bytes(header, HEADER));
    eml_buf_put(out, eml_bytes(name, strlen(name) + 1));
    pad(out, start);
    eml_buf_put(out, data);
    pad(out, start);
}

/* Every part of the path is a name. */
static bool is_plain(const char *path)
{
    size_t len = strlen(path);
    if (len == 0 || len > NAME_MAX_BYTES)
        return false;
    for (const char *part = path; part != NULL;) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part = part[n] == '/' ? part + n + 1 : NULL;
    }
    return strcmp(path, "TRAILER!!!") != 0;
}

enum eml_err eml_cpio_write(const struct eml_cpio_entry *entry, size_t n, struct eml_buf *out,
                            struct eml_why *why)
{
    static const uint32_t mode[] = {
        [EML_CPIO_DIRECTORY] = 0040755, [EML_CPIO_FILE] = 0100644, [EML_CPIO_PROGRAM] = 0100755};
    const size_t start = out->len;
    for (size_t i = 0; i < n; i++) {
        const struct eml_cpio_entry *e = &entry[i];
        if (!is_plain(e->name) || (i > 0 && strcmp(entry[i - 1].name, e->name) >= 0))
            return eml_fail(why, EML_E_USAGE, "cpio: names are not plain and ascending", (long)i);
        if (e->data.len > UINT32_MAX || (e->kind == EML_CPIO_DIRECTORY && e->data.len != 0))
            return eml_fail(why, EML_E_USAGE, "cpio: more data than an entry can have", (long)i);
    }
    for (size_t i = 0; i < n; i++)
        put(out, start, entry[i].name, (uint32_t)i, mode[entry[i].kind], entry[i].data);
    put(out, start, "TRAILER!!!", 0, 0, (struct eml_bytes){0});
    return eml_buf_ok(out);
}
