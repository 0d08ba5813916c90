/* Rules of operators on strings; the sizes of what they leave depend on the text. */
#include "engine/infer.h"

#include "engine/regex.h"
#include "model/limits.h"

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

/* The bytes of a text that a node carries. */
static enum eml_err text_of(const struct eml_rule_ctx *c, enum eml_attr_id id,
                            uint8_t text[EML_ATTR_INTS_MAX], struct eml_bytes *out)
{
    const struct eml_attr *a = eml_node_attr(c->node, id);
    *out = eml_bytes(text, a != NULL ? a->n : 0);
    for (size_t i = 0; i < out->len; i++) {
        EML_TRY(eml_rule_demand(c, a->v[i] >= 0 && a->v[i] <= 255, "text that is not of bytes"));
        text[i] = (uint8_t)a->v[i];
    }
    return EML_OK;
}

enum eml_err eml_rule_regex_full_match(const struct eml_rule_ctx *c)
{
    uint8_t text[EML_ATTR_INTS_MAX];
    struct eml_bytes pattern;
    struct eml_regex r;
    EML_TRY(text_of(c, EML_ATTR_PATTERN, text, &pattern));
    EML_TRY(eml_regex_compile(pattern, &r, c->why));
    eml_rule_out(c, 0, EML_DT_BOOL, c->in[0]->has_rank ? &c->in[0]->shape : NULL);
    return EML_OK;
}
