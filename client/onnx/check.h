/* Can the engine run this model? Every reason why not, at once.
 *
 * Each node is held against two tables: history.def (what the ONNX standard says of the operator
 * version in force under the model's opset: arity, attributes and their types) and model/ops.def
 * plus import.def (which of that this engine does). What depends on shapes is found by the dry run
 * of decomposition, which appends to the same report. A model is accepted if the report stays
 * empty.
 * A report owns its texts and outlives the model. Reasons may quote names of the model: they are
 * for its owner, at the client.
 */
#ifndef EML_ONNX_CHECK_H
#define EML_ONNX_CHECK_H

#include "onnx/onnx.h"

#include <stdio.h>

/* The newest opset of ai.onnx whose operators are known here. */
enum { EML_CHECK_OPSET_MAX = 23 };

enum eml_check_kind {
    EML_CHECK_OPSET,     /* imported opset too new; a domain that is not known */
    EML_CHECK_OPERATOR,  /* operator not supported, or not in the standard */
    EML_CHECK_VERSION,   /* operator supported, but not in the version in force */
    EML_CHECK_ATTRIBUTE, /* attribute or its value not supported, unknown, missing, or mistyped */
    EML_CHECK_ARITY,     /* too few or too many operands, or an output that is not supported */
    EML_CHECK_TYPE,      /* element type, or a value that is no tensor */
    EML_CHECK_SHAPE,     /* found by the dry run: shapes do not fit, or are out of range */
    EML_CHECK_OTHER,     /* found by the dry run: anything else */
    EML_CHECK_KINDS
};
/* "opset", "operator", ... */
const char *eml_check_kind_name(enum eml_check_kind k);

#define EML_CHECK_NO_NODE UINT32_MAX /* the problem is the model's, not one node's */

struct eml_check_problem {
    uint32_t node; /* index, or EML_CHECK_NO_NODE: then the next three are "" */
    char *node_name, *domain, *op;
    int64_t opset; /* imported for the node's domain; for the model, ai.onnx's */
    enum eml_check_kind kind;
    char *reason;
};

struct eml_check_report { /* zeroed: empty */
    struct eml_check_problem *list;
    size_t n, cap;
    bool failed; /* out of memory: the list is incomplete */
};

/* Appends. `node` is an index into m->nodes or EML_CHECK_NO_NODE. */
void eml_check_add(struct eml_check_report *r, const struct eml_onnx_model *m, uint32_t node,
                   enum eml_check_kind kind, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Appends all that can be seen without shapes. EML_OK if that went well, whether or not problems
 * were found; EML_E_SYSTEM if memory ran out. */
EML_MUST enum eml_err eml_check_static(const struct eml_onnx_model *m, struct eml_check_report *r);

/* Whether the engine has the element type at all; which operators take it says ops.def. */
bool eml_check_dtype(int32_t dtype);

/* One line per problem, or that there is none. `path` names the model in it. */
EML_MUST enum eml_err eml_check_print(const struct eml_check_report *r, const char *path,
                                      FILE *out);
/* {"model": path, "supported": bool, "problems": [{"node": index or null, "name", "domain", "op",
 * "opset", "kind", "reason"}]} and a newline. */
EML_MUST enum eml_err eml_check_print_json(const struct eml_check_report *r, const char *path,
                                           FILE *out);

void eml_check_free(struct eml_check_report *r); /* empty and usable afterwards */

#endif
