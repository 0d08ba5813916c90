/* Rules of operators on strings; the sizes of what they leave depend on the text. */
#include "engine/infer.h"

enum eml_err eml_rule_string_normalizer(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *words = eml_rule_in(c, 1);
    struct eml_shape s = x->shape;
    EML_TRY(eml_rule_demand(c, words == NULL || words->dtype == EML_DT_STRING,
                            "stop words are not strings"));
    if (!x->has_rank) {
        eml_rule_out(c, 0, EML_DT_STRING, NULL);
        return EML_OK;
    }
    EML_TRY(eml_rule_demand(c, s.rank == 1 || (s.rank == 2 && eml_dim_agrees(s.dim[0], 1)),
                            "StringNormalizer: neither a list nor one row"));
    if (words != NULL || s.dim[s.rank - 1] == 0)
        s.dim[s.rank - 1] = EML_DIM_UNKNOWN;
    eml_rule_out(c, 0, EML_DT_STRING, &s);
    return EML_OK;
}

enum eml_err eml_rule_string_split(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *delimiter = eml_rule_in(c, 1);
    struct eml_shape s = x->shape;
    if (delimiter != NULL)
        EML_TRY(eml_rule_demand(c,
                                delimiter->dtype == EML_DT_STRING && delimiter->has_rank &&
                                    delimiter->shape.rank == 0,
                                "StringSplit: the delimiter is no string"));
    if (c->node->n_out > 1)
        eml_rule_out(c, 1, EML_DT_I64, x->has_rank ? &x->shape : NULL);
    EML_TRY(eml_rule_demand(c, !x->has_rank || s.rank < EML_RANK_MAX, "rank above the limit"));
    s.dim[s.rank++] = EML_DIM_UNKNOWN;
    eml_rule_out(c, 0, EML_DT_STRING, x->has_rank ? &s : NULL);
    return EML_OK;
}
