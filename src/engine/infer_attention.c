/* Rule of the internal operator Attention (op_attention.c). */
#include "engine/infer.h"

/* Columns of one head of operand i, whose last dim is known. */
static bool head_columns(const struct eml_known *k, int64_t heads, int64_t *columns)
{
    int64_t c = k->shape.dim[2];
    *columns = heads > 0 ? c / heads : 0;
    return heads > 0 && c > 0 && c % heads == 0;
}

/* [batch, heads, queries, keys], each dim 1 or in full; the keys always in full. */
static enum eml_err check_mask(const struct eml_rule_ctx *c, int64_t heads)
{
    const struct eml_known *m = eml_rule_in(c, 3), *q = c->in[0], *k = c->in[1];
    if (m == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, m->dtype == EML_DT_F32, "operands differ in type"));
    if (!m->has_rank)
        return EML_OK;
    const int64_t full[4] = {q->shape.dim[0], heads, q->shape.dim[1], k->shape.dim[1]};
    uint32_t rank = m->shape.rank;
    bool fits = rank >= 1 && rank <= 4;
    for (uint32_t i = 0; fits && i < rank; i++) {
        int64_t dim = m->shape.dim[i], want = full[4 - rank + i];
        fits = eml_dim_agrees(dim, want) || (i + 1 < rank && dim == 1);
    }
    return eml_rule_demand(c, fits, "Attention: the mask does not fit");
}

enum eml_err eml_rule_attention(const struct eml_rule_ctx *c)
{
    const struct eml_known *q = c->in[0], *k = c->in[1], *v = c->in[2];
    int64_t heads = eml_node_int(c->node, EML_ATTR_NUM_HEADS, 1), dq, dk, dv;
    EML_TRY(eml_rule_demand(c, q->dtype == k->dtype && q->dtype == v->dtype,
                            "operands differ in type"));
    EML_TRY(eml_rule_demand(c,
                            q->has_rank && k->has_rank && v->has_rank && q->shape.rank == 3 &&
                                k->shape.rank == 3 && v->shape.rank == 3,
                            "Attention: operands are not of rank 3"));
    EML_TRY(eml_rule_demand(c,
                            head_columns(q, heads, &dq) && head_columns(k, heads, &dk) &&
                                head_columns(v, heads, &dv) && dq == dk && dv % 16 == 0,
                            "Attention: columns do not fit the heads"));
    EML_TRY(eml_rule_demand(c,
                            eml_dim_agrees(q->shape.dim[0], k->shape.dim[0]) &&
                                eml_dim_agrees(q->shape.dim[0], v->shape.dim[0]) &&
                                eml_dim_agrees(k->shape.dim[0], v->shape.dim[0]) &&
                                eml_dim_agrees(k->shape.dim[1], v->shape.dim[1]),
                            "Attention: operands differ in batch or keys"));
    struct eml_shape out = {3, {q->shape.dim[0], q->shape.dim[1], v->shape.dim[2]}};
    eml_rule_out(c, 0, q->dtype, &out);
    return check_mask(c, heads);
}
