/* GFLOP/s of the matrix product for each instruction set and number of threads:
 *     bench_gemm [M N K]
 * Shapes are interleaved and the best of several windows is shown, so that figures of one run
 * compare even on a machine that others use too. "peak" is a loop of independent fused
 * multiply-adds: what the core can do at best at this moment. */
#include "engine/gemm.h"
#include "engine/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WINDOWS = 7, SETS = 3 };

struct shape {
    const char *what;
    size_t m, n, k;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *floats(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof *p + 127) / 64 * 64);
    if (!p)
        abort();
    for (size_t i = 0; i < n; i++)
        p[i] = (float)(i % 17) * 0.1F - 0.8F;
    return p;
}

/* One shape on one table: GFLOP/s of a window of about 20 ms. */
static double window(const struct eml_kernels *kn, struct eml_pool *pool, const struct eml_gemm *g)
{
    double flops = 2.0 * (double)g->m * (double)g->n * (double)g->k, start = now(), end;
    size_t runs = 0;
    do {
        eml_gemm_run(kn, pool, g);
        runs++;
        end = now();
    } while (end - start < 0.02);
    return flops * (double)runs / (end - start) * 1e-9;
}

/* Eight rows against one panel that stays in the first-level cache: the peak in practice. */
static double peak(const struct eml_kernels *kn)
{
    size_t k = 64;
    float *a = floats(kn->mr * k), *b = floats(k * kn->nr), *c = floats(kn->mr * kn->nr);
    const float *rows[16];
    for (size_t i = 0; i < kn->mr; i++)
        rows[i] = a + i * k;
    struct eml_tile t = {.c = c,
                         .ldc = kn->nr,
                         .m = kn->mr,
                         .n = kn->nr,
                         .rows = rows,
                         .n_blocks = 1,
                         .block = k,
                         .b = b,
                         .b_row = EML_PANEL,
                         .b_panel = EML_PANEL * k};
    double start = now(), end;
    size_t runs = 0;
    do {
        for (int i = 0; i < 100; i++)
            kn->gemm_tile(&t);
        runs += 100;
        end = now();
    } while (end - start < 0.02);
    free(a);
    free(b);
    free(c);
    return 2.0 * (double)(kn->mr * kn->nr * k * runs) / (end - start) * 1e-9;
}

static void bench(const struct shape *s, struct eml_pool *const pools[2])
{
    struct eml_gemm g = {.m = s->m,
                         .n = s->n,
                         .k = s->k,
                         .batch = 1,
                         .c = floats(s->m * s->n),
                         .ldc = s->n,
                         .lda = s->k,
                         .b_row = EML_PANEL,
                         .b_panel = EML_PANEL * s->k};
    float *a = floats(s->m * s->k), *raw = floats(s->k * s->n);
    float *b = floats(eml_pack_panel16_floats(s->k, s->n));
    eml_pack_panel16(b, raw, 1, s->k, s->n, 0, s->n, 1);
    g.a = a;
    g.b = b;
    double best[SETS][2] = {{0}}, top[SETS] = {0};
    for (int w = 0; w < WINDOWS; w++) {
        for (unsigned i = 0; i < SETS; i++) {
            const struct eml_kernels *kn = eml_kernels_for((enum eml_isa)i);
            if (kn->isa != (enum eml_isa)i || (i == EML_ISA_REF && w > 0))
                continue;
            double p = peak(kn);
            top[i] = p > top[i] ? p : top[i];
            for (int t = 0; t < 2; t++) {
                double f = window(kn, pools[t], &g);
                best[i][t] = f > best[i][t] ? f : best[i][t];
            }
        }
    }
    printf("%-22s %5zu %5zu %5zu", s->what, s->m, s->n, s->k);
    for (int i = 0; i < SETS; i++)
        printf("  %6.1f %6.1f (%5.1f)", best[i][0], best[i][1], top[i]);
    printf("\n");
    fflush(stdout);
    free(g.c);
    free(a);
    free(raw);
    free(b);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"MiniLM attention", 128, 384, 384},  {"MiniLM QKV", 128, 1152, 384},
        {"MiniLM MLP up", 128, 1536, 384},    {"MiniLM MLP down", 128, 384, 1536},
        {"BERT MLP down", 128, 768, 3072},    {"ResNet 1x1", 3136, 64, 256},
        {"ResNet 1x1 late", 49, 2048, 512},   {"MobileNet expand", 3136, 144, 24},
        {"MobileNet project", 3136, 24, 144}, {"one row", 1, 1536, 384},
        {"attention scores", 128, 128, 64},   {"deep", 64, 64, 8192},
    };
    struct eml_pool *pools[2] = {NULL, NULL};
    if (eml_pool_create(2, &pools[1]) != EML_OK)
        return 1;
    printf("%-22s %5s %5s %5s", "GFLOP/s", "M", "N", "K");
    for (unsigned i = 0; i < SETS; i++)
        printf("  %6s %6s (%5s)", eml_isa_name((enum eml_isa)i), "2 thr.", "peak");
    printf("\n");
    if (argc == 4) {
        struct shape s = {"given", strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10),
                          strtoul(argv[3], NULL, 10)};
        bench(&s, pools);
    } else {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            bench(&shapes[i], pools);
    }
    eml_pool_destroy(pools[1]);
    return 0;
}
