// link: decompose onnx topology blob
/* Property 1, the halves that are the client's: for generated models, no number of the model
 * (weights, scalars, float attributes) occurs in the topology key, and decomposing twice gives
 * sealed bytes that have nothing in common.
 *
 * A key holds some hundred bytes of ids and structure, in which four bytes can equal a float by
 * chance. A leak shows for every set of weights, so a hit counts only if the same structure with
 * other weights hits again.
 */
#include "decompose/decompose.h"
#include "testsupport/cases.h"
#include "testsupport/pb.h"
#include "testsupport/support.h"
#include "topology/topology.h"

#include <string.h>

enum { CASES = 120, LAYERS_MAX = 5, WIDTH_MAX = 24, FLOATS_MAX = 8192 };
#define NAMES(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

struct model {
    struct eml_gen structure, numbers; /* separate, so that one structure can have other numbers */
    struct eml_buf graph;
    float used[FLOATS_MAX];
    size_t n_used;
    char names[64][8];
    size_t n_names;
    int64_t width;
};

static const char *name(struct model *m)
{
    char *s = m->names[m->n_names];
    s[0] = 'v';
    s[1] = (char)('a' + m->n_names / 26);
    s[2] = (char)('a' + m->n_names % 26);
    s[3] = '\0';
    m->n_names++;
    return s;
}

static float draw(struct model *m)
{
    float v = eml_gen_f32(&m->numbers, 0.01f, 1);
    assert_true(m->n_used < FLOATS_MAX);
    m->used[m->n_used++] = v;
    return v;
}

/* A constant of drawn numbers. */
static const char *weights(struct model *m, const int64_t *dims, size_t rank)
{
    float data[WIDTH_MAX * WIDTH_MAX];
    const char *s = name(m);
    size_t n = 1;
    for (size_t i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    assert_true(n <= sizeof data / sizeof data[0]);
    for (size_t i = 0; i < n; i++)
        data[i] = draw(m);
    eml_pb_tensor(&m->graph, 5, s, EML_DT_F32, dims, rank, eml_bytes(data, n * sizeof *data));
    return s;
}

static const char *layer(struct model *m, const char *x)
{
    struct eml_buf a = {0};
    int64_t next = eml_gen_range(&m->structure, 1, WIDTH_MAX);
    const char *y = name(m);
    switch (eml_gen_range(&m->structure, 0, 6)) {
    case 0:
        eml_pb_node(&m->graph, "", "MatMul", NAMES(x, weights(m, (int64_t[]){m->width, next}, 2)),
                    NAMES(y), NULL);
        m->width = next;
        break;
    case 1:
        eml_pb_attr_f32(&a, "alpha", draw(m));
        eml_pb_attr_f32(&a, "beta", draw(m));
        eml_pb_node(
            &m->graph, "", "Gemm",
            NAMES(x, weights(m, (int64_t[]){m->width, next}, 2), weights(m, (int64_t[]){next}, 1)),
            NAMES(y), &a);
        m->width = next;
        break;
    case 2:
        eml_pb_attr_f32(&a, "alpha", draw(m));
        eml_pb_node(&m->graph, "", "LeakyRelu", NAMES(x), NAMES(y), &a);
        break;
    case 3:
        eml_pb_attr_f32(&a, "min", -draw(m));
        eml_pb_attr_f32(&a, "max", draw(m));
        eml_pb_node(&m->graph, "", "Clip", NAMES(x), NAMES(y), &a);
        break;
    case 4:
        eml_pb_node(&m->graph, "", "Mul", NAMES(x, weights(m, NULL, 0)), NAMES(y), NULL);
        break;
    case 5:
        eml_pb_node(&m->graph, "", "Add", NAMES(weights(m, (int64_t[]){m->width}, 1), x), NAMES(y),
                    NULL);
        break;
    default:
        eml_pb_attr_f32(&a, "epsilon", draw(m));
        eml_pb_node(&m->graph, "", "BatchNormalization",
                    NAMES(x, weights(m, &m->width, 1), weights(m, &m->width, 1),
                          weights(m, &m->width, 1), weights(m, &m->width, 1)),
                    NAMES(y), &a);
        break;
    }
    return y;
}

/* With at most so many layers. */
static struct eml_onnx_model *generate(struct model *m, unsigned most, uint64_t structure,
                                       uint64_t numbers)
{
    struct eml_buf file = {0};
    struct eml_onnx_model *onnx;
    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < 4; i++) {
        m->structure.state[i] = structure * 0x9E3779B97F4A7C15u + i + 1;
        m->numbers.state[i] = numbers * 0xD1342543DE82EF95u + i + 1;
    }
    m->width = eml_gen_range(&m->structure, 1, WIDTH_MAX);
    eml_pb_value(&m->graph, 11, "x", EML_DT_F32, (int64_t[]){-1, m->width}, 2);
    int64_t n = eml_gen_range(&m->structure, 1, most);
    const char *x = "x";
    for (int64_t i = 0; i < n; i++)
        x = layer(m, x);
    eml_pb_node(&m->graph, "", "MatMul", NAMES(x, weights(m, (int64_t[]){m->width, 3}, 2)),
                NAMES("y"), NULL);
    eml_pb_value(&m->graph, 12, "y", EML_DT_F32, (int64_t[]){-1, 3}, 2);
    eml_pb_model(&file, 7, &m->graph, 9);
    assert_int_equal(eml_onnx_parse(eml_buf_bytes(&file), NULL, &onnx, NULL), EML_OK);
    eml_buf_free(&file);
    return onnx;
}

