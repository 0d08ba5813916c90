#include "testsupport/support.h"

#include "model/graph.h"
#include "model/limits.h"

#include <string.h>

/* A small valid graph, all of its parts within reach of a mutation:
 * x -> MatMul(packed w) -> clip -> Reshape(ints) -> AveragePool -> y */
enum { X, W, PRODUCT, BOUNDS, CLIPPED, TARGET, SHAPED, TABLE, Y, VALUES };
enum { MATMUL, CLIP, RESHAPE, POOL, NODES };
enum { WEIGHT_BYTES = 640 };

struct fixture {
    struct eml_graph g;
    struct eml_value v[VALUES];
    struct eml_node n[NODES];
    struct eml_name inputs[2], outputs[2];
    uint32_t in[NODES][3], out[NODES][2];
    int64_t act[1], allowzero[1], auto_pad[1], pads[4], target[2];
    struct eml_attr clip_attr[1], reshape_attr[1], pool_attr[2];
    uint64_t weight_bytes;
};

static void node(struct fixture *f, int i, enum eml_op op, uint32_t a, uint32_t b, uint32_t out)
{
    memcpy(f->in[i], (uint32_t[]){a, b, EML_ABSENT}, sizeof f->in[i]);
    memcpy(f->out[i], (uint32_t[]){out, EML_ABSENT}, sizeof f->out[i]);
    f->n[i] = (struct eml_node){.op = op,
                                .n_in = b == EML_ABSENT ? 1 : 2,
                                .n_out = 1,
                                .in = f->in[i],
                                .out = f->out[i],
                                .params = EML_ABSENT};
}

static struct eml_value slot(enum eml_dtype t, uint32_t rank, int64_t d0, int64_t d1,
                             uint64_t offset, uint64_t bytes)
{
    return (struct eml_value){.kind = EML_VALUE_SLOT,
                              .dtype = t,
                              .shape = {.rank = rank, .dim = {d0, d1}},
                              .offset = offset,
                              .bytes = bytes};
}

static void attr(struct fixture *f, int i, struct eml_attr *attrs, uint32_t k, enum eml_attr_id id,
                 const int64_t *v, uint32_t n)
{
    attrs[k] = (struct eml_attr){id, n, v};
    f->n[i].attr = attrs;
    f->n[i].n_attr = k + 1;
}

static void valid(struct fixture *f)
{
    const struct eml_value result = {.kind = EML_VALUE_NODE, .dtype = EML_DT_F32};
    memset(f, 0, sizeof *f);
    f->weight_bytes = WEIGHT_BYTES;
    f->v[X] = (struct eml_value){.kind = EML_VALUE_INPUT,
                                 .dtype = EML_DT_F32,
                                 .shape = {.rank = 2, .dim = {EML_DIM_UNKNOWN, 4}}};
    f->v[W] = slot(EML_DT_F32, 2, 4, 20, 0, 4 * 32 * 4); /* 20 columns take two panels */
    f->v[W].layout = EML_LAYOUT_PANEL16;
    f->v[BOUNDS] = slot(EML_DT_F32, 1, 2, 0, 512, 8);
    f->v[TABLE] = slot(EML_DT_I64, 1, 3, 0, 576, 24);
    f->v[PRODUCT] = f->v[CLIPPED] = f->v[SHAPED] = f->v[Y] = result;
    f->target[0] = -1;
    f->target[1] = 20;
    f->v[TARGET] = (struct eml_value){.kind = EML_VALUE_INTS,
                                      .dtype = EML_DT_I64,
                                      .shape = {.rank = 1, .dim = {2}},
                                      .ints = f->target,
                                      .n_ints = 2};
    node(f, MATMUL, EML_OP_MATMUL, X, W, PRODUCT);
    node(f, CLIP, EML_OP_ACTIVATE, PRODUCT, EML_ABSENT, CLIPPED);
    node(f, RESHAPE, EML_OP_RESHAPE, CLIPPED, TARGET, SHAPED);
    node(f, POOL, EML_OP_AVERAGE_POOL, SHAPED, EML_ABSENT, Y);
    f->act[0] = EML_ACT_CLIP;
    f->n[CLIP].params = BOUNDS;
    attr(f, CLIP, f->clip_attr, 0, EML_ATTR_ACT, f->act, 1);
    attr(f, RESHAPE, f->reshape_attr, 0, EML_ATTR_ALLOWZERO, f->allowzero, 1);
    attr(f, POOL, f->pool_attr, 0, EML_ATTR_AUTO_PAD, f->auto_pad, 1);
    attr(f, POOL, f->pool_attr, 1, EML_ATTR_PADS, f->pads, 4);
    f->inputs[0] = (struct eml_name){EML_LIT("x"), X};
    f->outputs[0] = (struct eml_name){EML_LIT("y"), Y};
    f->g = (struct eml_graph){VALUES, NODES, 1, 1, f->v, f->n, f->inputs, f->outputs, 0, NULL};
}

