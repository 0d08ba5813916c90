/* Rules of the operators that sample pictures: regions, grids, patches. Channels-last where the
 * operator is one of eml_ir_spatial's, else as in ONNX. */
#include "engine/infer.h"

#include "engine/sample.h"

#include "base/checked.h"

enum { SIZE_MAX_ = 1 << 20 }; /* of a pooled region or block along one dim */

static bool in_range(const struct eml_node *n, enum eml_attr_id id, int64_t lo, int64_t hi,
                     int64_t otherwise)
{
    int64_t v = eml_node_int(n, id, otherwise);
    return v >= lo && v <= hi;
}

static enum eml_err same_type(const struct eml_rule_ctx *c, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (eml_rule_in(c, i) != NULL)
            EML_TRY(
                eml_rule_demand(c, c->in[i]->dtype == c->in[0]->dtype, "operands differ in type"));
    return EML_OK;
}

/* Operand i, if its rank is known, has this rank. */
static enum eml_err rank_is(const struct eml_rule_ctx *c, uint32_t i, uint32_t rank,
                            const char *rule)
{
    return eml_rule_demand(c, !c->in[i]->has_rank || c->in[i]->shape.rank == rank, rule);
}

static enum eml_err not_empty(const struct eml_rule_ctx *c, const struct eml_shape *x)
{
    for (uint32_t i = 1; i + 1 < x->rank; i++)
        EML_TRY(eml_rule_demand(c, x->dim[i] != 0, "sampling from nothing"));
    return EML_OK;
}

enum eml_err eml_rule_grid_sample(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *grid = c->in[1];
    EML_TRY(eml_rule_demand(c,
                            in_range(c->node, EML_ATTR_MODE, 0, 4, 0) &&
                                in_range(c->node, EML_ATTR_PADDING_MODE, 0, 2, 0),
                            "mode out of range"));
    EML_TRY(same_type(c, 2));
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank || !grid->has_rank)
        return EML_OK;
    struct eml_shape s = grid->shape;
    uint32_t rank = x->shape.rank;
    EML_TRY(eml_rule_demand(c, rank >= 3 && rank <= EML_SPATIAL_MAX + 2 && s.rank == rank,
                            "GridSample: ranks out of range"));
    EML_TRY(eml_rule_demand(c, eml_dim_agrees(s.dim[rank - 1], (int64_t)rank - 2),
                            "GridSample: the grid does not hold one number per dimension"));
    EML_TRY(eml_rule_demand(c, eml_dim_agrees(s.dim[0], x->shape.dim[0]),
                            "GridSample: grid and input differ in batch"));
    EML_TRY(not_empty(c, &x->shape));
    s.dim[rank - 1] = x->shape.dim[rank - 1];
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

