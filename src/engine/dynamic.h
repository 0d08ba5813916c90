/* Running what cannot be planned: graphs whose sizes depend on data, with control flow (If, Loop,
 * Scan, SequenceMap), lists and optionals.
 *
 * Node after node: infer from what the operands turned out to be, take memory, run the kernel, give
 * back what nobody reads any more. Bodies run on a stack of frames, never deeper than
 * EML_GRAPH_DEPTH_MAX. Bounded by the plan's budget (memory taken from the arena; work summed up)
 * and by EML_ITERATIONS_MAX. Trusts the graph as far as eml_graph_check has checked it, and no
 * data.
 */
#ifndef EML_ENGINE_DYNAMIC_H
#define EML_ENGINE_DYNAMIC_H

#include "engine/item.h"
#include "engine/plan.h"

EML_MUST enum eml_err eml_dynamic_plan(const struct eml_graph *g, enum eml_isa isa,
                                       unsigned threads, const struct eml_budget *budget,
                                       struct eml_arena *arena, struct eml_plan **out,
                                       struct eml_why *why);

/* As eml_plan_run. On failure the arena is as before. */
EML_MUST enum eml_err eml_dynamic_run(const struct eml_plan *p, struct eml_bytes weights,
                                      const struct eml_tensor *inputs, struct eml_pool *pool,
                                      struct eml_tensor *outputs, struct eml_why *why);

/* ---- lists and optionals: dynamic_list.c ---- */

/* One node of those operators. in[i] is NULL for an omitted operand; *out is held by the caller. */
EML_MUST enum eml_err eml_list_op(struct eml_heap *h, const struct eml_node *n,
                                  struct eml_item *const *in, struct eml_item **out,
                                  struct eml_why *why);

/* The tensors of a list in one, along an axis; with new_axis each is one entry of it. `none` is the
 * type of the result of an empty list, which has the shape [0]. */
EML_MUST enum eml_err eml_list_join(struct eml_heap *h, const struct eml_item *list, int64_t axis,
                                    bool new_axis, bool backwards, enum eml_dtype none,
                                    struct eml_item **out, struct eml_why *why);
/* Entries [begin, begin + n) along an axis, in range; with squeeze, n = 1 and the axis goes. */
EML_MUST enum eml_err eml_list_cut(struct eml_heap *h, const struct eml_item *x, uint32_t axis,
                                   int64_t begin, int64_t n, bool squeeze, struct eml_item **out,
                                   struct eml_why *why);
/* A single integer or bool. */
EML_MUST enum eml_err eml_item_int(const struct eml_item *x, int64_t *v, struct eml_why *why);

#endif
