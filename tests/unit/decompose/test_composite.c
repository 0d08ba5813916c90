/* Operators that are spelled in others: which forms are refused, and why; and that what they become
 * is what the later passes look for. That the numbers are right, the vectors of ONNX Runtime show.
 */
#include "build.h"

#include "testsupport/pb.h"

enum { IN_MAX = 9, ATTR_MAX = 5 };
#define MS "com.microsoft"
/* clang-format off */
#define F(...) {EML_DT_F32, {__VA_ARGS__, END}}
#define I(...) {EML_DT_I32, {__VA_ARGS__, END}}
#define H(...) {EML_DT_F16, {__VA_ARGS__, END}}
#define NONE {0, {END}}
/* clang-format on */
enum { END = -9 };

struct form {
    const char *domain, *op;
    struct {
        int dtype; /* 0: omitted */
        int64_t dims[6];
    } in[IN_MAX];
    struct {
        const char *name;
        int64_t v;
    } attr[ATTR_MAX];
    const char *rule; /* NULL: it is made */
};

/* clang-format off */
static const struct form forms[] = {
    {"", "Attention", {F(2, 4, 16), F(2, 6, 16), F(2, 6, 16)},
     {{"q_num_heads", 2}, {"kv_num_heads", 2}}, NULL},
    {"", "Attention", {F(2, 4, 16), F(2, 6, 16), F(2, 6, 16)},
     {{0}}, "decompose: Attention of an unknown number of heads"},
    {"", "Attention", {F(2, 3, 4, 8), F(2, 2, 6, 8), F(2, 2, 6, 8)},
     {{0}}, "decompose: heads of queries are no multiple of those of keys"},
    {"", "Attention", {F(2, 3, 4, -1), F(2, 3, 6, -1), F(2, 3, 6, 8)},
     {{0}}, "decompose: the columns of a head are not known"},
    {"", "Attention", {F(2, 4, 4, 8), F(2, 2, 6, 8), F(2, 2, 6, 8), F(2, -1, 4, 6)},
     {{0}}, "decompose: mask of an unknown number of heads"},
    {"", "Attention", {F(2, 4, 16), F(2, 6, 16), NONE},
     {{"q_num_heads", 2}, {"kv_num_heads", 2}}, "required operand omitted"},
    {"", "RotaryEmbedding", {F(2, 2, 3, 8), F(9, 4), F(9, 4), I(2, 3)}, {{0}}, NULL},
    {"", "RotaryEmbedding", {F(2, 2, 3, 8), F(9, 3), F(9, 3), I(2, 3)},
     {{0}}, "decompose: RotaryEmbedding: the tables do not fit the columns"},
    {"", "RotaryEmbedding", {F(3, 8), F(9, 4), F(9, 4), I(2, 3)},
     {{0}}, "decompose: RotaryEmbedding of an unknown shape"},
    {"", "RotaryEmbedding", {F(2, 3, 8), F(9, 4), F(9, 4), I(2, 3)},
     {{"num_heads", 99}}, "decompose: RotaryEmbedding: the tables do not fit the columns"},
    {MS, "RotaryEmbedding", {F(2, 3, 8), I(1), F(9, 4), F(9, 4)},
     {{"is_packed_batching", 1}}, "decompose: RotaryEmbedding: packed or scaled is not supported"},
    {MS, "RotaryEmbedding", {F(2, 3, 8), I(1, 1, 1), F(9, 4), F(9, 4)},
     {{0}}, "decompose: RotaryEmbedding with places of an unknown rank"},
    {MS, "MultiHeadAttention", {F(2, 4, 32), F(2, 5, 32), F(2, 5, 32), F(96)},
     {{"num_heads", 2}}, NULL},
    {MS, "MultiHeadAttention", {F(2, 4, 32), F(2, 5, 32), F(2, 5, 32)},
     {{"num_heads", 0}}, "decompose: MultiHeadAttention of an unknown form"},
    {MS, "MultiHeadAttention", {F(2, 4, 32), F(2, 2, 5, 16), F(2, 2, 5, 16), F(96)},
     {{"num_heads", 2}}, "decompose: MultiHeadAttention: a bias needs q, k, v of three dims"},
    {MS, "MultiHeadAttention", {F(2, 4, 32), F(2, 5, 32), NONE},
     {{"num_heads", 2}}, "decompose: MultiHeadAttention of an unknown form"},
    {MS, "MultiHeadAttention", {F(2, 4, 2, 3, 16)}, {{"num_heads", 2}}, NULL},
    {MS, "MultiHeadAttention", {F(2, 4, 32), F(2, 5, 32), F(2, 5, 32), NONE, I(8)},
     {{"num_heads", 2}}, "decompose: mask of one dim that is not the batch"},
    {MS, "MultiHeadAttention", {F(2, 4, 32), F(2, 5, 32), F(2, 5, 32), NONE, I(2, 1, 4, 5)},
     {{"num_heads", 2}}, "decompose: mask of this rank is not supported"},
    {MS, "Attention", {F(2, 4, 12), F(12, 48), F(48)}, {{"num_heads", 2}}, NULL},
    {MS, "Attention", {F(2, 4, 12), F(12, 48), F(48)},
     {{"num_heads", 3}}, "decompose: Attention: the weights do not fit the heads"},
    {MS, "Attention", {F(2, 4, 12), F(12, -1), F(48)},
     {{"num_heads", 2}}, "decompose: Attention: the weights do not fit the heads"},
    {MS, "Attention", {F(2, 4, 12), F(12, 48), F(48)},
     {{"num_heads", 2}, {"do_rotary", 1}}, "decompose: Attention: rotary or shared buffers are not supported"},
    {MS, "GroupQueryAttention", {F(1, 4, 64), F(1, 4, 32), F(1, 4, 32), NONE, NONE, I(1), I(1)},
     {{"num_heads", 4}, {"kv_num_heads", 2}}, NULL},
    {MS, "GroupQueryAttention", {F(1, 4, 64), F(1, 4, 32), F(1, 4, 32), NONE, NONE, I(1), I(1)},
     {{"num_heads", 4}, {"kv_num_heads", 3}}, "decompose: heads of queries are no multiple of those of keys"},
    {MS, "GroupQueryAttention", {F(1, 4, 64), F(1, 4, 32), F(1, 4, 32), NONE, NONE, I(1), I(1)},
     {{"num_heads", 4}, {"kv_num_heads", 2}, {"smooth_softmax", 1}}, NULL},
    {MS, "GroupQueryAttention", {F(1, 4, 64), F(1, 4, 32), F(1, 4, 32), NONE, NONE, I(1), I(1)},
     {{"num_heads", 4}, {"kv_num_heads", 2}, {"qk_output", 1}}, "decompose: scores of GroupQueryAttention are not supported"},
    {MS, "GroupQueryAttention", {F(1, 4, 64), F(1, 4, 32), F(1, 4, 32), NONE, NONE, I(1), I(1)},
     {{"num_heads", 4}, {"kv_num_heads", 2}, {"do_rotary", 1}}, "decompose: GroupQueryAttention: the tables do not fit the columns"},
    {MS, "GroupQueryAttention", {F(1, 4, 64), F(1, 4, 32), F(1, 4, 32), NONE, NONE, NONE, I(1)},
     {{"num_heads", 4}, {"kv_num_heads", 2}}, "required operand omitted"},
    {MS, "GroupQueryAttention", {F(1, 4, -1), F(1, 4, 32), F(1, 4, 32), NONE, NONE, I(1), I(1)},
     {{"num_heads", 4}, {"kv_num_heads", 2}}, "decompose: GroupQueryAttention of an unknown form"},
    {MS, "SkipLayerNormalization", {H(2, 3), H(2, 3), H(3), H(3)}, {{0}}, NULL},
    {MS, "FusedMatMul", {F(2, 3), F(4, 3)}, {{"transB", 1}}, NULL},
    {MS, "FusedMatMul", {F(2, 3), F(4, 3)},
     {{"transB", 1}, {"transBatchA", 1}}, "decompose: form of the operator not supported"},
    {MS, "FusedMatMul", {F(3), F(3)},
     {{"transA", 1}}, "decompose: form of the operator not supported"},
    {MS, "QLinearSoftmax", {I(2, 3, 4), F(1), I(1), F(1), I(1)},
     {{"axis", 1}, {"opset", 11}}, "decompose: form of the operator not supported"},
    {MS, "QLinearConcat", {F(1), I(1), I(2, 3), F(1)},
     {{"axis", 1}}, "decompose: form of the operator not supported"},
    {MS, "MatMulNBits", {F(2, 32), I(4, 1, 16), F(4)},
     {{"K", 32}, {"N", 4}, {"bits", 4}, {"block_size", 32}}, "decompose: form of the operator not supported"},
    {"", "LpNormalization", {F(2, 3)},
     {{"p", 3}}, "decompose: LpNormalization with p other than 1 and 2"},
    {"", "GlobalLpPool", {F(2)},
     {{"p", 2}}, "decompose: operator needs a rank that is known and at least 2"},
};
/* clang-format on */