/* [regions, h, w, C] of [N, H, W, C] */
static enum eml_err regions(const struct eml_rule_ctx *c, int64_t h, int64_t w, int64_t columns)
{
    const struct eml_known *x = c->in[0], *rois = c->in[1];
    struct eml_shape s = {.rank = 4, .dim = {EML_DIM_UNKNOWN, h, w, EML_DIM_UNKNOWN}};
    EML_TRY(eml_rule_demand(c, rois->dtype == x->dtype, "operands differ in type"));
    EML_TRY(eml_rule_demand(c, h >= 1 && w >= 1 && h <= SIZE_MAX_ && w <= SIZE_MAX_,
                            "pooled size out of range"));
    EML_TRY(rank_is(c, 0, 4, "input is not [N, H, W, C]"));
    EML_TRY(rank_is(c, 1, 2, "regions are no list"));
    if (x->has_rank) {
        EML_TRY(not_empty(c, &x->shape));
        s.dim[3] = x->shape.dim[3];
    }
    if (rois->has_rank) {
        EML_TRY(eml_rule_demand(c, eml_dim_agrees(rois->shape.dim[1], columns),
                                "regions have a wrong number of columns"));
        s.dim[0] = rois->shape.dim[0];
    }
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

enum eml_err eml_rule_roi_align(const struct eml_rule_ctx *c)
{
    const struct eml_known *rois = c->in[1], *batch = c->in[2];
    EML_TRY(eml_rule_demand(c,
                            in_range(c->node, EML_ATTR_MODE, 0, 1, 0) &&
                                in_range(c->node, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, 0, 1, 0),
                            "mode out of range"));
    EML_TRY(eml_rule_demand(c, in_range(c->node, EML_ATTR_SAMPLING_RATIO, 0, 1024, 0),
                            "sampling_ratio out of range"));
    EML_TRY(eml_rule_demand(c, batch->dtype == EML_DT_I64 || batch->dtype == EML_DT_I32,
                            "indices are not int32 or int64"));
    EML_TRY(rank_is(c, 2, 1, "RoiAlign: as many batch indices as regions are needed"));
    if (batch->has_rank && rois->has_rank && rois->shape.rank == 2)
        EML_TRY(eml_rule_demand(c, eml_dim_agrees(batch->shape.dim[0], rois->shape.dim[0]),
                                "RoiAlign: as many batch indices as regions are needed"));
    return regions(c, eml_node_int(c->node, EML_ATTR_OUTPUT_HEIGHT, 1),
                   eml_node_int(c->node, EML_ATTR_OUTPUT_WIDTH, 1), 4);
}

enum eml_err eml_rule_max_roi_pool(const struct eml_rule_ctx *c)
{
    const struct eml_attr *pooled = eml_node_attr(c->node, EML_ATTR_POOLED_SHAPE);
    EML_TRY(
        eml_rule_demand(c, pooled != NULL && pooled->n == 2, "pooled_shape is not two integers"));
    return regions(c, pooled->v[0], pooled->v[1], 5);
}

/* All integers of a steering operand, known and of the wanted number, or NULL. */
static enum eml_err steering_list(const struct eml_rule_ctx *c, uint32_t i, const int64_t **list,
                                  uint32_t *n)
{
    bool full;
    EML_TRY(eml_rule_steer(c, i, &full));
    *list = full ? c->in[i]->ints : NULL;
    *n = full ? c->in[i]->n_ints : 0;
    return EML_OK;
}

enum eml_err eml_rule_affine_grid(const struct eml_rule_ctx *c)
{
    const struct eml_known *theta = c->in[0];
    const int64_t *size;
    uint32_t n;
    EML_TRY(steering_list(c, 1, &size, &n));
    EML_TRY(rank_is(c, 0, 3, "AffineGrid: theta is not [N, d, d+1]"));
    eml_rule_out(c, 0, theta->dtype, NULL);
    if (size == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, n == 4 || n == 5, "AffineGrid: size is not of 4 or 5 numbers"));
    struct eml_shape s = {.rank = n};
    for (uint32_t i = 0; i < n; i++)
        EML_TRY(eml_rule_demand(c, size[i] >= 0, "negative dimension"));
    s.dim[0] = size[0];
    for (uint32_t i = 2; i < n; i++)
        s.dim[i - 1] = size[i];
    s.dim[n - 1] = (int64_t)n - 2;
    if (theta->has_rank)
        EML_TRY(eml_rule_demand(c,
                                eml_dim_agrees(theta->shape.dim[0], size[0]) &&
                                    eml_dim_agrees(theta->shape.dim[1], (int64_t)n - 2) &&
                                    eml_dim_agrees(theta->shape.dim[2], (int64_t)n - 1),
                                "AffineGrid: theta does not fit the size"));
    eml_rule_out(c, 0, theta->dtype, &s);
    return EML_OK;
}

