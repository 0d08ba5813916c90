/* Rules of signal processing: DFT, STFT, windows, MelWeightMatrix. Their lengths are operands. */
#include "engine/infer.h"

/* The one integer of operand i, EML_INT_UNKNOWN if it is not known (or absent). */
static enum eml_err length_operand(const struct eml_rule_ctx *c, uint32_t i, int64_t *v)
{
    const struct eml_known *k = eml_rule_in(c, i);
    bool full;
    int64_t n;
    *v = EML_INT_UNKNOWN;
    if (k == NULL)
        return EML_OK;
    EML_TRY(eml_rule_steer(c, i, &full));
    EML_TRY(eml_rule_demand(c, !k->has_rank || !eml_shape_count(&k->shape, &n) || n == 1,
                            "operand is not one element"));
    if (full && k->n_ints == 1)
        *v = k->ints[0];
    return EML_OK;
}

/* The type that an attribute names: float32 or float64. */
static enum eml_err float_type(const struct eml_rule_ctx *c, enum eml_dtype *t)
{
    *t = (enum eml_dtype)eml_node_int(c->node, EML_ATTR_OUTPUT_DATATYPE, EML_DT_F32);
    return *t == EML_DT_F32 || *t == EML_DT_F64 ? EML_OK : eml_rule_refuse_type(c, *t);
}

enum eml_err eml_rule_window(const struct eml_rule_ctx *c)
{
    int64_t n;
    enum eml_dtype t;
    EML_TRY(float_type(c, &t));
    EML_TRY(length_operand(c, 0, &n));
    EML_TRY(eml_rule_demand(c, n == EML_INT_UNKNOWN || n >= 0, "window of negative length"));
    eml_rule_out(c, 0, t, &(struct eml_shape){1, {n == EML_INT_UNKNOWN ? EML_DIM_UNKNOWN : n}});
    return EML_OK;
}

static int64_t bins_of(int64_t n, bool onesided)
{
    return !eml_dim_known(n) ? n : onesided ? n / 2 + 1 : n;
}

/* Real (1) or complex (2) elements; only real ones have a one-sided spectrum. */
static enum eml_err check_parts(const struct eml_rule_ctx *c, int64_t parts, bool onesided)
{
    EML_TRY(eml_rule_demand(c, !eml_dim_known(parts) || parts == 1 || parts == 2,
                            "transform: the last dimension is not 1 or 2"));
    return eml_rule_demand(c, !onesided || parts != 2,
                           "transform: one-sided spectrum of complex numbers");
}

enum eml_err eml_rule_dft(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    bool onesided = eml_node_int(c->node, EML_ATTR_ONESIDED, 0) != 0;
    bool inverse = eml_node_int(c->node, EML_ATTR_INVERSE, 0) != 0;
    int64_t length, axis;
    EML_TRY(length_operand(c, 1, &length));
    EML_TRY(length_operand(c, 2, &axis));
    EML_TRY(eml_rule_demand(c, !onesided || !inverse, "transform: one-sided and inverse"));
    EML_TRY(eml_rule_demand(c, length == EML_INT_UNKNOWN || length >= 1,
                            "transform of a length below 1"));
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank)
        return EML_OK;
    struct eml_shape s = x->shape;
    EML_TRY(eml_rule_demand(c, s.rank >= 2, "rank too low"));
    EML_TRY(check_parts(c, s.dim[s.rank - 1], onesided));
    s.dim[s.rank - 1] = 2;
    if (eml_rule_in(c, 2) != NULL && axis == EML_INT_UNKNOWN) {
        for (uint32_t d = 0; d + 1 < s.rank; d++)
            s.dim[d] = EML_DIM_UNKNOWN;
        eml_rule_out(c, 0, x->dtype, &s);
        return EML_OK;
    }
    uint32_t a;
    EML_TRY(eml_rule_axis(c, eml_rule_in(c, 2) != NULL ? axis : -2, s.rank, &a));
    EML_TRY(eml_rule_demand(c, a != s.rank - 1, "transform along the parts of numbers"));
    if (eml_rule_in(c, 1) != NULL)
        s.dim[a] = length == EML_INT_UNKNOWN ? EML_DIM_UNKNOWN : length;
    EML_TRY(eml_rule_demand(c, s.dim[a] != 0, "transform of a length below 1"));
    s.dim[a] = bins_of(s.dim[a], onesided);
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

