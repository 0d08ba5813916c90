/* The inference engine: plan once, then run from one arena without allocating.
 *
 * A plan is made for one graph and one set of input shapes. It infers every shape and type,
 * computes everything that depends on shapes alone (Shape, Gather, Concat of dims, ...) at plan
 * time, decides lifetimes, offsets and in-place reuse, chooses kernels, and checks the budget.
 * Running touches only the plan, the weights where they lie and the activations: no allocation, no
 * lock but the pool's. Results do not depend on the number of threads.
 *
 * Trusts nothing in the graph: it must have passed eml_graph_check, and every shape, index and size
 * is computed with overflow checks here. Links no crypto, opens no file.
 */
#ifndef EML_ENGINE_ENGINE_H
#define EML_ENGINE_ENGINE_H

#include "model/graph.h"

/* Worker threads that claim work dynamically. One run at a time per pool. They take no signal but
 * SIGUSR1, which is eml_pool_halt's. */
struct eml_pool;
/* `threads` counts the calling thread: 1 starts none. *out is NULL on failure. */
EML_MUST enum eml_err eml_pool_create(unsigned threads, struct eml_pool **out);
/* Ends the threads; each wipes its stack. */
void eml_pool_destroy(struct eml_pool *pool);
/* For a signal handler of the calling thread, right before the process ends: stops the pool's
 * threads for good wherever they are, and wipes their stacks. Waits at most 100 ms for them. */
void eml_pool_halt(struct eml_pool *pool);
unsigned eml_pool_threads(const struct eml_pool *pool);
/* From now on at most *most of its threads work (0 and 1: the caller alone), looked up whenever a
 * step begins, so that a run gives cores back while it lasts. Results are the same. *most may be
 * written at any time and lives as long as the pool. */
void eml_pool_follow(struct eml_pool *pool, const _Atomic uint32_t *most);

/* Instruction sets for the kernels. AUTO is the best that the CPU has. Lower ones are for tests,
 * comparison, and the environment variable EML_ISA of the development tools. */
enum eml_isa { EML_ISA_REF = 0, EML_ISA_AVX2 = 1, EML_ISA_AVX512 = 2, EML_ISA_AUTO = 255 };
/* The set in force: AUTO resolved against the CPU, never more than the CPU has. */
enum eml_isa eml_isa_resolve(enum eml_isa wanted);
const char *eml_isa_name(enum eml_isa isa);

/* A tensor in memory, borrowed. Row-major, elements of dtype; data need not be aligned for inputs
 * of eml_plan_run. */
struct eml_tensor {
    enum eml_dtype dtype;
    struct eml_shape shape; /* no unknown dims */
    const void *data;
    size_t bytes;
};

/* What is no tensor, as an input or output of a graph: a list has dtype EML_DT_SEQUENCE, rank 1,
 * and `data` is an array of as many struct eml_tensor; an empty optional has dtype EML_DT_NONE. */

struct eml_budget {
    uint64_t activation_bytes; /* peak of all activations and scratch */
    uint64_t flops;            /* multiply-adds counted twice */
};

struct eml_plan; /* opaque; lies in the arena it was made in */

/* Plans g for the given input types and shapes (in the order of g->inputs), to be run by at most
 * `threads` threads. `budget` may be NULL: no limit. Data is looked at only if a shape depends on
 * it (an input that feeds a Reshape): small integer inputs whose data is not NULL are then part of
 * the plan, and eml_plan_run refuses other elements. So is the branch of an If whose condition is
 * known then. All of the plan is allocated from `arena`; on failure the caller resets the arena to
 * its mark. g is borrowed for the plan's life. A graph whose sizes depend on data, or with other
 * control flow, is only prepared here: see eml_plan_run. Errors:
 * EML_E_INPUT (shapes do not fit the graph; a graph that is inconsistent), EML_E_REFUSED (budget),
 * EML_E_UNSUPPORTED, EML_E_SYSTEM (arena full); why->index is the node. */
EML_MUST enum eml_err eml_plan_make(const struct eml_graph *g, const struct eml_tensor *inputs,
                                    enum eml_isa isa, unsigned threads,
                                    const struct eml_budget *budget, struct eml_arena *arena,
                                    struct eml_plan **out, struct eml_why *why);

/* Threads that a run uses at most: those of eml_plan_make, or the caller's alone if the whole is
 * too short to be shared. */
unsigned eml_plan_threads(const struct eml_plan *p);

