/* Named inputs of a request against the inputs of a graph: the same check in the enclave and in
 * `eml run`. */
#ifndef EML_SESSION_MATCH_H
#define EML_SESSION_MATCH_H

#include "session/request.h"

/* Orders n named tensors as g->inputs: every input given once, none left over, types equal, dims
 * equal where the graph declares them. EML_E_INPUT with the rule (why->index = the graph's input).
 * out: g->n_inputs entries, borrowed views. */
EML_MUST enum eml_err eml_match_inputs(const struct eml_graph *g,
                                       const struct eml_named_tensor *named, size_t n,
                                       struct eml_tensor *out, struct eml_why *why);

#endif
