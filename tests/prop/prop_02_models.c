// link: decompose onnx topology blob engine
/* Property 2: a model is accepted if and only if the engine can run it, and then the numbers are
 * right.
 *
 * A case is a random ONNX model (gen_model.h), grown node by node: each node is either accepted, or
 * refused with a report that names it and no other. What was accepted goes the whole way
 * (decompose, decode, open, plan, run with the best kernels and two threads, twice) and must equal
 * the same model merely imported and laid out, with nothing folded or fused, on the reference
 * kernels. A failing model is shrunk to the nodes that it takes.
 */
#include "decompose/decompose.h"
#include "decompose/emit.h"
#include "decompose/passes.h"
#include "engine/plan.h"
#include "testsupport/gen_model.h"
#include "topology/topology.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CASES = 300, PROPOSALS = 9, ERROR_TEXT = 400 };
#define ARENA_BYTES ((size_t)1 << 30)

struct stats {
    uint32_t proposed[EML_OP_N], accepted[EML_OP_N];
    uint32_t types[EML_DT_LAST + 1];
    uint32_t ran, refused_by_data, dynamic;
};

/* What one way of running came to. */
struct outcome {
    enum eml_err e;
    struct eml_why why;
    struct eml_tensor out[EML_GRAPH_IO_MAX];
    uint32_t n_out;
    bool dynamic;
};

static const struct eml_budget BUDGET = {.activation_bytes = (uint64_t)1 << 28,
                                         .flops = (uint64_t)1 << 32};

/* ---- the model as file ---- */

static struct eml_onnx_model *parse(const struct eml_model_gen *m)
{
    struct eml_buf file = {0};
    struct eml_onnx_diag diag = {0};
    struct eml_onnx_model *model = NULL;
    eml_model_gen_encode(m, &file);
    if (eml_onnx_parse(eml_buf_bytes(&file), NULL, &model, &diag) != EML_OK)
        fail_msg("the reader refuses what was generated: %s (%s)", diag.why.rule, diag.subject);
    eml_buf_free(&file);
    return model;
}

/* ---- running ---- */

/* Inputs in the graph's order, found by name; those that nobody reads are inputs as well. */
static void find_inputs(const struct eml_model_gen *m, const struct eml_graph *g,
                        struct eml_tensor *in)
{
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const struct eml_mg_value *v = NULL;
        for (uint32_t k = 0; k < m->n_values && v == NULL; k++)
            if (eml_bytes_equal(g->inputs[i].text, eml_bytes_of_str(m->values[k].name)))
                v = &m->values[k];
        assert_non_null(v);
        in[i] = (struct eml_tensor){v->dtype, v->shape, v->data, v->bytes};
    }
}

static void run_graph(const struct eml_model_gen *m, const struct eml_graph *g,
                      struct eml_bytes weights, enum eml_isa isa, struct eml_pool *pool,
                      struct eml_arena *arena, struct outcome *o)
{
    struct eml_tensor in[EML_GRAPH_IO_MAX];
    struct eml_plan *plan;
    find_inputs(m, g, in);
    o->n_out = g->n_outputs;
    const struct eml_plan_options options = {.no_reuse = isa == EML_ISA_REF, .always_share = true};
    o->e = eml_plan_make_with(g, in, isa, pool != NULL ? 2 : 1, &BUDGET, &options, arena, &plan,
                              &o->why);
    if (o->e != EML_OK)
        return;
    o->dynamic = plan->dynamic != NULL;
    struct eml_room room = {NULL, eml_plan_activation_bytes(plan)};
    room.ptr = eml_arena_alloc(arena, room.len, 64);
    assert_non_null(room.ptr);
    memset(room.ptr, 0xA5, room.len);
    o->e = eml_plan_run(plan, weights, in, room, pool, o->out, &o->why);
}

/* Imported, and laid out as kernels want it: nothing else. */
static enum eml_err plain_graph(const struct eml_onnx_model *model, struct eml_arena *arena,
                                struct eml_emitted *emitted, struct eml_why *why)
{
    struct eml_ir *ir = eml_arena_alloc(arena, sizeof *ir, 64), *last = ir;
    assert_non_null(ir);
    eml_ir_init(ir, arena);
    EML_TRY(eml_import(ir, model, why));
    for (struct eml_ir *at = ir; at != NULL; at = at->next) {
        EML_TRY(eml_fold_infer_from(at, at->first, why));
        EML_TRY(eml_layout_channels_last(at, why));
        EML_TRY(eml_fold_infer_from(at, at->first, why));
        for (const struct eml_ir_node *n = at->first; n != NULL; n = n->next)
            for (size_t k = 0; k < 2 && n->body[k] != NULL; k++)
                last = last->next = n->body[k];
    }
    return eml_emit(ir, emitted, why);
}

