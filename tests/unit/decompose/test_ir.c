#include "build.h"

static void uses_follow_operands(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(2, 3));
    struct eml_ir_node *a = NODE(&t, RELU, x), *b = NODE(&t, ADD, a->out[0], x);
    t_output(&t, b->out[0]);
    assert_int_equal(x->uses, 2);
    assert_ptr_equal(a->out[0]->maker, a);

    eml_ir_replace(t.ir, a->out[0], x); /* b = x + x */
    assert_int_equal(x->uses, 3);
    assert_int_equal(a->out[0]->uses, 0);
    assert_ptr_equal(b->in[0], x);

    assert_int_equal(eml_ir_sweep(t.ir), 1);
    assert_true(a->removed);
    assert_int_equal(x->uses, 2);
    assert_int_equal(eml_ir_node_count(t.ir), 1);
    t_close(&t);
}

static void replacing_an_output(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(2));
    struct eml_ir_value *y = OP(&t, RELU, x);
    t_output(&t, y);
    eml_ir_replace(t.ir, y, x);
    assert_ptr_equal(t.ir->outputs[0].value, x);
    assert_int_equal(x->uses, 2); /* the dead Relu and the output */
    (void)eml_ir_sweep(t.ir);
    assert_int_equal(x->uses, 1);
    t_close(&t);
}

static void nodes_move(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(2));
    struct eml_ir_node *a = NODE(&t, RELU, x), *b = NODE(&t, ABS, x), *c = NODE(&t, NEG, x);
    eml_ir_move(t.ir, a, c);
    assert_ptr_equal(t.ir->first, b);
    assert_ptr_equal(b->next, a);
    assert_ptr_equal(a->next, c);
    assert_ptr_equal(c->prev, a);
    assert_ptr_equal(t.ir->last, c);
    t_close(&t);
}

static void attributes_are_sorted(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_node *n = NODE(&t, CONV, t_input(&t, "x", DIMS(2)));
    eml_ir_set_int(t.ir, n, EML_ATTR_GROUP, 3);
    eml_ir_set_int(t.ir, n, EML_ATTR_AXIS, 1);
    eml_ir_set_attr(t.ir, n, EML_ATTR_PADS, (int64_t[]){1, 2}, 2);
    eml_ir_set_int(t.ir, n, EML_ATTR_AXIS, 2);
    assert_int_equal(n->n_attr, 3);
    for (uint32_t i = 1; i < n->n_attr; i++)
        assert_true(n->attr[i - 1].id < n->attr[i].id);
    assert_int_equal(eml_ir_int(n, EML_ATTR_AXIS, 0), 2);
    eml_ir_drop_attr(n, EML_ATTR_AXIS);
    assert_null(eml_ir_attr(n, EML_ATTR_AXIS));
    assert_int_equal(eml_ir_int(n, EML_ATTR_GROUP, 0), 3);
    t_close(&t);
}

static void equal_shapes_need_proof(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *a = t_input(&t, "a", DIMS(EML_DIM_UNKNOWN, 3));
    struct eml_ir_value *b = t_input(&t, "b", DIMS(EML_DIM_UNKNOWN, 3));
    struct eml_ir_value *c = t_input(&t, "c", DIMS(4, 3)), *d = t_input(&t, "d", DIMS(4, 3));
    assert_true(eml_ir_same_shape(a, a));
    assert_false(eml_ir_same_shape(a, b)); /* may differ at run time */
    assert_false(eml_ir_same_shape(a, c));
    assert_true(eml_ir_same_shape(c, d));
    eml_ir_set_probe(a, 0, 7);
    eml_ir_set_probe(b, 0, 7); /* declared to be the same dim */
    assert_true(eml_ir_same_shape(a, b));
    t_close(&t);
}

static void running_out_of_memory_is_sticky(void **state)
{
    struct eml_arena arena;
    struct eml_ir *ir = malloc(sizeof *ir);
    (void)state;
    assert_non_null(ir);
    assert_int_equal(eml_arena_create(&arena, 16384), EML_OK);
    eml_ir_init(ir, &arena);
    struct eml_ir_value *x = eml_ir_value_new(ir);
    for (int i = 0; i < 1000; i++) {
        struct eml_ir_node *n =
            eml_ir_node_new(ir, NULL, EML_OP_ADD, (struct eml_ir_value *[]){x, x}, 2, 1);
        eml_ir_set_int(ir, n, EML_ATTR_AXIS, i);
        x = n->out[0];
        assert_non_null(x);
    }
    assert_true(ir->failed);
    assert_int_equal(eml_ir_ok(ir, NULL), EML_E_SYSTEM);
    (void)eml_arena_destroy(&arena);
    free(ir);
}

static void permutations_are_inverse(void **state)
{
    (void)state;
    for (uint32_t rank = 1; rank <= EML_RANK_MAX; rank++) {
        int64_t last[EML_RANK_MAX], first[EML_RANK_MAX];
        eml_ir_to_last(rank, last);
        eml_ir_to_first(rank, first);
        for (uint32_t i = 0; i < rank; i++)
            assert_int_equal(last[first[i]], i);
        if (rank > 2)
            assert_int_equal(last[rank - 1], 1); /* channels stand last */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uses_follow_operands),
        cmocka_unit_test(replacing_an_output),
        cmocka_unit_test(nodes_move),
        cmocka_unit_test(attributes_are_sorted),
        cmocka_unit_test(equal_shapes_need_proof),
        cmocka_unit_test(running_out_of_memory_is_sticky),
        cmocka_unit_test(permutations_are_inverse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
