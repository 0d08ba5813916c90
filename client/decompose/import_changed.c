/* Operators whose meaning changed between versions, or that the graph does not have. */
#include "decompose/import.h"

#include "engine/rnn.h"

#include <string.h>

enum eml_err eml_import_constant(struct import *im)
{
    const struct eml_onnx_attr *a = im->node->n_attr == 1 ? &im->node->attr[0] : NULL;
    struct eml_ir_value **out = &im->values[im->node->out[0]];
    struct eml_shape s = {0};
    if (a == NULL)
        return eml_import_refuse(im, "decompose: Constant without exactly one attribute");
    if (a->type == EML_ONNX_ATTR_TENSOR)
        return eml_import_tensor(im, a->tensors, out);
    if (a->type == EML_ONNX_ATTR_FLOATS || a->type == EML_ONNX_ATTR_INTS)
        s = (struct eml_shape){1, {(int64_t)a->n}};
    if (a->type == EML_ONNX_ATTR_FLOAT || a->type == EML_ONNX_ATTR_FLOATS)
        *out =
            eml_ir_const(im->ir, EML_DT_F32, &s, a->n != 0 ? a->floats : eml_ir_alloc(im->ir, 0));
    else if (a->type == EML_ONNX_ATTR_INT || a->type == EML_ONNX_ATTR_INTS)
        *out = eml_ir_const(im->ir, EML_DT_I64, &s, a->n != 0 ? a->ints : eml_ir_alloc(im->ir, 0));
    else
        return eml_import_refuse(im, "decompose: Constant of an unsupported kind");
    return EML_OK;
}

/* Operand i is a constant bool that is false, or absent. */
static bool absent_or_false(const struct import *im, uint32_t i)
{
    if (i >= im->node->n_in || im->node->in[i] == EML_ONNX_ABSENT)
        return true;
    const struct eml_ir_value *v = im->values[im->node->in[i]];
    return v != NULL && v->data != NULL && v->dtype == EML_DT_BOOL && eml_ir_count(v) == 1 &&
           *(const uint8_t *)v->data == 0;
}

/* Output i of the ONNX node has a reader. */
static bool is_read(const struct import *im, uint32_t output)
{
    return output < im->node->n_out && im->node->out[output] != EML_ONNX_ABSENT &&
           im->model->values[im->node->out[output]].n_uses != 0;
}

/* Identity, and Dropout in inference whose mask is not read. */
bool eml_import_passes_through(const struct import *im)
{
    if (im->node->domain[0] != 0)
        return false;
    if (strcmp(im->node->op_type, "Dropout") == 0)
        return absent_or_false(im, 2) && !is_read(im, 1) && im->node->out[0] != EML_ONNX_ABSENT;
    return strcmp(im->node->op_type, "Identity") == 0;
}

/* The size of the result, which the largest index tells. */
static enum eml_err tf_idf(const struct import *im, struct eml_ir_node *n)
{
    const struct eml_onnx_attr *indexes = eml_onnx_attr(im->node, "ngram_indexes");
    int64_t largest = -1;
    for (size_t i = 0; indexes != NULL && indexes->type == EML_ONNX_ATTR_INTS && i < indexes->n;
         i++)
        largest = indexes->ints[i] > largest ? indexes->ints[i] : largest;
    if (largest < 0 || largest == INT64_MAX)
        return eml_fail(im->why, EML_E_INPUT, "TfIdfVectorizer: malformed pool", im->index);
    eml_ir_set_int(im->ir, n, EML_ATTR_SIZE, largest + 1);
    return EML_OK;
}

/* Before version 13 the dims from `axis` on were one dim; the default axis was 1. */
static enum eml_err old_softmax(struct import *im, struct eml_ir_node *n)
{
    struct eml_ir *ir = im->ir;
    struct eml_ir_value *x = n->in[0];
    int64_t axis = eml_ir_int(n, EML_ATTR_AXIS, 1);
    if (!x->has_rank)
        return eml_import_refuse(im,
                                 "decompose: Softmax before version 13 of a value of unknown rank");
    int64_t rank = x->shape.rank;
    if (axis < -rank || axis > rank)
        return eml_fail(im->why, EML_E_INPUT, "decompose: axis out of range", im->index);
    axis += axis < 0 ? rank : 0;
    eml_ir_set_int(ir, n, EML_ATTR_AXIS, -1);
    if (axis == rank - 1)
        return EML_OK;
    struct eml_ir_node *flat = eml_ir_node_new(ir, n, EML_OP_FLATTEN, &x, 1, 1);
    eml_ir_set_int(ir, flat, EML_ATTR_AXIS, axis);
    struct eml_ir_node *shape = eml_ir_node_new(ir, n, EML_OP_SHAPE, &x, 1, 1);
    eml_ir_set_in(ir, n, 0, flat->out[0]);
    struct eml_ir_value *operands[2] = {n->out[0], shape->out[0]};
    struct eml_ir_node *back = eml_ir_node_new(ir, NULL, EML_OP_RESHAPE, operands, 2, 1);
    back->origin = im->index;
    im->values[im->node->out[0]] = back->out[0];
    return EML_OK;
}