static void run_plain(const struct eml_model_gen *m, const struct eml_onnx_model *model,
                      struct eml_arena *arena, struct outcome *o)
{
    struct eml_emitted emitted;
    o->e = plain_graph(model, arena, &emitted, &o->why);
    if (o->e == EML_OK)
        run_graph(m, &emitted.graph, emitted.weights, EML_ISA_REF, NULL, arena, o);
}

static void run_whole(const struct eml_model_gen *m, const struct eml_onnx_model *model,
                      struct eml_pool *pool, struct eml_arena *arena, struct outcome *o)
{
    static const struct eml_decompose_options options = {.version = 1, .min_version = 1};
    struct eml_check_report report = {0};
    struct eml_decomposed d;
    struct eml_topology *t = eml_arena_alloc(arena, sizeof *t, 64);
    assert_non_null(t);
    assert_int_equal(eml_decompose(model, &options, &d, &report), EML_OK);
    assert_int_equal(report.n, 0);
    eml_check_free(&report);
    assert_int_equal(eml_topology_decode(eml_buf_bytes(&d.topology), arena, t, &o->why), EML_OK);
    size_t room = (size_t)t->blob.chunks * EML_CHUNK_BYTES;
    struct eml_room plain = {eml_arena_alloc(arena, room, 64), room};
    assert_non_null(plain.ptr);
    assert_int_equal(eml_blob_open(&t->blob, eml_buf_bytes(&d.sealed), arena, plain, &o->why),
                     EML_OK);
    run_graph(m, &t->graph, eml_bytes(plain.ptr, (size_t)t->blob.plain_bytes), EML_ISA_AUTO, pool,
              arena, o);
    eml_decomposed_free(&d);
}

/* ---- comparing ---- */

static double element(const struct eml_tensor *t, size_t i)
{
    const uint8_t *p = (const uint8_t *)t->data + i * eml_dtype_bytes(t->dtype);
    uint16_t half;
    uint32_t bits;
    float f;
    double d;
    switch (t->dtype) {
    case EML_DT_F32:
        memcpy(&f, p, sizeof f);
        return (double)f;
    case EML_DT_F64:
        memcpy(&d, p, sizeof d);
        return d;
    case EML_DT_BF16:
        memcpy(&half, p, sizeof half);
        bits = (uint32_t)half << 16;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    case EML_DT_F16: {
        memcpy(&half, p, sizeof half);
        int exponent = half >> 10 & 31;
        double m = half & 0x3FF;
        d = exponent == 31  ? (m != 0 ? (double)NAN : (double)INFINITY)
            : exponent == 0 ? ldexp(m, -24)
                            : ldexp(1024 + m, exponent - 25);
        return half >> 15 != 0 ? -d : d;
    }
    default:
        return (double)p[0];
    }
}

static bool is_float(enum eml_dtype t)
{
    return t == EML_DT_F32 || t == EML_DT_F64 || t == EML_DT_F16 || t == EML_DT_BF16;
}

static bool close_to(double a, double b, double slack, double scale)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b))
        return a == b || (slack > 0 && fabs(a) > 1e30 && fabs(b) > 1e30);
    return fabs(a - b) <= slack * fabs(b) + slack * 1e-2 * scale;
}

/* False, with a text, if the tensors differ by more than they may. */
static bool same_tensor(const struct eml_tensor *a, const struct eml_tensor *b, float slack,
                        char text[ERROR_TEXT])
{
    if (a->dtype != b->dtype || a->shape.rank != b->shape.rank || a->bytes != b->bytes ||
        memcmp(a->shape.dim, b->shape.dim, a->shape.rank * sizeof a->shape.dim[0]) != 0) {
        (void)snprintf(text, ERROR_TEXT, "%s of rank %u, %zu bytes, not %s of rank %u, %zu bytes",
                       eml_dtype_name(a->dtype), a->shape.rank, a->bytes, eml_dtype_name(b->dtype),
                       b->shape.rank, b->bytes);
        return false;
    }
    size_t n = eml_dtype_bytes(a->dtype) > 0 ? a->bytes / eml_dtype_bytes(a->dtype) : 0;
    if (!is_float(a->dtype)) {
        if (n == 0 || slack > 0.01F || memcmp(a->data, b->data, a->bytes) == 0)
            return true; /* what was made an integer of halves may have tipped */
        (void)snprintf(text, ERROR_TEXT, "other bytes of %s", eml_dtype_name(a->dtype));
        return false;
    }
    double scale = 1;
    for (size_t i = 0; i < n; i++) {
        double v = fabs(element(b, i));
        scale = v > scale && isfinite(v) ? v : scale;
    }
    for (size_t i = 0; i < n; i++)
        if (!close_to(element(a, i), element(b, i), (double)slack, scale)) {
            (void)snprintf(text, ERROR_TEXT, "element %zu of %zu: %.9g, not %.9g (slack %g)", i, n,
                           element(a, i), element(b, i), (double)slack);
            return false;
        }
    return true;
}

