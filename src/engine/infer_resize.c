/* Rules of Resize and of the moves between space and depth. */
#include "engine/resize.h"

#include "engine/infer.h"

#include "base/checked.h"

#include <math.h>

static enum eml_err bad(struct eml_why *why, const char *rule)
{
    return eml_fail(why, EML_E_INPUT, rule, -1);
}

/* The axes that the lists speak of. */
static enum eml_err resize_axes(const struct eml_node *node, uint32_t rank, uint32_t *n,
                                uint32_t axes[EML_RANK_MAX], struct eml_why *why)
{
    const struct eml_attr *a = eml_node_attr(node, EML_ATTR_AXES);
    uint32_t seen = 0;
    *n = a != NULL ? a->n : rank;
    if (*n > rank)
        return bad(why, "Resize: more axes than dimensions");
    for (uint32_t i = 0; i < *n; i++) {
        int64_t v = a != NULL ? a->v[i] : (int64_t)i;
        v = v < 0 ? v + (int64_t)rank : v;
        if (v < 0 || v >= (int64_t)rank || (seen >> v & 1) != 0)
            return bad(why, "Resize: axis out of range or named twice");
        seen |= 1u << v;
        axes[i] = (uint32_t)v;
    }
    return EML_OK;
}

static enum eml_err by_scale(const struct eml_shape *x, uint32_t d, const int64_t frac[2],
                             struct eml_resize *o, struct eml_why *why)
{
    if (frac[0] <= 0 || frac[1] <= 0)
        return bad(why, "Resize: scale is not positive");
    o->scale[d] = (float)frac[0] / (float)frac[1];
    if (!eml_dim_known(x->dim[d]))
        return EML_OK;
    float to = floorf((float)x->dim[d] * o->scale[d]);
    if (!(to >= 0 && to < 9.0e15f))
        return bad(why, "tensor above the size limit");
    o->out[d] = (int64_t)to;
    return EML_OK;
}

/* keep_aspect_ratio_policy: one scale for all axes, the smallest or largest of the wanted ones. */
static void keep_aspect(bool larger, const struct eml_shape *x, uint32_t n, const uint32_t *axes,
                        struct eml_resize *o)
{
    float scale = o->scale[axes[0]];
    for (uint32_t i = 1; i < n; i++) {
        float s = o->scale[axes[i]];
        scale = larger == (s > scale) ? s : scale;
    }
    for (uint32_t i = 0; i < n; i++) {
        o->scale[axes[i]] = scale;
        o->out[axes[i]] = (int64_t)floor((double)scale * (double)x->dim[axes[i]] + 0.5);
    }
}

static enum eml_err by_sizes(const struct eml_node *node, const struct eml_shape *x,
                             const int64_t *sizes, uint32_t n, const uint32_t *axes,
                             struct eml_resize *o, struct eml_why *why)
{
    bool known = true, empty = false;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t d = axes[i];
        o->out[d] = EML_DIM_UNKNOWN;
        if (sizes[i] == EML_INT_UNKNOWN) {
            known = false;
            continue;
        }
        if (sizes[i] < 0 || sizes[i] > INT32_MAX)
            return bad(why, "Resize: size out of range");
        o->out[d] = sizes[i];
        known = known && eml_dim_known(x->dim[d]);
        empty = empty || x->dim[d] == 0;
        if (eml_dim_known(x->dim[d]) && x->dim[d] > 0)
            o->scale[d] = (float)sizes[i] / (float)x->dim[d];
    }
    int64_t policy = eml_node_int(node, EML_ATTR_KEEP_ASPECT_RATIO_POLICY, 0);
    if (policy == 0 || n == 0)
        return EML_OK;
    if (empty)
        return bad(why, "Resize: nothing has no aspect ratio to keep");
    if (known)
        keep_aspect(policy == 2, x, n, axes, o);
    for (uint32_t i = 0; i < n && !known; i++)
        o->out[axes[i]] = EML_DIM_UNKNOWN;
    return EML_OK;
}

