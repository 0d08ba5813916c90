/* Rules of the operators that take tensors apart and put them together. */
#include "engine/infer.h"

#include "engine/slice.h"

#include "base/checked.h"
#include "model/limits.h"

#include <math.h>

static enum eml_err concat_shape(const struct eml_rule_ctx *c, struct eml_shape *s, uint32_t *axis,
                                 bool *known)
{
    bool have = false;
    *known = true;
    for (uint32_t i = 0; i < c->node->n_in; i++) {
        const struct eml_known *k = c->in[i];
        EML_TRY(eml_rule_demand(c, k != NULL, "required operand omitted"));
        EML_TRY(eml_rule_demand(c, k->dtype == c->in[0]->dtype, "operands differ in type"));
        if (!k->has_rank) {
            *known = false;
            continue;
        }
        if (!have) {
            have = true;
            *s = k->shape;
            EML_TRY(
                eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, INT64_MAX), s->rank, axis));
            continue;
        }
        EML_TRY(eml_rule_demand(c, k->shape.rank == s->rank, "Concat: ranks differ"));
        for (uint32_t d = 0; d < s->rank; d++) {
            int64_t *to = &s->dim[d], from = k->shape.dim[d];
            if (d != *axis) {
                EML_TRY(eml_rule_demand(c, eml_dim_agrees(*to, from), "Concat: shapes differ"));
                *to = eml_dim_known(*to) ? *to : from;
            } else if (!eml_dim_known(*to) || !eml_dim_known(from)) {
                *to = EML_DIM_UNKNOWN;
            } else {
                EML_TRY(
                    eml_rule_demand(c, eml_add_i64(*to, from, to), "tensor above the size limit"));
            }
        }
    }
    return EML_OK;
}

enum eml_err eml_rule_concat(const struct eml_rule_ctx *c)
{
    struct eml_shape s = {0};
    uint32_t axis = 0;
    bool known;
    EML_TRY(concat_shape(c, &s, &axis, &known));
    eml_rule_out(c, 0, c->in[0]->dtype, known ? &s : NULL);
    int64_t *v = known && s.rank == 1 ? eml_rule_ints(c, 0) : NULL;
    for (uint32_t i = 0; v != NULL && i < c->node->n_in; i++) {
        const struct eml_known *k = c->in[i];
        for (uint32_t j = 0; k->has_ints && j < k->n_ints; j++)
            v[j] = k->ints[j];
        v += k->shape.dim[0];
    }
    return EML_OK;
}

/* Dims of the parts along the axis, in the order of the outputs. */
static enum eml_err split_part(const struct eml_rule_ctx *c, int64_t total, uint32_t i,
                               int64_t *part)
{
    const struct eml_known *sizes = eml_rule_in(c, 1);
    int64_t n = c->node->n_out;
    *part = EML_DIM_UNKNOWN;
    if (sizes != NULL) {
        if (sizes->has_ints && sizes->ints[i] != EML_INT_UNKNOWN) {
            EML_TRY(eml_rule_demand(c, sizes->ints[i] >= 0, "Split: negative part"));
            *part = sizes->ints[i];
        }
        return EML_OK;
    }
    if (!eml_dim_known(total))
        return EML_OK;
    int64_t each = total / n + (total % n != 0);
    int64_t before = each * (int64_t)i; /* <= total + n: no overflow */
    *part = before >= total ? 0 : total - before < each ? total - before : each;
    return EML_OK;
}

enum eml_err eml_rule_split(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *sizes = eml_rule_in(c, 1);
    uint32_t axis = 0, n = c->node->n_out;
    bool full = false;
    EML_TRY(eml_rule_demand(c,
                            eml_node_int(c->node, EML_ATTR_NUM_OUTPUTS, (int64_t)n) == (int64_t)n,
                            "Split: num_outputs is not the number of outputs"));
    if (sizes != NULL) {
        EML_TRY(eml_rule_steer(c, 1, &full));
        EML_TRY(eml_rule_demand(c, !sizes->has_ints || sizes->n_ints == n,
                                "Split: as many sizes as outputs are needed"));
    }
    if (x->has_rank)
        EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, 0), x->shape.rank, &axis));
    int64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!x->has_rank) {
            eml_rule_out(c, i, x->dtype, NULL);
            continue;
        }
        struct eml_shape s = x->shape;
        EML_TRY(split_part(c, x->shape.dim[axis], i, &s.dim[axis]));
        eml_rule_out(c, i, x->dtype, &s);
        int64_t end = EML_DIM_UNKNOWN;
        if (eml_dim_known(at) && eml_dim_known(s.dim[axis]))
            EML_TRY(eml_rule_demand(c, eml_add_i64(at, s.dim[axis], &end),
                                    "Split: the parts exceed the dimension"));
        EML_TRY(eml_rule_demand(c,
                                !eml_dim_known(end) || !eml_dim_known(x->shape.dim[axis]) ||
                                    end <= x->shape.dim[axis],
                                "Split: the parts exceed the dimension"));
        int64_t *v = x->has_ints && s.rank == 1 && eml_dim_known(end) ? eml_rule_ints(c, i) : NULL;
        for (int64_t j = at; v != NULL && j < end; j++)
            v[j - at] = x->ints[j];
        at = end;
    }
    return eml_rule_demand(c, !x->has_rank || eml_dim_agrees(at, x->shape.dim[axis]),
                           "Split: the parts do not fill the dimension");
}