enum { ASYMMETRIC = 3, TF_CROP_AND_RESIZE = 4, FLOOR = 2 };

/* How Upsample and Resize before 11 found the source of a pixel. */
static void upsample_rounding(struct eml_ir *ir, struct eml_ir_node *n)
{
    eml_ir_set_int(ir, n, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, ASYMMETRIC);
    eml_ir_set_int(ir, n, EML_ATTR_NEAREST_MODE, FLOOR);
}

/* Puts old scales in their new place and drops a roi that the mode does not read. */
static enum eml_err resize(struct import *im, struct eml_ir_node *n, int64_t version)
{
    struct eml_ir *ir = im->ir;
    if (version < 11) {
        eml_ir_set_in(ir, n, 2, eml_ir_in(n, 1));
        eml_ir_set_in(ir, n, 1, NULL);
        upsample_rounding(ir, n);
    }
    if (eml_ir_in(n, 1) != NULL &&
        eml_ir_int(n, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, 0) != TF_CROP_AND_RESIZE)
        eml_ir_set_in(ir, n, 1, NULL);
    return EML_OK;
}

/* The numbers of a recurrent operator's activations, [activations, 2], as its last operand. The
 * attributes hold them only for those that need them, in order. */
static enum eml_err rnn_numbers(const struct import *im, struct eml_ir_node *n)
{
    static const struct {
        uint8_t needs; /* how many of alpha, beta */
        float alpha, beta;
    } acts[EML_RNN_ACT_N] = {
        [EML_RNN_AFFINE] = {2, 1, 0},
        [EML_RNN_ELU] = {1, 1, 0},
        [EML_RNN_HARD_SIGMOID] = {2, 0.2F, 0.5F},
        [EML_RNN_LEAKY_RELU] = {1, 0.01F, 0},
        [EML_RNN_SCALED_TANH] = {2, 1, 1},
        [EML_RNN_THRESHOLDED_RELU] = {1, 1, 0},
    };
    const struct eml_attr *list = eml_ir_attr(n, EML_ATTR_ACTIVATIONS);
    const struct eml_onnx_attr *given[2] = {eml_onnx_attr(im->node, "activation_alpha"),
                                            eml_onnx_attr(im->node, "activation_beta")};
    size_t at[2] = {0, 0};
    if (list == NULL)
        return EML_OK;
    float *v = eml_ir_alloc(im->ir, list->n * 2 * sizeof(*v));
    for (uint32_t i = 0; v != NULL && i < list->n; i++) {
        v[2 * i] = acts[list->v[i]].alpha;
        v[2 * i + 1] = acts[list->v[i]].beta;
        for (uint32_t k = 0; k < acts[list->v[i]].needs; k++)
            if (given[k] != NULL && given[k]->floats != NULL && at[k] < given[k]->n)
                v[2 * i + k] = given[k]->floats[at[k]++];
    }
    struct eml_shape s = {2, {list->n, 2}};
    eml_ir_set_in(im->ir, n, EML_RNN_NUMBERS, eml_ir_const(im->ir, EML_DT_F32, &s, v));
    return EML_OK;
}

/* Operand i as int64: numbers of any type are allowed where integers are meant. */
static void to_int64(struct eml_ir *ir, struct eml_ir_node *n, uint32_t i)
{
    struct eml_ir_value *v = eml_ir_in(n, i);
    if (v == NULL || v->dtype == EML_DT_I64 || v->dtype == EML_DT_I32)
        return;
    struct eml_ir_node *cast = eml_ir_node_new(ir, n, EML_OP_CAST, &v, 1, 1);
    eml_ir_set_int(ir, cast, EML_ATTR_TO, EML_DT_I64);
    eml_ir_set_in(ir, n, i, cast->out[0]);
}