/* One row per rule. */
/* clang-format off */
#define MUTATION(name, ...) static void name(struct fixture *f) { __VA_ARGS__ }
MUTATION(many_values, f->g.n_values = EML_GRAPH_VALUES_MAX + 1;)
MUTATION(many_nodes, f->g.n_nodes = EML_GRAPH_NODES_MAX + 1;)
MUTATION(many_inputs, f->g.n_inputs = EML_GRAPH_IO_MAX + 1;)
MUTATION(many_outputs, f->g.n_outputs = EML_GRAPH_IO_MAX + 1;)
MUTATION(no_output, f->g.n_outputs = 0;)
MUTATION(much_weight, f->weight_bytes = EML_WEIGHT_BYTES_MAX + 1;)
MUTATION(complex_value, f->v[Y].dtype = (enum eml_dtype)14;)
MUTATION(no_dtype, f->v[X].dtype = EML_DT_NONE;)
MUTATION(rank_9, f->v[X].shape.rank = 9;)
MUTATION(kind_4, f->v[Y].kind = (enum eml_value_kind)4;)
MUTATION(negative_dim, f->v[X].shape.dim[1] = -2;)
MUTATION(huge_input, f->v[X].shape.dim[0] = INT64_MAX;)
MUTATION(layout_4, f->v[W].layout = EML_LAYOUT_N;)
MUTATION(misaligned, f->v[TABLE].offset += 8;)
MUTATION(huge_slot, f->v[TABLE].bytes = EML_TENSOR_BYTES_MAX + 1;)
MUTATION(slot_past_end, f->weight_bytes = 599;)
MUTATION(slot_far_out, f->v[TABLE].offset = UINT64_MAX - 63;)
MUTATION(slot_short, f->v[TABLE].bytes = 16;)
MUTATION(slot_unknown_dim, f->v[TABLE].shape.dim[0] = EML_DIM_UNKNOWN;)
MUTATION(slot_overflow, f->v[TABLE].shape = (struct eml_shape){2, {INT64_MAX, 3}};)
MUTATION(overlap, f->v[TABLE] = slot(EML_DT_I64, 1, 9, 0, 512, 72);)
MUTATION(overlap_inside, f->v[TABLE] = slot(EML_DT_I64, 1, 1, 0, 448, 8);)
MUTATION(int32_ints, f->v[TARGET].dtype = EML_DT_I32;)
MUTATION(many_ints, f->v[TARGET].n_ints = EML_INTS_MAX + 1; f->v[TARGET].shape.dim[0] = EML_INTS_MAX + 1;)
MUTATION(ints_shape, f->v[TARGET].shape.dim[0] = 3;)
MUTATION(ints_matrix, f->v[TARGET].shape = (struct eml_shape){2, {1, 2}};)
MUTATION(ints_scalar_of_two, f->v[TARGET].shape.rank = 0;)
MUTATION(ints_least, f->target[0] = INT64_MIN;)
MUTATION(op_unknown, f->n[POOL].op = EML_OP_N;)
MUTATION(many_attrs, f->n[POOL].n_attr = EML_NODE_ATTR_MAX + 1;)
MUTATION(attr_unknown, f->pool_attr[1].id = EML_ATTR_N;)
MUTATION(attr_order, f->pool_attr[0].id = EML_ATTR_STRIDES;)
MUTATION(attr_twice, f->pool_attr[1] = f->pool_attr[0];)
MUTATION(attr_long, f->pool_attr[1].n = EML_ATTR_INTS_MAX + 1;)
MUTATION(attr_foreign, f->pool_attr[1].id = EML_ATTR_GROUP;)
MUTATION(attr_ignored_kind, f->n[POOL].op = EML_OP_CAST; f->n[POOL].n_attr = 1; f->pool_attr[0].id = EML_ATTR_PERM;)
MUTATION(attr_two_ints, f->reshape_attr[0].n = 2; f->reshape_attr[0].v = f->pads;)
MUTATION(attr_no_int, f->reshape_attr[0].n = 0;)
MUTATION(choice_high, f->auto_pad[0] = 4;)
MUTATION(choice_negative, f->auto_pad[0] = -1;)
MUTATION(choice_list, f->pool_attr[0].n = 2; f->pool_attr[0].v = f->pads;)
MUTATION(act_none, f->act[0] = EML_ACT_NONE;)
MUTATION(act_unknown, f->act[0] = EML_ACT_N;)
MUTATION(act_list, f->clip_attr[0].n = 2; f->clip_attr[0].v = f->pads;)
MUTATION(act_missing, f->n[CLIP].n_attr = 0; f->n[CLIP].params = EML_ABSENT;)
MUTATION(act_no_slope, f->act[0] = EML_ACT_PRELU; f->n[CLIP].params = EML_ABSENT;)
MUTATION(act_absent_slope, f->act[0] = EML_ACT_PRELU; f->n[CLIP].params = EML_ABSENT; f->n[CLIP].n_in = 2;)
MUTATION(params_missing, f->n[CLIP].params = EML_ABSENT;)
MUTATION(params_no_value, f->n[CLIP].params = VALUES;)
MUTATION(params_needless, f->n[RESHAPE].params = BOUNDS;)
MUTATION(params_ints, f->n[CLIP].params = TABLE;)
MUTATION(params_packed, f->n[CLIP].params = W;)
MUTATION(params_node, f->n[CLIP].params = PRODUCT;)
MUTATION(params_short, f->v[BOUNDS] = slot(EML_DT_F32, 1, 1, 0, 512, 4);)
MUTATION(few_inputs, f->n[MATMUL].n_in = 1;)
MUTATION(extra_input, f->n[RESHAPE].n_in = 3;)
MUTATION(absent_needed, f->in[RESHAPE][1] = EML_ABSENT;)
MUTATION(no_such_input, f->in[RESHAPE][1] = VALUES;)
MUTATION(read_early, f->in[MATMUL][0] = CLIPPED;)
MUTATION(read_itself, f->in[POOL][0] = Y;)
MUTATION(packed_left, f->in[MATMUL][0] = W;)
MUTATION(packed_elsewhere, f->in[RESHAPE][1] = W;)
MUTATION(packed_int, f->v[W].dtype = EML_DT_I32;)
MUTATION(packed_vector, f->v[W].shape.rank = 1;)
MUTATION(packed_depthwise, f->v[W].layout = EML_LAYOUT_DEPTHWISE;)
MUTATION(packed_short, f->v[W].bytes -= 64;)
MUTATION(no_result, f->n[POOL].n_out = 0;)
MUTATION(two_results, f->n[POOL].n_out = 2;)
MUTATION(writes_slot, f->out[POOL][0] = TABLE;)
MUTATION(writes_input, f->out[POOL][0] = X;)
MUTATION(writes_nothing, f->out[POOL][0] = EML_ABSENT;)
MUTATION(written_twice, f->out[POOL][0] = PRODUCT;)
MUTATION(name_empty, f->inputs[0].text.len = 0;)
MUTATION(name_long, f->outputs[0].text.len = EML_NAME_BYTES_MAX + 1;)
MUTATION(name_no_value, f->outputs[0].value = VALUES;)
MUTATION(name_twice, f->outputs[1] = f->outputs[0]; f->g.n_outputs = 2;)
MUTATION(input_not_input, f->inputs[0].value = Y;)
MUTATION(input_twice, f->inputs[1] = (struct eml_name){EML_LIT("z"), X}; f->g.n_inputs = 2;)
MUTATION(input_unlisted, f->g.n_inputs = 0;)
MUTATION(output_packed, f->outputs[0].value = W;)
MUTATION(never_written, f->g.n_nodes = POOL;)