enum eml_err eml_slice_make(const struct eml_slice_args *a, uint32_t rank, const int64_t *dim,
                            struct eml_slice *out)
{
    *out = (struct eml_slice){.rank = rank};
    uint32_t seen = 0;
    for (uint32_t d = 0; d < rank; d++) {
        out->start[d] = 0;
        out->step[d] = 1;
        out->count[d] = dim[d];
    }
    for (uint32_t i = 0; i < a->n; i++) {
        int64_t axis = a->axes != NULL ? a->axes[i] : (int64_t)i;
        axis = axis < 0 ? axis + (int64_t)rank : axis;
        if (axis < 0 || axis >= (int64_t)rank || (seen >> axis & 1) != 0)
            return EML_E_INPUT;
        seen |= 1u << axis;
        int64_t step = a->steps != NULL ? a->steps[i] : 1, n = dim[axis];
        if (step == 0)
            return EML_E_INPUT;
        out->step[axis] = step;
        out->count[axis] = EML_DIM_UNKNOWN;
        int64_t s = a->starts[i], e = a->ends[i];
        if (n == EML_DIM_UNKNOWN || s == EML_INT_UNKNOWN || e == EML_INT_UNKNOWN ||
            step == EML_INT_UNKNOWN)
            continue;
        /* n >= 0, so that a negative number plus n cannot overflow. */
        s = s < 0 ? s + n : s;
        e = e < 0 ? e + n : e;
        int64_t lo = step > 0 ? 0 : -1, hi = step > 0 ? n : n - 1;
        s = s < 0 ? 0 : s;
        s = s > hi ? hi : s;
        e = e < lo ? lo : e > hi ? hi : e;
        int64_t span = step > 0 ? e - s : s - e;
        int64_t by = step > 0 ? step : -step;
        out->start[axis] = s;
        out->count[axis] = span <= 0 ? 0 : (span - 1) / by + 1;
    }
    return EML_OK;
}

/* The elements of a steering operand, or NULL if it is omitted; *known false if there are none. */
static enum eml_err slice_list(const struct eml_rule_ctx *c, uint32_t i, bool must_be_full,
                               uint32_t *n, const int64_t **v, bool *known)
{
    bool full;
    *v = NULL;
    if (eml_rule_in(c, i) == NULL)
        return EML_OK;
    EML_TRY(eml_rule_steer(c, i, &full));
    if (!c->in[i]->has_ints || (must_be_full && !full)) {
        *known = false;
        return EML_OK;
    }
    *v = c->in[i]->ints;
    EML_TRY(eml_rule_demand(c, *n == UINT32_MAX || *n == c->in[i]->n_ints,
                            "Slice: lists differ in length"));
    *n = c->in[i]->n_ints;
    return EML_OK;
}

enum eml_err eml_rule_slice(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    struct eml_slice_args a = {.n = UINT32_MAX};
    bool known = true;
    EML_TRY(slice_list(c, 1, false, &a.n, &a.starts, &known));
    EML_TRY(slice_list(c, 2, false, &a.n, &a.ends, &known));
    EML_TRY(slice_list(c, 3, true, &a.n, &a.axes, &known));
    EML_TRY(slice_list(c, 4, true, &a.n, &a.steps, &known));
    struct eml_shape s = x->shape;
    if (!x->has_rank || !known) {
        eml_rule_out_unknown(c, x, true);
        return EML_OK;
    }
    struct eml_slice cut;
    if (eml_slice_make(&a, s.rank, x->shape.dim, &cut) != EML_OK)
        return eml_rule_fail(c, "Slice: bad axis or step 0");
    for (uint32_t i = 0; i < s.rank; i++)
        s.dim[i] = cut.count[i];
    eml_rule_out(c, 0, x->dtype, &s);
    int64_t *v = x->has_ints && s.rank == 1 ? eml_rule_ints(c, 0) : NULL;
    for (int64_t i = 0; v != NULL && i < s.dim[0]; i++)
        v[i] = x->ints[cut.start[0] + i * cut.step[0]];
    return EML_OK;
}

