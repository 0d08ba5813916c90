/* MatMul, Gemm and attention against loops in double precision that follow the ONNX formulas. */
#include "op_bench.h"

#include "engine/bf16.h"
#include "engine/pack.h"

/* ---- MatMul ---- */

static void check_matmul(struct eml_gen *g, int64_t m, int64_t n, int64_t k)
{
    struct bench b;
    start(&b, g, EML_OP_MATMUL);
    int64_t outer = eml_gen_range(g, 1, 3), inner = eml_gen_range(g, 1, 3);
    bool b_outer = eml_gen_bool(g), b_inner = eml_gen_bool(g), packed = eml_gen_bool(g);
    int64_t a_dim[] = {outer, eml_gen_bool(g) ? inner : 1, m, k};
    int64_t b_dim[] = {b_outer ? outer : 1, b_inner ? inner : 1, k, n};
    bool flat = eml_gen_bool(g); /* b of rank 2 */
    inner = a_dim[1] > b_dim[1] || flat ? a_dim[1] : b_dim[1];
    b.in[0] = tensor(g, 4, a_dim);
    b.in[1] = tensor(g, flat ? 2 : 4, flat ? b_dim + 2 : b_dim);
    int64_t out_dim[] = {outer, inner, m, n};
    b.out = tensor(g, 4, out_dim);
    draw_fusion(&b, n, eml_gen_bool(g));
    const float *pa = b.in[0].data, *pb = b.in[1].data;
    double *want = wanted(&b);
    b.k = (double)k;
    for (int64_t i = 0; i < b.out.count; i++) {
        int64_t column = i % n, row = i / n % m, in = i / n / m % inner, out = i / n / m / inner;
        const float *a = pa + ((out * a_dim[1] + (a_dim[1] > 1 ? in : 0)) * m + row) * k;
        int64_t matrix = flat ? 0 : (b_dim[0] > 1 ? out : 0) * b_dim[1] + (b_dim[1] > 1 ? in : 0);
        double s = 0;
        for (int64_t x = 0; x < k; x++)
            s += (double)a[x] * (double)pb[(matrix * k + x) * n + column];
        want[i] = fuse(&b, s, i);
    }
    float *weights = NULL;
    void *raw = b.in[1].data;
    if (packed) {
        size_t batch = (size_t)(flat ? 1 : b_dim[0] * b_dim[1]);
        weights =
            malloc((batch * eml_pack_panel16_floats((size_t)k, (size_t)n) + 1) * sizeof *weights);
        assert_non_null(weights);
        eml_pack_panel16(weights, raw, batch, (size_t)k, (size_t)n, (size_t)(k * n), (size_t)n, 1);
        b.in[1].data = weights;
        b.in[1].layout = EML_LAYOUT_PANEL16;
    }
    check(&b, eml_op_matmul, eml_scratch_matmul, want);
    b.in[1].data = raw;
    finish(&b, weights);
    free(want);
}

static float rounded(float x)
{
    uint32_t bits = (uint32_t)eml_bf16_of(x) << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* Weights of bfloat16: as if both operands had been rounded. */
static void check_matmul_bf16(struct eml_gen *g, int64_t m, int64_t n, int64_t k)
{
    struct bench b;
    start(&b, g, EML_OP_MATMUL);
    bool batch = eml_gen_bool(g);
    b.in[0] = tensor(g, 3, (int64_t[]){2, m, k});
    b.in[1] = tensor(g, 3, (int64_t[]){batch ? 2 : 1, k, n});
    b.out = tensor(g, 3, (int64_t[]){2, m, n});
    draw_fusion(&b, n, eml_gen_bool(g));
    float *pa = b.in[0].data, *pb = b.in[1].data;
    double *want = wanted(&b);
    b.k = (double)k;
    for (int64_t i = 0; i < b.out.count; i++) {
        int64_t column = i % n, row = i / n, matrix = batch ? row / m : 0;
        double s = 0;
        for (int64_t x = 0; x < k; x++)
            s += (double)rounded(pa[row * k + x]) *
                 (double)rounded(pb[(matrix * k + x) * n + column]);
        want[i] = fuse(&b, s, i);
    }
    size_t words =
        (size_t)(batch ? 2 : 1) * eml_pack_panel16_floats((size_t)(k + 1) / 2, (size_t)n);
    uint32_t *packed = malloc((words + 1) * sizeof *packed);
    assert_non_null(packed);
    packed[words] = 77;
    eml_pack_panel16_bf16(packed, pb, batch ? 2 : 1, (size_t)k, (size_t)n);
    assert_int_equal(packed[words], 77);
    b.in[1].data = packed;
    b.in[1].layout = EML_LAYOUT_PANEL16_BF16;
    check(&b, eml_op_matmul, eml_scratch_matmul, want);
    b.in[1].data = pb;
    finish(&b, NULL);
    free(packed);
    free(want);
}

static void bf16_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("bf16");
    for (int i = 0; i < 150; i++)
        check_matmul_bf16(&g, eml_gen_range(&g, 1, 20), eml_gen_range(&g, 1, 70),
                          eml_gen_range(&g, 1, 90));
    check_matmul_bf16(&g, 9, 30, 8001); /* K in several ranges, odd */
}