/* `n` values of an attribute in [lo, 2^31), or the default. */
static bool attr_list(const struct eml_node *node, enum eml_attr_id id, uint32_t n, int64_t lo,
                      int64_t otherwise, int64_t *out)
{
    const struct eml_attr *a = eml_node_attr(node, id);
    bool given = a != NULL && a->n > 0, ok = !given || a->n == n;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = given && ok ? a->v[i] : otherwise;
        ok = ok && out[i] >= lo && out[i] <= INT32_MAX;
    }
    return ok;
}

enum eml_err eml_patches_make(const struct eml_node *node, const int64_t *image,
                              const int64_t *block, uint32_t n, struct eml_patches *out)
{
    *out = (struct eml_patches){.n = n, .taps = 1, .windows = 1};
    int64_t pads[2 * EML_RANK_MAX];
    if (n < 1 || n > EML_RANK_MAX - 2 ||
        !attr_list(node, EML_ATTR_DILATIONS, n, 1, 1, out->dilation) ||
        !attr_list(node, EML_ATTR_STRIDES, n, 1, 1, out->stride) ||
        !attr_list(node, EML_ATTR_PADS, 2 * n, 0, 0, pads))
        return EML_E_INPUT;
    for (uint32_t i = 0; i < n; i++) {
        if (image[i] < 1 || image[i] > INT32_MAX || block[i] < 1 || block[i] > SIZE_MAX_)
            return EML_E_INPUT;
        out->image[i] = image[i];
        out->block[i] = block[i];
        out->pad[i] = pads[i];
        /* All below 2^52: nothing overflows. */
        int64_t room = image[i] + pads[i] + pads[n + i] - (out->dilation[i] * (block[i] - 1) + 1);
        out->steps[i] = room < 0 ? 0 : room / out->stride[i] + 1;
        if (!eml_mul_i64(out->taps, block[i], &out->taps) ||
            !eml_mul_i64(out->windows, out->steps[i], &out->windows))
            return EML_E_INPUT;
    }
    return EML_OK;
}

enum eml_err eml_rule_col2im(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    const int64_t *image, *block;
    uint32_t n, n_block;
    struct eml_patches p;
    EML_TRY(steering_list(c, 1, &image, &n));
    EML_TRY(steering_list(c, 2, &block, &n_block));
    EML_TRY(rank_is(c, 0, 3, "Col2Im: input is not [N, C * block, windows]"));
    eml_rule_out(c, 0, x->dtype, NULL);
    if (image == NULL || block == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, n == n_block, "Col2Im: image_shape and block_shape differ"));
    EML_TRY(eml_rule_demand(c, eml_patches_make(c->node, image, block, n, &p) == EML_OK,
                            "Col2Im: shape or attribute out of range"));
    struct eml_shape s = {.rank = n + 2, .dim = {EML_DIM_UNKNOWN, EML_DIM_UNKNOWN}};
    for (uint32_t i = 0; i < n; i++)
        s.dim[i + 2] = image[i];
    if (x->has_rank) {
        s.dim[0] = x->shape.dim[0];
        int64_t rows = x->shape.dim[1];
        EML_TRY(eml_rule_demand(c, eml_dim_agrees(x->shape.dim[2], p.windows),
                                "Col2Im: the windows do not fill the image"));
        EML_TRY(eml_rule_demand(c, !eml_dim_known(rows) || rows % p.taps == 0,
                                "Col2Im: the rows are no multiple of the block"));
        s.dim[1] = eml_dim_known(rows) ? rows / p.taps : EML_DIM_UNKNOWN;
    }
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