/* Imports the one node; *fused: whether one operator came of it in the end. */
static enum eml_err make(const struct form *f, struct eml_why *why, bool *fused)
{
    static const char *const names[IN_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    const char *in[IN_MAX + 1] = {NULL}, *out[] = {"y", NULL};
    struct eml_buf graph = {0}, attrs = {0}, file = {0}, set = {0};
    struct eml_onnx_model *m = NULL;
    struct eml_onnx_diag diag = {0};
    struct t t;
    for (size_t i = 0, last = 0; i < IN_MAX; i++) {
        size_t rank = 0;
        while (f->in[i].dims[rank] != END && f->in[i].dtype != 0)
            rank++;
        if (f->in[i].dtype != 0)
            eml_pb_value(&graph, 11, names[i], f->in[i].dtype, f->in[i].dims, rank);
        last = f->in[i].dtype != 0 ? i + 1 : last;
        in[i] = f->in[i].dtype != 0 ? names[i] : "";
        if (i + 1 == IN_MAX)
            in[last] = NULL;
    }
    for (size_t i = 0; i < ATTR_MAX && f->attr[i].name != NULL; i++)
        eml_pb_attr_int(&attrs, f->attr[i].name, f->attr[i].v);
    eml_pb_value(&graph, 12, "y", EML_DT_F32, NULL, 0);
    eml_pb_node(&graph, f->domain, f->op, in, out, &attrs);
    eml_pb_model(&file, 9, &graph, 23);
    eml_pb_str(&set, 1, MS);
    eml_pb_int(&set, 2, 1);
    eml_pb_msg(&file, 8, &set);
    if (eml_onnx_parse(eml_buf_bytes(&file), NULL, &m, &diag) != EML_OK)
        fail_msg("%s: %s", f->op, diag.why.rule);
    t_open(&t, 1);
    enum eml_err e = eml_import(t.ir, m, why);
    if (e == EML_OK) { /* the result has the type of the first operand */
        assert_int_equal(t.ir->outputs[0].value->dtype, f->in[0].dtype);
        assert_int_equal(eml_fold(t.ir, why), EML_OK);
        eml_simplify(t.ir);
        assert_int_equal(eml_fold(t.ir, why), EML_OK);
        eml_fuse_products(t.ir);
        eml_fuse_attention(t.ir);
        *fused = t_count(&t, EML_OP_ATTENTION) == 1 && t_count(&t, EML_OP_SOFTMAX) == 0;
    }
    eml_onnx_free(m);
    eml_buf_free(&file);
    t_close(&t);
    return e;
}

static void forms_are_made_or_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct eml_why why = {.index = -1};
        bool fused;
        enum eml_err e = make(&forms[i], &why, &fused);
        if ((e == EML_OK) != (forms[i].rule == NULL) ||
            (e != EML_OK && strcmp(why.rule, forms[i].rule) != 0))
            fail_msg("%s (row %zu): %s", forms[i].op, i, e == EML_OK ? "made" : why.rule);
        if (e != EML_OK)
            assert_int_equal(why.index, 0);
    }
}

/* Heads of whole panels, no cache, no groups: one operator of the engine. */
static void plain_attention_becomes_one_operator(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct form plain[] = {
        {"", "Attention", {F(2, 4, 32), F(2, 6, 32), F(2, 6, 32), F(4, 6)}, {{"q_num_heads", 2}, {"kv_num_heads", 2}}, NULL},
        {MS, "Attention", {F(2, 4, 12), F(12, 96), F(96), I(2, 4)}, {{"num_heads", 2}}, NULL},
        {MS, "MultiHeadAttention", {F(2, 4, 32), F(2, 5, 32), F(2, 5, 32), F(96)}, {{"num_heads", 2}}, NULL},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        struct eml_why why = {0};
        bool fused = false;
        if (make(&plain[i], &why, &fused) != EML_OK || !fused)
            fail_msg("%s: %s", plain[i].op, why.rule != NULL ? why.rule : "not fused");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_made_or_refused_by_name),
        cmocka_unit_test(plain_attention_becomes_one_operator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