static const struct {
    void (*mutate)(struct fixture *);
    const char *rule;
} cases[] = {
    {many_values, "graph: more values than the limit"},
    {many_nodes, "graph: more nodes than the limit"},
    {many_inputs, "graph: more inputs or outputs than the limit"},
    {many_outputs, "graph: more inputs or outputs than the limit"},
    {no_output, "graph: no output"},
    {much_weight, "graph: more weights than the limit"},
    {complex_value, "graph: unknown element type"},
    {no_dtype, "graph: unknown element type"},
    {rank_9, "graph: rank over 8"},
    {kind_4, "graph: unknown kind of value"},
    {negative_dim, "graph: negative dimension of an input"},
    {huge_input, "graph: input larger than the limit"},
    {layout_4, "graph: unknown layout"},
    {misaligned, "graph: slot is not aligned to 64 bytes"},
    {huge_slot, "graph: slot larger than the limit"},
    {slot_past_end, "graph: slot outside the weights"},
    {slot_far_out, "graph: slot outside the weights"},
    {slot_short, "graph: slot is not as long as its shape needs"},
    {slot_unknown_dim, "graph: slot is not as long as its shape needs"},
    {slot_overflow, "graph: slot is not as long as its shape needs"},
    {overlap, "graph: slots overlap"},
    {overlap_inside, "graph: slots overlap"},
    {int32_ints, "graph: integers of the key are int64"},
    {many_ints, "graph: more integers than the limit"},
    {ints_shape, "graph: integers do not fit their shape"},
    {ints_matrix, "graph: integers do not fit their shape"},
    {ints_scalar_of_two, "graph: integers do not fit their shape"},
    {ints_least, "graph: integer of the key is -2^63"},
    {op_unknown, "graph: unknown operator"},
    {many_attrs, "graph: more attributes than the limit"},
    {attr_unknown, "graph: unknown attribute"},
    {attr_order, "graph: attributes not in ascending order"},
    {attr_twice, "graph: attributes not in ascending order"},
    {attr_long, "graph: attribute longer than the limit"},
    {attr_foreign, "graph: attribute that the operator does not have"},
    {attr_ignored_kind, "graph: attribute that the operator does not have"},
    {attr_two_ints, "graph: attribute is not one integer"},
    {attr_no_int, "graph: attribute is not one integer"},
    {choice_high, "graph: attribute is not one of its choices"},
    {choice_negative, "graph: attribute is not one of its choices"},
    {choice_list, "graph: attribute is not one of its choices"},
    {act_none, "graph: unknown activation"},
    {act_unknown, "graph: unknown activation"},
    {act_list, "graph: unknown activation"},
    {act_missing, "graph: activation without its attribute"},
    {act_no_slope, "graph: slope of the activation is missing"},
    {act_absent_slope, "graph: slope of the activation is missing"},
    {params_missing, "graph: params are missing"},
    {params_no_value, "graph: params are missing"},
    {params_needless, "graph: params that nothing needs"},
    {params_ints, "graph: params are not a float32 slot of the needed length"},
    {params_packed, "graph: params are not a float32 slot of the needed length"},
    {params_node, "graph: params are not a float32 slot of the needed length"},
    {params_short, "graph: params are not a float32 slot of the needed length"},
    {few_inputs, "graph: number of inputs of a node"},
    {extra_input, "graph: number of inputs of a node"},
    {absent_needed, "graph: input of a node is no value"},
    {no_such_input, "graph: input of a node is no value"},
    {read_early, "graph: value read before it is written"},
    {read_itself, "graph: value read before it is written"},
    {packed_left, "graph: packed weights where the operator cannot read them"},
    {packed_elsewhere, "graph: packed weights where the operator cannot read them"},
    {packed_int, "graph: packed weights where the operator cannot read them"},
    {packed_vector, "graph: packed weights where the operator cannot read them"},
    {packed_depthwise, "graph: packed weights where the operator cannot read them"},
    {packed_short, "graph: packed weights are not as long as their shape needs"},
    {no_result, "graph: number of outputs of a node"},
    {two_results, "graph: number of outputs of a node"},
    {writes_slot, "graph: output of a node is no value of a node"},
    {writes_input, "graph: output of a node is no value of a node"},
    {writes_nothing, "graph: output of a node is no value of a node"},
    {written_twice, "graph: value written twice"},
    {name_empty, "graph: length of a name"},
    {name_long, "graph: length of a name"},
    {name_no_value, "graph: name of no value"},
    {name_twice, "graph: name given twice"},
    {input_not_input, "graph: input is no input value"},
    {input_twice, "graph: input value listed twice"},
    {input_unlisted, "graph: input value is not listed"},
    {output_packed, "graph: output is packed weights"},
    {never_written, "graph: value is never written"},
};
/* clang-format on */

