/* Attention as exporters spell it becomes one operator (op_attention.c): the projections q, k, v
 * [B, S, heads*d] are cut into heads by Reshape and Transpose, multiplied, scaled, masked by a sum,
 * put through Softmax, multiplied with v, and the heads are joined again.
 *
 * Left alone if anything else reads a value in between, if a head of v is not of whole panels of 16
 * columns, or if the mask adds dims to the scores.
 */
#include "decompose/passes.h"

#include <string.h>

static const int64_t HEADS_FIRST[4] = {0, 2, 1, 3}, KEYS_LAST[4] = {0, 2, 3, 1};
enum { PANEL = 16 };

/* v's maker if it is `op` and only one node reads v. */
static struct eml_ir_node *sole(const struct eml_ir_value *v, enum eml_op op)
{
    return v != NULL && v->uses == 1 && v->maker != NULL && v->maker->op == op ? v->maker : NULL;
}

/* Dim i of a is dim j of b, whatever the unknown dims turn out to be. */
static bool same_dim(const struct eml_ir_value *a, uint32_t i, const struct eml_ir_value *b,
                     uint32_t j)
{
    if (a->shape.dim[i] != EML_DIM_UNKNOWN && b->shape.dim[j] != EML_DIM_UNKNOWN)
        return a->shape.dim[i] == b->shape.dim[j];
    for (size_t k = 0; k < 2; k++)
        if (!a->probe[k].has_rank || !b->probe[k].has_rank ||
            a->probe[k].shape.dim[i] == EML_DIM_UNKNOWN ||
            a->probe[k].shape.dim[i] != b->probe[k].shape.dim[j])
            return false;
    return true;
}

static bool is_f32(const struct eml_ir_value *v, uint32_t rank)
{
    return v->has_rank && v->shape.rank == rank && v->dtype == EML_DT_F32;
}

static struct eml_ir_value *turned(const struct eml_ir_value *v, const int64_t *perm)
{
    const struct eml_ir_node *n = sole(v, EML_OP_TRANSPOSE);
    const struct eml_attr *a = n != NULL ? eml_ir_attr(n, EML_ATTR_PERM) : NULL;
    return a != NULL && a->n == 4 && memcmp(a->v, perm, 4 * sizeof *perm) == 0 ? n->in[0] : NULL;
}

/* What v is the heads of: [B, S, heads*d], with heads and d known. NULL if it is not so. */
static struct eml_ir_value *headed(const struct eml_ir_value *v, const int64_t *perm,
                                   int64_t *heads, int64_t *d)
{
    const struct eml_ir_value *cut = turned(v, perm);
    const struct eml_ir_node *n = sole(cut, EML_OP_RESHAPE);
    struct eml_ir_value *x = n != NULL ? n->in[0] : NULL;
    if (x == NULL || !is_f32(x, 3) || !is_f32(cut, 4) || !same_dim(x, 0, cut, 0) ||
        !same_dim(x, 1, cut, 1))
        return NULL;
    *heads = cut->shape.dim[2];
    *d = cut->shape.dim[3];
    return *heads > 0 && *d > 0 && x->shape.dim[2] == *heads * *d ? x : NULL;
}

/* Every dim of the mask is the scores' or 1; the last is the scores'. */
static bool masks(const struct eml_ir_value *m, const struct eml_ir_value *scores)
{
    if (m->dtype != EML_DT_F32 || !m->has_rank || m->shape.rank < 1 || m->shape.rank > 4)
        return false;
    for (uint32_t i = 0; i < m->shape.rank; i++) {
        bool one = i + 1 < m->shape.rank && m->shape.dim[i] == 1;
        if (!one && !same_dim(m, i, scores, 4 - m->shape.rank + i))
            return false;
    }
    return true;
}

static struct eml_ir_node *plain_product(const struct eml_ir_value *v)
{
    struct eml_ir_node *n = sole(v, EML_OP_MATMUL);
    return n != NULL && n->n_in == 2 && n->n_attr == 0 && n->n_params == 0 && is_f32(v, 4) ? n
                                                                                           : NULL;
}

