#include "eif/eif.h"

#include "base/cur.h"

#include <zlib.h>

enum { HEADER = 548, CRC_AT = 544, SECTION_HEADER = 12, FLAG_BITS = 1 };

static const uint8_t magic[4] = {0x2e, 0x65, 0x69, 0x66};

struct table {
    uint64_t offset[EML_EIF_SECTIONS_MAX], size[EML_EIF_SECTIONS_MAX];
};

static enum eml_err parse_header(struct eml_cur *c, struct eml_eif *out, struct table *t,
                                 struct eml_why *why)
{
    struct eml_bytes m = eml_cur_take(c, sizeof magic);
    out->version = eml_cur_u16(c);
    out->flags = eml_cur_u16(c);
    out->default_memory = eml_cur_u64(c);
    out->default_cpus = eml_cur_u64(c);
    uint16_t reserved = eml_cur_u16(c);
    out->n = eml_cur_u16(c);
    for (size_t i = 0; i < EML_EIF_SECTIONS_MAX; i++)
        t->offset[i] = eml_cur_u64(c);
    for (size_t i = 0; i < EML_EIF_SECTIONS_MAX; i++)
        t->size[i] = eml_cur_u64(c);
    uint32_t unused = eml_cur_u32(c);
    out->crc = eml_cur_u32(c);
    if (!eml_cur_ok(c))
        return eml_fail(why, EML_E_INPUT, "eif: shorter than its header", -1);
    if (!eml_bytes_equal(m, EML_BYTES(magic)))
        return eml_fail(why, EML_E_INPUT, "eif: not an enclave image", -1);
    if (out->version < 2 || out->version > EML_EIF_VERSION)
        return eml_fail(why, EML_E_UNSUPPORTED, "eif: version is not 2, 3 or 4", -1);
    if (reserved != 0 || unused != 0 || (out->flags & ~FLAG_BITS) != 0)
        return eml_fail(why, EML_E_INPUT, "eif: reserved fields are not zero", -1);
    if (out->n < 2 || out->n > EML_EIF_SECTIONS_MAX)
        return eml_fail(why, EML_E_INPUT, "eif: number of sections is not 2 to 32", -1);
    for (size_t i = out->n; i < EML_EIF_SECTIONS_MAX; i++)
        if (t->offset[i] != 0 || t->size[i] != 0)
            return eml_fail(why, EML_E_INPUT, "eif: table entry of no section is not zero",
                            (long)i);
    return EML_OK;
}

static enum eml_err parse_section(struct eml_cur *c, const struct table *t, size_t i,
                                  struct eml_eif_section *out, struct eml_why *why)
{
    uint64_t at = c->pos;
    uint16_t type = eml_cur_u16(c), flags = eml_cur_u16(c);
    uint64_t size = eml_cur_u64(c);
    if (!eml_cur_ok(c))
        return eml_fail(why, EML_E_INPUT, "eif: file ends before a section", (long)i);
    if (t->offset[i] != at || t->size[i] != size)
        return eml_fail(why, EML_E_INPUT, "eif: table and section disagree", (long)i);
    if (type < EML_EIF_KERNEL || type > EML_EIF_METADATA || flags != 0)
        return eml_fail(why, EML_E_INPUT, "eif: unknown section type or flags", (long)i);
    if (size > eml_cur_left(c))
        return eml_fail(why, EML_E_INPUT, "eif: section is longer than the file", (long)i);
    out->type = (enum eml_eif_type)type;
    out->data = eml_cur_take(c, (size_t)size);
    return EML_OK;
}

