#include "build.h"

/* What varies between the graphs below. */
struct shape {
    int64_t batch, heads, d, e; /* batch may be unknown */
    float scale;                /* of the scores; 1: none */
    int mask;                   /* dims of the mask input; 0: none */
    bool scores_are_output;
    const int64_t *joined; /* the last permutation */
};
static struct shape now;

static struct eml_ir_value *turned(struct t *t, struct eml_ir_value *x, const int64_t *perm)
{
    struct eml_ir_node *n = NODE(t, TRANSPOSE, x);
    eml_ir_set_attr(t->ir, n, EML_ATTR_PERM, perm, 4);
    return n->out[0];
}

static struct eml_ir_value *heads(struct t *t, struct eml_ir_value *x, int64_t d,
                                  const int64_t *perm)
{
    struct eml_ir_value *w = t_weights(t, -0.2f, 0.2f, DIMS(24, now.heads * d));
    struct eml_ir_value *p =
        OP(t, ADD, OP(t, MATMUL, x, w), t_weights(t, -1, 1, DIMS(now.heads * d)));
    return turned(t, OP(t, RESHAPE, p, t_ints(t, DIMS(0, 0, now.heads, d))), perm);
}

/* An input whose first dim is the batch, the same for all inputs. */
static struct eml_ir_value *batched(struct t *t, const char *name, const int64_t *dims,
                                    uint32_t rank)
{
    struct eml_ir_value *v = t_input(t, name, dims, rank);
    if (dims[0] == EML_DIM_UNKNOWN)
        eml_ir_set_probe(v, 0, 0);
    return v;
}

static void attention(struct t *t)
{
    static const int64_t first[4] = {0, 2, 1, 3}, last[4] = {0, 2, 3, 1};
    struct eml_ir_value *x = batched(t, "x", DIMS(now.batch, 11, 24));
    struct eml_ir_value *memory = batched(t, "memory", DIMS(now.batch, 19, 24));
    struct eml_ir_value *q = heads(t, x, now.d, first), *k = heads(t, memory, now.d, last);
    struct eml_ir_value *v = heads(t, memory, now.e, first), *s = OP(t, MATMUL, q, k);
    if (now.scale != 1)
        s = OP(t, MUL, s, SCALAR(t, now.scale));
    if (now.mask == 4)
        s = OP(t, ADD, s, batched(t, "mask", DIMS(now.batch, 1, 1, 19)));
    else if (now.mask == 2)
        s = OP(t, ADD, t_input(t, "mask", DIMS(11, 19)), s);
    else if (now.mask == 1)
        s = OP(t, ADD, s, t_input(t, "mask", DIMS(1)));
    struct eml_ir_node *softmax = NODE(t, SOFTMAX, s);
    eml_ir_set_int(t->ir, softmax, EML_ATTR_AXIS, -1);
    struct eml_ir_value *y = turned(t, OP(t, MATMUL, softmax->out[0], v), now.joined);
    y = OP(t, RESHAPE, y, t_ints(t, DIMS(0, now.joined[1] == 2 ? 0 : now.heads, -1)));
    t_output(t, OP(t, RELU, y));
    if (now.scores_are_output)
        eml_ir_add_output(t->ir, EML_LIT("scores"), softmax->out[0]);
}

static const int64_t FIRST[4] = {0, 2, 1, 3}, AS_IS[4] = {0, 1, 2, 3};

static void spellings_become_one_operator(void **state)
{
    (void)state;
    static const int masks[] = {0, 2, 4};
    for (size_t i = 0; i < 3; i++) {
        for (int scaled = 0; scaled < 2; scaled++) {
            struct t t;
            now = (struct shape){EML_DIM_UNKNOWN,   3,        8,     16,
                                 scaled ? 0.3f : 1, masks[i], false, FIRST};
            t_same_after_passes(&t, attention, 2);
            if (t_count(&t, EML_OP_ATTENTION) != 1)
                fail_msg("mask of rank %d, scaled %d: not fused", masks[i], scaled);
            assert_int_equal(t_count(&t, EML_OP_SOFTMAX), 0);
            assert_int_equal(t_count(&t, EML_OP_TRANSPOSE), 0);
            assert_int_equal(eml_ir_int(t_find(&t, EML_OP_ATTENTION), EML_ATTR_NUM_HEADS, 0), 3);
            t_close(&t);
        }
    }
}

static void others_stay(void **state)
{
    (void)state;
    const struct shape shapes[] = {
        {2, 3, 8, 8, 1, 0, false, FIRST},  /* half panels of v */
        {2, 3, 8, 16, 1, 1, false, FIRST}, /* the mask has no keys */
        {2, 3, 8, 16, 1, 0, true, FIRST},  /* somebody else reads the scores */
        {2, 3, 8, 16, 1, 0, false, AS_IS}, /* the heads are not joined */
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct t t;
        now = shapes[i];
        t_same_after_passes(&t, attention, 2);
        assert_int_equal(t_count(&t, EML_OP_ATTENTION), 0);
        assert_int_equal(t_count(&t, EML_OP_SOFTMAX), 1);
        t_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings_become_one_operator),
        cmocka_unit_test(others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
