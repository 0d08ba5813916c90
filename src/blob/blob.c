#include "blob/blob.h"

#include "base/checked.h"
#include "base/cur.h"
#include "base/wipe.h"
#include "blob/permutation.h"
#include "crypto/crypto.h"

#include <string.h>

static const char LABEL[] = "eml-weights/1";
enum {
    LABEL_LEN = sizeof LABEL - 1,
    PREFIX_LEN = LABEL_LEN + 16 + 8 + 8,
    AAD_LEN = PREFIX_LEN + 8
};

static unsigned floor_log2(uint64_t v)
{
    return 63 - (unsigned)__builtin_clzll(v);
}

/* Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs"
 * (2019), section 4.3: of a length of E + 1 bits, the lowest E - S are zero, S the bits of E. */
static uint64_t padme(uint64_t n)
{
    if (n < 3)
        return n;
    unsigned e = floor_log2(n), s = floor_log2(e) + 1;
    uint64_t mask = ((uint64_t)1 << (e - s)) - 1;
    return (n + mask) & ~mask;
}

uint64_t eml_blob_chunks(uint64_t plain_bytes)
{
    uint64_t n = plain_bytes / EML_CHUNK_BYTES + (plain_bytes % EML_CHUNK_BYTES != 0);
    uint64_t chunks = padme(n == 0 ? 1 : n);
    return chunks < UINT32_MAX ? chunks : 0;
}

uint64_t eml_blob_sealed_bytes(uint64_t chunks)
{
    return chunks * EML_CHUNK_SEALED_BYTES;
}

static void aad_prefix(const struct eml_blob_info *info, uint8_t out[PREFIX_LEN])
{
    memcpy(out, LABEL, LABEL_LEN);
    memcpy(out + LABEL_LEN, info->model_id, 16);
    eml_store_u64(out + LABEL_LEN + 16, info->version);
    eml_store_u64(out + LABEL_LEN + 24, info->chunks);
}

/* Both come from the logical index, so that a chunk opens at its place only. */
static void bind(const uint8_t prefix[PREFIX_LEN], uint64_t index, struct eml_nonce *nonce,
                 uint8_t aad[AAD_LEN])
{
    memset(nonce->b, 0, 4);
    eml_store_u64(nonce->b + 4, index);
    memcpy(aad, prefix, PREFIX_LEN);
    eml_store_u64(aad + PREFIX_LEN, index);
}

/* A name that only who knows the key can make of all that it must belong to, and that tells others
 * nothing. */
static enum eml_err object_id(const struct eml_blob_info *info, uint8_t out[32])
{
    static const char label[] = "eml-weights/1 object";
    enum { LEN = sizeof label - 1 + 16 + 8 + 8 + 1 + 32 };
    uint8_t bound[LEN], *at = bound;
    memcpy(at, label, sizeof label - 1);
    at += sizeof label - 1;
    memcpy(at, info->model_id, 16);
    eml_store_u64(at + 16, info->version);
    eml_store_u64(at + 24, info->chunks);
    at[32] = (uint8_t)info->cipher;
    memcpy(at + 33, info->digest, 32);
    return eml_hkdf_expand(EML_BYTES(info->key.bytes), EML_BYTES(bound),
                           (struct eml_room){out, 32});
}

/* Key schedule and permutation, from the arena. */
static enum eml_err prepare(const struct eml_blob_info *info, struct eml_arena *arena,
                            struct eml_bulk **bulk, uint32_t **position)
{
    *bulk = eml_arena_alloc(arena, sizeof **bulk, _Alignof(struct eml_bulk));
    *position = eml_arena_array(arena, (size_t)info->chunks, sizeof **position);
    if (*bulk == NULL || *position == NULL)
        return EML_E_SYSTEM;
    struct eml_aead_key k;
    memcpy(k.b, info->key.bytes, sizeof k.b);
    enum eml_err e = eml_bulk_init(*bulk, info->cipher, &k);
    eml_wipe(&k, sizeof k);
    return e == EML_OK ? eml_permutation_draw(&info->key, *position, (uint32_t)info->chunks) : e;
}