static void each_rule_has_its_refusal(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        struct eml_why why = {0};
        valid(&f);
        assert_int_equal(eml_graph_check(&f.g, f.weight_bytes, &why), EML_OK);
        cases[i].mutate(&f);
        enum eml_err e = eml_graph_check(&f.g, f.weight_bytes, &why);
        if (e != EML_E_INPUT || why.rule == NULL || strcmp(why.rule, cases[i].rule) != 0)
            print_error("case %zu: expected \"%s\", got \"%s\"\n", i, cases[i].rule,
                        why.rule != NULL ? why.rule : "nothing");
        assert_int_equal(e, EML_E_INPUT);
        assert_string_equal(why.rule, cases[i].rule);
    }
}

static void what_looks_odd_but_is_valid(void **state)
{
    (void)state;
    struct fixture f;
    valid(&f);
    f.v[TABLE] = slot(EML_DT_F32, 1, 2, 0, 512, 8); /* the same bytes twice */
    assert_int_equal(eml_graph_check(&f.g, f.weight_bytes, NULL), EML_OK);
    valid(&f);
    f.v[TABLE] = slot(EML_DT_F32, 2, 0, 7, 512, 0); /* no bytes inside another slot */
    assert_int_equal(eml_graph_check(&f.g, f.weight_bytes, NULL), EML_OK);
    valid(&f);
    f.outputs[0].value = X; /* an output that is an input, a table, integers */
    assert_int_equal(eml_graph_check(&f.g, f.weight_bytes, NULL), EML_OK);
    f.outputs[0].value = TABLE;
    assert_int_equal(eml_graph_check(&f.g, f.weight_bytes, NULL), EML_OK);
    f.outputs[0].value = TARGET;
    assert_int_equal(eml_graph_check(&f.g, f.weight_bytes, NULL), EML_OK);
}

