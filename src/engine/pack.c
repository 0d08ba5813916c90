#include "engine/pack.h"

#include "engine/bf16.h"

#include <string.h>

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t eml_pack_panel16_floats(size_t k, size_t n)
{
    return k * ((n + EML_PANEL - 1) / EML_PANEL * EML_PANEL);
}

typedef float quad __attribute__((vector_size(16)));

static quad load(const float *p)
{
    quad q;
    memcpy(&q, p, sizeof q);
    return q;
}

static void store(float *p, quad q)
{
    memcpy(p, &q, sizeof q);
}

/* Elements (i, j) of 4 x 4 at out[i*EML_PANEL + j] and at src[i + j*stride]. */
static void transpose(float *out, const float *src, size_t stride)
{
    quad a = load(src), b = load(src + stride), c = load(src + 2 * stride);
    quad d = load(src + 3 * stride);
    quad ac0 = __builtin_shufflevector(a, c, 0, 4, 1, 5);
    quad ac2 = __builtin_shufflevector(a, c, 2, 6, 3, 7);
    quad bd0 = __builtin_shufflevector(b, d, 0, 4, 1, 5);
    quad bd2 = __builtin_shufflevector(b, d, 2, 6, 3, 7);
    store(out, __builtin_shufflevector(ac0, bd0, 0, 4, 1, 5));
    store(out + EML_PANEL, __builtin_shufflevector(ac0, bd0, 2, 6, 3, 7));
    store(out + 2 * EML_PANEL, __builtin_shufflevector(ac2, bd2, 0, 4, 1, 5));
    store(out + 3 * EML_PANEL, __builtin_shufflevector(ac2, bd2, 2, 6, 3, 7));
}

/* One panel of `columns` columns; elements (i, j) at src[i*row_stride + j*col_stride]. */
static void panel(float *restrict out, const float *restrict src, size_t k, size_t columns,
                  size_t row_stride, size_t col_stride)
{
    if (columns == EML_PANEL && col_stride == 1) {
        for (size_t i = 0; i < k; i++)
            memcpy(out + i * EML_PANEL, src + i * row_stride, EML_PANEL * sizeof(float));
        return;
    }
    size_t i = 0;
    for (; columns == EML_PANEL && row_stride == 1 && i + 4 <= k; i += 4) {
        for (size_t j = 0; j < EML_PANEL; j += 4)
            transpose(out + i * EML_PANEL + j, src + i + j * col_stride, col_stride);
    }
    for (; i < k; i++) {
        for (size_t j = 0; j < columns; j++)
            out[i * EML_PANEL + j] = src[i * row_stride + j * col_stride];
        for (size_t j = columns; j < EML_PANEL; j++)
            out[i * EML_PANEL + j] = 0;
    }
}

void eml_pack_panel16(float *restrict out, const float *restrict src, size_t batch, size_t k,
                      size_t n, size_t batch_stride, size_t row_stride, size_t col_stride)
{
    for (size_t b = 0; b < batch; b++) {
        for (size_t j = 0; j < n; j += EML_PANEL) {
            panel(out, src + b * batch_stride + j * col_stride, k, min_size(n - j, EML_PANEL),
                  row_stride, col_stride);
            out += k * EML_PANEL;
        }
    }
}

static uint32_t pair(float low, float high)
{
    return eml_bf16_of(low) | (uint32_t)eml_bf16_of(high) << 16;
}

void eml_pack_panel16_bf16(uint32_t *restrict out, const float *restrict src, size_t batch,
                           size_t k, size_t n)
{
    for (size_t b = 0; b < batch; b++, src += k * n) {
        for (size_t panel0 = 0; panel0 < n; panel0 += EML_PANEL) {
            for (size_t i = 0; i < k; i += 2) {
                for (size_t j = panel0; j < panel0 + EML_PANEL; j++)
                    *out++ = j < n ? pair(src[i * n + j], i + 1 < k ? src[(i + 1) * n + j] : 0) : 0;
            }
        }
    }
}

void eml_pack_conv(float *restrict out, const float *restrict w, size_t o, size_t i, size_t taps,
                   size_t group)
{
    size_t n = o / group, k = taps * i;
    for (size_t g = 0; g < group; g++) {
        for (size_t j = 0; j < n; j += EML_PANEL) {
            const float *src = w + (g * n + j) * k;
            size_t columns = min_size(n - j, EML_PANEL);
            for (size_t t = 0; t < taps; t++)
                panel(out + t * i * EML_PANEL, src + t, i, columns, taps, k);
            out += k * EML_PANEL;
        }
    }
}

void eml_pack_depthwise(float *restrict out, const float *restrict w, size_t c, size_t taps)
{
    size_t stride = eml_pack_panel16_floats(1, c);
    for (size_t t = 0; t < taps; t++) {
        for (size_t j = 0; j < stride; j++)
            out[t * stride + j] = j < c ? w[j * taps + t] : 0;
    }
}

void eml_pack_conv_transpose(float *restrict out, const float *restrict w, size_t i, size_t o,
                             size_t taps, size_t group)
{
    size_t k = i / group, n = taps * o;
    for (size_t g = 0; g < group; g++) {
        for (size_t panel0 = 0; panel0 < n; panel0 += EML_PANEL) {
            for (size_t row = 0; row < k; row++) {
                const float *src = w + (g * k + row) * o * taps;
                for (size_t j = panel0; j < panel0 + EML_PANEL; j++)
                    *out++ = j < n ? src[j % o * taps + j / o] : 0;
            }
        }
    }
}
