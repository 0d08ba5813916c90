/* GFLOP/s of convolutions as real networks have them, by instruction set, one and two threads:
 *     bench_conv [part of a layer's name]
 * Through the operator, so that everything but planning is included. */
#include "engine/exec.h"
#include "engine/kernels/kernels.h"
#include "engine/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOWS = 5 };

struct layer {
    const char *what;
    int64_t size, in, out, kernel, stride, group;
    enum eml_act act;
};

static const struct layer layers[] = {
    {"ResNet stem 7x7", 224, 3, 64, 7, 2, 1, EML_ACT_RELU},
    {"ResNet 3x3 56", 56, 64, 64, 3, 1, 1, EML_ACT_RELU},
    {"ResNet 3x3 28", 28, 128, 128, 3, 1, 1, EML_ACT_RELU},
    {"ResNet 3x3 14", 14, 256, 256, 3, 1, 1, EML_ACT_RELU},
    {"ResNet 3x3 7", 7, 512, 512, 3, 1, 1, EML_ACT_RELU},
    {"ResNet 1x1 56 up", 56, 64, 256, 1, 1, 1, EML_ACT_NONE},
    {"ResNet 1x1 14 down", 14, 1024, 256, 1, 1, 1, EML_ACT_RELU},
    {"ResNet 1x1 stride 2", 56, 256, 512, 1, 2, 1, EML_ACT_NONE},
    {"MobileNet stem", 224, 3, 32, 3, 2, 1, EML_ACT_CLIP},
    {"MobileNet dw 112", 112, 32, 32, 3, 1, 32, EML_ACT_CLIP},
    {"MobileNet dw 112/2", 112, 96, 96, 3, 2, 96, EML_ACT_CLIP},
    {"MobileNet dw 28", 28, 192, 192, 3, 1, 192, EML_ACT_CLIP},
    {"MobileNet dw 14", 14, 576, 576, 3, 1, 576, EML_ACT_CLIP},
    {"OCR dw 5x5 40", 40, 240, 240, 5, 1, 240, EML_ACT_HARD_SWISH},
    {"OCR det 3x3 160", 160, 96, 24, 3, 1, 1, EML_ACT_RELU},
    {"DenseNet 3x3 28", 28, 128, 32, 3, 1, 1, EML_ACT_NONE},
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct eml_view tensor(int64_t a, int64_t b, int64_t c, int64_t d)
{
    struct eml_view v = {.dtype = EML_DT_F32, .shape = {4, {a, b, c, d}}, .count = a * b * c * d};
    float *p = aligned_alloc(64, ((size_t)v.count * sizeof *p + 127) / 64 * 64);
    if (!p)
        abort();
    for (int64_t i = 0; i < v.count; i++)
        p[i] = (float)(i % 17) * 0.1F - 0.8F;
    v.data = p;
    return v;
}

/* Packs w in place of the plain weights. */
static void pack(const struct layer *l, struct eml_view *w)
{
    size_t taps = (size_t)(l->kernel * l->kernel), ci = (size_t)(l->in / l->group);
    size_t o = (size_t)l->out, group = (size_t)l->group;
    bool depthwise = l->group == l->in && l->group == l->out;
    size_t n = depthwise ? taps * eml_pack_panel16_floats(1, o)
                         : group * eml_pack_panel16_floats(taps * ci, o / group);
    float *p = aligned_alloc(64, (n * sizeof *p + 127) / 64 * 64);
    if (!p)
        abort();
    if (depthwise)
        eml_pack_depthwise(p, w->data, o, taps);
    else
        eml_pack_conv(p, w->data, o, ci, taps, group);
    free(w->data);
    w->data = p;
    w->layout = depthwise ? EML_LAYOUT_DEPTHWISE : EML_LAYOUT_PANEL16;
}

static double window(const struct eml_op_ctx *c, double flops)
{
    double start = now(), end;
    size_t runs = 0;
    do {
        if (eml_op_conv(c) != EML_OK)
            abort();
        runs++;
        end = now();
    } while (end - start < 0.02);
    return flops * (double)runs / (end - start) * 1e-9;
}

static void bench(const struct layer *l, struct eml_pool *const pools[2])
{
    int64_t pad = l->kernel / 2, out = (l->size + 2 * pad - l->kernel) / l->stride + 1;
    int64_t pads[] = {pad, pad, pad, pad}, strides[] = {l->stride, l->stride}, act = l->act;
    struct eml_attr attr[] = {{EML_ATTR_ACT, 1, &act},
                              {EML_ATTR_PADS, 4, pads},
                              {EML_ATTR_STRIDES, 2, strides},
                              {EML_ATTR_GROUP, 1, &l->group}};
    struct eml_node node = {.op = EML_OP_CONV, .n_attr = 4, .attr = attr};
    struct eml_view in[3] = {tensor(1, l->size, l->size, l->in),
                             tensor(l->out, l->in / l->group, l->kernel, l->kernel),
                             tensor(1, 1, 1, l->out)};
    struct eml_view y = tensor(1, out, out, l->out);
    float params[2] = {act == EML_ACT_HARD_SWISH ? 1.0F / 6 : 0, act == EML_ACT_CLIP ? 6 : 0.5F};
    double flops = 2.0 * (double)(out * out * l->out * l->in / l->group * l->kernel * l->kernel);
    pack(l, &in[1]);
    printf("%-20s %6.1f", l->what, flops * 1e-6);
    double best[3][2] = {{0}};
    for (int w = 0; w < WINDOWS; w++) {
        for (unsigned i = 0; i < 3; i++) {
            for (int t = 0; t < 2; t++) {
                struct eml_op_ctx c = {.node = &node,
                                       .in = in,
                                       .out = &y,
                                       .n_in = 3,
                                       .n_out = 1,
                                       .params = params,
                                       .n_params = (uint32_t)eml_act_params(l->act),
                                       .threads = 2,
                                       .pool = pools[t],
                                       .kernels = eml_kernels_for((enum eml_isa)i)};
                if (!eml_scratch_conv(&c, &c.scratch.len))
                    abort();
                c.scratch.ptr = aligned_alloc(64, (c.scratch.len + 127) / 64 * 64);
                double f = w == 0 || i > 0 ? window(&c, flops) : 0;
                best[i][t] = f > best[i][t] ? f : best[i][t];
                free(c.scratch.ptr);
            }
        }
    }
    for (int i = 0; i < 3; i++)
        printf("  %6.1f %6.1f", best[i][0], best[i][1]);
    printf("\n");
    fflush(stdout);
    for (int i = 0; i < 3; i++)
        free(in[i].data);
    free(y.data);
}

int main(int argc, char **argv)
{
    struct eml_pool *pools[2] = {NULL, NULL};
    if (eml_pool_create(2, &pools[1]) != EML_OK)
        return 1;
    printf("%-20s %6s", "GFLOP/s", "MFLOP");
    for (unsigned i = 0; i < 3; i++)
        printf("  %6s %6s", eml_isa_name((enum eml_isa)i), "2 thr.");
    printf("\n");
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (argc < 2 || strstr(layers[i].what, argv[1]))
            bench(&layers[i], pools);
    eml_pool_destroy(pools[1]);
    return 0;
}
