// link: decompose engine
/* Property 2, what decomposition owes to it: a graph computes the same after all passes as before.
 *
 * A case is a random graph of operators that fold, fuse, change layout or stand in the way of that,
 * over tensors of four dims, with a random choice of what reads what; it is run by the engine once
 * as it was built and once as it came out of the passes.
 */
#include "../unit/decompose/build.h"
#include "testsupport/cases.h"

enum { CASES = 300, OPS_MAX = 14, VALUES_MAX = 64, ELEMENTS_MAX = 20000 };

struct values {
    struct eml_ir_value *v[VALUES_MAX];
    int64_t dim[VALUES_MAX][4];
    uint32_t n;
};

static int64_t draw(struct t *t, int64_t lo, int64_t hi)
{
    return eml_gen_range(&t->gen, lo, hi);
}

static void add(struct values *all, struct eml_ir_value *v, const int64_t dim[4])
{
    assert_true(all->n < VALUES_MAX);
    all->v[all->n] = v;
    memcpy(all->dim[all->n++], dim, sizeof all->dim[0]);
}

/* A value of the same shape as value k, maybe itself. */
static uint32_t alike(struct t *t, const struct values *all, uint32_t k)
{
    uint32_t start = (uint32_t)draw(t, 0, all->n - 1);
    for (uint32_t i = 0; i < all->n; i++) {
        uint32_t j = (start + i) % all->n;
        if (memcmp(all->dim[j], all->dim[k], sizeof all->dim[0]) == 0)
            return j;
    }
    return k;
}

static struct eml_ir_value *activation(struct t *t, struct eml_ir_value *x)
{
    struct eml_ir_node *n;
    struct eml_ir_value *clip;
    switch (draw(t, 0, 7)) {
    case 0:
        return OP(t, RELU, x);
    case 1:
        return OP(t, TANH, x);
    case 2:
        return OP(t, CLIP, x, SCALAR(t, -0.5f), SCALAR(t, 0.75f));
    case 3:
        n = NODE(t, HARD_SIGMOID, x);
        n->params[0] = 0.2f;
        n->params[1] = 0.5f;
        n->n_params = 2;
        return n->out[0];
    case 4:
        return OP(t, MUL, x, OP(t, SIGMOID, x));
    case 5:
        clip = OP(t, CLIP, OP(t, ADD, x, SCALAR(t, 3)), SCALAR(t, 0), SCALAR(t, 6));
        return OP(t, DIV, OP(t, MUL, x, clip), SCALAR(t, 6));
    case 6:
        clip = OP(t, ADD, OP(t, ERF, OP(t, DIV, x, SCALAR(t, 1.41421356f))), SCALAR(t, 1));
        return OP(t, MUL, OP(t, MUL, x, clip), SCALAR(t, 0.5f));
    default:
        return OP(t, ABS, x);
    }
}

/* A constant that broadcasts to d: scalar, per channel, per column, or full. */
static struct eml_ir_value *constant(struct t *t, const int64_t d[4])
{
    switch (draw(t, 0, 4)) {
    case 0:
        return t_weights(t, 0.5f, 1.5f, NULL, 0);
    case 1:
        return t_weights(t, 0.5f, 1.5f, DIMS(1));
    case 2:
        return t_weights(t, 0.5f, 1.5f, DIMS(d[1], 1, 1));
    case 3:
        return t_weights(t, 0.5f, 1.5f, DIMS(d[3]));
    default:
        return t_weights(t, 0.5f, 1.5f, d, 4);
    }
}

static struct eml_ir_value *arithmetic(struct t *t, struct eml_ir_value *x, const int64_t d[4])
{
    struct eml_ir_value *c = constant(t, d);
    switch (draw(t, 0, 4)) {
    case 0:
        return OP(t, ADD, x, c);
    case 1:
        return OP(t, MUL, c, x);
    case 2:
        return OP(t, SUB, x, c);
    case 3:
        return OP(t, DIV, x, c);
    default:
        return OP(t, SUB, c, x);
    }
}

