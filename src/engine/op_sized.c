/* Operators whose results' sizes depend on elements: each has a size function besides its kernel.
 */
#include "engine/exec.h"
#include "engine/typed.h"

#include <string.h>

static bool nonzero_at(const struct eml_view *x, int64_t i)
{
    size_t bytes = eml_dtype_bytes(x->dtype);
    uint64_t v = 0;
    if (x->dtype == EML_DT_F32)
        return ((const float *)x->data)[i] != 0;
    if (x->dtype == EML_DT_F64)
        return ((const double *)x->data)[i] != 0;
    memcpy(&v, (const uint8_t *)x->data + (size_t)i * bytes, bytes);
    if (x->dtype == EML_DT_F16 || x->dtype == EML_DT_BF16)
        v &= 0x7fff; /* minus zero is zero */
    return v != 0;
}

enum eml_err eml_size_non_zero(const struct eml_op_ctx *c, struct eml_shape *shape)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->in[0].count; i++)
        n += nonzero_at(&c->in[0], i);
    shape[0].dim[1] = n;
    return EML_OK;
}

/* y[d][k]: coordinate d of the k-th element that is not zero, in row-major order. */
enum eml_err eml_op_non_zero(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    int64_t n = y->shape.dim[1], k = 0, at[EML_RANK_MAX] = {0}, *out = y->data;
    for (int64_t i = 0; i < x->count; i++) {
        if (nonzero_at(x, i)) {
            for (uint32_t d = 0; d < x->shape.rank; d++)
                out[d * n + k] = at[d];
            k++;
        }
        for (uint32_t d = x->shape.rank; d-- > 0 && ++at[d] == x->shape.dim[d];)
            at[d] = 0;
    }
    return EML_OK;
}
