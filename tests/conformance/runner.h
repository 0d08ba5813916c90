/* What conformance tests do with a model: decompose it in memory, open what came out, plan for
 * inputs, run. The whole way of a model, without files and processes.
 */
#ifndef EML_CONFORMANCE_RUNNER_H
#define EML_CONFORMANCE_RUNNER_H

#include "decompose/decompose.h"
#include "engine/engine.h"
#include "topology/topology.h"

struct eml_runner {
    struct eml_arena *arena; /* borrowed; holds everything below */
    struct eml_topology *topology;
    struct eml_bytes weights;
    struct eml_pool *pool; /* borrowed; NULL = the calling thread */
    enum eml_isa isa;
    struct eml_decomposed stats; /* sizes and times only: the buffers are freed */
    uint64_t plan_ns, run_ns;    /* of the last run */
};

/* Decomposes, decodes, opens. Problems go to *report. */
EML_MUST enum eml_err eml_runner_open(struct eml_runner *r, const struct eml_onnx_model *m,
                                      struct eml_arena *arena, struct eml_check_report *report,
                                      struct eml_why *why);

/* One inference; outputs lie in the arena. */
EML_MUST enum eml_err eml_runner_run(struct eml_runner *r, const struct eml_tensor *inputs,
                                     struct eml_tensor *outputs, struct eml_why *why);

#endif
