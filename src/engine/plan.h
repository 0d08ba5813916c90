/* Inside of a plan: for plan*.c, run.c and the engine's own tests. */
#ifndef EML_ENGINE_PLAN_H
#define EML_ENGINE_PLAN_H

#include "engine/exec.h"

#define EML_NO_BUFFER UINT32_MAX
#define EML_NO_STEP UINT32_MAX

/* Where the bytes of a value are. */
enum eml_place_kind {
    EML_PLACE_NONE = 0, /* nobody reads it: it has no bytes */
    EML_PLACE_BUFFER,   /* in the activations */
    EML_PLACE_WEIGHTS,  /* a slot */
    EML_PLACE_PLAN,     /* computed while planning; lies in the plan */
};

struct eml_place {
    enum eml_place_kind kind;
    uint32_t buffer;  /* BUFFER: index into buffers */
    uint64_t offset;  /* WEIGHTS */
    const void *data; /* PLAN */
};

/* A piece of the activations, in use from step `first` to step `last` inclusive. Step 0 is the
 * copying of the inputs, node steps count from 1. */
struct eml_buffer {
    uint32_t first, last;
    size_t bytes; /* a multiple of 64 */
    size_t offset;
};

struct eml_step {
    uint32_t node;   /* of the plan's graph */
    uint32_t origin; /* of the graph that was planned: it, or the If whose branch has it */
    eml_op_fn *run;
    uint32_t scratch; /* buffer, or EML_NO_BUFFER */
    /* Of a run from sealed weights: operands are entries [operands, operands + n_in) and the params
     * the one behind; maps and ranges up to these ends are done before the step. */
    uint32_t operands, maps_end, opens_end;
};

/* An operand in the window. */
struct eml_weights_operand {
    enum eml_weights_use use;
    size_t at; /* bytes from the window's start */
};

struct eml_weights_map {
    size_t at, n; /* blocks */
    uint64_t stream;
};

/* What of the weights is where in the window, and when: weights_plan.c. */
struct eml_weights_plan {
    struct eml_weights_operand *operands;
    struct eml_weights_map *maps;
    struct eml_weights_range {
        size_t at, n; /* bytes */
    } * opens;
    uint32_t n_maps, n_opens;
    size_t n_blocks, own_blocks; /* shared; of each thread */
    size_t bytes;                /* SIZE_MAX: cannot be counted */
    uint32_t *outputs; /* per output of the graph: buffer of one that is a slot, or EML_NO_BUFFER */
};

struct eml_plan {
    const struct eml_graph *g; /* without Ifs: plan_branches.h */
    const struct eml_kernels *kernels;
    unsigned threads;        /* that scratch is for */
    bool alone;              /* too short to be shared: the caller's thread runs it */
    struct eml_known *known; /* per value */
    struct eml_place *place; /* per value */
    uint32_t *last;          /* per value: last step that reads it or a view of it; 0 = none */
    bool *needed;            /* per value */
    struct eml_step *steps;
    uint32_t n_steps;
    struct eml_buffer *buffers;
    uint32_t n_buffers;
    uint32_t max_operands;   /* of one step, inputs and outputs together */
    size_t table_bytes;      /* the operand table at the start of the activations */
    size_t activation_bytes; /* with the table */
    uint64_t weight_bytes;   /* end of the last slot used */
    uint64_t flops;
    uint64_t ns, longest_ns; /* of one thread, about: all steps, the longest */
    struct eml_weights_plan window;
    struct eml_plan_profile profile;
    const struct eml_dynamic *dynamic; /* not NULL: everything below g is unused */
};

/* Whether t is what input `at`, v, of the graph takes: type, rank, dims, size. */
EML_MUST enum eml_err eml_input_check(const struct eml_value *v, const struct eml_tensor *t,
                                      long at, struct eml_why *why);
/* All integers of k are known. */
bool eml_known_fully(const struct eml_known *k);
/* Element i of an integer or bool tensor. */
void eml_store_int(enum eml_dtype t, void *to, size_t i, int64_t v);

struct eml_plan_options {
    bool no_reuse;     /* every value gets memory of its own: what tests compare with */
    bool always_share; /* however short it is: for tests of what threads do */
};

EML_MUST enum eml_err eml_plan_make_with(const struct eml_graph *g, const struct eml_tensor *inputs,
                                         enum eml_isa isa, unsigned threads,
                                         const struct eml_budget *budget,
                                         const struct eml_plan_options *options,
                                         struct eml_arena *arena, struct eml_plan **out,
                                         struct eml_why *why);

/* Offsets for all buffers so that those in use at the same time do not overlap; greedy by size.
 * *end: the end of the highest. False on overflow or a full arena. */
EML_MUST bool eml_buffers_place(struct eml_buffer *b, uint32_t n, bool no_reuse,
                                struct eml_arena *arena, size_t *end);

/* Element i of an integer or bool tensor anywhere in memory; EML_INT_UNKNOWN if it does not fit. */
int64_t eml_load_int(enum eml_dtype t, const uint8_t *data, uint32_t i);

/* A value as kernels see it, without data. An absent one has dtype EML_DT_NONE. */
void eml_plan_view(const struct eml_plan *p, uint32_t id, struct eml_view *v);

/* Plans the window: after all steps and their places are known. False: the arena is full. */
EML_MUST bool eml_weights_plan(struct eml_plan *p, struct eml_arena *arena);

/* Bytes of a value that lies in the weights, as it lies there. */
uint64_t eml_plan_slot_bytes(const struct eml_plan *p, uint32_t id);

/* ---- facts about operators: plan_ops.c ---- */

eml_op_fn *eml_op_kernel(enum eml_op op);
eml_scratch_fn *eml_op_scratch(enum eml_op op); /* NULL: none */
eml_use_fn *eml_op_use(enum eml_op op);         /* NULL: all operands WHOLE */
bool eml_op_is_alias(enum eml_op op);
eml_size_fn *eml_op_size(enum eml_op op); /* NULL: its rule tells */
/* Whether the output may lie where operand i does, if both have as many bytes. */
bool eml_op_in_place(enum eml_op op, uint32_t i);
/* Number of floats that the operator's own attributes take of params, without the activation's. */
uint32_t eml_op_params(enum eml_op op);
/* Estimate of the work of one step; UINT64_MAX if it cannot be counted. */
uint64_t eml_op_flops(const struct eml_op_ctx *c);
/* The nanoseconds that one thread takes for that, about. */
uint64_t eml_op_ns(enum eml_op op, uint64_t flops);

#endif