/* Seals all chunks to their positions in `object`, which is zero. */
static enum eml_err seal_chunks(struct eml_bytes plain, const struct eml_blob_info *info,
                                struct eml_arena *arena, uint8_t *object)
{
    struct eml_bulk *bulk = NULL;
    uint32_t *position = NULL;
    EML_TRY(prepare(info, arena, &bulk, &position));
    uint8_t prefix[PREFIX_LEN], aad[AAD_LEN];
    aad_prefix(info, prefix);
    struct eml_cur c = eml_cur(plain);
    for (uint64_t i = 0; i < info->chunks; i++) {
        struct eml_nonce nonce;
        uint8_t *at = object + (size_t)position[i] * EML_CHUNK_SEALED_BYTES;
        size_t left = eml_cur_left(&c);
        struct eml_bytes part = eml_cur_take(&c, left < EML_CHUNK_BYTES ? left : EML_CHUNK_BYTES);
        if (part.len != 0)
            memcpy(at, part.ptr, part.len);
        bind(prefix, i, &nonce, aad);
        EML_TRY(eml_bulk_seal(bulk, &nonce, EML_BYTES(aad), eml_bytes(at, EML_CHUNK_BYTES),
                              (struct eml_room){at, EML_CHUNK_SEALED_BYTES}));
    }
    return EML_OK;
}

enum eml_err eml_blob_digest(struct eml_bytes sealed, uint8_t out[32])
{
    struct eml_sha256 digest;
    enum eml_err e = eml_sha256(&sealed, 1, &digest);
    memcpy(out, digest.b, sizeof digest.b); /* zero on failure */
    return e;
}

enum eml_err eml_blob_check(const struct eml_blob_info *info, uint64_t sealed_bytes,
                            const uint8_t digest[32], struct eml_why *why)
{
    if (sealed_bytes != eml_blob_sealed_bytes(info->chunks))
        return eml_fail(why, EML_E_INPUT, "weights: object has the wrong length", -1);
    if (memcmp(digest, info->digest, sizeof info->digest) != 0)
        return eml_fail(why, EML_E_AUTH, "weights: not the object that was sealed", -1);
    return EML_OK;
}

enum eml_err eml_blob_seal(struct eml_bytes plain, struct eml_blob_info *info, struct eml_buf *out)
{
    struct eml_arena scratch = {0};
    const size_t start = out->len;
    info->plain_bytes = plain.len;
    info->chunks = eml_blob_chunks(plain.len);
    uint8_t *object = NULL;
    size_t scratch_bytes = sizeof(struct eml_bulk) + (size_t)info->chunks * sizeof(uint32_t) + 256;
    enum eml_err e = info->chunks == 0 ? EML_E_INPUT : eml_random(EML_ROOM(info->key.bytes));
    if (e == EML_OK)
        e = eml_arena_create(&scratch, scratch_bytes);
    if (e == EML_OK) {
        object = eml_buf_grow(out, (size_t)eml_blob_sealed_bytes(info->chunks));
        e = object != NULL ? seal_chunks(plain, info, &scratch, object) : EML_E_SYSTEM;
    }
    if (e == EML_OK)
        e = eml_blob_digest(eml_bytes(object, out->len - start), info->digest);
    if (e == EML_OK)
        e = object_id(info, info->object_id);
    (void)eml_arena_destroy(&scratch);
    if (e != EML_OK) {
        eml_wipe(&info->key, sizeof info->key);
        if (object != NULL) {
            eml_wipe(object, out->len - start);
            out->len = start;
        }
    }
    return e;
}

enum eml_err eml_blob_reader_init(struct eml_blob_reader *r, const struct eml_blob_info *info,
                                  struct eml_bytes sealed, struct eml_arena *arena,
                                  struct eml_why *why)
{
    *r = (struct eml_blob_reader){0};
    if (info->chunks == 0 || info->chunks != eml_blob_chunks(info->plain_bytes))
        return eml_fail(why, EML_E_INPUT, "weights: number of chunks is not their size class", -1);
    if (sealed.len != eml_blob_sealed_bytes(info->chunks))
        return eml_fail(why, EML_E_INPUT, "weights: object has the wrong length", -1);
    const size_t mark = eml_arena_mark(arena);
    struct eml_bulk *bulk = NULL;
    uint32_t *position = NULL;
    enum eml_err e = prepare(info, arena, &bulk, &position);
    if (e != EML_OK) {
        (void)eml_arena_reset(arena, mark);
        return eml_fail(
            why, e, "weights: no memory for the key schedule, or no instructions for the cipher",
            -1);
    }
    *r = (struct eml_blob_reader){
        .sealed = sealed, .chunks = info->chunks, .bulk = bulk, .position = position};
    aad_prefix(info, r->aad);
    return EML_OK;
}

/* Prefetchers of the CPU stop at pages: start them in each. */
static void prefetch_pages(const uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i += 4096)
        __builtin_prefetch(at + i, 0, 2);
}

