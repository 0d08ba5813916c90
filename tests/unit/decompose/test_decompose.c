#include "decompose/decompose.h"

#include "testsupport/pb.h"
#include "testsupport/support.h"
#include "topology/topology.h"

#include <string.h>

#define NAMES(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
static const struct eml_decompose_options options = {.version = 3, .min_version = 2};

/* y = relu(x * w + b), x [?, 4], or with op "Fantasy" instead of Relu. */
static struct eml_onnx_model *linear(const char *last)
{
    struct eml_buf g = {0}, file = {0};
    struct eml_onnx_model *m;
    float w[4 * 5], b[5];
    for (size_t i = 0; i < 20; i++)
        w[i] = 0.37f * (float)i - 2;
    for (size_t i = 0; i < 5; i++)
        b[i] = 1.1f * (float)i;
    eml_pb_value(&g, 11, "x", EML_DT_F32, (int64_t[]){-1, 4}, 2);
    eml_pb_value(&g, 12, "y", EML_DT_F32, (int64_t[]){-1, 5}, 2);
    eml_pb_tensor(&g, 5, "w", EML_DT_F32, (int64_t[]){4, 5}, 2, eml_bytes(w, sizeof w));
    eml_pb_tensor(&g, 5, "b", EML_DT_F32, (int64_t[]){5}, 1, eml_bytes(b, sizeof b));
    eml_pb_node(&g, "", "MatMul", NAMES("x", "w"), NAMES("p"), NULL);
    eml_pb_node(&g, "", "Add", NAMES("p", "b"), NAMES("s"), NULL);
    eml_pb_node(&g, "", last, NAMES("s"), NAMES("y"), NULL);
    eml_pb_model(&file, 7, &g, 13);
    assert_int_equal(eml_onnx_parse(eml_buf_bytes(&file), NULL, &m, NULL), EML_OK);
    eml_buf_free(&file);
    return m;
}

static void a_model_comes_apart(void **state)
{
    struct eml_onnx_model *m = linear("Relu");
    struct eml_decomposed d;
    struct eml_check_report report = {0};
    struct eml_arena arena;
    struct eml_topology t;
    struct eml_why why;
    (void)state;
    assert_int_equal(eml_decompose(m, &options, &d, &report), EML_OK);
    assert_int_equal(report.n, 0);
    assert_int_equal(d.nodes_before, 3);
    assert_int_equal(d.nodes_after, 1);
    assert_int_equal(d.sealed.len, eml_blob_sealed_bytes(d.chunks));
    assert_int_equal(eml_arena_create(&arena, 1 << 24), EML_OK);
    assert_int_equal(eml_topology_decode(eml_buf_bytes(&d.topology), &arena, &t, &why), EML_OK);
    assert_int_equal(t.blob.version, 3);
    assert_int_equal(t.min_version, 2);
    assert_memory_equal(t.blob.object_id, d.object_id, sizeof d.object_id);
    assert_memory_equal(t.blob.model_id, d.model_id, sizeof d.model_id);
    assert_int_equal(t.graph.nodes[0].op, EML_OP_MATMUL);
    assert_int_equal(eml_node_int(&t.graph.nodes[0], EML_ATTR_ACT, 0), EML_ACT_RELU);
    (void)eml_arena_destroy(&arena);
    eml_decomposed_free(&d);
    assert_null(d.topology.ptr);
    eml_check_free(&report);
    eml_onnx_free(m);
}

static void a_refusal_lists_the_node(void **state)
{
    struct eml_onnx_model *m = linear("Fantasy");
    struct eml_decomposed d;
    struct eml_check_report report = {0};
    (void)state;
    assert_int_equal(eml_decompose(m, &options, &d, &report), EML_E_UNSUPPORTED);
    assert_int_equal(report.n, 1);
    assert_int_equal(report.list[0].node, 2);
    assert_string_equal(report.list[0].op, "Fantasy");
    assert_null(d.topology.ptr);
    assert_null(d.sealed.ptr);
    eml_check_free(&report);

    assert_int_equal(eml_decompose_check(m, &report), EML_OK);
    assert_int_equal(report.n, 1);
    eml_check_free(&report);
    eml_onnx_free(m);
}

static void check_and_decompose_agree(void **state)
{
    struct eml_onnx_model *m = linear("Relu");
    struct eml_check_report report = {0};
    (void)state;
    assert_int_equal(eml_decompose_check(m, &report), EML_OK);
    assert_int_equal(report.n, 0);
    eml_onnx_free(m);
}

