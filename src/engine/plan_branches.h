/* Ifs that planning decides: the branch that is taken stands in the If's place, so that the graph
 * is planned like one without control flow. For plan.c only.
 *
 * The flat graph grows node by node, in order of execution, since conditions become known on the
 * way. Its first values are those of the whole; those of a body follow when it is entered, but for
 * its inputs, which are the If's captures, and the results of an If, which are its body's. */
#ifndef EML_ENGINE_PLAN_BRANCHES_H
#define EML_ENGINE_PLAN_BRANCHES_H

#include "engine/engine.h"

#include "model/limits.h"

struct eml_branches {
    const struct eml_graph *whole;
    struct eml_arena *arena;
    struct eml_graph *flat;
    uint32_t *origin;             /* per node of flat: which of the whole it is, or stands for */
    size_t max_values, max_nodes; /* if every body were taken: room in flat */
    struct eml_branches_level {
        const struct eml_graph *g;
        uint32_t at;  /* next node */
        uint32_t *id; /* per value: in flat */
    } levels[EML_GRAPH_DEPTH_MAX + 1];
    uint32_t depth;
};

/* False: the arena is full. */
EML_MUST bool eml_branches_begin(struct eml_branches *b, const struct eml_graph *whole,
                                 struct eml_arena *arena);
/* Adds the next node to flat; *more is false behind the last. EML_E_SYSTEM: the arena is full. */
EML_MUST enum eml_err eml_branches_next(struct eml_branches *b, bool *more);
/* Takes back the node added last, an If, and goes on in a branch of it. EML_E_SYSTEM likewise;
 * EML_E_UNSUPPORTED: the graph is one that planning leaves to a dynamic run. */
EML_MUST enum eml_err eml_branches_enter(struct eml_branches *b, bool then);

#endif