enum eml_err eml_resize_make(const struct eml_node *node, const struct eml_shape *x,
                             const struct eml_resize_args *a, struct eml_resize *out,
                             struct eml_why *why)
{
    *out = (struct eml_resize){.rank = x->rank};
    uint32_t n, axes[EML_RANK_MAX];
    EML_TRY(resize_axes(node, x->rank, &n, axes, why));
    for (uint32_t i = 0; i < x->rank; i++) {
        out->out[i] = x->dim[i];
        out->scale[i] = 1.0f;
    }
    if (a->scales != NULL) {
        if (a->n_scales != 2 * n)
            return bad(why, "Resize: as many fractions as axes are needed");
        for (uint32_t i = 0; i < n; i++)
            EML_TRY(by_scale(x, axes[i], a->scales + 2 * (size_t)i, out, why));
    } else {
        if (a->n_sizes != n)
            return bad(why, "Resize: as many sizes as axes are needed");
        EML_TRY(by_sizes(node, x, a->sizes, n, axes, out, why));
    }
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->dim[i] == 0 && out->out[i] > 0)
            return bad(why, "Resize of nothing to something");
    return EML_OK;
}

bool eml_fraction_of(float v, int64_t fraction[2])
{
    double num = (double)v;
    int64_t den = 1;
    fraction[0] = 0;
    fraction[1] = 1;
    if (!(v > 0 && v < 0x1p30f))
        return false;
    while (den < (int64_t)1 << 40 && num != (double)(int64_t)num) {
        num *= 2;
        den *= 2;
    }
    if (num != (double)(int64_t)num)
        return false;
    fraction[0] = (int64_t)num;
    fraction[1] = den;
    return true;
}

/* [n] floats to [2 n] integers: the scales of a Resize that are not known before it runs. */
enum eml_err eml_rule_fractions(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    struct eml_shape s = {1, {EML_DIM_UNKNOWN}};
    EML_TRY(eml_rule_demand(c, !x->has_rank || x->shape.rank == 1, "scales are not a list"));
    if (x->has_rank && eml_dim_known(x->shape.dim[0]))
        EML_TRY(eml_rule_demand(c, eml_mul_i64(x->shape.dim[0], 2, &s.dim[0]),
                                "tensor above the size limit"));
    eml_rule_out(c, 0, EML_DT_I64, &s);
    return EML_OK;
}

static bool in_range(const struct eml_node *n, enum eml_attr_id id, int64_t max)
{
    int64_t v = eml_node_int(n, id, 0);
    return v >= 0 && v <= max;
}

enum { COORD_TF_CROP = 4, MODE_CUBIC = 2 };

static enum eml_err resize_attrs(const struct eml_rule_ctx *c)
{
    const struct eml_node *n = c->node;
    EML_TRY(eml_rule_demand(c,
                            in_range(n, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, 6) &&
                                in_range(n, EML_ATTR_KEEP_ASPECT_RATIO_POLICY, 2) &&
                                in_range(n, EML_ATTR_MODE, 2) &&
                                in_range(n, EML_ATTR_NEAREST_MODE, 3),
                            "Resize: attribute out of range"));
    bool scales = eml_rule_in(c, 2) != NULL, sizes = eml_rule_in(c, 3) != NULL;
    EML_TRY(eml_rule_demand(c, scales != sizes, "Resize: needs either scales or sizes"));
    if (eml_node_int(n, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, 0) != COORD_TF_CROP)
        return EML_OK;
    const struct eml_known *roi = eml_rule_in(c, 1);
    EML_TRY(eml_rule_demand(c, roi != NULL && roi->dtype == EML_DT_F32,
                            "Resize: tf_crop_and_resize needs a float32 roi"));
    if (!sizes) /* the output's size would depend on the roi's numbers */
        return eml_fail(c->why, EML_E_UNSUPPORTED,
                        "Resize: tf_crop_and_resize by scales is not supported", -1);
    return EML_OK;
}

