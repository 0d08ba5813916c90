/* The engine's time and addresses do not depend on values, for the operators of which the threat
 * model says so: small graphs with weights and inputs tainted as in ct.c, on one thread, with the
 * AVX2 kernels. Memcheck knows no AVX-512; the portable kernels, for CPUs without AVX2, use
 * functions of the C library that branch. Cases whose names say "leak" depend on data, as the
 * threat model says, too: memcheck must report them.
 */
#include "../unit/engine/graph_builder.h"

#include "engine/kernels/kernels.h"

#include <stdio.h>
#include <valgrind/memcheck.h>

enum { ROWS = 9, WIDTH = 40, FLOATS_MAX = 1 << 16 };

/* Weights of a layout, the values being what gb_new left. */
static uint32_t weights(struct gb *b, struct eml_shape s, enum eml_layout layout, size_t floats)
{
    size_t at = b->weight_bytes, bytes = floats * sizeof(float);
    b->weight_bytes += (bytes + 63) & ~(size_t)63;
    assert_true(b->weight_bytes <= GB_WEIGHTS);
    return gb_value(b, (struct eml_value){.kind = EML_VALUE_SLOT,
                                          .dtype = EML_DT_F32,
                                          .shape = s,
                                          .layout = layout,
                                          .offset = at,
                                          .bytes = bytes});
}

static uint32_t vector(struct gb *b, int64_t n)
{
    return weights(b, SHAPE(n), EML_LAYOUT_PLAIN, (size_t)n);
}

static size_t panels(int64_t n)
{
    return (size_t)(n + 15) / 16 * 16;
}

static uint32_t rows(struct gb *b)
{
    return gb_input(b, EML_DT_F32, SHAPE(ROWS, WIDTH));
}

static void products(struct gb *b)
{
    uint32_t packed = weights(b, SHAPE(WIDTH, 70), EML_LAYOUT_PANEL16, WIDTH * panels(70));
    uint32_t plain = weights(b, SHAPE(70, 33), EML_LAYOUT_PLAIN, 70 * 33);
    uint32_t x = NODE(b, MATMUL, OF(rows(b), packed, vector(b, 70)));
    x = NODE(b, ADD, OF(NODE(b, MATMUL, OF(x, plain)), vector(b, 33)));
    plain = weights(b, SHAPE(33, 5), EML_LAYOUT_PLAIN, 33 * 5);
    gb_output(b, NODE(b, GEMM, OF(x, plain), .params = {1.0F, 1.0F}, .n_params = 2));
}

/* The three ways: by small squares (winograd.h), channel by channel, and as products. */
static void convolutions(struct gb *b)
{
    const int64_t c = 64, o = 64;
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(1, 16, 16, c));
    uint32_t w = weights(b, SHAPE(o, c, 3, 3), EML_LAYOUT_PANEL16, 9 * (size_t)c * panels(o));
    struct gb_node n = {.op = EML_OP_CONV,
                        OF(x, w, vector(b, o)),
                        .attr = {{EML_ATTR_PADS, 4, {1, 1, 1, 1}}, {EML_ATTR_GROUP, 1, {o}}},
                        .n_attr = 1};
    n.in[0] = NODE(b, RELU, OF(gb_add(b, n)));
    n.in[1] = weights(b, SHAPE(o, 1, 3, 3), EML_LAYOUT_DEPTHWISE, 9 * panels(o));
    n.n_attr = 2;
    x = gb_add(b, n);
    w = weights(b, SHAPE(8, o, 1, 1), EML_LAYOUT_PANEL16, (size_t)o * panels(8));
    gb_output(b, NODE(b, CONV, OF(x, w, vector(b, 8))));
}

static void arithmetic(struct gb *b)
{
    static const enum eml_op two[] = {EML_OP_ADD, EML_OP_SUB, EML_OP_MUL,   EML_OP_DIV,
                                      EML_OP_MIN, EML_OP_MAX, EML_OP_EQUAL, EML_OP_LESS};
    uint32_t x = rows(b), y = rows(b);
    for (size_t i = 0; i < sizeof two / sizeof two[0]; i++) {
        const struct gb_node n = {.op = two[i], OF(x, y)};
        gb_output(b, gb_add(b, n));
    }
    gb_output(b, NODE(b, TRANSPOSE, OF(x)));
    gb_output(b, NODE(b, REDUCE_SUM, OF(x, INTS(b, 1))));
    gb_output(b, NODE(b, CLIP, OF(x)));
}

static void normalisations(struct gb *b)
{
    const struct gb_node layer = {.op = EML_OP_LAYER_NORMALIZATION,
                                  OF(rows(b), vector(b, WIDTH), vector(b, WIDTH)),
                                  .params = {1e-5F},
                                  .n_params = 1};
    uint32_t x = NODE(b, SOFTMAX, OF(gb_add(b, layer)));
    x = NODE(b, REDUCE_MEAN, OF(x, INTS(b, -1)));
    gb_output(b, NODE(b, SQRT, OF(x)));
}

