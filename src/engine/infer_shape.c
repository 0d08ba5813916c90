/* Rules of the operators that read or change shapes. */
#include "engine/infer.h"

#include "base/checked.h"
#include "model/limits.h"

enum eml_err eml_rule_shape(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    struct eml_shape s = {.rank = 1, .dim = {EML_DIM_UNKNOWN}};
    if (!x->has_rank) {
        eml_rule_out(c, 0, EML_DT_I64, &s);
        return EML_OK;
    }
    int64_t rank = x->shape.rank;
    int64_t start = eml_node_int(c->node, EML_ATTR_START, 0);
    int64_t end = eml_node_int(c->node, EML_ATTR_END, rank);
    start = start < 0 ? start + rank : start;
    end = end < 0 ? end + rank : end;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    s.dim[0] = end - start;
    eml_rule_out(c, 0, EML_DT_I64, &s);
    int64_t *v = eml_rule_ints(c, 0);
    for (int64_t i = start; v != NULL && i < end; i++)
        v[i - start] = eml_dim_known(x->shape.dim[i]) ? x->shape.dim[i] : EML_INT_UNKNOWN;
    return EML_OK;
}

enum eml_err eml_rule_size(const struct eml_rule_ctx *c)
{
    struct eml_shape scalar = {0};
    eml_rule_out(c, 0, EML_DT_I64, &scalar);
    int64_t *v = eml_rule_ints(c, 0), n;
    if (v != NULL && c->in[0]->has_rank && eml_shape_count(&c->in[0]->shape, &n))
        v[0] = n;
    return EML_OK;
}

/* The one dim left open (-1) of a Reshape, from the element counts. */
static enum eml_err fill_open_dim(const struct eml_rule_ctx *c, struct eml_shape *s, uint32_t open)
{
    int64_t have, rest = 1;
    for (uint32_t i = 0; i < s->rank; i++) {
        if (i == open)
            continue;
        if (!eml_dim_known(s->dim[i]))
            return EML_OK;
        EML_TRY(
            eml_rule_demand(c, eml_mul_i64(rest, s->dim[i], &rest), "tensor above the size limit"));
    }
    if (!c->in[0]->has_rank || !eml_shape_count(&c->in[0]->shape, &have))
        return EML_OK;
    EML_TRY(eml_rule_demand(c, rest != 0 && have % rest == 0,
                            "Reshape: the elements do not fill the shape"));
    s->dim[open] = have / rest;
    return EML_OK;
}

/* Equal factors of an unknown dim cancel: [N, 4, 8] to [N, -1] keeps a known 32. */
static void cancel_unknown(const struct eml_known *x, const bool *copied, struct eml_shape *s,
                           uint32_t open)
{
    int64_t have = 1, rest = 1;
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        bool same = i < s->rank && copied[i];
        if (!same &&
            (!eml_dim_known(x->shape.dim[i]) || !eml_mul_i64(have, x->shape.dim[i], &have)))
            return;
    }
    for (uint32_t i = 0; i < s->rank; i++)
        if (i != open && !copied[i] &&
            (!eml_dim_known(s->dim[i]) || !eml_mul_i64(rest, s->dim[i], &rest)))
            return;
    if (rest != 0 && have % rest == 0)
        s->dim[open] = have / rest;
}

static enum eml_err reshape_dims(const struct eml_rule_ctx *c, struct eml_shape *s)
{
    const struct eml_known *x = c->in[0], *to = c->in[1];
    bool keep_zero = eml_node_int(c->node, EML_ATTR_ALLOWZERO, 0) != 0;
    bool copied[EML_RANK_MAX] = {false};
    uint32_t open = UINT32_MAX;
    for (uint32_t i = 0; i < s->rank; i++) {
        int64_t d = to->ints[i];
        s->dim[i] = EML_DIM_UNKNOWN;
        if (d == EML_INT_UNKNOWN)
            continue;
        EML_TRY(eml_rule_demand(c, d >= -1, "Reshape: negative dimension"));
        if (d == -1) {
            EML_TRY(eml_rule_demand(c, open == UINT32_MAX, "Reshape: two open dimensions"));
            open = i;
        } else if (d == 0 && !keep_zero) {
            if (!x->has_rank)
                continue;
            EML_TRY(eml_rule_demand(c, i < x->shape.rank, "Reshape: no dimension to copy"));
            s->dim[i] = x->shape.dim[i];
            copied[i] = true;
        } else {
            s->dim[i] = d;
        }
    }
    if (open == UINT32_MAX)
        return EML_OK;
    EML_TRY(fill_open_dim(c, s, open));
    if (!eml_dim_known(s->dim[open]) && x->has_rank)
        cancel_unknown(x, copied, s, open);
    return EML_OK;
}