static void concat_takes_up_to_the_limit(void **state)
{
    (void)state;
    static uint32_t in[EML_NODE_IN_MAX + 1]; /* all of them value 0, X */
    struct fixture f;
    struct eml_why why = {0};
    valid(&f);
    node(&f, POOL, EML_OP_CONCAT, X, EML_ABSENT, Y);
    f.n[POOL].in = in;
    f.n[POOL].n_in = EML_NODE_IN_MAX;
    assert_int_equal(eml_graph_check(&f.g, f.weight_bytes, NULL), EML_OK);
    f.n[POOL].n_in++;
    assert_int_equal(eml_graph_check(&f.g, f.weight_bytes, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "graph: number of inputs of a node");
}

static void slots_in_any_order_are_compared(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct eml_value v[N + 1];
    static uint64_t order[N];
    struct eml_gen g = eml_gen_seeded("slots");
    struct eml_name out = {EML_LIT("y"), 0};
    struct eml_graph graph = {.n_values = N, .n_outputs = 1, .values = v, .outputs = &out};
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < N; i++)
            order[i] = i;
        for (size_t i = N - 1; i > 0; i--) {
            size_t j = (size_t)eml_gen_range(&g, 0, (int64_t)i);
            uint64_t swapped = order[i];
            order[i] = order[j];
            order[j] = swapped;
        }
        for (size_t i = 0; i < N; i++)
            v[i] = slot(EML_DT_U8, 1, 100, 0, order[i] * 128, 100);
        assert_int_equal(eml_graph_check(&graph, N * 128, NULL), EML_OK);
        size_t longer = (size_t)eml_gen_range(&g, 0, N - 1);
        if (order[longer] == N - 1)
            continue;
        v[longer] = slot(EML_DT_U8, 1, 129, 0, order[longer] * 128, 129);
        assert_int_equal(eml_graph_check(&graph, N * 128, NULL), EML_E_INPUT);
    }
}

