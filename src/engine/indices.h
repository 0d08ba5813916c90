/* Indices are data: they can hold anything. Kernels read them through these two. */
#ifndef EML_ENGINE_INDICES_H
#define EML_ENGINE_INDICES_H

#include "engine/exec.h"

/* Element i of a tensor of int64 or int32. */
static inline int64_t eml_index_at(const struct eml_view *k, int64_t i)
{
    return k->dtype == EML_DT_I64 ? ((const int64_t *)k->data)[i] : ((const int32_t *)k->data)[i];
}

/* In [0, n), counting from the end if negative; -1 if it is out of range. */
static inline int64_t eml_index_in(int64_t at, int64_t n)
{
    if (at < -n || at >= n)
        return -1;
    return at < 0 ? at + n : at;
}

EML_MUST static inline enum eml_err eml_index_bad(const struct eml_op_ctx *c)
{
    return eml_fail(c->why, EML_E_INPUT, "index out of range", -1);
}

#endif