enum eml_err eml_rule_gather(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *k = c->in[1];
    EML_TRY(eml_rule_demand(c, k->dtype == EML_DT_I64 || k->dtype == EML_DT_I32,
                            "indices are not int32 or int64"));
    if (!x->has_rank || !k->has_rank) {
        eml_rule_out(c, 0, x->dtype, NULL);
        return EML_OK;
    }
    uint32_t axis;
    EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, 0), x->shape.rank, &axis));
    EML_TRY(eml_rule_demand(c, x->shape.rank - 1 + k->shape.rank <= EML_RANK_MAX,
                            "rank above the limit"));
    struct eml_shape s = {0};
    for (uint32_t i = 0; i < axis; i++)
        s.dim[s.rank++] = x->shape.dim[i];
    for (uint32_t i = 0; i < k->shape.rank; i++)
        s.dim[s.rank++] = k->shape.dim[i];
    for (uint32_t i = axis + 1; i < x->shape.rank; i++)
        s.dim[s.rank++] = x->shape.dim[i];
    eml_rule_out(c, 0, x->dtype, &s);
    int64_t n = x->shape.dim[axis];
    bool ints = x->has_ints && x->shape.rank == 1;
    int64_t *v = ints && k->has_ints ? eml_rule_ints(c, 0) : NULL;
    for (uint32_t i = 0; k->has_ints && eml_dim_known(n) && i < k->n_ints; i++) {
        int64_t at = k->ints[i];
        if (at == EML_INT_UNKNOWN)
            continue;
        EML_TRY(eml_rule_demand(c, at >= -n && at < n, "Gather: index out of range"));
        if (v != NULL)
            v[i] = x->ints[at < 0 ? at + n : at];
    }
    return EML_OK;
}

enum eml_err eml_rule_gather_elements(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *k = c->in[1];
    EML_TRY(eml_rule_demand(c, k->dtype == EML_DT_I64 || k->dtype == EML_DT_I32,
                            "indices are not int32 or int64"));
    if (x->has_rank && k->has_rank) {
        uint32_t axis;
        EML_TRY(eml_rule_demand(c, x->shape.rank == k->shape.rank, "GatherElements: ranks differ"));
        EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, 0), x->shape.rank, &axis));
        for (uint32_t i = 0; i < x->shape.rank; i++)
            EML_TRY(eml_rule_demand(c,
                                    i == axis || !eml_dim_known(x->shape.dim[i]) ||
                                        k->shape.dim[i] <= x->shape.dim[i],
                                    "GatherElements: indices exceed the data"));
    }
    eml_rule_out(c, 0, x->dtype, k->has_rank ? &k->shape : NULL);
    return EML_OK;
}

enum eml_err eml_pads_make(const struct eml_known *pads, const struct eml_known *axes,
                           uint32_t rank, int64_t begin[EML_RANK_MAX], int64_t end[EML_RANK_MAX])
{
    uint32_t n = axes == NULL ? rank : axes->n_ints, seen = 0;
    if (n > rank || pads->n_ints != 2 * n)
        return EML_E_INPUT;
    for (uint32_t i = 0; i < rank; i++)
        begin[i] = end[i] = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t a = axes == NULL ? (int64_t)i : axes->ints[i];
        a = a < 0 ? a + (int64_t)rank : a;
        if (a < 0 || a >= (int64_t)rank || (seen >> a & 1) != 0)
            return EML_E_INPUT;
        seen |= 1u << a;
        begin[a] = pads->ints[i];
        end[a] = pads->ints[n + i];
    }
    return EML_OK;
}

static enum eml_err pad_dim(const struct eml_rule_ctx *c, int64_t mode, int64_t begin, int64_t end,
                            int64_t *dim)
{
    if (!eml_dim_known(*dim) || begin == EML_INT_UNKNOWN || end == EML_INT_UNKNOWN) {
        *dim = EML_DIM_UNKNOWN;
        return EML_OK;
    }
    int64_t n = *dim, d = 0;
    EML_TRY(eml_rule_demand(c, begin >= -n && end >= -n, "Pad: cuts away more than there is"));
    EML_TRY(eml_rule_demand(c, eml_add_i64(n, begin, &d) && eml_add_i64(d, end, &d) && d >= 0,
                            "Pad: cuts away more than there is"));
    EML_TRY(eml_rule_demand(c, mode == 0 || n > 0 || d == 0, "Pad: nothing to repeat"));
    *dim = d;
    return EML_OK;
}

enum eml_err eml_rule_pad(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *fill = eml_rule_in(c, 2);
    int64_t mode = eml_node_int(c->node, EML_ATTR_MODE, 0), n;
    bool pads_full, axes_full = true;
    EML_TRY(eml_rule_demand(c, mode >= 0 && mode <= 3, "Pad: mode out of range"));
    EML_TRY(eml_rule_steer(c, 1, &pads_full));
    if (eml_rule_in(c, 3) != NULL)
        EML_TRY(eml_rule_steer(c, 3, &axes_full));
    if (fill != NULL) {
        EML_TRY(eml_rule_demand(c, fill->dtype == x->dtype, "operands differ in type"));
        if (fill->has_rank && eml_shape_count(&fill->shape, &n))
            EML_TRY(eml_rule_demand(c, n == 1, "Pad: the value is not one element"));
    }
    struct eml_shape s = x->shape;
    if (!x->has_rank || !c->in[1]->has_ints || !axes_full) {
        eml_rule_out_unknown(c, x, true);
        return EML_OK;
    }
    int64_t begin[EML_RANK_MAX], end[EML_RANK_MAX];
    if (eml_pads_make(c->in[1], eml_rule_in(c, 3), s.rank, begin, end) != EML_OK)
        return eml_rule_fail(c, "Pad: pads or axes do not fit the rank");
    for (uint32_t i = 0; i < s.rank; i++)
        EML_TRY(pad_dim(c, mode, begin[i], end[i], &s.dim[i]));
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}