static struct eml_ir_value *conv(struct t *t, struct eml_ir_value *x, int64_t d[4])
{
    int64_t k = draw(t, 0, 1) != 0 ? 3 : 1, out = draw(t, 1, 20), group = 1, in = d[1];
    if (draw(t, 0, 2) == 0)
        group = out = in;
    float bound = 1.0f / sqrtf((float)(in / group * k * k));
    struct eml_ir_node *n =
        NODE(t, CONV, x, t_weights(t, -bound, bound, DIMS(out, in / group, k, k)));
    if (draw(t, 0, 1) != 0)
        eml_ir_set_in(t->ir, n, 2, t_weights(t, -1, 1, DIMS(out)));
    eml_ir_set_attr(t->ir, n, EML_ATTR_PADS, (int64_t[]){k / 2, k / 2, k / 2, k / 2}, 4);
    eml_ir_set_int(t->ir, n, EML_ATTR_GROUP, group);
    d[1] = out;
    return n->out[0];
}

static struct eml_ir_value *batch_norm(struct t *t, struct eml_ir_value *x, int64_t c)
{
    struct eml_ir_node *n = NODE(t, BATCH_NORMALIZATION, x, t_weights(t, 0.5f, 1.5f, DIMS(c)),
                                 t_weights(t, -1, 1, DIMS(c)), t_weights(t, -1, 1, DIMS(c)),
                                 t_weights(t, 0.5f, 2, DIMS(c)));
    n->params[0] = 1e-5f;
    n->n_params = 1;
    return n->out[0];
}

static struct eml_ir_value *linear(struct t *t, struct eml_ir_value *x, int64_t d[4])
{
    int64_t out = draw(t, 1, 20);
    float bound = 1.0f / sqrtf((float)d[3]);
    struct eml_ir_value *w = t_weights(t, -bound, bound, DIMS(d[3], out));
    d[3] = out;
    return OP(t, ADD, t_weights(t, -1, 1, DIMS(out)), OP(t, MATMUL, x, w));
}

static struct eml_ir_value *transpose(struct t *t, struct eml_ir_value *x, int64_t d[4])
{
    int64_t perm[4] = {0, 1, 2, 3}, from[4];
    memcpy(from, d, sizeof from);
    for (int64_t i = 3; i > 0; i--) {
        int64_t j = draw(t, 0, i), keep = perm[i];
        perm[i] = perm[j];
        perm[j] = keep;
    }
    if (draw(t, 0, 2) == 0)
        memcpy(perm, (int64_t[]){0, 3, 1, 2}, sizeof perm); /* the one that layout looks for */
    for (int i = 0; i < 4; i++)
        d[i] = from[perm[i]];
    struct eml_ir_node *n = NODE(t, TRANSPOSE, x);
    eml_ir_set_attr(t->ir, n, EML_ATTR_PERM, perm, 4);
    return n->out[0];
}

static struct eml_ir_value *with_axis(struct t *t, struct eml_ir_node *n, int64_t axis)
{
    eml_ir_set_int(t->ir, n, EML_ATTR_AXIS, draw(t, 0, 1) != 0 ? axis : axis - 4);
    return n->out[0];
}

/* Operators along one axis. */
static struct eml_ir_value *along(struct t *t, struct eml_ir_value *x, int64_t d[4])
{
    int64_t axis = draw(t, 0, 3), from;
    struct eml_ir_node *n;
    switch (draw(t, 0, 4)) {
    case 0:
        return with_axis(t, NODE(t, SOFTMAX, x), axis);
    case 1:
        d[axis] *= 2;
        return with_axis(t, NODE(t, CONCAT, x, x), axis);
    case 2:
        d[axis] = 1;
        n = NODE(t, REDUCE_MEAN, x, t_ints(t, DIMS(axis)));
        return n->out[0];
    case 3:
        from = draw(t, 0, d[axis] - 1);
        d[axis] -= from;
        return OP(t, SLICE, x, t_ints(t, DIMS(from)), t_ints(t, DIMS(INT32_MAX)),
                  t_ints(t, DIMS(axis)));
    default:
        n = NODE(t, PAD, x,
                 t_ints(t, DIMS(axis == 0, axis == 1, axis == 2, axis == 3, 0, 0, 0, 1)));
        d[axis] += 1;
        d[3] += 1;
        return n->out[0];
    }
}