enum eml_err eml_rule_reshape(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *to = c->in[1];
    struct eml_shape s = {0};
    bool full;
    EML_TRY(eml_rule_steer(c, 1, &full));
    if (!to->has_ints) {
        int64_t n = to->has_rank && to->shape.rank == 1 ? to->shape.dim[0] : EML_DIM_UNKNOWN;
        bool known = n >= 0 && n <= EML_RANK_MAX;
        s.rank = known ? (uint32_t)n : 0;
        for (uint32_t i = 0; i < s.rank; i++)
            s.dim[i] = EML_DIM_UNKNOWN;
        eml_rule_out(c, 0, x->dtype, known ? &s : NULL);
        return EML_OK;
    }
    EML_TRY(eml_rule_demand(c, to->shape.rank == 1, "Reshape: the shape is not a list"));
    EML_TRY(eml_rule_demand(c, to->n_ints <= EML_RANK_MAX, "rank above the limit"));
    s.rank = to->n_ints;
    EML_TRY(reshape_dims(c, &s));
    int64_t have, want;
    if (x->has_rank && eml_shape_count(&x->shape, &have) && eml_shape_count(&s, &want))
        EML_TRY(eml_rule_demand(c, have == want, "Reshape: the elements do not fill the shape"));
    eml_rule_out(c, 0, x->dtype, &s);
    eml_rule_same_ints(c, x);
    return EML_OK;
}

/* Product of dims [from, to), unknown if one is. */
static enum eml_err product(const struct eml_rule_ctx *c, const struct eml_shape *s, uint32_t from,
                            uint32_t to, int64_t *out)
{
    int64_t p = 1;
    for (uint32_t i = from; i < to; i++) {
        if (!eml_dim_known(s->dim[i])) {
            *out = EML_DIM_UNKNOWN;
            return EML_OK;
        }
        EML_TRY(eml_rule_demand(c, eml_mul_i64(p, s->dim[i], &p), "tensor above the size limit"));
    }
    *out = p;
    return EML_OK;
}

enum eml_err eml_rule_flatten(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    struct eml_shape s = {.rank = 2, .dim = {EML_DIM_UNKNOWN, EML_DIM_UNKNOWN}};
    if (x->has_rank) {
        int64_t rank = x->shape.rank, axis = eml_node_int(c->node, EML_ATTR_AXIS, 1);
        EML_TRY(eml_rule_demand(c, axis >= -rank && axis <= rank, "axis out of range"));
        uint32_t a = (uint32_t)(axis < 0 ? axis + rank : axis);
        EML_TRY(product(c, &x->shape, 0, a, &s.dim[0]));
        EML_TRY(product(c, &x->shape, a, x->shape.rank, &s.dim[1]));
    }
    eml_rule_out(c, 0, x->dtype, &s);
    eml_rule_same_ints(c, x);
    return EML_OK;
}

enum eml_err eml_rule_squeeze(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *axes = eml_rule_in(c, 1);
    uint32_t mask = 0;
    bool full = true;
    eml_rule_out(c, 0, x->dtype, NULL);
    if (axes != NULL)
        EML_TRY(eml_rule_steer(c, 1, &full));
    if (!x->has_rank || !full)
        return EML_OK;
    if (axes != NULL) {
        EML_TRY(eml_rule_axes(c, axes->ints, axes->n_ints, x->shape.rank, &mask));
    } else {
        for (uint32_t i = 0; i < x->shape.rank; i++) {
            if (!eml_dim_known(x->shape.dim[i]))
                return EML_OK;
            mask |= x->shape.dim[i] == 1 ? 1u << i : 0;
        }
    }
    struct eml_shape s = {0};
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        if ((mask >> i & 1) == 0)
            s.dim[s.rank++] = x->shape.dim[i];
        else
            EML_TRY(eml_rule_demand(c, eml_dim_agrees(x->shape.dim[i], 1),
                                    "Squeeze: the dimension is not 1"));
    }
    eml_rule_out(c, 0, x->dtype, &s);
    eml_rule_same_ints(c, x);
    return EML_OK;
}

