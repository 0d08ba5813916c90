/* EyeLike, Det, Hardmax. */
#include "engine/real.h"

#include <math.h>
#include <string.h>

enum eml_err eml_op_eye_like(const struct eml_op_ctx *c)
{
    const struct eml_view *y = &c->out[0];
    int64_t rows = y->shape.dim[0], columns = y->shape.dim[1];
    int64_t k = eml_node_int(c->node, EML_ATTR_K, 0);
    if (y->count == 0)
        return EML_OK;
    memset(y->data, 0, (size_t)y->count * eml_dtype_bytes(y->dtype));
    if (k >= columns || k <= -rows)
        return EML_OK;
    for (int64_t i = k < 0 ? -k : 0; i < rows && i + k < columns; i++)
        eml_set_one(y, i * columns + i + k);
    return EML_OK;
}

bool eml_scratch_det(const struct eml_op_ctx *c, size_t *bytes)
{
    int64_t n = c->in[0].shape.dim[c->in[0].shape.rank - 1];
    *bytes = (size_t)n * (size_t)n * sizeof(double); /* n * n floats lie within the size limit */
    return true;
}

static void swap_rows(double *a, int64_t n, int64_t i, int64_t j)
{
    for (int64_t k = 0; k < n; k++) {
        double t = a[i * n + k];
        a[i * n + k] = a[j * n + k];
        a[j * n + k] = t;
    }
}

/* Gaussian elimination with partial pivoting; a [n, n] is overwritten. */
static double determinant(double *a, int64_t n)
{
    double det = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[pivot * n + k]))
                pivot = i;
        if (pivot != k) {
            swap_rows(a, n, k, pivot);
            det = -det;
        }
        double p = a[k * n + k];
        det *= p;
        if (p == 0)
            return 0;
        for (int64_t i = k + 1; i < n; i++) {
            double f = a[i * n + k] / p;
            for (int64_t j = k + 1; j < n; j++)
                a[i * n + j] -= f * a[k * n + j];
        }
    }
    return det;
}

enum eml_err eml_op_det(const struct eml_op_ctx *c)
{
    int64_t n = c->in[0].shape.dim[c->in[0].shape.rank - 1];
    double *a = (double *)(void *)c->scratch.ptr;
    for (int64_t i = 0; i < c->out[0].count; i++) {
        for (int64_t k = 0; k < n * n; k++)
            a[k] = eml_real_at(&c->in[0], i * n * n + k);
        eml_real_set(&c->out[0], i, determinant(a, n));
    }
    return EML_OK;
}

/* 1 at the first maximum along the axis, 0 elsewhere. */
enum eml_err eml_op_hardmax(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    int64_t axis = eml_node_int(c->node, EML_ATTR_AXIS, -1);
    uint32_t a = (uint32_t)(axis < 0 ? axis + (int64_t)x->shape.rank : axis);
    if (x->count == 0)
        return EML_OK;
    int64_t n = x->shape.dim[a], inner = eml_dims_product(&x->shape, a + 1, x->shape.rank);
    memset(y->data, 0, (size_t)y->count * eml_dtype_bytes(y->dtype));
    for (int64_t i = 0; i < x->count / n; i++) {
        int64_t first = i / inner * inner * n + i % inner, best = first;
        for (int64_t k = 1; k < n; k++)
            if (eml_real_at(x, first + k * inner) > eml_real_at(x, best))
                best = first + k * inner;
        eml_set_one(y, best);
    }
    return EML_OK;
}