enum eml_err eml_rule_resize(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    EML_TRY(resize_attrs(c));
    uint32_t at = eml_rule_in(c, 2) != NULL ? 2 : 3;
    const struct eml_known *by = c->in[at];
    bool full;
    EML_TRY(eml_rule_steer(c, at, &full));
    struct eml_shape s = x->shape;
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank)
        return EML_OK;
    if (!by->has_ints || (at == 2 && !full)) {
        eml_rule_out_unknown(c, x, true);
        return EML_OK;
    }
    struct eml_resize_args a = {0};
    struct eml_resize r;
    if (at == 2)
        a = (struct eml_resize_args){.scales = by->ints, .n_scales = by->n_ints};
    else
        a = (struct eml_resize_args){.sizes = by->ints, .n_sizes = by->n_ints};
    EML_TRY(eml_resize_make(c->node, &x->shape, &a, &r, c->why));
    for (uint32_t i = 0; i < s.rank; i++)
        s.dim[i] = r.out[i];
    int64_t n;
    const struct eml_known *roi = eml_rule_in(c, 1);
    bool crop = eml_node_int(c->node, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, 0) == COORD_TF_CROP;
    if (crop && roi->has_rank && eml_shape_count(&roi->shape, &n)) {
        const struct eml_attr *axes = eml_node_attr(c->node, EML_ATTR_AXES);
        int64_t want = 2 * (int64_t)(axes != NULL ? axes->n : s.rank);
        EML_TRY(eml_rule_demand(c, n == want, "Resize: roi has a wrong length"));
    }
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

/* [N, H, W, C] and a positive block size. */
static enum eml_err block_args(const struct eml_rule_ctx *c, int64_t *b)
{
    const struct eml_known *x = c->in[0];
    *b = eml_node_int(c->node, EML_ATTR_BLOCKSIZE, 0);
    EML_TRY(eml_rule_demand(c, *b >= 1 && *b <= 65536, "blocksize out of range"));
    eml_rule_out(c, 0, x->dtype, NULL);
    return eml_rule_demand(c, !x->has_rank || x->shape.rank == 4, "input is not [N, H, W, C]");
}

enum eml_err eml_rule_space_to_depth(const struct eml_rule_ctx *c)
{
    int64_t b;
    EML_TRY(block_args(c, &b));
    if (!c->in[0]->has_rank)
        return EML_OK;
    struct eml_shape s = c->in[0]->shape;
    for (uint32_t i = 1; i <= 2; i++) {
        if (!eml_dim_known(s.dim[i]))
            continue;
        EML_TRY(eml_rule_demand(c, s.dim[i] % b == 0, "blocksize does not divide the input"));
        s.dim[i] /= b;
    }
    if (eml_dim_known(s.dim[3]))
        EML_TRY(eml_rule_demand(c, eml_mul_i64(s.dim[3], b * b, &s.dim[3]),
                                "tensor above the size limit"));
    eml_rule_out(c, 0, c->in[0]->dtype, &s);
    return EML_OK;
}

enum eml_err eml_rule_depth_to_space(const struct eml_rule_ctx *c)
{
    int64_t b;
    EML_TRY(block_args(c, &b));
    EML_TRY(eml_rule_demand(c, in_range(c->node, EML_ATTR_MODE, 1), "mode out of range"));
    if (!c->in[0]->has_rank)
        return EML_OK;
    struct eml_shape s = c->in[0]->shape;
    for (uint32_t i = 1; i <= 2; i++)
        if (eml_dim_known(s.dim[i]))
            EML_TRY(eml_rule_demand(c, eml_mul_i64(s.dim[i], b, &s.dim[i]),
                                    "tensor above the size limit"));
    if (eml_dim_known(s.dim[3])) {
        EML_TRY(eml_rule_demand(c, s.dim[3] % (b * b) == 0, "blocksize does not divide the input"));
        s.dim[3] /= b * b;
    }
    eml_rule_out(c, 0, c->in[0]->dtype, &s);
    return EML_OK;
}