/* Two products that do not fit, what depends on the first, an axis that is not there. */
static void every_shape_problem_is_listed(void **state)
{
    static const uint32_t nodes[] = {0, 2, 4};
    struct eml_buf g = {0}, file = {0}, axis = {0};
    struct eml_onnx_model *m;
    struct eml_check_report report = {0};
    struct eml_decomposed d;
    (void)state;
    eml_pb_value(&g, 11, "x", EML_DT_F32, (int64_t[]){3, 4}, 2);
    eml_pb_value(&g, 12, "y", EML_DT_F32, NULL, 0);
    eml_pb_value(&g, 12, "z", EML_DT_F32, NULL, 0);
    eml_pb_node(&g, "", "MatMul", NAMES("x", "x"), NAMES("a"), NULL);
    eml_pb_node(&g, "", "Relu", NAMES("a"), NAMES("b"), NULL); /* of nothing: not told */
    eml_pb_node(&g, "", "MatMul", NAMES("x", "x"), NAMES("c"), NULL);
    eml_pb_node(&g, "", "Add", NAMES("b", "c"), NAMES("y"), NULL);
    eml_pb_attr_int(&axis, "axis", 7);
    eml_pb_node(&g, "", "Softmax", NAMES("x"), NAMES("z"), &axis);
    eml_pb_model(&file, 7, &g, 13);
    assert_int_equal(eml_onnx_parse(eml_buf_bytes(&file), NULL, &m, NULL), EML_OK);
    eml_buf_free(&file);
    assert_int_equal(eml_decompose(m, &options, &d, &report), EML_E_INPUT);
    assert_int_equal(report.n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(report.list[i].node, nodes[i]);
        assert_int_equal(report.list[i].kind, EML_CHECK_SHAPE);
    }
    eml_check_free(&report);
    eml_onnx_free(m);
}

static void versions_must_make_sense(void **state)
{
    static const struct eml_decompose_options bad[] = {{.min_version = 0},
                                                       {.version = 1, .min_version = 2}};
    struct eml_onnx_model *m = linear("Relu");
    struct eml_check_report report = {0};
    struct eml_decomposed d;
    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(eml_decompose(m, &bad[i], &d, &report), EML_E_USAGE);
    eml_onnx_free(m);
}

/* The weight is a panel of 2 pairs of rows; sums of four products err by about 2^-9 of them. */
static void weights_become_bfloat16_when_asked(void **state)
{
    const struct eml_decompose_options rounded = {.version = 1, .min_version = 1, .bf16 = true};
    struct eml_onnx_model *m = linear("Relu");
    struct eml_decomposed d;
    struct eml_check_report report = {0};
    struct eml_arena arena;
    struct eml_topology t;
    struct eml_why why;
    (void)state;
    assert_int_equal(eml_decompose(m, &options, &d, &report), EML_OK);
    assert_false(d.loss.measured);
    eml_decomposed_free(&d);
    assert_int_equal(eml_decompose(m, &rounded, &d, &report), EML_OK);
    assert_true(d.loss.measured);
    assert_true(d.loss.rms > 1 && d.loss.rms < 10);
    assert_true(d.loss.error > 1e-5 && d.loss.error < 0.02);
    assert_true(d.loss.largest >= d.loss.error && d.loss.largest < 0.05);
    assert_int_equal(eml_arena_create(&arena, 1 << 24), EML_OK);
    assert_int_equal(eml_topology_decode(eml_buf_bytes(&d.topology), &arena, &t, &why), EML_OK);
    const struct eml_value *w = &t.graph.values[t.graph.nodes[0].in[1]];
    assert_int_equal(w->layout, EML_LAYOUT_PANEL16_BF16);
    assert_int_equal(w->bytes, 2 * 16 * 4);
    (void)eml_arena_destroy(&arena);
    eml_decomposed_free(&d);
    eml_check_free(&report);
    eml_onnx_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_comes_apart),
        cmocka_unit_test(a_refusal_lists_the_node),
        cmocka_unit_test(check_and_decompose_agree),
        cmocka_unit_test(every_shape_problem_is_listed),
        cmocka_unit_test(versions_must_make_sense),
        cmocka_unit_test(weights_become_bfloat16_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