static bool same_value(const struct eml_tensor *a, const struct eml_tensor *b, float slack,
                       char text[ERROR_TEXT])
{
    if (a->dtype != EML_DT_SEQUENCE || b->dtype != EML_DT_SEQUENCE)
        return same_tensor(a, b, slack, text);
    const struct eml_tensor *x = a->data, *y = b->data;
    if (a->shape.dim[0] != b->shape.dim[0]) {
        (void)snprintf(text, ERROR_TEXT, "lists of different length");
        return false;
    }
    for (int64_t i = 0; i < a->shape.dim[0]; i++)
        if (!same_tensor(&x[i], &y[i], slack, text))
            return false;
    return true;
}

static bool same_outcome(const struct eml_model_gen *m, const struct outcome *got,
                         const struct outcome *want, char text[ERROR_TEXT])
{
    if ((got->e == EML_OK) != (want->e == EML_OK)) {
        (void)snprintf(text, ERROR_TEXT, "%s: %s; plain: %s: %s", eml_err_name(got->e),
                       got->e != EML_OK ? got->why.rule : "", eml_err_name(want->e),
                       want->e != EML_OK ? want->why.rule : "");
        return false;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; got->e == EML_OK && i < m->n_values; i++) {
        if (!eml_mg_is_output(&m->values[i]))
            continue;
        if (!same_value(&got->out[at], &want->out[at], m->values[i].slack, text))
            return false;
        at++;
    }
    return true;
}

/* False, with a text, if the model breaks the property. */
static bool holds(const struct eml_model_gen *m, struct eml_pool *pool, struct stats *s,
                  char text[ERROR_TEXT])
{
    struct eml_arena arena;
    struct outcome whole = {.e = EML_OK}, plain = {.e = EML_OK};
    struct eml_onnx_model *model = parse(m);
    assert_int_equal(eml_arena_create(&arena, ARENA_BYTES), EML_OK);
    run_plain(m, model, &arena, &plain);
    run_whole(m, model, pool, &arena, &whole);
    bool ok = same_outcome(m, &whole, &plain, text);
    if (ok && whole.e != EML_OK && whole.e != EML_E_INPUT) {
        (void)snprintf(text, ERROR_TEXT, "accepted, then %s: %s", eml_err_name(whole.e),
                       whole.why.rule);
        ok = false;
    }
    if (s != NULL) {
        s->ran += whole.e == EML_OK;
        s->refused_by_data += whole.e != EML_OK;
        s->dynamic += whole.dynamic;
    }
    eml_onnx_free(model);
    (void)eml_arena_destroy(&arena);
    return ok;
}

/* ---- growing ---- */

/* What is known of the new results. */
static void learn(struct eml_model_gen *m, const struct eml_onnx_model *model)
{
    struct eml_arena arena;
    struct eml_why why = {0};
    assert_int_equal(eml_arena_create(&arena, ARENA_BYTES), EML_OK);
    struct eml_ir *ir = eml_arena_alloc(&arena, sizeof *ir, 64);
    assert_non_null(ir);
    eml_ir_init(ir, &arena);
    assert_int_equal(eml_import(ir, model, &why), EML_OK);
    const struct eml_mg_node *n = &m->nodes[m->n_nodes - 1];
    for (uint32_t i = 0; i < ir->n_outputs; i++)
        for (uint32_t k = 0; k < n->n_out; k++) {
            struct eml_mg_value *v = &m->values[n->first_out + k];
            const struct eml_ir_value *from = ir->outputs[i].value;
            if (!eml_bytes_equal(ir->outputs[i].name, eml_bytes_of_str(v->name)))
                continue;
            v->dtype = from->dtype;
            v->elem = from->elem;
            v->has_rank = from->has_rank;
            v->shape = from->shape;
            if (v->dtype == EML_DT_F16 && v->slack > 0 && v->slack < 4e-3F)
                v->slack = 4e-3F;
            if (v->dtype == EML_DT_BF16 && v->slack > 0 && v->slack < 3e-2F)
                v->slack = 3e-2F;
        }
    (void)eml_arena_destroy(&arena);
}