/* Dims along which CenterCropPad works: where[d] is the place in `shape` of dim d, or -1. */
enum eml_err eml_crop_axes(const struct eml_node *node, uint32_t rank, uint32_t n,
                           int where[EML_RANK_MAX])
{
    const struct eml_attr *axes = eml_node_attr(node, EML_ATTR_AXES);
    for (uint32_t d = 0; d < EML_RANK_MAX; d++)
        where[d] = -1;
    if (n != (axes != NULL ? axes->n : rank) || n > rank)
        return EML_E_INPUT;
    for (uint32_t i = 0; i < n; i++) {
        int64_t a = axes != NULL ? axes->v[i] : (int64_t)i;
        if (a < -(int64_t)rank || a >= (int64_t)rank)
            return EML_E_INPUT;
        a += a < 0 ? (int64_t)rank : 0;
        if (where[a] >= 0)
            return EML_E_INPUT;
        where[a] = (int)i;
    }
    return EML_OK;
}

enum eml_err eml_rule_center_crop_pad(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *size = c->in[1];
    bool full;
    int where[EML_RANK_MAX];
    EML_TRY(eml_rule_steer(c, 1, &full));
    struct eml_shape s = x->shape;
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank)
        return EML_OK;
    if (size->has_ints)
        EML_TRY(eml_rule_demand(c, eml_crop_axes(c->node, s.rank, size->n_ints, where) == EML_OK,
                                "CenterCropPad: axes and shape do not fit"));
    for (uint32_t d = 0; d < s.rank; d++) {
        int64_t to = !size->has_ints ? EML_INT_UNKNOWN
                     : where[d] < 0  ? s.dim[d]
                                     : size->ints[where[d]];
        EML_TRY(eml_rule_demand(c, to == EML_INT_UNKNOWN || to >= 0 || where[d] < 0,
                                "negative dimension"));
        s.dim[d] = to == EML_INT_UNKNOWN ? EML_DIM_UNKNOWN : to;
    }
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

/* ---- DeformConv: everything as in ONNX ---- */

enum eml_err eml_deform_window(const struct eml_node *node, const struct eml_shape *x,
                               const struct eml_shape *w, struct eml_window *out,
                               struct eml_why *why)
{
    const struct eml_shape last = {.rank = 4, .dim = {x->dim[0], x->dim[2], x->dim[3], x->dim[1]}};
    *out = (struct eml_window){0};
    if (x->rank != 4)
        return eml_fail(why, EML_E_INPUT, "DeformConv: input is not [N, C, H, W]", -1);
    return eml_window_make(node, &last, w, out, why);
}

/* Operand i is [N, groups * taps * per, output...]. */
static enum eml_err deform_operand(const struct eml_rule_ctx *c, uint32_t i,
                                   const struct eml_window *w, int64_t groups, int64_t per)
{
    const struct eml_known *k = eml_rule_in(c, i);
    int64_t rows = 0;
    if (k == NULL || !k->has_rank)
        return EML_OK;
    EML_TRY(eml_rule_demand(
        c, eml_mul_i64(w->kernel[0], w->kernel[1], &rows) && eml_mul_i64(rows, groups * per, &rows),
        "tensor above the size limit"));
    return eml_rule_demand(c,
                           k->shape.rank == 4 && eml_dim_agrees(k->shape.dim[0], w->batch) &&
                               eml_dim_agrees(k->shape.dim[1], rows) &&
                               eml_dim_agrees(k->shape.dim[2], w->out[0]) &&
                               eml_dim_agrees(k->shape.dim[3], w->out[1]),
                           "DeformConv: offset or mask does not fit");
}

enum eml_err eml_rule_deform_conv(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *k = c->in[1], *bias = eml_rule_in(c, 3);
    int64_t groups = eml_node_int(c->node, EML_ATTR_OFFSET_GROUP, 1);
    struct eml_window w;
    EML_TRY(same_type(c, c->node->n_in));
    EML_TRY(eml_rule_demand(c, groups >= 1 && groups <= INT32_MAX, "group out of range"));
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank || !k->has_rank)
        return EML_OK;
    EML_TRY(eml_deform_window(c->node, &x->shape, &k->shape, &w, c->why));
    EML_TRY(
        eml_rule_demand(c, !eml_dim_known(w.in_c) || w.in_c % groups == 0, "group out of range"));
    EML_TRY(deform_operand(c, 2, &w, groups, 2));
    EML_TRY(deform_operand(c, 4, &w, groups, 1));
    EML_TRY(eml_rule_demand(
        c,
        bias == NULL || !bias->has_rank ||
            (bias->shape.rank == 1 && eml_dim_agrees(bias->shape.dim[0], k->shape.dim[0])),
        "the bias does not fit the output channels"));
    const struct eml_shape s = {.rank = 4, .dim = {w.batch, k->shape.dim[0], w.out[0], w.out[1]}};
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