/* Bytes of activations and scratch that eml_plan_run needs, and an estimate of its work. */
size_t eml_plan_activation_bytes(const struct eml_plan *p);
uint64_t eml_plan_flops(const struct eml_plan *p);

/* Runs. `weights` is the plaintext stream (64-byte aligned), `activations` at least
 * eml_plan_activation_bytes, 64-byte aligned, zero or garbage. outputs[i] (order of g->outputs) is
 * filled with views that lie in `activations`, in `weights` or in the plan, valid until those are
 * wiped. Inputs are copied first and may lie anywhere. A graph that could not be planned runs node
 * by node: shapes are inferred as it goes, memory is taken from the arena that the plan was made in
 * (each run takes anew; outputs lie there) and both budgets hold: EML_E_REFUSED. Errors:
 * EML_E_INPUT (an index tensor points out of range at run time), EML_E_USAGE (inputs, room or
 * threads are not those planned for). */
EML_MUST enum eml_err eml_plan_run(const struct eml_plan *p, struct eml_bytes weights,
                                   const struct eml_tensor *inputs, struct eml_room activations,
                                   struct eml_pool *pool, struct eml_tensor *outputs,
                                   struct eml_why *why);

/* Weights that are opened block by block while a plan runs. */
#define EML_WEIGHTS_BLOCK 65536u
struct eml_weights_source {
    void *ctx;
    uint64_t blocks; /* of the whole stream; the last one is filled up */
    /* Puts block `block` of the plaintext stream into out (EML_WEIGHTS_BLOCK long), after it was
     * found authentic; on failure out holds no plaintext. Any number of threads at once. */
    enum eml_err (*fetch)(void *ctx, uint64_t block, struct eml_room out);
    /* Likewise bytes [at, at + out.len) of the stream, within one block; NULL: the source vouches
     * for whole blocks only. */
    enum eml_err (*fetch_part)(void *ctx, uint64_t at, struct eml_room out);
};

/* Bytes that eml_plan_run_sealed needs for the weights that are in clear at one time; SIZE_MAX if
 * the graph runs from weights in clear only: one that could not be planned. */
size_t eml_plan_window_bytes(const struct eml_plan *p);

/* As eml_plan_run, with the same results, from weights that are opened as they are needed: all
 * plaintext of them is in `window` (eml_plan_window_bytes, 64-byte aligned), and stays there when
 * this returns: the caller wipes it. No output lies there. Errors: also those of source->fetch
 * (why->index is the block), EML_E_INPUT (a slot lies behind the source's end). */
EML_MUST enum eml_err eml_plan_run_sealed(const struct eml_plan *p,
                                          const struct eml_weights_source *source,
                                          struct eml_room window, const struct eml_tensor *inputs,
                                          struct eml_room activations, struct eml_pool *pool,
                                          struct eml_tensor *outputs, struct eml_why *why);

/* Per-node times of the last run, for profiling tools only. */
struct eml_plan_profile {
    uint64_t *node_ns;        /* n_nodes entries, or NULL for no profiling. Of an If: its branch */
    uint64_t (*now_ns)(void); /* a monotonic clock: the engine has none */
};
void eml_plan_set_profile(struct eml_plan *p, struct eml_plan_profile profile);
/* The shape planned for a value of the graph. */
struct eml_shape eml_plan_shape(const struct eml_plan *p, uint32_t value);

/* What is known of a value before running: for decomposition and checks. */
struct eml_known {
    enum eml_dtype dtype;
    bool has_rank;
    struct eml_shape shape; /* EML_DIM_UNKNOWN where not known */
    bool has_ints;          /* the elements of this integer value are (partly) known: */
    uint32_t n_ints;
    int64_t *ints;       /* EML_INT_UNKNOWN where not known; lies in the arena */
    enum eml_dtype elem; /* dtype SEQUENCE: of its tensors; NONE if not known */
};
#define EML_INT_UNKNOWN INT64_MIN

/* Infers what one node's outputs are from what its inputs are, with unknown dims allowed: the same
 * rules as planning. in[i] is NULL for an absent operand. Fills out[0..n_out). */
EML_MUST enum eml_err eml_infer_node(const struct eml_node *n, const struct eml_known *const *in,
                                     struct eml_known *out, struct eml_arena *arena,
                                     struct eml_why *why);

/* Control flow, lists and optionals: no plan holds them, they run node by node. */
bool eml_op_runs_dynamically(enum eml_op op);

#endif