static void matmul_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("matmul");
    for (int i = 0; i < 300; i++)
        check_matmul(&g, eml_gen_range(&g, 0, 40), eml_gen_range(&g, 0, 100),
                     eml_gen_range(&g, 0, 70));
    check_matmul(&g, 130, 64, 128); /* attention */
    check_matmul(&g, 3, 96, 5000);  /* K in ranges */
    check_matmul(&g, 200, 500, 300);
}

static void matmul_takes_vectors(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("vectors");
    struct bench b;
    int64_t k = 37, n = 21, b_dim[] = {k, n};
    for (int form = 0; form < 2; form++) { /* [k] x [k, n], [n, k] x [k] */
        start(&b, &g, EML_OP_MATMUL);
        int64_t a_dim[] = {n, k};
        b.in[0] = form ? tensor(&g, 2, a_dim) : tensor(&g, 1, &k);
        b.in[1] = form ? tensor(&g, 1, &k) : tensor(&g, 2, b_dim);
        b.out = tensor(&g, 1, &n);
        b.n_in = 2;
        double *want = wanted(&b);
        const float *x = b.in[0].data, *y = b.in[1].data;
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < k; j++)
                want[i] += form ? (double)x[i * k + j] * (double)y[j]
                                : (double)x[j] * (double)y[j * n + i];
        }
        check(&b, eml_op_matmul, eml_scratch_matmul, want);
        finish(&b, NULL);
        free(want);
    }
}

/* ---- Gemm ---- */

static void check_gemm(struct eml_gen *g)
{
    struct bench b;
    start(&b, g, EML_OP_GEMM);
    int64_t m = eml_gen_range(g, 1, 30), n = eml_gen_range(g, 1, 60), k = eml_gen_range(g, 0, 50);
    bool ta = eml_gen_bool(g), tb = eml_gen_bool(g), simple = eml_gen_bool(g);
    int64_t a_dim[] = {ta ? k : m, ta ? m : k}, b_dim[] = {tb ? n : k, tb ? k : n};
    int64_t out_dim[] = {m, n};
    b.in[0] = tensor(g, 2, a_dim);
    b.in[1] = tensor(g, 2, b_dim);
    b.out = tensor(g, 2, out_dim);
    b.params[0] = simple ? 1.0F : 0.5F;
    b.params[1] = simple ? 1.0F : -1.5F;
    b.n_params = 2;
    draw_fusion(&b, n, true);
    set_int(&b, EML_ATTR_TRANS_A, ta);
    set_int(&b, EML_ATTR_TRANS_B, tb);
    free(b.in[2].data);
    int64_t c_dim[] = {eml_gen_bool(g) ? m : 1, eml_gen_bool(g) ? n : 1};
    uint32_t c_rank = (uint32_t)eml_gen_range(g, 0, 2);
    b.in[2] = tensor(g, c_rank, c_dim + 2 - c_rank);
    const float *pa = b.in[0].data, *pb = b.in[1].data, *pc = b.in[2].data;
    double *want = wanted(&b);
    for (int64_t i = 0; i < m * n; i++) {
        int64_t row = i / n, column = i % n, c_columns = c_rank > 0 ? c_dim[1] : 1;
        double s = 0;
        for (int64_t x = 0; x < k; x++)
            s += (double)pa[ta ? x * m + row : row * k + x] *
                 (double)pb[tb ? column * k + x : x * n + column];
        int64_t c_row = c_rank == 2 && c_dim[0] > 1 ? row : 0;
        s = s * (double)b.params[0] +
            (double)b.params[1] * (double)pc[c_row * c_columns + (c_columns > 1 ? column : 0)];
        want[i] = fuse(&b, s, i);
    }
    check(&b, eml_op_gemm, eml_scratch_gemm, want);
    finish(&b, NULL);
    free(want);
}

static void gemm_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("gemm");
    for (int i = 0; i < 300; i++)
        check_gemm(&g);
}

/* ---- attention ---- */

static double score(const struct bench *b, int64_t batch, int64_t head, int64_t i, int64_t j)
{
    const struct eml_view *q = &b->in[0], *k = &b->in[1], *m = &b->in[3];
    int64_t c = q->shape.dim[2], heads = b->node.attr[0].v[0], d = c / heads;
    const float *pq = (const float *)q->data + (batch * q->shape.dim[1] + i) * c + head * d;
    const float *pk = (const float *)k->data + (batch * k->shape.dim[1] + j) * c + head * d;
    double s = 0;
    for (int64_t x = 0; x < d; x++)
        s += (double)pq[x] * (double)pk[x];
    s *= (double)b->params[0];
    if (b->n_in < 4)
        return s;
    const int64_t full[4] = {batch, head, i, j};
    int64_t at = 0;
    for (uint32_t x = 0; x < m->shape.rank; x++) {
        int64_t n = m->shape.dim[x];
        at = at * n + (n > 1 ? full[4 - m->shape.rank + x] : 0);
    }
    return s + (double)((const float *)m->data)[at];
}

