#include "audit/tree.h"

#include "base/wipe.h"

#include <string.h>

enum eml_err eml_tree_leaf(struct eml_bytes entry, struct eml_sha256 *out)
{
    const uint8_t prefix[] = {0};
    const struct eml_bytes parts[] = {EML_BYTES(prefix), entry};
    return eml_sha256(parts, 2, out);
}

enum eml_err eml_tree_node(const struct eml_sha256 *left, const struct eml_sha256 *right,
                           struct eml_sha256 *out)
{
    const uint8_t prefix[] = {1};
    const struct eml_bytes parts[] = {EML_BYTES(prefix), EML_BYTES(left->b), EML_BYTES(right->b)};
    return eml_sha256(parts, 3, out);
}

enum eml_err eml_tree_append(struct eml_tree *t, const struct eml_sha256 *leaf)
{
    struct eml_sha256 sum = *leaf;
    unsigned level = 0;
    if (t->size >= EML_TREE_SIZE_MAX)
        return EML_E_REFUSED;
    for (; (t->size >> level & 1) != 0; level++)
        EML_TRY(eml_tree_node(&t->peak[level], &sum, &sum));
    t->peak[level] = sum;
    t->size++;
    return EML_OK;
}

/* The smallest peak first: each larger one comes from the left. */
enum eml_err eml_tree_root(const struct eml_tree *t, struct eml_sha256 *out)
{
    bool any = false;
    if (t->size == 0)
        return eml_sha256(NULL, 0, out);
    for (unsigned level = 0; level < EML_TREE_LEVELS; level++) {
        if ((t->size >> level & 1) == 0)
            continue;
        if (any)
            EML_TRY(eml_tree_node(&t->peak[level], out, out));
        else
            *out = t->peak[level];
        any = true;
    }
    return EML_OK;
}

/* --- nodes of a range --- */

/* The root of leaves [lo, hi), lo aligned as in any RFC 6962 split: the complete subtrees that make
 * up the range, folded from the right. */
static enum eml_err range_root(const struct eml_tree_source *s, uint64_t lo, uint64_t hi,
                               struct eml_sha256 *out)
{
    struct eml_tree t = {.size = hi - lo};
    for (unsigned level = EML_TREE_LEVELS; level-- > 0;) {
        if ((t.size >> level & 1) == 0)
            continue;
        EML_TRY(s->node(s->ctx, level, lo >> level, &t.peak[level]));
        lo += (uint64_t)1 << level;
    }
    return eml_tree_root(&t, out);
}

enum eml_err eml_tree_source_root(const struct eml_tree_source *s, uint64_t size,
                                  struct eml_sha256 *root)
{
    *root = (struct eml_sha256){{0}};
    return size <= EML_TREE_SIZE_MAX ? range_root(s, 0, size, root) : EML_E_USAGE;
}

/* Largest power of two below n, n > 1. */
static uint64_t split(uint64_t n)
{
    uint64_t k = 1;
    while (k << 1 < n)
        k <<= 1;
    return k;
}

static void reverse(struct eml_tree_proof *p)
{
    for (size_t i = 0; i < p->n / 2; i++) {
        struct eml_sha256 other = p->hash[p->n - 1 - i];
        p->hash[p->n - 1 - i] = p->hash[i];
        p->hash[i] = other;
    }
}

static enum eml_err push(const struct eml_tree_source *s, uint64_t lo, uint64_t hi,
                         struct eml_tree_proof *p)
{
    if (p->n == EML_TREE_PROOF_MAX)
        return EML_E_USAGE;
    EML_TRY(range_root(s, lo, hi, &p->hash[p->n]));
    p->n++;
    return EML_OK;
}

/* PATH(m, D[n]), from the root down. */
static enum eml_err path(const struct eml_tree_source *s, uint64_t index, uint64_t size,
                         struct eml_tree_proof *p)
{
    uint64_t lo = 0, hi = size;
    while (hi - lo > 1) {
        uint64_t mid = lo + split(hi - lo);
        if (index < mid) {
            EML_TRY(push(s, mid, hi, p));
            hi = mid;
        } else {
            EML_TRY(push(s, lo, mid, p));
            lo = mid;
        }
    }
    reverse(p);
    return EML_OK;
}

/* SUBPROOF(m, D[n], true), from the root down. */
static enum eml_err subproof(const struct eml_tree_source *s, uint64_t size1, uint64_t size2,
                             struct eml_tree_proof *p)
{
    uint64_t lo = 0, hi = size2;
    bool whole = true; /* the old tree is this range: its root is known to the verifier */
    while (size1 != hi) {
        uint64_t mid = lo + split(hi - lo);
        if (size1 <= mid) {
            EML_TRY(push(s, mid, hi, p));
            hi = mid;
        } else {
            EML_TRY(push(s, lo, mid, p));
            lo = mid;
            whole = false;
        }
    }
    if (!whole)
        EML_TRY(push(s, lo, hi, p));
    reverse(p);
    return EML_OK;
}

enum eml_err eml_tree_prove_inclusion(const struct eml_tree_source *s, uint64_t index,
                                      uint64_t size, struct eml_tree_proof *out)
{
    *out = (struct eml_tree_proof){0};
    if (index >= size || size > EML_TREE_SIZE_MAX)
        return EML_E_USAGE;
    enum eml_err err = path(s, index, size, out);
    if (err != EML_OK)
        *out = (struct eml_tree_proof){0};
    return err;
}