/* ---- MaxUnpool: as in ONNX, since the indices are ---- */

enum eml_err eml_unpool_make(const struct eml_node *node, const struct eml_shape *x,
                             struct eml_shape *out)
{
    int64_t kernel[EML_SPATIAL_MAX], stride[EML_SPATIAL_MAX], pads[2 * EML_SPATIAL_MAX];
    uint32_t n = x->rank - 2;
    *out = *x;
    if (x->rank < 3 || n > EML_SPATIAL_MAX || eml_node_attr(node, EML_ATTR_KERNEL_SHAPE) == NULL ||
        !attr_list(node, EML_ATTR_KERNEL_SHAPE, n, 1, 1, kernel) ||
        !attr_list(node, EML_ATTR_STRIDES, n, 1, 1, stride) ||
        !attr_list(node, EML_ATTR_PADS, 2 * n, 0, 0, pads))
        return EML_E_INPUT;
    for (uint32_t i = 0; i < n; i++) {
        int64_t *d = &out->dim[i + 2];
        if (!eml_dim_known(*d))
            continue;
        if (!eml_mul_i64(*d - 1, stride[i], d) ||
            !eml_add_i64(*d, kernel[i] - pads[i] - pads[n + i], d) || *d < 0)
            return EML_E_INPUT;
    }
    return EML_OK;
}

enum eml_err eml_rule_max_unpool(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *k = c->in[1];
    EML_TRY(eml_rule_demand(c, k->dtype == EML_DT_I64, "indices are not int64"));
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank)
        return EML_OK;
    struct eml_shape s;
    EML_TRY(eml_rule_demand(c, eml_unpool_make(c->node, &x->shape, &s) == EML_OK,
                            "MaxUnpool: shape or attribute out of range"));
    bool same = !k->has_rank || k->shape.rank == x->shape.rank;
    for (uint32_t i = 0; same && k->has_rank && i < x->shape.rank; i++)
        same = eml_dim_agrees(k->shape.dim[i], x->shape.dim[i]);
    EML_TRY(eml_rule_demand(c, same, "MaxUnpool: indices and data differ in shape"));
    if (eml_rule_in(c, 2) != NULL) {
        const int64_t *want;
        uint32_t n;
        EML_TRY(steering_list(c, 2, &want, &n));
        EML_TRY(eml_rule_demand(c, want == NULL || n == s.rank,
                                "MaxUnpool: output_shape has a wrong length"));
        for (uint32_t i = 0; i < s.rank; i++) {
            EML_TRY(eml_rule_demand(
                c, want == NULL || (want[i] >= 0 && (i >= 2 || eml_dim_agrees(want[i], s.dim[i]))),
                "MaxUnpool: output_shape does not fit"));
            s.dim[i] = want != NULL ? want[i] : i >= 2 ? EML_DIM_UNKNOWN : s.dim[i];
        }
    }
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

enum eml_err eml_rule_lrn(const struct eml_rule_ctx *c)
{
    EML_TRY(eml_rule_demand(c, in_range(c->node, EML_ATTR_SIZE, 1, INT32_MAX, 0),
                            "LRN: size out of range"));
    EML_TRY(eml_rule_demand(c, !c->in[0]->has_rank || c->in[0]->shape.rank >= 2,
                            "LRN: fewer than 2 dimensions"));
    return eml_rule_same(c);
}
