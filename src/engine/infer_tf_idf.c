/* The rule of TfIdfVectorizer. The size of the result is an attribute that decomposition adds: the
 * largest index is data. */
#include "engine/infer.h"

enum { X, COUNTS, INDEXES, POOL, WEIGHTS };

enum eml_err eml_rule_tf_idf(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[X];
    int64_t size = eml_node_int(c->node, EML_ATTR_SIZE, 0);
    for (uint32_t i = COUNTS; i <= POOL; i++) {
        const struct eml_known *k = eml_rule_in(c, i);
        EML_TRY(eml_rule_demand(c, k != NULL && k->dtype == EML_DT_I64,
                                "TfIdfVectorizer: counts, indexes or pool lacking"));
        EML_TRY(eml_rule_demand(c, !k->has_rank || k->shape.rank == 1, "operand of a wrong rank"));
    }
    const struct eml_known *w = eml_rule_in(c, WEIGHTS);
    EML_TRY(eml_rule_demand(c, w == NULL || w->dtype == EML_DT_F32, "operand of a wrong type"));
    EML_TRY(eml_rule_demand(c,
                            size >= 1 && eml_node_int(c->node, EML_ATTR_MIN_GRAM_LENGTH, 0) >= 1 &&
                                eml_node_int(c->node, EML_ATTR_MAX_SKIP_COUNT, 0) >= 0,
                            "TfIdfVectorizer: a length or number out of range"));
    eml_rule_out(c, 0, EML_DT_F32, NULL);
    if (!x->has_rank)
        return EML_OK;
    struct eml_shape s = x->shape;
    EML_TRY(eml_rule_demand(c, s.rank == 1 || s.rank == 2, "TfIdfVectorizer: rank is not 1 or 2"));
    s.dim[s.rank - 1] = size;
    eml_rule_out(c, 0, EML_DT_F32, &s);
    return EML_OK;
}
