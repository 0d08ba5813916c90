/* Rules of the quantised operators. */
#include "engine/formats.h"
#include "engine/infer.h"
#include "engine/quantize.h"

static bool is_byte(enum eml_dtype t)
{
    return t == EML_DT_U8 || t == EML_DT_I8;
}

/* Operand i, if it is there, has this type and one element or `n`, or n per matrix of a batch. */
static enum eml_err list_of(const struct eml_rule_ctx *c, uint32_t i, enum eml_dtype t, int64_t n,
                            int64_t batch)
{
    const struct eml_known *k = eml_rule_in(c, i);
    int64_t count;
    if (k == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, k->dtype == t, "operands differ in type"));
    if (!k->has_rank || !eml_shape_count(&k->shape, &count) || !eml_dim_known(n))
        return EML_OK;
    return eml_rule_demand(
        c, count == 1 || count == n || (batch > 1 && count / batch == n && count % batch == 0),
        "quantised: scale or zero point of a wrong length");
}

static enum eml_err scale_of(const struct eml_rule_ctx *c, uint32_t i, int64_t n, int64_t batch)
{
    const struct eml_known *k = eml_rule_in(c, i);
    if (k == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, k->dtype == EML_DT_F32 || k->dtype == EML_DT_F16,
                            "quantised: scale of a wrong type"));
    return list_of(c, i, k->dtype, n, batch);
}

/* Types and lengths of everything but the shapes of a and b; `rows`, `columns` of one product. */
static enum eml_err check_ends(const struct eml_rule_ctx *c, int64_t rows, int64_t columns,
                               int64_t a_batch, int64_t b_batch, enum eml_dtype *out)
{
    const struct eml_integer_operands at = eml_integer_operands(c->node->op);
    const enum eml_dtype a = c->in[at.a]->dtype, b = c->in[at.b]->dtype;
    const bool quantised = at.y_scale != EML_OPERAND_NONE;
    EML_TRY(eml_rule_demand(c, is_byte(a) && is_byte(b), "quantised: operands are not bytes"));
    EML_TRY(list_of(c, at.a_zero, a, quantised ? 1 : rows, a_batch));
    EML_TRY(list_of(c, at.b_zero, b, columns, b_batch));
    EML_TRY(scale_of(c, at.a_scale, quantised ? 1 : rows, 1));
    EML_TRY(scale_of(c, at.b_scale, columns, b_batch));
    *out = at.a_scale == EML_OPERAND_NONE ? EML_DT_I32 : EML_DT_F32;
    if (quantised) {
        *out = c->in[at.y_zero]->dtype;
        EML_TRY(eml_rule_demand(c, is_byte(*out), "quantised: operands are not bytes"));
        EML_TRY(scale_of(c, at.y_scale, 1, 1));
        EML_TRY(list_of(c, at.y_zero, *out, 1, 1));
    }
    const struct eml_known *bias = eml_rule_in(c, at.bias);
    if (bias == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, bias->dtype == (quantised ? EML_DT_I32 : EML_DT_F32),
                            "operands differ in type"));
    return eml_rule_demand(
        c,
        !bias->has_rank || (bias->shape.rank == 1 && eml_dim_agrees(bias->shape.dim[0], columns)),
        "the bias does not fit the output channels");
}

static int64_t matrices(const struct eml_shape *s)
{
    struct eml_shape lead = {.rank = s->rank > 2 ? s->rank - 2 : 0};
    int64_t n;
    for (uint32_t i = 0; i < lead.rank; i++)
        lead.dim[i] = s->dim[i];
    return eml_shape_count(&lead, &n) ? n : EML_DIM_UNKNOWN;
}

enum eml_err eml_rule_matmul_integer(const struct eml_rule_ctx *c)
{
    const struct eml_integer_operands at = eml_integer_operands(c->node->op);
    const struct eml_known *a = c->in[at.a], *b = c->in[at.b];
    enum eml_dtype t;
    struct eml_shape s;
    int64_t rows = EML_DIM_UNKNOWN, columns = EML_DIM_UNKNOWN, batch_a = 1, batch_b = 1;
    if (a->has_rank && b->has_rank) {
        EML_TRY(eml_rule_matmul_shape(c, &a->shape, &b->shape, &s, &columns));
        rows = a->shape.rank >= 2 ? a->shape.dim[a->shape.rank - 2] : 1;
        batch_a = matrices(&a->shape);
        batch_b = matrices(&b->shape);
    }
    EML_TRY(check_ends(c, rows, columns, batch_a, batch_b, &t));
    EML_TRY(eml_rule_demand(c, eml_node_int(c->node, EML_ATTR_ACT, EML_ACT_NONE) != EML_ACT_PRELU,
                            "operator takes no PReLU"));
    eml_rule_out(c, 0, t, a->has_rank && b->has_rank ? &s : NULL);
    return EML_OK;
}