static void attention_row(const struct bench *b, double *want, int64_t batch, int64_t head,
                          int64_t i)
{
    const struct eml_view *v = &b->in[2];
    int64_t keys = v->shape.dim[1], c = v->shape.dim[2], e = c / b->node.attr[0].v[0];
    double total = 0, top = -INFINITY;
    for (int64_t j = 0; j < keys; j++)
        top = fmax(top, score(b, batch, head, i, j));
    for (int64_t j = 0; j < keys; j++) {
        double p = exp(score(b, batch, head, i, j) - top);
        total += p;
        for (int64_t x = 0; x < e; x++)
            want[x] += p * (double)((const float *)v->data)[(batch * keys + j) * c + head * e + x];
    }
    for (int64_t x = 0; x < e; x++)
        want[x] /= total > 0 ? total : 1;
}

static void check_attention(struct eml_gen *g, int64_t batch, int64_t heads, int64_t queries,
                            int64_t keys)
{
    struct bench b;
    start(&b, g, EML_OP_ATTENTION);
    int64_t d = eml_gen_range(g, 1, 40), e = 16 * eml_gen_range(g, 1, 5);
    b.in[0] = tensor(g, 3, (int64_t[]){batch, queries, heads * d});
    b.in[1] = tensor(g, 3, (int64_t[]){batch, keys, heads * d});
    b.in[2] = tensor(g, 3, (int64_t[]){batch, keys, heads * e});
    b.n_in = 3;
    if (eml_gen_bool(g)) {
        int64_t m[4] = {eml_gen_bool(g) ? batch : 1, eml_gen_bool(g) ? heads : 1,
                        eml_gen_bool(g) ? queries : 1, keys};
        uint32_t drop = (uint32_t)eml_gen_range(g, 0, 3);
        b.in[b.n_in++] = tensor(g, 4 - drop, m + drop);
    }
    set_int(&b, EML_ATTR_NUM_HEADS, heads);
    b.params[0] = eml_gen_bool(g) ? 1 : 0.4F;
    b.n_params = 1;
    b.out = tensor(g, 3, (int64_t[]){batch, queries, heads * e});
    b.k = (double)(keys + d);
    double *want = wanted(&b);
    for (int64_t i = 0; i < batch * queries * heads; i++)
        attention_row(&b, want + i * e, i / heads / queries, i % heads, i / heads % queries);
    check(&b, eml_op_attention, eml_scratch_attention, want);
    finish(&b, NULL);
    free(want);
}

static void attention_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("attention");
    for (int i = 0; i < 60; i++)
        check_attention(&g, eml_gen_range(&g, 1, 3), eml_gen_range(&g, 1, 5),
                        eml_gen_range(&g, 1, 30), eml_gen_range(&g, 1, 70));
    check_attention(&g, 1, 2, 300, 40); /* several tasks per head */
    check_attention(&g, 1, 2, 5, 0);
}

/* ---- operands that do not fit ---- */

static void wrong_operands_are_refused(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("wrong");
    int64_t a_dim[] = {3, 4}, b_dim[] = {4, 5}, out_dim[] = {3, 5}, four = 4;
    struct bench b;
    start(&b, &g, EML_OP_MATMUL);
    b.in[0] = tensor(&g, 2, a_dim);
    b.in[1] = tensor(&g, 2, b_dim);
    b.in[2] = tensor(&g, 1, &four);
    b.in[3] = tensor(&g, 2, a_dim);
    b.out = tensor(&g, 2, out_dim);
    uint8_t scratch[4096];
    struct eml_why why;
    struct eml_op_ctx c = {.node = &b.node,
                           .in = b.in,
                           .out = &b.out,
                           .n_in = 3,
                           .n_out = 1,
                           .params = b.params,
                           .scratch = EML_ROOM(scratch),
                           .threads = 1,
                           .kernels = &eml_kernels_ref,
                           .why = &why};
    assert_int_equal(eml_op_matmul(&c), EML_E_INPUT);
    assert_string_equal(why.rule, "bias: not one per output channel");
    c.n_in = 4;
    struct eml_view bias = b.in[2];
    b.in[2] = (struct eml_view){.dtype = EML_DT_NONE};
    assert_int_equal(eml_op_matmul(&c), EML_E_INPUT);
    assert_string_equal(why.rule, "residual: shape is not the output's");
    b.in[2] = bias;
    c.n_in = 3;
    set_int(&b, EML_ATTR_ACT, EML_ACT_PRELU);
    assert_int_equal(eml_op_matmul(&c), EML_E_INPUT);
    assert_string_equal(why.rule, "activation: slope is not one per channel");
    b.ints[0][0] = EML_ACT_CLIP;
    assert_int_equal(eml_op_matmul(&c), EML_E_INPUT);
    assert_string_equal(why.rule, "activation: its numbers are missing");
    b.n_in = 4;
    finish(&b, NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(matmul_matches),    cmocka_unit_test(matmul_takes_vectors),
    cmocka_unit_test(gemm_matches),      cmocka_unit_test(bf16_matches),
    cmocka_unit_test(attention_matches), cmocka_unit_test(wrong_operands_are_refused),
};
RUN_WITH_POOLS(tests)