/* Proposes a node; what is refused is taken back. */
static void grow(struct eml_model_gen *m, struct stats *s)
{
    struct eml_check_report report = {0};
    eml_model_gen_propose(m);
    const struct eml_mg_node *n = &m->nodes[m->n_nodes - 1];
    struct eml_onnx_model *model = parse(m);
    assert_int_equal(eml_decompose_check(model, &report), EML_OK);
    s->proposed[n->op]++;
    for (size_t i = 0; i < report.n; i++)
        if (report.list[i].node != m->n_nodes - 1)
            fail_msg("%s is refused, but node %u is named: %s", n->text, report.list[i].node,
                     report.list[i].reason);
    if (report.n == 0) {
        s->accepted[n->op]++;
        learn(m, model);
        for (uint32_t i = 0; i < n->n_out; i++)
            if (m->values[n->first_out + i].dtype <= EML_DT_LAST)
                s->types[m->values[n->first_out + i].dtype]++;
    } else {
        eml_model_gen_undo(m);
    }
    eml_check_free(&report);
    eml_onnx_free(model);
}

/* ---- failing ---- */

static void shrink_and_fail(struct eml_model_gen *m, struct eml_pool *pool, char text[ERROR_TEXT])
{
    for (uint32_t i = m->n_nodes; i-- > 0;) {
        struct eml_model_gen before = *m;
        char other[ERROR_TEXT];
        if (!eml_model_gen_drop(m, i))
            continue;
        if (holds(m, pool, NULL, other))
            *m = before;
        else
            memcpy(text, other, sizeof other);
    }
    for (uint32_t i = 0; i < m->n_nodes; i++)
        if (!m->nodes[i].gone)
            print_error("  v%u = %s\n", m->nodes[i].first_out, m->nodes[i].text);
    for (uint32_t i = 0; i < m->n_values; i++) {
        const struct eml_mg_value *v = &m->values[i];
        if (v->readers == 0 || v->gone)
            continue;
        print_error("  %s: %s [", v->name, eml_dtype_name(v->dtype));
        for (uint32_t d = 0; d < v->shape.rank; d++)
            print_error(" %lld", (long long)v->shape.dim[d]);
        print_error(" ]\n");
    }
    const char *path = getenv("EML_FAILED_MODEL");
    FILE *f = path != NULL ? fopen(path, "wb") : NULL;
    if (f != NULL) {
        struct eml_buf file = {0};
        eml_model_gen_encode(m, &file);
        (void)fwrite(file.ptr, 1, file.len, f);
        eml_buf_free(&file);
        (void)fclose(f);
    }
    fail_msg("%s", text);
}

static void one_case(struct eml_gen *g, struct eml_pool *pool, struct stats *s)
{
    struct eml_arena arena;
    struct eml_model_gen m;
    char text[ERROR_TEXT] = "";
    assert_int_equal(eml_arena_create(&arena, (size_t)1 << 26), EML_OK);
    eml_model_gen_start(&m, g, &arena);
    for (int64_t n = eml_gen_range(g, 1, PROPOSALS); n > 0; n--)
        grow(&m, s);
    if (m.n_nodes > 0 && !holds(&m, pool, s, text))
        shrink_and_fail(&m, pool, text);
    eml_model_gen_free(&m);
    (void)eml_arena_destroy(&arena);
}

static void what_is_accepted_runs_right_and_what_is_refused_is_named(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("prop_02_models");
    const char *more = getenv("EML_CASES");
    long cases = more != NULL ? strtol(more, NULL, 10) : CASES;
    static struct stats s;
    struct eml_pool *pool;
    assert_int_equal(eml_pool_create(2, &pool), EML_OK);
    for (long i = 0; i < cases; i++)
        one_case(&g, pool, &s);
    eml_pool_destroy(pool);
    uint32_t proposed = 0, accepted = 0, ops = 0, types = 0;
    for (size_t i = 0; i < EML_OP_N; i++) {
        proposed += s.proposed[i];
        accepted += s.accepted[i];
        ops += s.accepted[i] != 0;
        if (s.proposed[i] > 20 && s.accepted[i] == 0)
            print_message("never accepted: %s\n", eml_op_info((enum eml_op)i)->name);
    }
    for (size_t i = 0; i <= EML_DT_LAST; i++)
        types += s.types[i] != 0;
    print_message("%ld models: %u of %u nodes accepted, %u operators, %u types; %u ran, %u of them "
                  "dynamically, %u met data that they refuse\n",
                  cases, accepted, proposed, ops, types, s.ran, s.dynamic, s.refused_by_data);
    assert_true(accepted > proposed / 3 && accepted < proposed);
    assert_true(s.ran > s.refused_by_data);
    eml_assured(cases, "random models over the operator list: accepted ones run and equal the "
                       "reference kernels, refusals name the node");
    if (cases >= CASES)
        assert_true(ops > 90 && types > 12 && s.dynamic > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_accepted_runs_right_and_what_is_refused_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