enum eml_err eml_tree_prove_consistency(const struct eml_tree_source *s, uint64_t size1,
                                        uint64_t size2, struct eml_tree_proof *out)
{
    *out = (struct eml_tree_proof){0};
    if (size1 == 0 || size1 > size2 || size2 > EML_TREE_SIZE_MAX)
        return EML_E_USAGE;
    enum eml_err err = subproof(s, size1, size2, out);
    if (err != EML_OK)
        *out = (struct eml_tree_proof){0};
    return err;
}

/* --- the newest leaves --- */

/* A complete subtree is a peak of the base, or lies in the new leaves, or begins with peaks of the
 * base and ends in new leaves; what lies within a peak is not known. */
static enum eml_err recent_node(void *ctx, unsigned level, uint64_t index, struct eml_sha256 *out)
{
    const struct eml_tree_recent *r = ctx;
    const uint64_t base = r->base->size;
    uint64_t lo = index << level, hi = lo + ((uint64_t)1 << level);
    if (hi > base + r->n)
        return EML_E_USAGE;
    if (hi <= base) {
        bool is_peak = (base >> level & 1) != 0 && (base >> level) - 1 == index;
        if (is_peak)
            *out = r->base->peak[level];
        return is_peak ? EML_OK : EML_E_USAGE;
    }
    /* The peaks of the base within [lo, base) are those of its low bits. */
    struct eml_tree t = {0};
    if (lo < base) {
        t = *r->base;
        t.size = base - lo;
        lo = base;
    }
    for (; lo < hi; lo++)
        EML_TRY(eml_tree_append(&t, &r->leaf[lo - base]));
    return eml_tree_root(&t, out);
}

struct eml_tree_source eml_tree_recent_source(const struct eml_tree_recent *r)
{
    union {
        const struct eml_tree_recent *in;
        void *out;
    } ctx = {r}; /* read only by recent_node */
    return (struct eml_tree_source){recent_node, ctx.out};
}

/* --- verification --- */

static bool same(const struct eml_sha256 *a, const struct eml_sha256 *b)
{
    return eml_ct_equal(EML_BYTES(a->b), EML_BYTES(b->b));
}

enum eml_err eml_tree_verify_inclusion(uint64_t index, uint64_t size, const struct eml_sha256 *leaf,
                                       const struct eml_tree_proof *proof,
                                       const struct eml_sha256 *root)
{
    if (index >= size || proof->n > EML_TREE_PROOF_MAX)
        return EML_E_INPUT;
    uint64_t fn = index, sn = size - 1;
    struct eml_sha256 r = *leaf;
    for (size_t i = 0; i < proof->n; i++) {
        if (sn == 0)
            return EML_E_INPUT;
        if ((fn & 1) != 0 || fn == sn) {
            EML_TRY(eml_tree_node(&proof->hash[i], &r, &r));
            for (; (fn & 1) == 0 && fn != 0; sn >>= 1)
                fn >>= 1;
        } else {
            EML_TRY(eml_tree_node(&r, &proof->hash[i], &r));
        }
        fn >>= 1;
        sn >>= 1;
    }
    if (sn != 0)
        return EML_E_INPUT;
    return same(&r, root) ? EML_OK : EML_E_AUTH;
}

/* The part of RFC 9162 section 2.1.4.2 after the trivial cases. */
static enum eml_err walk(uint64_t size1, uint64_t size2, const struct eml_tree_proof *proof,
                         const struct eml_sha256 *root1, const struct eml_sha256 *root2)
{
    uint64_t fn = size1 - 1, sn = size2 - 1;
    bool first_is_root1 = (size1 & (size1 - 1)) == 0;
    size_t i = 0;
    for (; (fn & 1) != 0; sn >>= 1)
        fn >>= 1;
    if (!first_is_root1 && proof->n == 0)
        return EML_E_INPUT;
    struct eml_sha256 fr = first_is_root1 ? *root1 : proof->hash[i++], sr = fr;
    for (; i < proof->n; i++) {
        const struct eml_sha256 *c = &proof->hash[i];
        if (sn == 0)
            return EML_E_INPUT;
        if ((fn & 1) != 0 || fn == sn) {
            EML_TRY(eml_tree_node(c, &fr, &fr));
            EML_TRY(eml_tree_node(c, &sr, &sr));
            for (; (fn & 1) == 0 && fn != 0; sn >>= 1)
                fn >>= 1;
        } else {
            EML_TRY(eml_tree_node(&sr, c, &sr));
        }
        fn >>= 1;
        sn >>= 1;
    }
    if (sn != 0)
        return EML_E_INPUT;
    return same(&fr, root1) && same(&sr, root2) ? EML_OK : EML_E_AUTH;
}

enum eml_err eml_tree_verify_consistency(uint64_t size1, uint64_t size2,
                                         const struct eml_tree_proof *proof,
                                         const struct eml_sha256 *root1,
                                         const struct eml_sha256 *root2)
{
    if (size1 == 0 || size1 > size2 || proof->n > EML_TREE_PROOF_MAX)
        return EML_E_INPUT;
    if (size1 < size2)
        return walk(size1, size2, proof, root1, root2);
    if (proof->n != 0)
        return EML_E_INPUT;
    return same(root1, root2) ? EML_OK : EML_E_AUTH;
}
