/* Rules of operators whose results' sizes are known only while they run, and what can be told of
 * those that only dynamic.c runs. */
#include "engine/infer.h"

enum eml_err eml_rule_non_zero(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    struct eml_shape s = {2, {EML_DIM_UNKNOWN, EML_DIM_UNKNOWN}};
    if (x->has_rank)
        s.dim[0] = x->shape.rank;
    eml_rule_out(c, 0, EML_DT_I64, &s);
    return EML_OK;
}

/* Types only; a control-flow node's results are its body's, which decomposition looks into. */
enum eml_err eml_rule_dynamic(const struct eml_rule_ctx *c)
{
    static const struct eml_shape scalar = {0};
    const struct eml_known *x = eml_rule_in(c, 0), *y = eml_rule_in(c, 1);
    struct eml_known *o = &c->out[0];
    enum eml_dtype elem;
    if (x == NULL && eml_op_info(c->node->op)->in_min > 0)
        return eml_rule_fail(c, "required operand omitted");
    switch (c->node->op) {
    case EML_OP_SEQUENCE_EMPTY:
        elem = (enum eml_dtype)eml_node_int(c->node, EML_ATTR_DTYPE, EML_DT_F32);
        *o = (struct eml_known){.dtype = EML_DT_SEQUENCE,
                                .elem = eml_dtype_bytes(elem) != 0 ? elem : EML_DT_NONE};
        return EML_OK;
    case EML_OP_SEQUENCE_CONSTRUCT:
    case EML_OP_SPLIT_TO_SEQUENCE:
        *o = (struct eml_known){.dtype = EML_DT_SEQUENCE, .elem = x->dtype};
        return EML_OK;
    case EML_OP_SEQUENCE_INSERT:
        *o = (struct eml_known){.dtype = EML_DT_SEQUENCE, .elem = y->dtype};
        return EML_OK;
    case EML_OP_SEQUENCE_ERASE:
    case EML_OP_OPTIONAL_GET_ELEMENT:
        *o = (struct eml_known){.dtype = x->dtype, .elem = x->elem};
        return EML_OK;
    case EML_OP_OPTIONAL:
        *o = x != NULL ? (struct eml_known){.dtype = x->dtype, .elem = x->elem}
                       : (struct eml_known){.dtype = EML_DT_SEQUENCE};
        return EML_OK;
    case EML_OP_SEQUENCE_AT:
    case EML_OP_CONCAT_FROM_SEQUENCE:
        if (x->dtype != EML_DT_SEQUENCE || x->elem == EML_DT_NONE)
            return eml_fail(c->why, EML_E_UNSUPPORTED, "element type of a sequence is not known",
                            -1);
        *o = (struct eml_known){.dtype = x->elem};
        return EML_OK;
    case EML_OP_SEQUENCE_LENGTH:
        eml_rule_out(c, 0, EML_DT_I64, &scalar);
        return EML_OK;
    case EML_OP_OPTIONAL_HAS_ELEMENT:
        eml_rule_out(c, 0, EML_DT_BOOL, &scalar);
        return EML_OK;
    default:
        return eml_fail(c->why, EML_E_UNSUPPORTED, "control flow is not inferred", -1);
    }
}