static struct eml_decomposed decomposed(const struct eml_onnx_model *onnx)
{
    static const struct eml_decompose_options options = {.version = 1, .min_version = 1};
    struct eml_check_report report = {0};
    struct eml_decomposed d;
    assert_int_equal(eml_decompose(onnx, &options, &d, &report), EML_OK);
    eml_check_free(&report);
    return d;
}

static bool contains(struct eml_bytes haystack, const uint8_t needle[4])
{
    for (size_t i = 0; i + 4 <= haystack.len; i++)
        if (memcmp(haystack.ptr + i, needle, 4) == 0)
            return true;
    return false;
}

/* Any of the n floats, in either byte order. */
static bool any_float(struct eml_bytes key, const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t le[4], be[4];
        memcpy(le, &v[i], 4);
        for (size_t k = 0; k < 4; k++)
            be[k] = le[3 - k];
        if (v[i] != 0 && (contains(key, le) || contains(key, be)))
            return true;
    }
    return false;
}

/* The numbers of the model, and those that folding made of them: the plaintext stream. */
static bool leaks(unsigned most, uint64_t structure, uint64_t numbers)
{
    struct model *m = test_malloc(sizeof *m);
    struct eml_onnx_model *onnx = generate(m, most, structure, numbers);
    struct eml_decomposed d = decomposed(onnx);
    struct eml_bytes key = eml_buf_bytes(&d.topology);
    struct eml_arena arena;
    struct eml_topology t;
    struct eml_why why;
    assert_int_equal(eml_arena_create(&arena, (size_t)1 << 26), EML_OK);
    assert_int_equal(eml_topology_decode(key, &arena, &t, &why), EML_OK);
    size_t room = (size_t)t.blob.chunks * EML_CHUNK_BYTES;
    uint8_t *plain = eml_arena_alloc(&arena, room, 64);
    assert_non_null(plain);
    assert_int_equal(eml_blob_open(&t.blob, eml_buf_bytes(&d.sealed), &arena,
                                   (struct eml_room){plain, room}, &why),
                     EML_OK);
    float *folded = eml_arena_alloc(&arena, room, 64);
    assert_non_null(folded);
    memcpy(folded, plain, (size_t)t.blob.plain_bytes);
    bool hit = any_float(key, m->used, m->n_used) ||
               any_float(key, folded, (size_t)t.blob.plain_bytes / sizeof(float));
    (void)eml_arena_destroy(&arena);
    eml_decomposed_free(&d);
    eml_onnx_free(onnx);
    test_free(m);
    return hit;
}

static void key_without_weight(struct eml_gen *g, unsigned most)
{
    uint64_t structure = eml_gen_u64(g);
    bool always = true;
    for (int k = 0; k < 3 && always; k++)
        always = leaks(most, structure, eml_gen_u64(g));
    assert_false(always);
}

static void no_weight_is_in_the_key(void **state)
{
    struct eml_gen g = eml_gen_seeded("prop_01_topology: key");
    (void)state;
    eml_cases(&g, CASES, LAYERS_MAX, key_without_weight);
    eml_assured(CASES,
                "generated models: no weight, scalar or float attribute occurs in the topology "
                "key; sealing twice gives unrelated bytes");
}

/* The scan finds what it looks for. */
static void a_planted_weight_is_found(void **state)
{
    (void)state;
    const float v[] = {0.1f, 0.7301f};
    uint8_t key[64] = {0};
    assert_false(any_float(EML_BYTES(key), v, 2));
    memcpy(key + 41, &v[1], 4);
    assert_true(any_float(EML_BYTES(key), v, 2));
}

static void unrelated_twins(struct eml_gen *g, unsigned most)
{
    struct model *m = test_malloc(sizeof *m);
    uint64_t structure = eml_gen_u64(g), numbers = eml_gen_u64(g);
    struct eml_onnx_model *onnx = generate(m, most, structure, numbers);
    struct eml_decomposed a = decomposed(onnx), b = decomposed(onnx);
    size_t equal = 0;
    assert_int_equal(a.sealed.len, b.sealed.len);
    for (size_t k = 0; k < a.sealed.len; k++)
        equal += a.sealed.ptr[k] == b.sealed.ptr[k];
    /* one in 256 by chance; a chunk has 65552 bytes, so a third more is 5 sigma away */
    assert_true(equal < a.sealed.len / 192);
    assert_memory_not_equal(a.object_id, b.object_id, sizeof a.object_id);
    assert_memory_not_equal(a.model_id, b.model_id, sizeof a.model_id);
    eml_decomposed_free(&a);
    eml_decomposed_free(&b);
    eml_onnx_free(onnx);
    test_free(m);
}

static void sealing_twice_gives_unrelated_bytes(void **state)
{
    struct eml_gen g = eml_gen_seeded("prop_01_topology: sealing");
    (void)state;
    eml_cases(&g, CASES, LAYERS_MAX, unrelated_twins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EML_CASES_TEST(no_weight_is_in_the_key),
        cmocka_unit_test(a_planted_weight_is_found),
        EML_CASES_TEST(sealing_twice_gives_unrelated_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
