#include "hostproto/audit.h"

#define SIZE_MAX_LOG ((uint64_t)1 << 56)

static void put_u16(struct eml_buf *out, size_t v)
{
    uint8_t be[2];
    eml_store_u16(be, (uint16_t)v);
    eml_buf_put(out, EML_BYTES(be));
}

static void put_u64(struct eml_buf *out, uint64_t v)
{
    uint8_t be[8];
    eml_store_u64(be, v);
    eml_buf_put(out, EML_BYTES(be));
}

/* --- state --- */

static size_t edge_bytes(uint64_t size, unsigned level)
{
    return (size_t)(eml_tile_count(size, level) % EML_TILE_WIDTH) * EML_TILE_HASH;
}

static bool state_fits(const struct eml_host_log_state *s)
{
    bool ok = s->size <= SIZE_MAX_LOG && s->checkpoint.len <= EML_HOST_LOG_CHECKPOINT_MAX &&
              (s->size == 0) == (s->checkpoint.len == 0);
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        ok = ok && s->edge[level].len == edge_bytes(s->size, level);
    return ok;
}

enum eml_err eml_host_log_state_encode(const struct eml_host_log_state *s, struct eml_buf *out)
{
    if (!state_fits(s))
        return EML_E_USAGE;
    eml_buf_put_u8(out, EML_HOST_OK);
    put_u64(out, s->size);
    put_u16(out, s->checkpoint.len);
    eml_buf_put(out, s->checkpoint);
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        eml_buf_put(out, s->edge[level]);
    return eml_buf_ok(out);
}

enum eml_err eml_host_log_state_decode(struct eml_bytes frame, enum eml_host_status *status,
                                       struct eml_host_log_state *out)
{
    struct eml_cur c = eml_cur(frame);
    struct eml_host_log_state s = {0};
    *out = s;
    *status = EML_HOST_SYSTEM;
    uint8_t first = eml_cur_u8(&c);
    if (!eml_cur_ok(&c) || first >= EML_HOST_STATUS_N)
        return EML_E_INPUT;
    *status = (enum eml_host_status)first;
    if (first != EML_HOST_OK)
        return eml_cur_done(&c) ? EML_OK : EML_E_INPUT;
    s.size = eml_cur_u64(&c);
    size_t len = eml_cur_u16(&c);
    s.checkpoint = eml_cur_take(&c, len);
    for (unsigned level = 0; eml_cur_ok(&c) && level < EML_TILE_LEVELS; level++)
        s.edge[level] = eml_cur_take(&c, edge_bytes(s.size, level));
    if (!eml_cur_done(&c) || !state_fits(&s))
        return EML_E_INPUT;
    *out = s;
    return EML_OK;
}

/* --- commit --- */

uint64_t eml_host_commit_hashes(uint64_t first, unsigned n, unsigned level)
{
    return eml_tile_count(first + n, level) - eml_tile_count(first, level);
}

/* Consumes n entries; returns their bytes. */
static struct eml_bytes take_entries(struct eml_cur *c, unsigned n)
{
    struct eml_cur start = *c;
    for (unsigned i = 0; i < n; i++)
        if (eml_tile_entry(c).len > EML_HOST_LOG_ENTRY_MAX)
            eml_cur_fail(c);
    return eml_cur_ok(c) ? eml_cur_take(&start, c->pos - start.pos) : (struct eml_bytes){0};
}

static bool commit_fits(const struct eml_host_commit *c)
{
    struct eml_cur entries = eml_cur(c->entries);
    bool ok = c->n >= 1 && c->n <= EML_HOST_LOG_BATCH_MAX && c->first <= SIZE_MAX_LOG - c->n &&
              c->document.len <= EML_HOST_LOG_DOCUMENT_MAX && c->checkpoint.len != 0 &&
              c->checkpoint.len <= EML_HOST_LOG_CHECKPOINT_MAX;
    if (!ok)
        return false;
    (void)take_entries(&entries, c->n);
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        ok = ok &&
             c->hashes[level].len == eml_host_commit_hashes(c->first, c->n, level) * EML_TILE_HASH;
    return ok && eml_cur_done(&entries);
}

enum eml_err eml_host_commit_encode(const struct eml_host_commit *c, struct eml_buf *out)
{
    uint8_t be[4];
    if (!commit_fits(c))
        return EML_E_USAGE;
    put_u64(out, c->first);
    put_u16(out, c->n);
    eml_buf_put(out, c->entries);
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        eml_buf_put(out, c->hashes[level]);
    eml_store_u32(be, (uint32_t)c->document.len);
    eml_buf_put(out, EML_BYTES(be));
    eml_buf_put(out, c->document);
    put_u16(out, c->checkpoint.len);
    eml_buf_put(out, c->checkpoint);
    return eml_buf_ok(out);
}

enum eml_err eml_host_commit_decode(struct eml_bytes frame, struct eml_host_commit *out)
{
    struct eml_cur c = eml_cur(frame);
    struct eml_host_commit r = {0};
    *out = r;
    r.first = eml_cur_u64(&c);
    r.n = eml_cur_u16(&c);
    if (!eml_cur_ok(&c) || r.n > EML_HOST_LOG_BATCH_MAX || r.first > SIZE_MAX_LOG - r.n)
        return EML_E_INPUT;
    r.entries = take_entries(&c, r.n);
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        r.hashes[level] =
            eml_cur_take(&c, (size_t)eml_host_commit_hashes(r.first, r.n, level) * EML_TILE_HASH);
    size_t len = eml_cur_u32(&c);
    r.document = eml_cur_take(&c, len);
    len = eml_cur_u16(&c);
    r.checkpoint = eml_cur_take(&c, len);
    if (!eml_cur_done(&c) || !commit_fits(&r))
        return EML_E_INPUT;
    *out = r;
    return EML_OK;
}