static enum eml_err open_chunk(const struct eml_blob_reader *r, uint64_t index, uint8_t *out)
{
    struct eml_nonce nonce;
    uint8_t aad[AAD_LEN];
    bind(r->aad, index, &nonce, aad);
    const uint8_t *at = r->sealed.ptr + (size_t)r->position[index] * EML_CHUNK_SEALED_BYTES;
    prefetch_pages(at, EML_CHUNK_BYTES);
    return eml_bulk_open(r->bulk, &nonce, EML_BYTES(aad), eml_bytes(at, EML_CHUNK_SEALED_BYTES),
                         (struct eml_room){out, EML_CHUNK_BYTES});
}

enum eml_err eml_blob_reader_rely(struct eml_blob_reader *r, const struct eml_blob_info *info,
                                  const uint8_t digest[32], struct eml_why *why)
{
    uint8_t id[32];
    EML_TRY(eml_blob_check(info, r->sealed.len, digest, why));
    if (!eml_bulk_opens_parts(r->bulk))
        return EML_OK;
    EML_TRY(object_id(info, id));
    if (!eml_ct_equal(EML_BYTES(id), EML_BYTES(info->object_id)))
        return eml_fail(why, EML_E_AUTH, "weights: not sealed under this key, model id and version",
                        -1);
    r->parts = true;
    return EML_OK;
}

/* Bytes [skip, skip + out.len) of a chunk of an object that the digest vouches for. */
static enum eml_err open_in_chunk(const struct eml_blob_reader *r, uint64_t index, size_t skip,
                                  struct eml_room out)
{
    struct eml_nonce nonce;
    uint8_t aad[AAD_LEN];
    bind(r->aad, index, &nonce, aad);
    const uint8_t *at = r->sealed.ptr + (size_t)r->position[index] * EML_CHUNK_SEALED_BYTES + skip;
    prefetch_pages(at, out.len);
    return eml_bulk_open_part(r->bulk, &nonce, skip, eml_bytes(at, out.len), out);
}

enum eml_err eml_blob_read_part(const struct eml_blob_reader *r, uint64_t at, struct eml_room out,
                                struct eml_why *why)
{
    EML_ASSERT(r->parts && at <= r->chunks * EML_CHUNK_BYTES &&
               out.len <= r->chunks * EML_CHUNK_BYTES - at);
    for (size_t done = 0; done < out.len;) {
        uint64_t index = (at + done) / EML_CHUNK_BYTES;
        size_t skip = (size_t)((at + done) % EML_CHUNK_BYTES), n = EML_CHUNK_BYTES - skip;
        n = n < out.len - done ? n : out.len - done;
        enum eml_err e = open_in_chunk(r, index, skip, (struct eml_room){out.ptr + done, n});
        if (e != EML_OK) {
            eml_wipe(out.ptr, out.len);
            return eml_fail(why, e, "weights: chunk cannot be opened", (long)index);
        }
        done += n;
    }
    return EML_OK;
}

enum eml_err eml_blob_read(const struct eml_blob_reader *r, uint64_t first, uint64_t n,
                           struct eml_room out, struct eml_why *why)
{
    EML_ASSERT(first <= r->chunks && n <= r->chunks - first);
    EML_ASSERT(out.len == n * EML_CHUNK_BYTES);
    if (r->parts)
        return eml_blob_read_part(r, first * EML_CHUNK_BYTES, out, why);
    for (uint64_t i = 0; i < n; i++) {
        enum eml_err e = open_chunk(r, first + i, out.ptr + (size_t)i * EML_CHUNK_BYTES);
        if (e != EML_OK) {
            eml_wipe(out.ptr, out.len);
            return eml_fail(why, e, "weights: chunk is not authentic", (long)(first + i));
        }
    }
    return EML_OK;
}

enum eml_err eml_blob_open(const struct eml_blob_info *info, struct eml_bytes sealed,
                           struct eml_arena *arena, struct eml_room out, struct eml_why *why)
{
    const size_t mark = eml_arena_mark(arena);
    struct eml_blob_reader r;
    enum eml_err e = eml_blob_reader_init(&r, info, sealed, arena, why);
    if (e == EML_OK) {
        size_t n = (size_t)r.chunks * EML_CHUNK_BYTES;
        EML_ASSERT(out.len >= n);
        e = eml_blob_read(&r, 0, r.chunks, (struct eml_room){out.ptr, n}, why);
    }
    (void)eml_arena_reset(arena, mark);
    return e;
}