static struct eml_ir_value *resized(struct t *t, struct eml_ir_value *x, int64_t d[4])
{
    struct eml_ir_node *n;
    switch (draw(t, 0, 2)) {
    case 0:
        d[2] = d[3] = 1;
        return OP(t, GLOBAL_AVERAGE_POOL, x);
    case 1:
        n = NODE(t, MAX_POOL, x);
        eml_ir_set_attr(t->ir, n, EML_ATTR_KERNEL_SHAPE, (int64_t[]){1, 1}, 2);
        eml_ir_set_attr(t->ir, n, EML_ATTR_STRIDES, (int64_t[]){2, 1}, 2);
        d[2] = (d[2] + 1) / 2;
        return n->out[0];
    default: /* the same elements in other dims */
        d[3] *= d[1];
        d[1] = 1;
        return OP(t, RESHAPE, x, t_ints(t, DIMS(d[0], 1, d[2], -1)));
    }
}

static void step(struct t *t, struct values *all)
{
    uint32_t k = (uint32_t)(draw(t, 0, 3) != 0 ? all->n - 1 : draw(t, 0, all->n - 1));
    struct eml_ir_value *x = all->v[k], *y;
    int64_t d[4];
    memcpy(d, all->dim[k], sizeof d);
    switch (draw(t, 0, 10)) {
    case 0:
    case 1:
        y = conv(t, x, d);
        break;
    case 2:
        y = batch_norm(t, x, d[1]);
        break;
    case 3:
    case 4:
        y = arithmetic(t, x, d);
        break;
    case 5:
    case 6:
        y = activation(t, x);
        break;
    case 7:
        y = OP(t, ADD, x, all->v[alike(t, all, k)]);
        break;
    case 8:
        y = draw(t, 0, 1) != 0 ? transpose(t, x, d) : linear(t, x, d);
        break;
    case 9:
        y = along(t, x, d);
        break;
    default:
        y = resized(t, x, d);
        break;
    }
    if (d[0] * d[1] * d[2] * d[3] <= ELEMENTS_MAX)
        add(all, y, d);
}

static struct {
    unsigned ops; /* that a graph may have */
    uint64_t before, after;
} now; /* build takes a generator only */

static void build(struct t *t)
{
    struct values all = {0};
    int64_t d[4] = {2, draw(t, 1, 20), draw(t, 1, 6), draw(t, 1, 6)};
    add(&all, t_input(t, "x", d, 4), d);
    if (draw(t, 0, 2) == 0) /* the batch is not known beforehand */
        all.v[0] = t_input(t, "batch", DIMS(EML_DIM_UNKNOWN, d[1], d[2], d[3]));
    for (int64_t n = draw(t, 1, now.ops); n > 0; n--)
        step(t, &all);
    t_output(t, all.v[all.n - 1]);
}

static void same_after_passes(struct eml_gen *g, unsigned ops)
{
    struct t t, plain;
    uint64_t seed = eml_gen_u64(g);
    now.ops = ops;
    t_same_for_seed(&t, build, 2, seed);
    t_open(&plain, seed);
    build(&plain);
    now.before += eml_ir_node_count(plain.ir);
    now.after += eml_ir_node_count(t.ir);
    t_close(&plain);
    t_close(&t);
}

static void passes_keep_what_is_computed(void **state)
{
    struct eml_gen g = eml_gen_seeded("prop_02_passes");
    (void)state;
    eml_cases(&g, CASES, OPS_MAX, same_after_passes);
    print_message("%llu nodes became %llu\n", (unsigned long long)now.before,
                  (unsigned long long)now.after);
    assert_true(now.after < now.before);
    eml_assured(CASES, "generated graphs compute the same before and after all passes of "
                       "decomposition");
}

int main(void)
{
    const struct CMUnitTest tests[] = {EML_CASES_TEST(passes_keep_what_is_computed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