static void slot_lengths(void **state)
{
    (void)state;
    static const struct {
        struct eml_shape shape;
        enum eml_layout layout;
        enum eml_op op;
        int64_t group;
        uint64_t bytes; /* 0: none */
    } rows[] = {
        {{0, {0}}, EML_LAYOUT_PLAIN, EML_OP_N, 1, 4},
        {{3, {2, 3, 5}}, EML_LAYOUT_PLAIN, EML_OP_N, 1, 120},
        {{2, {7, 16}}, EML_LAYOUT_PANEL16, EML_OP_GEMM, 1, 7 * 16 * 4},
        {{3, {2, 7, 17}}, EML_LAYOUT_PANEL16, EML_OP_MATMUL, 1, 2 * 7 * 32 * 4},
        {{3, {2, 7, 17}}, EML_LAYOUT_PANEL16, EML_OP_GEMM, 1, 0},
        {{2, {7, 17}}, EML_LAYOUT_PANEL16, EML_OP_MATMUL, 2, 0},
        {{3, {2, 7, 17}}, EML_LAYOUT_PANEL16_BF16, EML_OP_MATMUL, 1, 2 * 4 * 32 * 4},
        {{2, {8, 16}}, EML_LAYOUT_PANEL16_BF16, EML_OP_MATMUL, 1, 4 * 16 * 4},
        {{2, {8, 16}}, EML_LAYOUT_PANEL16_BF16, EML_OP_GEMM, 1, 0},
        {{2, {INT64_MAX, 16}}, EML_LAYOUT_PANEL16_BF16, EML_OP_MATMUL, 1, 0},
        {{4, {20, 3, 5, 5}}, EML_LAYOUT_PANEL16, EML_OP_CONV, 1, 75 * 32 * 4},
        {{4, {20, 3, 5, 5}}, EML_LAYOUT_PANEL16, EML_OP_CONV, 2, 2 * 75 * 16 * 4},
        {{4, {20, 3, 5, 5}}, EML_LAYOUT_PANEL16, EML_OP_CONV, 3, 0},
        {{3, {6, 5, 3}}, EML_LAYOUT_PANEL16, EML_OP_CONV_TRANSPOSE, 2, 2 * 3 * 16 * 4},
        {{4, {20, 1, 3, 3}}, EML_LAYOUT_DEPTHWISE, EML_OP_CONV, 20, 9 * 32 * 4},
        {{4, {20, 1, 3, 3}}, EML_LAYOUT_DEPTHWISE, EML_OP_CONV, 10, 0},
        {{4, {20, 2, 3, 3}}, EML_LAYOUT_DEPTHWISE, EML_OP_CONV, 20, 0},
        {{4, {20, 1, 3, 3}}, EML_LAYOUT_DEPTHWISE, EML_OP_CONV_TRANSPOSE, 20, 0},
        {{2, {20, 3}}, EML_LAYOUT_PANEL16, EML_OP_CONV, 1, 0},
        {{2, {20, 3}}, EML_LAYOUT_PANEL16, EML_OP_ADD, 1, 0},
        {{2, {INT64_MAX, 3}}, EML_LAYOUT_PANEL16, EML_OP_MATMUL, 1, 0},
        {{2, {3, INT64_MAX}}, EML_LAYOUT_PANEL16, EML_OP_MATMUL, 1, 0},
        {{2, {EML_DIM_UNKNOWN, 3}}, EML_LAYOUT_PANEL16, EML_OP_MATMUL, 1, 0},
        {{4, {20, 3, 5, 5}}, EML_LAYOUT_PANEL16, EML_OP_CONV, 0, 0},
        {{9, {0}}, EML_LAYOUT_PLAIN, EML_OP_N, 1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t bytes = 0;
        bool ok = eml_slot_bytes(EML_DT_F32, &rows[i].shape, rows[i].layout, rows[i].op,
                                 rows[i].group, &bytes);
        if (ok != (rows[i].bytes != 0) || (ok && bytes != rows[i].bytes))
            print_error("row %zu\n", i);
        assert_int_equal(ok, rows[i].bytes != 0);
        if (ok)
            assert_int_equal(bytes, rows[i].bytes);
    }
    uint64_t bytes;
    assert_false(
        eml_slot_bytes((enum eml_dtype)14, &rows[1].shape, EML_LAYOUT_PLAIN, EML_OP_N, 1, &bytes));
    assert_false(
        eml_slot_bytes(EML_DT_F16, &rows[2].shape, EML_LAYOUT_PANEL16, EML_OP_GEMM, 1, &bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_has_its_refusal),
        cmocka_unit_test(what_looks_odd_but_is_valid),
        cmocka_unit_test(concat_takes_up_to_the_limit),
        cmocka_unit_test(slots_in_any_order_are_compared),
        cmocka_unit_test(slot_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
