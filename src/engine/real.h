/* Elements of float and index tensors one by one, whatever their type: for operators whose time
 * lies elsewhere than in reading and writing. */
#ifndef EML_ENGINE_REAL_H
#define EML_ENGINE_REAL_H

#include "engine/exec.h"

/* v: float32 or float64. */
static inline double eml_real_at(const struct eml_view *v, int64_t i)
{
    return v->dtype == EML_DT_F64 ? ((const double *)v->data)[i]
                                  : (double)((const float *)v->data)[i];
}

static inline void eml_real_set(const struct eml_view *v, int64_t i, double x)
{
    if (v->dtype == EML_DT_F64)
        ((double *)v->data)[i] = x;
    else
        ((float *)v->data)[i] = (float)x;
}

/* v: int32 or int64. */
static inline int64_t eml_index_at(const struct eml_view *v, int64_t i)
{
    return v->dtype == EML_DT_I64 ? ((const int64_t *)v->data)[i] : ((const int32_t *)v->data)[i];
}

/* Element i becomes 1, whatever the type; its memory is zero. */
static inline void eml_set_one(const struct eml_view *v, int64_t i)
{
    if (v->dtype == EML_DT_F32 || v->dtype == EML_DT_F64)
        eml_real_set(v, i, 1);
    else /* little-endian */
        ((uint8_t *)v->data)[(size_t)i * eml_dtype_bytes(v->dtype)] = 1;
}

/* Whether operand or output i of n views is there. */
static inline bool eml_view_given(const struct eml_view *v, uint32_t n, uint32_t i)
{
    return i < n && v[i].dtype != EML_DT_NONE;
}

/* Product of the dims [from, to). */
static inline int64_t eml_dims_product(const struct eml_shape *s, uint32_t from, uint32_t to)
{
    int64_t p = 1;
    for (uint32_t i = from; i < to; i++)
        p *= s->dim[i];
    return p;
}

#endif