enum eml_err eml_rule_unsqueeze(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *axes = c->in[1];
    bool full;
    uint32_t mask;
    EML_TRY(eml_rule_steer(c, 1, &full));
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank || !full)
        return EML_OK;
    EML_TRY(
        eml_rule_demand(c, axes->n_ints <= EML_RANK_MAX - x->shape.rank, "rank above the limit"));
    struct eml_shape s = {.rank = x->shape.rank + axes->n_ints};
    EML_TRY(eml_rule_axes(c, axes->ints, axes->n_ints, s.rank, &mask));
    for (uint32_t i = 0, from = 0; i < s.rank; i++)
        s.dim[i] = (mask >> i & 1) != 0 ? 1 : x->shape.dim[from++];
    eml_rule_out(c, 0, x->dtype, &s);
    eml_rule_same_ints(c, x);
    return EML_OK;
}

enum eml_err eml_rule_transpose(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    const struct eml_attr *perm = eml_node_attr(c->node, EML_ATTR_PERM);
    if (!x->has_rank) {
        eml_rule_out(c, 0, x->dtype, NULL);
        return EML_OK;
    }
    struct eml_shape s = {.rank = x->shape.rank};
    if (perm != NULL) {
        uint32_t mask;
        EML_TRY(eml_rule_demand(c, perm->n == s.rank, "Transpose: perm has a wrong length"));
        EML_TRY(eml_rule_axes(c, perm->v, perm->n, s.rank, &mask));
    }
    for (uint32_t i = 0; i < s.rank; i++) {
        uint32_t from = s.rank - 1 - i;
        if (perm != NULL) {
            EML_TRY(eml_rule_demand(c, perm->v[i] >= 0, "Transpose: negative axis in perm"));
            from = (uint32_t)perm->v[i];
        }
        s.dim[i] = x->shape.dim[from];
    }
    eml_rule_out(c, 0, x->dtype, &s);
    if (s.rank <= 1)
        eml_rule_same_ints(c, x);
    return EML_OK;
}

/* A shape out of a steering operand, -1s not allowed; false if not even the rank is known. */
static enum eml_err shape_from(const struct eml_rule_ctx *c, uint32_t i, struct eml_shape *s,
                               bool *has_rank)
{
    const struct eml_known *k = c->in[i];
    bool full;
    EML_TRY(eml_rule_steer(c, i, &full));
    *s = (struct eml_shape){0};
    *has_rank = false;
    if (!k->has_rank || (k->shape.rank == 1 && !eml_dim_known(k->shape.dim[0])))
        return EML_OK;
    EML_TRY(eml_rule_demand(c, k->shape.rank == 1, "the shape is not a list"));
    EML_TRY(eml_rule_demand(c, k->shape.dim[0] <= EML_RANK_MAX, "rank above the limit"));
    *has_rank = true;
    s->rank = (uint32_t)k->shape.dim[0];
    for (uint32_t d = 0; d < s->rank; d++) {
        bool known = k->has_ints && k->ints[d] != EML_INT_UNKNOWN;
        if (known)
            EML_TRY(eml_rule_demand(c, k->ints[d] >= 0, "negative dimension"));
        s->dim[d] = known ? k->ints[d] : EML_DIM_UNKNOWN;
    }
    return EML_OK;
}

enum eml_err eml_rule_expand(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    struct eml_shape s;
    bool known;
    EML_TRY(shape_from(c, 1, &s, &known));
    known = known && x->has_rank;
    if (known)
        EML_TRY(eml_rule_broadcast(c, &s, &x->shape));
    eml_rule_out(c, 0, x->dtype, known ? &s : NULL);
    int64_t *v = known && x->has_ints ? eml_rule_ints(c, 0) : NULL;
    for (uint32_t i = 0; v != NULL && i < c->out[0].n_ints; i++)
        v[i] = x->ints[eml_broadcast_index(&x->shape, &s, i)];
    return EML_OK;
}

