#include "build.h"

#include <time.h>

static struct eml_ir_value *input(struct t *t)
{
    return t_input(t, "x", DIMS(EML_DIM_UNKNOWN, EML_DIM_UNKNOWN, 4));
}

static struct eml_ir_value *transpose(struct t *t, struct eml_ir_value *x, int64_t a, int64_t b,
                                      int64_t c)
{
    struct eml_ir_node *n = NODE(t, TRANSPOSE, x);
    eml_ir_set_attr(t->ir, n, EML_ATTR_PERM, (int64_t[]){a, b, c}, 3);
    return n->out[0];
}

static void simplify(struct t *t)
{
    OK(eml_fold(t->ir, why));
    eml_simplify(t->ir);
}

static void nothing_is_left_of_what_does_nothing(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = input(&t), *y = x;
    struct eml_ir_node *cast = NODE(&t, CAST, y);
    eml_ir_set_int(t.ir, cast, EML_ATTR_TO, EML_DT_F32);
    y = OP(&t, MUL, SCALAR(&t, 1), cast->out[0]);
    y = OP(&t, SUB, OP(&t, ADD, OP(&t, DIV, y, SCALAR(&t, 1)), SCALAR(&t, 0)), SCALAR(&t, 0));
    y = OP(&t, PAD, y, t_ints(&t, DIMS(0, 0, 0, 0, 0, 0)));
    struct eml_ir_node *cat = NODE(&t, CONCAT, y);
    eml_ir_set_int(t.ir, cat, EML_ATTR_AXIS, 0);
    y = transpose(&t, transpose(&t, cat->out[0], 1, 2, 0), 2, 0, 1);
    t_output(&t, OP(&t, IDENTITY, y));
    simplify(&t);
    assert_int_equal(eml_ir_node_count(t.ir), 0);
    assert_ptr_equal(t.ir->outputs[0].value, x);
    t_close(&t);
}

static void what_does_something_stays(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = input(&t);
    struct eml_ir_value *y = OP(&t, DIV, SCALAR(&t, 1), x);    /* 1/x, not x/1 */
    y = OP(&t, SUB, SCALAR(&t, 0), y);                         /* 0-x */
    y = OP(&t, MUL, y, t_weights(&t, 1, 1, DIMS(1, 1, 1, 1))); /* adds a dim */
    t_output(&t, y);
    simplify(&t);
    assert_int_equal(eml_ir_node_count(t.ir), 3);
    assert_int_equal(t.ir->outputs[0].value->shape.rank, 4);
    t_close(&t);
}

static void transposes_merge(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    t_output(&t, transpose(&t, transpose(&t, input(&t), 1, 2, 0), 1, 0, 2));
    simplify(&t);
    assert_int_equal(eml_ir_node_count(t.ir), 1);
    const struct eml_attr *p = eml_ir_attr(t.ir->first, EML_ATTR_PERM);
    assert_int_equal(p->v[0], 2);
    assert_int_equal(p->v[1], 1);
    assert_int_equal(p->v[2], 0);
    t_close(&t);
}

static void reshape_copies_dims_instead_of_computing_them(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = input(&t), *s = OP(&t, SHAPE, x);
    struct eml_ir_value *n = OP(&t, SLICE, s, t_ints(&t, DIMS(0)), t_ints(&t, DIMS(2)));
    struct eml_ir_node *cat = NODE(&t, CONCAT, n, t_ints(&t, DIMS(2, 2)));
    eml_ir_set_int(t.ir, cat, EML_ATTR_AXIS, 0);
    struct eml_ir_node *r = NODE(&t, RESHAPE, x, cat->out[0]);
    t_output(&t, r->out[0]);
    simplify(&t);
    assert_int_equal(eml_ir_node_count(t.ir), 1);
    const int64_t *dims = r->in[1]->data, want[4] = {0, 0, 2, 2};
    assert_non_null(dims);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(dims[i], want[i]);
    t_close(&t);
}

/* Reshape(x, [Shape(from)[0] * Shape(from)[1], 8]) */
static struct eml_ir_node *reshape_by(struct t *t, struct eml_ir_value *x,
                                      struct eml_ir_value *from)
{
    struct eml_ir_value *s = OP(t, SHAPE, from);
    struct eml_ir_value *n = OP(t, SLICE, s, t_ints(t, DIMS(0)), t_ints(t, DIMS(1)));
    struct eml_ir_value *m = OP(t, SLICE, s, t_ints(t, DIMS(1)), t_ints(t, DIMS(2)));
    struct eml_ir_node *cat = NODE(t, CONCAT, OP(t, MUL, n, m), t_ints(t, DIMS(8)));
    eml_ir_set_int(t->ir, cat, EML_ATTR_AXIS, 0);
    struct eml_ir_node *r = NODE(t, RESHAPE, x, cat->out[0]);
    t_output(t, r->out[0]);
    return r;
}

static void reshape_leaves_open_what_follows_from_the_rest(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(EML_DIM_UNKNOWN, EML_DIM_UNKNOWN, 8));
    struct eml_ir_node *r = reshape_by(&t, x, x);
    simplify(&t);
    const int64_t *dims = r->in[1]->data;
    assert_non_null(dims);
    assert_int_equal(dims[0], -1);
    assert_int_equal(dims[1], 8);
    t_close(&t);
}