/* v = product, product * c or product / c, with a scalar that adds no dims. */
static struct eml_ir_node *scaled_product(const struct eml_ir_value *v, float *scale)
{
    *scale = 1;
    struct eml_ir_node *n = plain_product(v);
    struct eml_ir_node *s = sole(v, EML_OP_MUL);
    bool divides = s == NULL;
    s = divides ? sole(v, EML_OP_DIV) : s;
    if (n != NULL || s == NULL)
        return n;
    if (!eml_ir_scalar(s->in[1], scale) || s->in[1]->shape.rank > 4)
        return NULL;
    *scale = divides ? 1 / *scale : *scale;
    return plain_product(s->in[0]);
}

/* The product of queries and keys behind the operand of the softmax. */
static struct eml_ir_node *scores_of(const struct eml_ir_value *v, float *scale,
                                     struct eml_ir_value **mask)
{
    *mask = NULL;
    const struct eml_ir_node *sum = sole(v, EML_OP_ADD);
    if (sum == NULL)
        return scaled_product(v, scale);
    for (uint32_t i = 0; i < 2; i++) {
        struct eml_ir_node *n = scaled_product(sum->in[i], scale);
        if (n == NULL || !masks(sum->in[1 - i], n->out[0]))
            continue;
        *mask = sum->in[1 - i];
        return n;
    }
    return NULL;
}

struct found {
    struct eml_ir_value *operand[4]; /* q, k, v, mask or NULL */
    int64_t heads;
    float scale;
};

/* n joins the heads: Reshape to [B, S, heads*e]. */
static bool find(const struct eml_ir_node *n, struct found *f)
{
    const struct eml_ir_value *y = n->out[0];
    const struct eml_ir_node *mix = n->op == EML_OP_RESHAPE && is_f32(y, 3)
                                        ? plain_product(turned(n->in[0], HEADS_FIRST))
                                        : NULL;
    const struct eml_ir_node *softmax = mix != NULL ? sole(mix->in[0], EML_OP_SOFTMAX) : NULL;
    int64_t axis = softmax != NULL ? eml_ir_int(softmax, EML_ATTR_AXIS, -1) : 0;
    if (axis != -1 && axis != 3)
        return false;
    const struct eml_ir_node *scores = scores_of(softmax->in[0], &f->scale, &f->operand[3]);
    if (scores == NULL)
        return false;
    int64_t heads[2], d[2], e;
    struct eml_ir_value *q = headed(scores->in[0], HEADS_FIRST, &f->heads, &d[0]);
    struct eml_ir_value *k = headed(scores->in[1], KEYS_LAST, &heads[0], &d[1]);
    struct eml_ir_value *v = headed(mix->in[1], HEADS_FIRST, &heads[1], &e);
    f->operand[0] = q;
    f->operand[1] = k;
    f->operand[2] = v;
    return q != NULL && k != NULL && v != NULL && heads[0] == f->heads && heads[1] == f->heads &&
           d[0] == d[1] && e % PANEL == 0 && y->shape.dim[2] == f->heads * e &&
           same_dim(q, 0, k, 0) && same_dim(q, 0, v, 0) && same_dim(k, 1, v, 1) &&
           same_dim(q, 0, y, 0) && same_dim(q, 1, y, 1);
}

void eml_fuse_attention(struct eml_ir *ir)
{
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        struct found f;
        if (n->op != EML_OP_RESHAPE || !find(n, &f))
            continue;
        struct eml_ir_value *y = n->out[0];
        struct eml_ir_node *a =
            eml_ir_node_new(ir, n, EML_OP_ATTENTION, f.operand, f.operand[3] != NULL ? 4 : 3, 1);
        eml_ir_set_int(ir, a, EML_ATTR_NUM_HEADS, f.heads);
        a->params[0] = f.scale;
        a->n_params = 1;
        eml_ir_remove(ir, n);
        eml_ir_adopt_out(a, 0, y);
        n = a;
    }
    (void)eml_ir_sweep(ir);
}