/* Length of a frame: of the window, or operand 3, which must agree. */
static enum eml_err frame_length(const struct eml_rule_ctx *c, int64_t *n)
{
    const struct eml_known *window = eml_rule_in(c, 2);
    int64_t length;
    EML_TRY(length_operand(c, 3, &length));
    *n = length == EML_INT_UNKNOWN ? EML_DIM_UNKNOWN : length;
    EML_TRY(eml_rule_demand(c, window != NULL || eml_rule_in(c, 3) != NULL,
                            "STFT with neither window nor frame length"));
    if (window == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, window->dtype == c->in[0]->dtype, "operands differ in type"));
    if (!window->has_rank)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, window->shape.rank == 1 && eml_dim_agrees(window->shape.dim[0], *n),
                            "STFT: the window does not fit the frame"));
    if (eml_rule_in(c, 3) == NULL)
        *n = window->shape.dim[0];
    return EML_OK;
}

enum eml_err eml_rule_stft(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    bool onesided = eml_node_int(c->node, EML_ATTR_ONESIDED, 1) != 0;
    int64_t step, frame;
    EML_TRY(length_operand(c, 1, &step));
    EML_TRY(frame_length(c, &frame));
    EML_TRY(eml_rule_demand(
        c, (step == EML_INT_UNKNOWN || step >= 1) && (!eml_dim_known(frame) || frame >= 1),
        "STFT: a step or a frame below 1"));
    struct eml_shape s = {4, {EML_DIM_UNKNOWN, EML_DIM_UNKNOWN, bins_of(frame, onesided), 2}};
    if (x->has_rank) {
        EML_TRY(
            eml_rule_demand(c, x->shape.rank == 3, "STFT: signal is not [batch, length, parts]"));
        EML_TRY(check_parts(c, x->shape.dim[2], onesided));
        s.dim[0] = x->shape.dim[0];
        int64_t length = x->shape.dim[1];
        if (eml_dim_known(length) && eml_dim_known(frame) && step != EML_INT_UNKNOWN) {
            EML_TRY(eml_rule_demand(c, length >= frame, "STFT: signal shorter than a frame"));
            s.dim[1] = (length - frame) / step + 1;
        }
    }
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

enum eml_err eml_rule_mel_weight_matrix(const struct eml_rule_ctx *c)
{
    int64_t bins, length, rate;
    enum eml_dtype t;
    EML_TRY(float_type(c, &t));
    EML_TRY(length_operand(c, 0, &bins));
    EML_TRY(length_operand(c, 1, &length));
    EML_TRY(length_operand(c, 2, &rate));
    EML_TRY(eml_rule_demand(
        c, (bins == EML_INT_UNKNOWN || bins >= 1) && (length == EML_INT_UNKNOWN || length >= 1),
        "MelWeightMatrix: a size below 1"));
    for (uint32_t i = 3; i < 5; i++) {
        const struct eml_known *k = c->in[i];
        int64_t n;
        EML_TRY(eml_rule_demand(c, k->dtype == EML_DT_F32 || k->dtype == EML_DT_F64,
                                "operand of a wrong type"));
        EML_TRY(eml_rule_demand(c, !k->has_rank || !eml_shape_count(&k->shape, &n) || n == 1,
                                "operand is not one element"));
    }
    struct eml_shape s = {2,
                          {length == EML_INT_UNKNOWN ? EML_DIM_UNKNOWN : length / 2 + 1,
                           bins == EML_INT_UNKNOWN ? EML_DIM_UNKNOWN : bins}};
    eml_rule_out(c, 0, t, &s);
    return EML_OK;
}