/* [2, n, 4] by [n, 8]: for n = 0 that is [0, 8], as in ONNX Runtime, not a copy of the 2. */
static void an_open_dim_that_is_empty_is_zero(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(2, EML_DIM_UNKNOWN, 4)), *s = OP(&t, SHAPE, x);
    struct eml_ir_value *n = OP(&t, SLICE, s, t_ints(&t, DIMS(1)), t_ints(&t, DIMS(2)));
    struct eml_ir_node *cat = NODE(&t, CONCAT, n, t_ints(&t, DIMS(8)));
    eml_ir_set_int(t.ir, cat, EML_ATTR_AXIS, 0);
    struct eml_ir_node *r = NODE(&t, RESHAPE, x, cat->out[0]);
    t_output(&t, r->out[0]);
    simplify(&t);
    const int64_t *dims = r->in[1]->data;
    assert_non_null(dims);
    assert_int_equal(dims[0], -1);
    assert_int_equal(dims[1], 8);
    t_close(&t);
}

/* It fills [1, 8] only: an open dim would take other inputs for it, empty ones among them. */
static void a_shape_that_may_not_fit_is_still_computed(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *a = t_input(&t, "a", DIMS(EML_DIM_UNKNOWN, EML_DIM_UNKNOWN));
    struct eml_ir_node *r = reshape_by(&t, t_input(&t, "x", DIMS(4, 2)), a);
    simplify(&t);
    assert_null(r->in[1]->data);
    assert_int_equal(t_count(&t, EML_OP_CONCAT), 1);
    t_close(&t);
}

static void equal_nodes_are_one(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = input(&t);
    struct eml_ir_value *a = OP(&t, MUL, x, SCALAR(&t, 2)), *b = OP(&t, MUL, x, SCALAR(&t, 2));
    struct eml_ir_value *c = OP(&t, MUL, x, SCALAR(&t, 3));
    t_output(&t, OP(&t, ADD, OP(&t, ADD, a, b), c));
    simplify(&t);
    assert_int_equal(t_count(&t, EML_OP_MUL), 2);
    assert_int_equal(t_count(&t, EML_OP_ADD), 2);
    t_close(&t);
}

static struct eml_ir_node *concat(struct t *t, struct eml_ir_value *const *v, uint32_t n)
{
    struct eml_ir_node *cat = t_node(t, EML_OP_CONCAT, v, n);
    eml_ir_set_int(t->ir, cat, EML_ATTR_AXIS, -1);
    return cat;
}

static void concatenations_build_on_each_other(void **state)
{
    struct t t;
    struct eml_ir_value *v[4];
    (void)state;
    t_open(&t, 1);
    v[0] = input(&t);
    for (int i = 1; i < 4; i++)
        v[i] = OP(&t, MUL, v[0], SCALAR(&t, (float)i + 1));
    struct eml_ir_node *two = concat(&t, v, 2), *three = concat(&t, v, 3), *four = concat(&t, v, 4);
    struct eml_ir_node *other = concat(&t, v + 1, 3); /* begins with something else */
    t_output(&t, OP(&t, RELU, two->out[0]));
    eml_ir_add_output(t.ir, EML_LIT("three"), OP(&t, RELU, three->out[0]));
    eml_ir_add_output(t.ir, EML_LIT("four"), four->out[0]);
    eml_ir_add_output(t.ir, EML_LIT("other"), other->out[0]);
    simplify(&t);
    assert_int_equal(two->n_in, 2);
    assert_int_equal(three->n_in, 2);
    assert_ptr_equal(three->in[0], two->out[0]);
    assert_ptr_equal(three->in[1], v[2]);
    assert_int_equal(four->n_in, 2);
    assert_ptr_equal(four->in[0], three->out[0]);
    assert_int_equal(other->n_in, 3);
    OK(eml_fold_infer_from(t.ir, t.ir->first, why));
    assert_int_equal(four->out[0]->shape.dim[2], 16);
    t_close(&t);
}

/* The work must not grow with the square of the readers of one value: 0.2 s then became 20. */
static void very_many_read_one_value(void **state)
{
    enum { READERS = 60000 };
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = input(&t), *twin[2] = {OP(&t, ABS, x), OP(&t, ABS, x)};
    t_output(&t, OP(&t, MUL, twin[0], twin[1]));
    struct eml_ir_value *y = x;
    for (int i = 0; i < READERS; i++)
        y = OP(&t, SUB, x, y);
    t_output(&t, y);
    clock_t start = clock();
    simplify(&t);
    assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
    assert_int_equal(eml_ir_node_count(t.ir), READERS + 2);
    t_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_of_what_does_nothing),
        cmocka_unit_test(what_does_something_stays),
        cmocka_unit_test(transposes_merge),
        cmocka_unit_test(reshape_copies_dims_instead_of_computing_them),
        cmocka_unit_test(reshape_leaves_open_what_follows_from_the_rest),
        cmocka_unit_test(an_open_dim_that_is_empty_is_zero),
        cmocka_unit_test(a_shape_that_may_not_fit_is_still_computed),
        cmocka_unit_test(equal_nodes_are_one),
        cmocka_unit_test(concatenations_build_on_each_other),
        cmocka_unit_test(very_many_read_one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