/* How many sections of each type there must be, and their order. */
static enum eml_err check_sections(const struct eml_eif *e, struct eml_why *why)
{
    size_t count[EML_EIF_METADATA + 1] = {0};
    for (size_t i = 0; i < e->n; i++) {
        enum eml_eif_type type = e->section[i].type;
        count[type]++;
        if (type == EML_EIF_RAMDISK && count[EML_EIF_KERNEL] == 0)
            return eml_fail(why, EML_E_INPUT, "eif: a ramdisk stands before the kernel", (long)i);
        if (type == EML_EIF_SIGNATURE && e->section[i].data.len > EML_EIF_SIGNATURE_MAX)
            return eml_fail(why, EML_E_INPUT, "eif: signature section is too long", (long)i);
    }
    if (count[EML_EIF_KERNEL] != 1 || count[EML_EIF_CMDLINE] != 1)
        return eml_fail(why, EML_E_INPUT, "eif: not exactly one kernel and one command line", -1);
    if (count[EML_EIF_RAMDISK] == 0)
        return eml_fail(why, EML_E_INPUT, "eif: no ramdisk", -1);
    if (count[EML_EIF_SIGNATURE] > 1 || (count[EML_EIF_SIGNATURE] == 1 && e->version < 3))
        return eml_fail(why, EML_E_INPUT, "eif: more signatures than the version allows", -1);
    if (count[EML_EIF_METADATA] > 1 || (count[EML_EIF_METADATA] == 0 && e->version >= 4))
        return eml_fail(why, EML_E_INPUT, "eif: not exactly one metadata section", -1);
    return EML_OK;
}

/* CRC-32 of everything but the field itself, which is skipped. */
static uint32_t checksum(struct eml_bytes file)
{
    uLong crc = crc32_z(0, file.ptr, CRC_AT);
    return (uint32_t)crc32_z(crc, file.ptr + HEADER, file.len - HEADER);
}

static enum eml_err parse(struct eml_bytes file, struct eml_eif *out, struct eml_why *why)
{
    struct eml_cur c = eml_cur(file);
    struct table t;
    EML_TRY(parse_header(&c, out, &t, why));
    for (size_t i = 0; i < out->n; i++)
        EML_TRY(parse_section(&c, &t, i, &out->section[i], why));
    if (!eml_cur_done(&c))
        return eml_fail(why, EML_E_INPUT, "eif: bytes behind the last section", -1);
    EML_TRY(check_sections(out, why));
    if (checksum(file) != out->crc)
        return eml_fail(why, EML_E_INPUT, "eif: CRC does not match: the file is damaged", -1);
    return EML_OK;
}

enum eml_err eml_eif_parse(struct eml_bytes file, struct eml_eif *out, struct eml_why *why)
{
    *out = (struct eml_eif){0};
    enum eml_err e = parse(file, out, why);
    if (e != EML_OK)
        *out = (struct eml_eif){0};
    return e;
}

struct eml_bytes eml_eif_find(const struct eml_eif *e, enum eml_eif_type type)
{
    for (size_t i = 0; i < e->n; i++)
        if (e->section[i].type == type)
            return e->section[i].data;
    return (struct eml_bytes){0};
}

enum eml_err eml_eif_write(const struct eml_eif *e, struct eml_buf *out, struct eml_why *why)
{
    if (e->n < 2 || e->n > EML_EIF_SECTIONS_MAX || e->version < 2 || e->version > EML_EIF_VERSION ||
        (e->flags & ~FLAG_BITS) != 0)
        return eml_fail(why, EML_E_USAGE, "eif: version, flags or number of sections", -1);
    EML_TRY(check_sections(e, why));
    size_t start = out->len;
    uint8_t *h = eml_buf_grow(out, HEADER);
    if (h == NULL)
        return EML_E_SYSTEM;
    for (size_t i = 0; i < sizeof magic; i++)
        h[i] = magic[i];
    eml_store_u16(h + 0x04, e->version);
    eml_store_u16(h + 0x06, e->flags);
    eml_store_u64(h + 0x08, e->default_memory);
    eml_store_u64(h + 0x10, e->default_cpus);
    eml_store_u16(h + 0x1a, (uint16_t)e->n);
    uint64_t at = HEADER;
    for (size_t i = 0; i < e->n; i++) {
        eml_store_u64(h + 0x1c + 8 * i, at);
        eml_store_u64(h + 0x11c + 8 * i, e->section[i].data.len);
        at += SECTION_HEADER + e->section[i].data.len;
    }
    for (size_t i = 0; i < e->n; i++) {
        uint8_t *s = eml_buf_grow(out, SECTION_HEADER); /* h is not valid any more */
        if (s == NULL)
            return EML_E_SYSTEM;
        eml_store_u16(s, (uint16_t)e->section[i].type);
        eml_store_u64(s + 4, e->section[i].data.len);
        eml_buf_put(out, e->section[i].data);
    }
    EML_TRY(eml_buf_ok(out));
    uint8_t *file = out->ptr + start;
    eml_store_u32(file + CRC_AT, checksum(eml_bytes(file, out->len - start)));
    return EML_OK;
}