static void activations(struct gb *b)
{
    static const enum eml_op ops[] = {EML_OP_RELU, EML_OP_TANH, EML_OP_SIGMOID,    EML_OP_ERF,
                                      EML_OP_EXP,  EML_OP_GELU, EML_OP_HARD_SWISH, EML_OP_SQRT,
                                      EML_OP_ABS,  EML_OP_NEG,  EML_OP_RECIPROCAL};
    uint32_t x = rows(b);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        const struct gb_node n = {.op = ops[i], OF(x)};
        gb_output(b, gb_add(b, n));
    }
    const struct gb_node leaky = {.op = EML_OP_LEAKY_RELU, OF(x), .params = {0.01F}, .n_params = 1};
    gb_output(b, gb_add(b, leaky));
}

static void attention(struct gb *b)
{
    const struct eml_shape s = SHAPE(1, ROWS, 64);
    uint32_t q = gb_input(b, EML_DT_F32, s), k = gb_input(b, EML_DT_F32, s);
    uint32_t v = gb_input(b, EML_DT_F32, s);
    gb_output(
        b, NODE(b, ATTENTION, OF(q, k, v), WITH1(NUM_HEADS, 4), .params = {0.3F}, .n_params = 1));
}

static void pooling(struct gb *b)
{
    uint32_t image = gb_input(b, EML_DT_F32, SHAPE(1, 8, 8, 5));
    const struct gb_node max = {
        .op = EML_OP_MAX_POOL,
        OF(image),
        .attr = {{EML_ATTR_KERNEL_SHAPE, 2, {3, 3}}, {EML_ATTR_STRIDES, 2, {2, 2}}},
        .n_attr = 2};
    gb_output(b, gb_add(b, max));
    gb_output(b, NODE(b, GLOBAL_AVERAGE_POOL, OF(image)));
}

/* A function that the C library computes. */
static void leak_by_library(struct gb *b)
{
    gb_output(b, NODE(b, SOFTPLUS, OF(rows(b))));
}

/* Rows of a table, by numbers of the request. */
static void leak_by_index(struct gb *b)
{
    uint32_t table = weights(b, SHAPE(WIDTH, ROWS), EML_LAYOUT_PLAIN, WIDTH * ROWS);
    gb_output(b, NODE(b, GATHER, OF(table, gb_input(b, EML_DT_I64, SHAPE(3)))));
}

static void leak_by_search(struct gb *b)
{
    gb_output(b, NODE(b, ARG_MAX, OF(rows(b))));
}

/* Not a node's own numbers (a scale, a slope): they are the model's, the same for each request. */
static void taint_weights(struct gb *b)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(b->weights, b->weight_bytes);
    for (uint32_t i = 0; i < b->g.n_nodes; i++) {
        uint32_t params = b->nodes[i].params;
        if (params != EML_ABSENT)
            (void)VALGRIND_MAKE_MEM_DEFINED(b->weights + b->values[params].offset,
                                            b->values[params].bytes);
    }
}

/* One run; 0 if it ended well. */
static int run(void (*build)(struct gb *))
{
    static union {
        float f[FLOATS_MAX];
        int64_t i[FLOATS_MAX / 2];
    } data; /* zeros: any of them is an index, too */
    struct eml_tensor in[GB_IO] = {{0}}, out[GB_IO];
    struct eml_plan *plan;
    struct eml_pool *pool;
    struct eml_why why = {0};
    struct gb *b = gb_new();
    build(b);
    for (uint32_t i = 0; i < b->g.n_inputs; i++) {
        const struct eml_known *k = &b->known[b->inputs[i].value];
        size_t bytes = (size_t)gb_count(k->shape) * eml_dtype_bytes(k->dtype);
        assert_true(bytes <= sizeof data);
        in[i] = (struct eml_tensor){
            .dtype = k->dtype, .shape = k->shape, .data = &data, .bytes = bytes};
    }
    if (eml_plan_make(&b->g, in, EML_ISA_AVX2, 1, NULL, &b->arena, &plan, &why) != EML_OK ||
        eml_pool_create(1, &pool) != EML_OK) {
        (void)fprintf(stderr, "%s at node %ld\n", why.rule == NULL ? "" : why.rule, why.index);
        return 1;
    }
    size_t n = eml_plan_activation_bytes(plan);
    uint8_t *room = eml_arena_alloc(&b->arena, n, 64);
    assert_non_null(room);
    (void)VALGRIND_MAKE_MEM_UNDEFINED(&data, sizeof data);
    taint_weights(b);
    enum eml_err e = eml_plan_run(plan, eml_bytes(b->weights, GB_WEIGHTS), in,
                                  (struct eml_room){room, n}, pool, out, &why);
    (void)VALGRIND_MAKE_MEM_DEFINED(&data, sizeof data);
    eml_pool_destroy(pool);
    gb_free(b);
    return e == EML_OK ? 0 : 1;
}

static const struct {
    const char *name;
    void (*build)(struct gb *);
} cases[] = {
    {"products", products},
    {"convolutions", convolutions},
    {"normalisations", normalisations},
    {"activations", activations},
    {"attention", attention},
    {"pooling", pooling},
    {"arithmetic", arithmetic},
    {"leak-by-index", leak_by_index},
    {"leak-by-search", leak_by_search},
    {"leak-by-library", leak_by_library},
};

int main(int argc, char **argv)
{
    if (argc != 2) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            (void)puts(cases[i].name);
        return 0;
    }
    /* A machine without AVX2 has nothing to check. */
    bool shown = eml_kernels_for(EML_ISA_AVX2) != eml_kernels_for(EML_ISA_REF);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            return shown || strncmp(argv[1], "leak", 4) == 0 ? run(cases[i].build) : 0;
    return 2;
}
