#include "session/match.h"

static const struct eml_named_tensor *find(const struct eml_named_tensor *named, size_t n,
                                           struct eml_bytes name)
{
    for (size_t i = 0; i < n; i++)
        if (eml_bytes_equal(named[i].name, name))
            return &named[i];
    return NULL;
}

static enum eml_err fits(const struct eml_value *declared, const struct eml_tensor *t, long i,
                         struct eml_why *why)
{
    if (t->dtype != declared->dtype)
        return eml_fail(why, EML_E_INPUT, "an input has another type than the model's", i);
    if (t->shape.rank != declared->shape.rank)
        return eml_fail(why, EML_E_INPUT, "an input has another rank than the model's", i);
    for (uint32_t d = 0; d < t->shape.rank; d++)
        if (declared->shape.dim[d] != EML_DIM_UNKNOWN && declared->shape.dim[d] != t->shape.dim[d])
            return eml_fail(why, EML_E_INPUT, "an input has another shape than the model's", i);
    return EML_OK;
}

enum eml_err eml_match_inputs(const struct eml_graph *g, const struct eml_named_tensor *named,
                              size_t n, struct eml_tensor *out, struct eml_why *why)
{
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const struct eml_named_tensor *t = find(named, n, g->inputs[i].text);
        if (t == NULL)
            return eml_fail(why, EML_E_INPUT, "an input of the model is missing", (long)i);
        EML_TRY(fits(&g->values[g->inputs[i].value], &t->tensor, (long)i, why));
        out[i] = t->tensor;
    }
    if (n != g->n_inputs)
        return eml_fail(why, EML_E_INPUT, "an input is given that the model does not have", -1);
    return EML_OK;
}
