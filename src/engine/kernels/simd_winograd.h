/* Winograd's F(4x4, 3x3) transforms of one instruction set, in the words of simd_<isa>.h; included
 * by simd_gemm.h only. Contracts: kernels.h.
 *
 * Toom-Cook with the points 0, +-A, +-B, infinity (Lavin and Gray, arXiv 1509.09308, section 4.3,
 * with A = 1, B = 2). A = 5/8 and B = 3/2 are exact floats and, measured on sums of 128 x 9
 * products, err only twice as much as the direct sum does; 1 and 2 err four times as much.
 */
#ifndef EML_ENGINE_KERNELS_SIMD_WINOGRAD_H
#define EML_ENGINE_KERNELS_SIMD_WINOGRAD_H

#define WA 0.625F
#define WB 1.5F
#define WA2 (WA * WA)
#define WB2 (WB * WB)

/* Rows of B^T: the coefficients of prod (x - q) over the other points q. */
INLINE void winograd_input_1d(vf *y, const vf *d)
{
    vf ta = v_fma(d[2], v_set(-WB2), d[4]), ua = v_set(WA) * v_fma(d[1], v_set(-WB2), d[3]);
    vf tb = v_fma(d[2], v_set(-WA2), d[4]), ub = v_set(WB) * v_fma(d[1], v_set(-WA2), d[3]);
    y[0] = v_fma(d[0], v_set(WA2 * WB2), v_fma(d[2], v_set(-WA2 - WB2), d[4]));
    y[1] = ta + ua;
    y[2] = ta - ua;
    y[3] = tb + ub;
    y[4] = tb - ub;
    y[5] = v_fma(d[1], v_set(WA2 * WB2), v_fma(d[3], v_set(-WA2 - WB2), d[5]));
}

/* Rows of G: 1, p, p^2 over prod (p - q). */
INLINE void winograd_weights_1d(vf *y, const vf *g)
{
    vf sa = v_set(0.5F / (WA2 * (WA2 - WB2))) * v_fma(g[2], v_set(WA2), g[0]);
    vf ua = v_set(0.5F / (WA * (WA2 - WB2))) * g[1];
    vf sb = v_set(0.5F / (WB2 * (WB2 - WA2))) * v_fma(g[2], v_set(WB2), g[0]);
    vf ub = v_set(0.5F / (WB * (WB2 - WA2))) * g[1];
    y[0] = v_set(1 / (WA2 * WB2)) * g[0];
    y[1] = sa + ua;
    y[2] = sa - ua;
    y[3] = sb + ub;
    y[4] = sb - ub;
    y[5] = g[2];
}

/* Rows of A^T: powers of the points. */
INLINE void winograd_output_1d(vf *y, const vf *m)
{
    vf pa = m[1] + m[2], qa = m[1] - m[2], pb = m[3] + m[4], qb = m[3] - m[4];
    y[0] = m[0] + (pa + pb);
    y[1] = v_fma(qa, v_set(WA), qb * v_set(WB));
    y[2] = v_fma(pa, v_set(WA2), pb * v_set(WB2));
    y[3] = v_fma(qa, v_set(WA2 * WA), v_fma(qb, v_set(WB2 * WB), m[5]));
}

INLINE void winograd_input_vector(float *v, size_t v_step, const float *const *x, size_t j,
                                  size_t left)
{
    vf t[6][6], in[6], out[6];
    for (size_t i = 0; i < 6; i++) {
        EACH(r, 0, 6) in[r] = get(x[r * 6 + i] + j, left);
        winograd_input_1d(out, in);
        EACH(r, 0, 6) t[r][i] = out[r];
    }
    for (size_t r = 0; r < 6; r++) {
        winograd_input_1d(out, t[r]);
        EACH(i, 0, 6) put(v + (r * 6 + i) * v_step + j, left, out[i]);
    }
}

static void winograd_input(float *v, size_t v_step, const float *const *x, size_t c)
{
    size_t j = 0;
    for (; j + VL <= c; j += VL)
        winograd_input_vector(v, v_step, x, j, VL);
    if (j < c)
        winograd_input_vector(v, v_step, x, j, c - j);
}

static void winograd_weights(float *u, size_t u_step, const float *w, size_t w_step, size_t n)
{
    for (size_t j = 0; j < n; j += VL) {
        vf t[6][3], in[3], out[6];
        for (size_t i = 0; i < 3; i++) {
            EACH(r, 0, 3) in[r] = v_load(w + (r * 3 + i) * w_step + j);
            winograd_weights_1d(out, in);
            EACH(r, 0, 6) t[r][i] = out[r];
        }
        for (size_t r = 0; r < 6; r++) {
            winograd_weights_1d(out, t[r]);
            EACH(i, 0, 6) v_store(u + (r * 6 + i) * u_step + j, out[i]);
        }
    }
}

INLINE void winograd_output_vector(const struct eml_winograd_tile *o, size_t j, size_t left)
{
    vf t[4][6], in[6], out[4];
    for (size_t i = 0; i < 6; i++) {
        EACH(r, 0, 6) in[r] = get(o->m + (r * 6 + i) * o->m_step + j, left);
        winograd_output_1d(out, in);
        EACH(r, 0, 4) t[r][i] = out[r];
    }
    for (size_t r = 0; r < o->rows; r++) {
        winograd_output_1d(out, t[r]);
        const float *residual = o->epilogue->residual ? o->epilogue->residual + r * o->y_row : NULL;
        float *y = o->y + r * o->y_row;
        EACH(i, 0, 4)
        {
            if (i < o->columns)
                put(y + i * o->y_pixel + j, left,
                    finish_vector(out[i], o->epilogue, residual ? residual + i * o->y_pixel : NULL,
                                  j, left));
        }
    }
}

static void winograd_output(const struct eml_winograd_tile *o)
{
    size_t j = 0;
    for (; j + VL <= o->c; j += VL)
        winograd_output_vector(o, j, VL);
    if (j < o->c)
        winograd_output_vector(o, j, o->c - j);
    enum eml_act a = o->epilogue->act.act;
    if (!is_costly(a))
        return;
    for (size_t r = 0; r < o->rows; r++) {
        for (size_t i = 0; i < o->columns; i++) {
            float *y = o->y + r * o->y_row + i * o->y_pixel;
            act(y, y, o->c, &o->epilogue->act);
        }
    }
}

#undef WA
#undef WB
#undef WA2
#undef WB2

#endif
