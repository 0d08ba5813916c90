/* Making nodes: what an ONNX operator that the graph does not have is spelled with. A maker stands
 * for one ONNX node; what it makes goes to the end of the graph and names that node as its origin.
 */
#ifndef EML_DECOMPOSE_MAKE_H
#define EML_DECOMPOSE_MAKE_H

#include "decompose/ir.h"
#include "onnx/onnx.h"

struct eml_maker {
    struct eml_ir *ir;
    const struct eml_onnx_node *node;
    long origin;
    struct eml_ir_value *const *in; /* node->n_in; NULL: omitted */
    struct eml_ir_value **out;      /* node->n_out; to be filled; NULL: has no such result */
    struct eml_why *why;
};

EML_MUST enum eml_err eml_make_refuse(const struct eml_maker *m, const char *rule);
/* Operand i; NULL if omitted or beyond the list. */
struct eml_ir_value *eml_make_operand(const struct eml_maker *m, uint32_t i);
/* Output i has a reader or is one of the model's. */
bool eml_make_wanted(const struct eml_maker *m, uint32_t i);

/* The node's attributes. */
int64_t eml_make_int(const struct eml_maker *m, const char *name, int64_t otherwise);
float eml_make_float(const struct eml_maker *m, const char *name, float otherwise);
const struct eml_onnx_attr *eml_make_ints(const struct eml_maker *m, const char *name);

/* With one output; trailing absent operands are dropped. */
struct eml_ir_node *eml_make_node(const struct eml_maker *m, enum eml_op op,
                                  struct eml_ir_value *const *in, uint32_t n_in);
struct eml_ir_value *eml_make_one(const struct eml_maker *m, enum eml_op op,
                                  struct eml_ir_value *a);
struct eml_ir_value *eml_make_two(const struct eml_maker *m, enum eml_op op, struct eml_ir_value *a,
                                  struct eml_ir_value *b);
struct eml_ir_value *eml_make_three(const struct eml_maker *m, enum eml_op op,
                                    struct eml_ir_value *a, struct eml_ir_value *b,
                                    struct eml_ir_value *c);
struct eml_ir_value *eml_make_cast(const struct eml_maker *m, struct eml_ir_value *x,
                                   enum eml_dtype to);
/* A number of x's type; a scalar int64. */
struct eml_ir_value *eml_make_number(const struct eml_maker *m, float v,
                                     const struct eml_ir_value *x);
struct eml_ir_value *eml_make_index(const struct eml_maker *m, int64_t v);
/* dims as of Reshape: 0 keeps, -1 is what is left. */
struct eml_ir_value *eml_make_reshape(const struct eml_maker *m, struct eml_ir_value *x,
                                      const int64_t *dims, uint32_t n);
struct eml_ir_value *eml_make_transpose(const struct eml_maker *m, struct eml_ir_value *x,
                                        const int64_t *perm, uint32_t n);
struct eml_ir_value *eml_make_unsqueeze(const struct eml_maker *m, struct eml_ir_value *x,
                                        int64_t axis);
/* [from, to) along an axis, by the rules of Slice: INT64_MAX is the end. */
struct eml_ir_value *eml_make_slice(const struct eml_maker *m, struct eml_ir_value *x, int64_t axis,
                                    int64_t from, int64_t to);
struct eml_ir_value *eml_make_concat(const struct eml_maker *m, int64_t axis,
                                     struct eml_ir_value *const *in, uint32_t n);
/* Dim `axis` of x, as a list of one. */
struct eml_ir_value *eml_make_dim(const struct eml_maker *m, struct eml_ir_value *x, int64_t axis);
struct eml_ir_value *eml_make_reduce(const struct eml_maker *m, enum eml_op op,
                                     struct eml_ir_value *x, const int64_t *axes, uint32_t n,
                                     bool keep);
/* Gives n the node's attributes of a window: kernel_shape, strides, pads, dilations, auto_pad,
 * group, ceil_mode, count_include_pad. */
EML_MUST enum eml_err eml_make_window(const struct eml_maker *m, struct eml_ir_node *n);

#endif
