/* What a model is built with and owned by. Private to this folder. */
#ifndef EML_ONNX_STORE_H
#define EML_ONNX_STORE_H

#include "onnx/onnx.h"
#include "onnx/pool.h"

#include "onnx-ml.pb-c.h"

struct eml_onnx_external { /* one external data file, mapped until the model is freed */
    const char *location;
    struct eml_bytes map;
    struct eml_onnx_external *next;
};

struct eml_onnx_store {
    struct eml_onnx_pool pool;
    struct eml_onnx_external *external;
    uint32_t n_external;
    const char *dir; /* where external data lies; NULL = none allowed. Only while loading. */
    struct eml_onnx_diag diag;
};

/* Records a refusal (rule is a literal; subject is cut and made printable) and returns e. */
enum eml_err eml_onnx_refuse(struct eml_onnx_store *s, enum eml_err e, const char *rule, long index,
                             const char *subject);
/* The error of a NULL from the pool. */
enum eml_err eml_onnx_no_memory(struct eml_onnx_store *s);
/* "" for NULL. */
const char *eml_onnx_str(const char *s);

/* Reads, checks and lays out one tensor. `t` must stay in the pool: data may be borrowed from it.
 */
EML_MUST enum eml_err eml_onnx_tensor_read(struct eml_onnx_store *s, const Onnx__TensorProto *t,
                                           long index, struct eml_onnx_tensor *out);
/* Bytes of external data that hold exactly `need` bytes. */
EML_MUST enum eml_err eml_onnx_external_data(struct eml_onnx_store *s, const Onnx__TensorProto *t,
                                             size_t need, long index, struct eml_bytes *out);
/* `call`: the node that calls the function in whose body n stands, or NULL. */
EML_MUST enum eml_err eml_onnx_attrs_read(struct eml_onnx_store *s, const Onnx__NodeProto *n,
                                          long index, const struct eml_onnx_node *call,
                                          struct eml_onnx_node *out);
EML_MUST enum eml_err eml_onnx_type_read(struct eml_onnx_store *s, const Onnx__TypeProto *t,
                                         const char *name, struct eml_onnx_type *out);
/* Fills m (zeroed) from the message. */
EML_MUST enum eml_err eml_onnx_build(struct eml_onnx_store *s, const Onnx__ModelProto *p,
                                     struct eml_onnx_model *m);

#endif
