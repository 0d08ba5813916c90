/* Helpers of the inference rules (infer_*.c). Not for other files.
 *
 * Dims are >= 0 or EML_DIM_UNKNOWN; elements of known integers are any int64 but INT64_MIN, which
 * means unknown. Every helper keeps to that, and a rule that cannot say something says "unknown":
 * it never guesses. Failures are EML_E_INPUT with the rule's name.
 */
#ifndef EML_ENGINE_INFER_H
#define EML_ENGINE_INFER_H

#include "engine/exec.h"

EML_MUST enum eml_err eml_rule_fail(const struct eml_rule_ctx *c, const char *rule);
/* EML_OK if it holds, else the failure. */
EML_MUST enum eml_err eml_rule_demand(const struct eml_rule_ctx *c, bool holds, const char *rule);
/* EML_E_UNSUPPORTED: the operator's kernel does not take the type. */
EML_MUST enum eml_err eml_rule_refuse_type(const struct eml_rule_ctx *c, enum eml_dtype t);

static inline bool eml_dim_known(int64_t d)
{
    return d != EML_DIM_UNKNOWN;
}

/* Could be the same dim. */
static inline bool eml_dim_agrees(int64_t a, int64_t b)
{
    return !eml_dim_known(a) || !eml_dim_known(b) || a == b;
}

/* The operand, or NULL if it is omitted (also when the node has fewer). */
const struct eml_known *eml_rule_in(const struct eml_rule_ctx *c, uint32_t i);
bool eml_dtype_is_int(enum eml_dtype t); /* integers and bool */

/* Normalises an axis: -rank <= axis < rank. */
EML_MUST enum eml_err eml_rule_axis(const struct eml_rule_ctx *c, int64_t axis, uint32_t rank,
                                    uint32_t *out);
/* A list of axes as a bit mask; repeated ones are refused. */
EML_MUST enum eml_err eml_rule_axes(const struct eml_rule_ctx *c, const int64_t *v, uint32_t n,
                                    uint32_t rank, uint32_t *mask);
/* An operand that steers: integers of rank <= 1. *full: every element is known. */
EML_MUST enum eml_err eml_rule_steer(const struct eml_rule_ctx *c, uint32_t i, bool *full);

/* Numpy broadcasting of b into *a. */
EML_MUST enum eml_err eml_rule_broadcast(const struct eml_rule_ctx *c, struct eml_shape *a,
                                         const struct eml_shape *b);

/* The product's shape and its number of columns, by the rules of MatMul. */
EML_MUST enum eml_err eml_rule_matmul_shape(const struct eml_rule_ctx *c, const struct eml_shape *a,
                                            const struct eml_shape *b, struct eml_shape *out,
                                            int64_t *n);

/* Sets output i; the shape may be NULL: not even the rank is known. */
void eml_rule_out(const struct eml_rule_ctx *c, uint32_t i, enum eml_dtype t,
                  const struct eml_shape *s);
/* Output 0 has x's type and rank (if keep_rank), and nothing else is known: a steering operand is
 * missing. A scalar has no dim that could say so, and therefore loses its rank. */
void eml_rule_out_unknown(const struct eml_rule_ctx *c, const struct eml_known *x, bool keep_rank);
/* Says that the elements of output i are (partly) known: n integers, all EML_INT_UNKNOWN, to be
 * filled. Nothing is said (NULL) if the shape is not known, the type is no integer or the value has
 * more than EML_INTS_MAX elements. *full_up: out of arena. */
int64_t *eml_rule_ints(const struct eml_rule_ctx *c, uint32_t i);
/* The same elements under another shape: Reshape and its kin. */
void eml_rule_same_ints(const struct eml_rule_ctx *c, const struct eml_known *from);
/* v if an element of this type can hold it, else EML_INT_UNKNOWN. */
int64_t eml_int_fits(enum eml_dtype t, int64_t v);
/* Index into an operand of shape s that is broadcast to `out`, of the element `at` of out. */
size_t eml_broadcast_index(const struct eml_shape *s, const struct eml_shape *out, size_t at);

/* Checks of operators whose output is like their input (rule "same"), in infer_same.c's table. */
EML_MUST enum eml_err eml_rule_check_norm(const struct eml_rule_ctx *c);

#endif