/* A bound of -2^63 cuts as the next one does, which inference can tell from an unknown one. */
static void least_bound(struct eml_ir *ir, struct eml_ir_node *n, uint32_t i)
{
    const struct eml_ir_value *v = eml_ir_in(n, i);
    if (v == NULL || v->data == NULL || v->dtype != EML_DT_I64 || v->shape.rank > 1)
        return;
    size_t count = eml_ir_count(v);
    int64_t *ints = eml_ir_alloc(ir, count * sizeof(*ints));
    if (ints == NULL)
        return;
    for (size_t k = 0; k < count; k++) {
        int64_t bound = ((const int64_t *)v->data)[k];
        ints[k] = bound < -INT64_MAX ? -INT64_MAX : bound;
    }
    eml_ir_set_in(ir, n, i, eml_ir_const(ir, EML_DT_I64, &v->shape, ints));
}

enum eml_err eml_import_normalise(struct import *im, struct eml_ir_node *n)
{
    enum { OUTPUT_HALF_PIXEL = 1 };
    switch (n->op) {
    case EML_OP_ONE_HOT:
        to_int64(im->ir, n, 0);
        to_int64(im->ir, n, 1);
        return EML_OK;
    case EML_OP_SLICE:
        least_bound(im->ir, n, 1);
        least_bound(im->ir, n, 2);
        return EML_OK;
    case EML_OP_ROI_ALIGN: /* before version 16 there was no other mode */
        if (im->node->opset < 16)
            eml_ir_set_int(im->ir, n, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, OUTPUT_HALF_PIXEL);
        return EML_OK;
    case EML_OP_MAX_POOL: /* places of the maxima cost more than the maxima */
        if (!is_read(im, 1))
            n->n_out = 1;
        return EML_OK;
    case EML_OP_SOFTMAX:
    case EML_OP_LOG_SOFTMAX:
    case EML_OP_HARDMAX:
        return im->node->opset < 13 ? old_softmax(im, n) : EML_OK;
    case EML_OP_DFT: /* the default axis changed */
        if (im->node->opset < 20 && eml_ir_in(n, 2) == NULL)
            eml_ir_set_in(im->ir, n, 2, eml_ir_const_ints(im->ir, &(int64_t){1}, 1));
        return EML_OK;
    case EML_OP_RESIZE:
        return resize(im, n, im->node->opset);
    case EML_OP_CAST_LIKE: /* the like operand's elements are never read */
        n->op = EML_OP_CAST;
        eml_ir_set_int(im->ir, n, EML_ATTR_TO, n->in[1]->dtype);
        eml_ir_set_in(im->ir, n, 1, NULL);
        eml_ir_trim(n);
        return EML_OK;
    case EML_OP_TF_IDF_VECTORIZER:
        return tf_idf(im, n);
    case EML_OP_BATCH_NORMALIZATION:
        for (uint32_t i = 1; i < im->node->n_out; i++)
            if (is_read(im, i))
                return eml_import_refuse(
                    im, "decompose: statistics of BatchNormalization in inference");
        n->n_out = 1;
        eml_ir_drop_attr(n, EML_ATTR_TRAINING_MODE);
        return EML_OK;
    case EML_OP_RNN:
    case EML_OP_GRU:
    case EML_OP_LSTM:
        return rnn_numbers(im, n);
    default:
        return EML_OK;
    }
}

/* Upsample, which Resize replaced: scales as attribute (7) or operand 1 (9). */
enum eml_err eml_import_upsample(struct import *im)
{
    const struct eml_onnx_attr *mode = eml_onnx_attr(im->node, "mode");
    const struct eml_onnx_attr *scales = eml_onnx_attr(im->node, "scales");
    enum { NEAREST, LINEAR };
    struct eml_ir_value *in[EML_NODE_IN_MAX];
    if (im->node->n_in > 2)
        return eml_import_refuse(im, "decompose: number of operands that is not supported");
    EML_TRY(eml_import_operands(im, in));
    struct eml_ir_value *by = im->node->n_in == 2 ? in[1] : NULL;
    if (scales != NULL && scales->type == EML_ONNX_ATTR_FLOATS) {
        struct eml_shape s = {1, {(int64_t)scales->n}};
        by = eml_ir_const(im->ir, EML_DT_F32, &s, scales->floats);
    }
    if (by == NULL)
        return eml_import_refuse(im, "decompose: Upsample without scales");
    struct eml_ir_value *operand[3] = {in[0], NULL, by};
    struct eml_ir_node *n = eml_ir_node_new(im->ir, NULL, EML_OP_RESIZE, operand, 3, 1);
    n->origin = im->index;
    eml_import_defaults(n);
    upsample_rounding(im->ir, n);
    if (mode != NULL && mode->type == EML_ONNX_ATTR_STRING &&
        !eml_bytes_equal(mode->strings[0], EML_LIT("nearest")))
        eml_ir_set_int(im->ir, n, EML_ATTR_MODE, LINEAR);
    im->values[im->node->out[0]] = n->out[0];
    return EML_OK;
}
