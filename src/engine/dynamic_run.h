/* Inside of a dynamic run: its frames and values (dynamic.c), its ordinary nodes (dynamic_node.c)
 * and the nodes with bodies (dynamic_body.c). Not for other files.
 */
#ifndef EML_ENGINE_DYNAMIC_RUN_H
#define EML_ENGINE_DYNAMIC_RUN_H

#include "engine/dynamic.h"

#include "model/limits.h"

enum { EML_NODE_WORK = 64 }; /* counted for each node besides its arithmetic */

struct eml_dynamic {
    struct eml_arena *arena;
    struct eml_budget budget;
    uint32_t **last; /* per graph (the whole, then bodies), per value: index + 1 of the node that
                        reads it last; 0: nobody; UINT32_MAX: an output */
    uint32_t most_in, most_out;
};

/* A node whose body runs: If, Loop, Scan or SequenceMap. */
struct eml_control {
    const struct eml_node *node; /* NULL: none */
    uint32_t body;               /* index of the graph */
    uint32_t captures;           /* first operand that the body captures */
    int64_t i, trips;            /* iterations done, and most; -1: no bound of its own */
    bool go;
    uint32_t n_state, n_lists;
    struct eml_item **state; /* carried from one iteration to the next; If: the results */
    struct eml_item **lists; /* results collected */
};

struct eml_frame {
    const struct eml_graph *g;
    const uint32_t *last;
    struct eml_item **value; /* per value; NULL: not there */
    uint32_t at;             /* node */
    struct eml_control c;    /* of node `at` */
};

struct eml_run {
    const struct eml_plan *p;
    const struct eml_dynamic *d;
    struct eml_bytes weights;
    struct eml_pool *pool;
    struct eml_why *why;
    struct eml_heap heap;
    struct eml_arena infer; /* a block of the heap */
    uint64_t flops;
    uint64_t iterations;
    /* room for one node */
    struct eml_item **in;
    struct eml_known *known, *results;
    const struct eml_known **operands;
    struct eml_view *views;
    struct eml_frame frames[EML_GRAPH_DEPTH_MAX + 1];
    uint32_t depth; /* frames in use */
};

static inline enum eml_err eml_run_bad(const struct eml_run *r, const char *rule)
{
    return eml_fail(r->why, EML_E_INPUT, rule, -1);
}

static inline enum eml_err eml_run_no_room(const struct eml_run *r)
{
    return eml_fail(r->why, EML_E_REFUSED, "memory budget exceeded", -1);
}

/* Counts work; EML_E_REFUSED beyond the budget. */
EML_MUST enum eml_err eml_run_spend(struct eml_run *r, uint64_t flops);
/* count * size zero bytes of the run's heap, or NULL. */
void *eml_run_room(struct eml_run *r, size_t count, size_t size);

/* A value of the frame, borrowed: NULL if the operand is omitted, EML_E_INPUT if it is not there.
 */
EML_MUST enum eml_err eml_frame_value(struct eml_run *r, struct eml_frame *f, uint32_t id,
                                      struct eml_item **out);
/* Sets an output of the frame's node, taking over the item; one that nobody reads goes at once. */
void eml_frame_set(struct eml_run *r, struct eml_frame *f, uint32_t id, struct eml_item *x);
/* The frame's node is done: what it read last goes. */
void eml_frame_next(struct eml_run *r, struct eml_frame *f);

/* A node of tensors: its operands are in r->in. Sets its results. */
EML_MUST enum eml_err eml_run_tensor_node(struct eml_run *r, struct eml_frame *f,
                                          const struct eml_node *n);

/* A node with a body: entering it decides what to do (f->c); then, as long as eml_body_more says,
 * iterate pushes a frame, and collect takes the results of the frame on top and pops it; finish
 * sets the node's results. */
bool eml_body_is(enum eml_op op);
EML_MUST enum eml_err eml_body_enter(struct eml_run *r, struct eml_frame *f,
                                     const struct eml_node *n);
bool eml_body_more(const struct eml_control *c);
EML_MUST enum eml_err eml_body_iterate(struct eml_run *r, struct eml_frame *f);
EML_MUST enum eml_err eml_body_collect(struct eml_run *r, struct eml_frame *f);
EML_MUST enum eml_err eml_body_finish(struct eml_run *r, struct eml_frame *f);

#endif