enum eml_err eml_rule_conv_integer(const struct eml_rule_ctx *c)
{
    const struct eml_integer_operands at = eml_integer_operands(c->node->op);
    const struct eml_known *x = c->in[at.a], *k = c->in[at.b];
    enum eml_dtype t;
    if (!x->has_rank || !k->has_rank) {
        EML_TRY(check_ends(c, 1, EML_DIM_UNKNOWN, 1, 1, &t));
        eml_rule_out(c, 0, t, NULL);
        return EML_OK;
    }
    struct eml_window w;
    EML_TRY(eml_window_make(c->node, &x->shape, &k->shape, &w, c->why));
    EML_TRY(check_ends(c, 1, k->shape.dim[0], 1, 1, &t));
    struct eml_shape s = {.rank = w.n + 2, .dim = {w.batch}};
    for (uint32_t i = 0; i < w.n; i++)
        s.dim[i + 1] = w.out[i];
    s.dim[w.n + 1] = k->shape.dim[0];
    eml_rule_out(c, 0, t, &s);
    return EML_OK;
}

/* ---- to and from quantised numbers ---- */

/* How many scales there are along the axis, and blocks (block_size 0: none). */
static enum eml_err scale_shape(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *s = c->in[1], *z = eml_rule_in(c, 2);
    const int64_t block = eml_node_int(c->node, EML_ATTR_BLOCK_SIZE, 0);
    uint32_t axis;
    if (z != NULL && z->has_rank && s->has_rank) {
        bool same = z->shape.rank == s->shape.rank;
        for (uint32_t i = 0; same && i < z->shape.rank; i++)
            same = eml_dim_agrees(z->shape.dim[i], s->shape.dim[i]);
        int64_t n, m;
        same = same || (eml_shape_count(&z->shape, &n) && eml_shape_count(&s->shape, &m) &&
                        n == 1 && m == 1);
        EML_TRY(eml_rule_demand(c, same, "quantised: zero point and scale differ in shape"));
    }
    EML_TRY(eml_rule_demand(c, block >= 0 && block <= INT32_MAX, "quantised: block size"));
    int64_t count;
    if (!x->has_rank || !s->has_rank ||
        (eml_shape_count(&s->shape, &count) && count == 1 && s->shape.rank <= 1 && block == 0))
        return EML_OK;
    EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, 1), x->shape.rank, &axis));
    const int64_t dim = x->shape.dim[axis];
    if (block == 0)
        return eml_rule_demand(c, s->shape.rank == 1 && eml_dim_agrees(s->shape.dim[0], dim),
                               "quantised: not one scale per element of the axis");
    EML_TRY(eml_rule_demand(c, s->shape.rank == x->shape.rank, "quantised: scales of blocks"));
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        int64_t want = x->shape.dim[i];
        if (i == axis && eml_dim_known(want))
            want = want / block + (want % block != 0);
        EML_TRY(eml_rule_demand(c, eml_dim_agrees(s->shape.dim[i], want),
                                "quantised: scales of blocks"));
    }
    return EML_OK;
}

static bool is_float(enum eml_dtype t)
{
    return t == EML_DT_F32 || t == EML_DT_F16;
}

static bool is_quantised(enum eml_dtype t)
{
    bool float8 = eml_format_is(t) && eml_dtype_bytes(t) == 1;
    return is_byte(t) || t == EML_DT_U16 || t == EML_DT_I16 || t == EML_DT_U4 || t == EML_DT_I4 ||
           float8;
}

enum eml_err eml_rule_quantize_linear(const struct eml_rule_ctx *c)
{
    const struct eml_known *z = eml_rule_in(c, 2);
    const int64_t wanted = eml_node_int(c->node, EML_ATTR_OUTPUT_DTYPE, 0);
    enum eml_dtype t = z != NULL ? z->dtype : wanted != 0 ? (enum eml_dtype)wanted : EML_DT_U8;
    EML_TRY(eml_rule_demand(c, wanted == 0 || wanted == (int64_t)t,
                            "quantised: output_dtype is not the zero point's type"));
    EML_TRY(eml_rule_demand(c, is_float(c->in[1]->dtype), "quantised: scale of a wrong type"));
    if (!is_quantised(t))
        return eml_rule_refuse_type(c, t);
    EML_TRY(scale_shape(c));
    eml_rule_out(c, 0, t, c->in[0]->has_rank ? &c->in[0]->shape : NULL);
    return EML_OK;
}

enum eml_err eml_rule_dequantize_linear(const struct eml_rule_ctx *c)
{
    const struct eml_known *z = eml_rule_in(c, 2);
    EML_TRY(
        eml_rule_demand(c, z == NULL || z->dtype == c->in[0]->dtype, "operands differ in type"));
    EML_TRY(eml_rule_demand(c, is_float(c->in[1]->dtype), "quantised: scale of a wrong type"));
    const int64_t wanted = eml_node_int(c->node, EML_ATTR_OUTPUT_DTYPE, 0);
    if (wanted != 0 && wanted != (int64_t)c->in[1]->dtype)
        return eml_fail(c->why, EML_E_UNSUPPORTED, "result of another type than the scale", -1);
    EML_TRY(scale_shape(c));
    eml_rule_out(c, 0, c->in[1]->dtype, c->in[0]->has_rank ? &c->in[0]->shape : NULL);
    return EML_OK;
}

enum eml_err eml_rule_dynamic_quantize_linear(const struct eml_rule_ctx *c)
{
    static const struct eml_shape scalar = {0};
    eml_rule_out(c, 0, EML_DT_U8, c->in[0]->has_rank ? &c->in[0]->shape : NULL);
    if (c->node->n_out > 1)
        eml_rule_out(c, 1, EML_DT_F32, &scalar);
    if (c->node->n_out > 2)
        eml_rule_out(c, 2, EML_DT_U8, &scalar);
    return EML_OK;
}
