/* RotaryEmbedding of ONNX (opset 23) and of com.microsoft: pairs of columns turn by an angle that
 * depends on the place of the token. */
#include "decompose/attention.h"
#include "decompose/composite.h"

struct eml_ir_value *eml_rotation_make(const struct eml_maker *m, const struct eml_rotation *r,
                                       struct eml_ir_value *x)
{
    struct eml_ir_value *part[2], *turned[2], *rest = NULL;
    struct eml_ir_value *cos = eml_make_unsqueeze(m, r->cos, r->heads_axis);
    struct eml_ir_value *sin = eml_make_unsqueeze(m, r->sin, r->heads_axis);
    if (r->r != r->d) {
        rest = eml_make_slice(m, x, -1, r->r, INT64_MAX);
        x = eml_make_slice(m, x, -1, 0, r->r);
    }
    if (r->interleaved) {
        const int64_t pairs[5] = {0, 0, 0, r->r / 2, 2};
        x = eml_make_reshape(m, x, pairs, 5);
        for (int64_t i = 0; i < 2; i++) {
            struct eml_ir_value *in[2] = {x, eml_make_index(m, i)};
            struct eml_ir_node *g = eml_make_node(m, EML_OP_GATHER, in, 2);
            eml_ir_set_int(m->ir, g, EML_ATTR_AXIS, -1);
            part[i] = g->out[0];
        }
    } else {
        part[0] = eml_make_slice(m, x, -1, 0, r->r / 2);
        part[1] = eml_make_slice(m, x, -1, r->r / 2, INT64_MAX);
    }
    turned[0] = eml_make_two(m, EML_OP_SUB, eml_make_two(m, EML_OP_MUL, part[0], cos),
                             eml_make_two(m, EML_OP_MUL, part[1], sin));
    turned[1] = eml_make_two(m, EML_OP_ADD, eml_make_two(m, EML_OP_MUL, part[0], sin),
                             eml_make_two(m, EML_OP_MUL, part[1], cos));
    if (r->interleaved) {
        const int64_t flat[4] = {0, 0, 0, r->r};
        for (size_t i = 0; i < 2; i++)
            turned[i] = eml_make_unsqueeze(m, turned[i], -1);
        x = eml_make_reshape(m, eml_make_concat(m, -1, turned, 2), flat, 4);
    } else {
        x = eml_make_concat(m, -1, turned, 2);
    }
    struct eml_ir_value *both[2] = {x, rest};
    return rest == NULL ? x : eml_make_concat(m, -1, both, 2);
}

/* X [B, S, N*D] or [B, N, S, D]; tables [places, r/2] with the places of the tokens, or, without
 * those, [B, S, r/2]. */
static enum eml_err rotary(const struct eml_maker *m, struct eml_ir_value *x,
                           struct eml_ir_value *at, struct eml_ir_value *cos,
                           struct eml_ir_value *sin)
{
    const uint32_t rank = eml_ir_rank(x);
    int64_t heads = eml_make_int(m, "num_heads", 0), d = eml_ir_dim(x, rank - 1);
    const int64_t r = eml_make_int(m, "rotary_embedding_dim", 0);
    const int64_t half = eml_ir_dim(cos, eml_ir_rank(cos) - 1);
    if ((rank != 3 && rank != 4) || half < 1)
        return eml_make_refuse(m, "decompose: RotaryEmbedding of an unknown shape");
    if (rank == 3 && heads == 0 && r == 0) { /* a head has as many columns as the tables say */
        d = 2 * half;
        heads = eml_ir_dim(x, 2) / d;
    } else if (rank == 3 && heads > 0) {
        d = eml_ir_dim(x, 2) / heads;
    }
    struct eml_rotation how = {.cos = cos,
                               .sin = sin,
                               .d = d,
                               .r = r > 0 ? r : d,
                               .interleaved = eml_make_int(m, "interleaved", 0) != 0,
                               .heads_axis = rank == 3 ? 2 : 1};
    if (d < 1 || how.r != 2 * half || how.r > d || (rank == 3 && heads < 1))
        return eml_make_refuse(m, "decompose: RotaryEmbedding: the tables do not fit the columns");
    if (at != NULL) {
        how.cos = eml_make_two(m, EML_OP_GATHER, cos, at);
        how.sin = eml_make_two(m, EML_OP_GATHER, sin, at);
    }
    if (rank == 4) {
        m->out[0] = eml_rotation_make(m, &how, x);
        return EML_OK;
    }
    static const int64_t dims[3] = {0, 0, -1};
    m->out[0] =
        eml_make_reshape(m, eml_rotation_make(m, &how, eml_attention_cut(m, x, heads)), dims, 3);
    return EML_OK;
}

static enum eml_err rotary_embedding(const struct eml_maker *m)
{
    return rotary(m, m->in[0], eml_make_operand(m, 3), m->in[1], m->in[2]);
}

static enum eml_err ms_rotary_embedding(const struct eml_maker *m)
{
    struct eml_ir_value *at = m->in[1], *x = m->in[0];
    if (eml_ir_rank(at) != 1 && eml_ir_rank(at) != 2)
        return eml_make_refuse(m, "decompose: RotaryEmbedding with places of an unknown rank");
    if (eml_make_int(m, "is_packed_batching", 0) != 0 || eml_make_float(m, "scale", 1) != 1)
        return eml_make_refuse(m, "decompose: RotaryEmbedding: packed or scaled is not supported");
    if (eml_ir_rank(at) == 1) { /* where the first token is */
        at = eml_make_two(m, EML_OP_ADD, eml_make_cast(m, at, EML_DT_I64),
                          eml_attention_places(m, x, eml_ir_rank(x) == 3 ? 1 : 2));
        at = eml_make_unsqueeze(m, at, 0);
    }
    return rotary(m, x, at, m->in[2], m->in[3]);
}

const struct eml_composite eml_composites_rotary[] = {
    {"RotaryEmbedding", 3, rotary_embedding},
    {"com.microsoft.RotaryEmbedding", 4, ms_rotary_embedding},
    {NULL, 0, NULL},
};