enum eml_err eml_rule_tile(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    struct eml_shape r;
    bool known;
    EML_TRY(shape_from(c, 1, &r, &known));
    if (!x->has_rank || !known) {
        eml_rule_out_unknown(c, x, true);
        return EML_OK;
    }
    EML_TRY(eml_rule_demand(c, r.rank == x->shape.rank, "Tile: wrong number of repeats"));
    struct eml_shape s = x->shape;
    for (uint32_t i = 0; i < s.rank; i++) {
        if (!eml_dim_known(r.dim[i]) || !eml_dim_known(s.dim[i]))
            s.dim[i] = EML_DIM_UNKNOWN;
        else
            EML_TRY(eml_rule_demand(c, eml_mul_i64(s.dim[i], r.dim[i], &s.dim[i]),
                                    "tensor above the size limit"));
    }
    eml_rule_out(c, 0, x->dtype, &s);
    int64_t *v = x->has_ints && s.rank == 1 ? eml_rule_ints(c, 0) : NULL;
    for (uint32_t i = 0; v != NULL && i < c->out[0].n_ints; i++)
        v[i] = x->ints[i % x->n_ints];
    return EML_OK;
}

enum eml_err eml_rule_constant_of_shape(const struct eml_rule_ctx *c)
{
    const struct eml_known *fill = eml_rule_in(c, 1);
    struct eml_shape s;
    bool known;
    EML_TRY(shape_from(c, 0, &s, &known));
    int64_t n;
    if (fill != NULL && fill->has_rank && eml_shape_count(&fill->shape, &n))
        EML_TRY(eml_rule_demand(c, n == 1, "ConstantOfShape: the value is not one element"));
    eml_rule_out(c, 0, fill == NULL ? EML_DT_F32 : fill->dtype, known ? &s : NULL);
    int64_t *v = fill != NULL && fill->has_ints ? eml_rule_ints(c, 0) : NULL;
    for (uint32_t i = 0; v != NULL && i < c->out[0].n_ints; i++)
        v[i] = fill->ints[0];
    return EML_OK;
}

/* ceil((limit - start) / delta), at least 0; unknown on overflow. */
static int64_t range_count(int64_t start, int64_t limit, int64_t delta)
{
    int64_t span;
    if (!eml_add_i64(limit, -start, &span) || span == INT64_MIN)
        return EML_DIM_UNKNOWN;
    if (span == 0 || (span > 0) != (delta > 0))
        return 0;
    return span / delta + (span % delta != 0);
}

enum eml_err eml_rule_range(const struct eml_rule_ctx *c)
{
    struct eml_shape s = {.rank = 1, .dim = {EML_DIM_UNKNOWN}};
    int64_t a[3];
    bool known = true;
    for (uint32_t i = 0; i < 3; i++) {
        const struct eml_known *k = c->in[i];
        int64_t n;
        EML_TRY(eml_rule_demand(c, k->dtype == c->in[0]->dtype, "operands differ in type"));
        if (k->has_rank && eml_shape_count(&k->shape, &n))
            EML_TRY(eml_rule_demand(c, n == 1, "Range: operand is not one element"));
        a[i] = k->has_ints ? k->ints[0] : EML_INT_UNKNOWN;
        known = known && a[i] != EML_INT_UNKNOWN;
    }
    if (known) {
        EML_TRY(eml_rule_demand(c, a[2] != 0, "Range: the step is 0"));
        s.dim[0] = range_count(a[0], a[1], a[2]);
    }
    eml_rule_out(c, 0, c->in[0]->dtype, &s);
    int64_t *v = known ? eml_rule_ints(c, 0) : NULL;
    for (uint32_t i = 0; v != NULL && i < c->out[0].n_ints; i++)
        v[i] = a[0] + (int64_t)i * a[2]; /* stays between start and limit */
    return EML_OK;
}
