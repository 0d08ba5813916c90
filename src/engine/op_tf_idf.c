/* TfIdfVectorizer over integers. The pool holds all 1-grams, then all 2-grams, ...; counts[n - 1]
 * is where the n-grams begin; indexes[id] is the place of n-gram `id` in the result. */
#include "engine/real.h"

#include <string.h>

enum { TF, IDF, TFIDF };
enum { X, COUNTS, INDEXES, POOL, WEIGHTS };

struct tf_idf {
    const struct eml_op_ctx *c;
    const int64_t *counts, *indexes, *pool;
    int64_t n_counts, n_pool, mode;
};

static bool row_has(const struct tf_idf *t, int64_t at, int64_t stride, const int64_t *gram,
                    int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        if (eml_index_at(&t->c->in[X], at + k * stride) != gram[k])
            return false;
    return true;
}

/* Adds n-gram `id` for each place in the row [from, from + length) where it stands. */
static void count_gram(const struct tf_idf *t, int64_t from, int64_t length, const int64_t *gram,
                       int64_t n, int64_t id, float *y)
{
    const struct eml_op_ctx *c = t->c;
    int64_t skips = n == 1 ? 0 : eml_node_int(c->node, EML_ATTR_MAX_SKIP_COUNT, 0);
    skips = skips < length ? skips : length; /* a longer stride than the row matches nothing */
    float w =
        eml_view_given(c->in, c->n_in, WEIGHTS) ? ((const float *)c->in[WEIGHTS].data)[id] : 1;
    for (int64_t stride = 1; stride <= skips + 1 && (n - 1) <= (length - 1) / stride; stride++)
        for (int64_t at = 0; at + (n - 1) * stride < length; at++)
            if (row_has(t, from + at, stride, gram, n)) {
                if (t->mode == IDF)
                    y[t->indexes[id]] = w;
                else
                    y[t->indexes[id]] += t->mode == TF ? 1 : w;
            }
}

static void count_row(const struct tf_idf *t, int64_t from, int64_t length, float *y)
{
    int64_t least = eml_node_int(t->c->node, EML_ATTR_MIN_GRAM_LENGTH, 1);
    int64_t most = eml_node_int(t->c->node, EML_ATTR_MAX_GRAM_LENGTH, least), id = 0;
    for (int64_t n = 1; n <= t->n_counts; n++) {
        int64_t end = n < t->n_counts ? t->counts[n] : t->n_pool;
        for (int64_t p = t->counts[n - 1]; p < end; p += n, id++)
            if (n >= least && n <= most && length > 0)
                count_gram(t, from, length, t->pool + p, n, id, y);
    }
}

/* The lists are data: they may hold anything. */
static enum eml_err check_lists(const struct tf_idf *t)
{
    const struct eml_op_ctx *c = t->c;
    int64_t grams = 0, size = eml_node_int(c->node, EML_ATTR_SIZE, 0);
    bool ok = t->n_counts >= 1 && t->counts[0] == 0;
    for (int64_t n = 1; ok && n <= t->n_counts; n++) {
        int64_t begin = t->counts[n - 1], end = n < t->n_counts ? t->counts[n] : t->n_pool;
        ok = begin <= end && end <= t->n_pool && (end - begin) % n == 0;
        grams += ok ? (end - begin) / n : 0;
    }
    ok = ok && c->in[INDEXES].count >= grams &&
         (!eml_view_given(c->in, c->n_in, WEIGHTS) || c->in[WEIGHTS].count >= grams);
    for (int64_t i = 0; ok && i < grams; i++)
        ok = t->indexes[i] >= 0 && t->indexes[i] < size;
    return ok ? EML_OK : eml_fail(c->why, EML_E_INPUT, "TfIdfVectorizer: malformed pool", -1);
}

enum eml_err eml_op_tf_idf(const struct eml_op_ctx *c)
{
    const struct eml_shape *x = &c->in[X].shape;
    struct tf_idf t = {.c = c,
                       .counts = c->in[COUNTS].data,
                       .indexes = c->in[INDEXES].data,
                       .pool = c->in[POOL].data,
                       .n_counts = c->in[COUNTS].count,
                       .n_pool = c->in[POOL].count,
                       .mode = eml_node_int(c->node, EML_ATTR_MODE, TF)};
    int64_t length = x->dim[x->rank - 1], size = eml_node_int(c->node, EML_ATTR_SIZE, 0);
    EML_TRY(check_lists(&t));
    float *y = c->out[0].data;
    if (c->out[0].count != 0)
        memset(y, 0, (size_t)c->out[0].count * sizeof *y);
    for (int64_t row = 0; row < c->out[0].count / size; row++)
        count_row(&t, row * length, length, y + row * size);
    return EML_OK;
}

uint64_t eml_flops_tf_idf(const struct eml_op_ctx *c)
{
    uint64_t skips = (uint64_t)eml_node_int(c->node, EML_ATTR_MAX_SKIP_COUNT, 0) + 1, n;
    uint64_t length = (uint64_t)c->in[X].shape.dim[c->in[X].shape.rank - 1];
    skips = skips < length ? skips : length; /* a longer stride than the row matches nothing */
    return __builtin_mul_overflow((uint64_t)c->in[X].count, (uint64_t)c->in[POOL].count, &n) ||
                   __builtin_mul_overflow(n, skips, &n)
               ? UINT64_MAX
               : n;
}
