#include "blob/permutation.h"

#include "base/cur.h"
#include "base/wipe.h"
#include "crypto/crypto.h"

#include <string.h>

enum { BLOCK = 4096 };

/* Numbers below a bound, from keystream blocks each under a key of its own. */
struct draws {
    const struct eml_seal_key *key;
    uint64_t next_block;
    size_t pos;
    uint8_t bytes[BLOCK];
};

static enum eml_err refill(struct draws *d)
{
    static const char label[] = "eml-weights/1 permutation";
    uint8_t info[sizeof label - 1 + 8];
    memcpy(info, label, sizeof label - 1);
    eml_store_u64(info + sizeof label - 1, d->next_block);
    struct eml_aead_key k;
    enum eml_err e = eml_hkdf_expand(EML_BYTES(d->key->bytes), EML_BYTES(info), EML_ROOM(k.b));
    if (e == EML_OK)
        e = eml_keystream(&k, EML_ROOM(d->bytes));
    eml_wipe(&k, sizeof k);
    d->next_block++;
    d->pos = 0;
    return e;
}

/* Uniform in [0, bound): the lowest 2^64 mod bound values, which are below bound, are drawn again.
 */
static enum eml_err below(struct draws *d, uint64_t bound, uint64_t *out)
{
    uint64_t v;
    do {
        if (d->pos == BLOCK)
            EML_TRY(refill(d));
        struct eml_cur c = eml_cur((struct eml_bytes){d->bytes + d->pos, 8});
        v = eml_cur_u64(&c);
        d->pos += 8;
    } while (v < bound && v < (0 - bound) % bound);
    *out = v % bound;
    return EML_OK;
}

enum eml_err eml_permutation_draw(const struct eml_seal_key *key, uint32_t *position, uint32_t n)
{
    struct draws d = {.key = key, .pos = BLOCK};
    enum eml_err e = EML_OK;
    for (uint32_t i = 0; i < n; i++)
        position[i] = i;
    for (uint32_t i = n; i > 1 && e == EML_OK; i--) {
        uint64_t j = 0;
        e = below(&d, i, &j);
        uint32_t swapped = position[j];
        position[j] = position[i - 1];
        position[i - 1] = swapped;
    }
    eml_wipe(&d, sizeof d);
    if (e != EML_OK)
        eml_wipe(position, n * sizeof *position);
    return e;
}
