#define _GNU_SOURCE
#include "testsupport/support.h"

#include "assemble/assemble.h"
#include "base/wipe.h"
#include "crypto/crypto.h"

#include <stdlib.h>
#include <string.h>

/* y = x + w and z = w: a weight that is added, and a weight that is itself an output. */
enum { N = 1024, ARENA = 64 << 20, UNREAD = 3 * EML_CHUNK_BYTES };
static const uint8_t marker[16] = {0xc3, 0x5a, 0x7e, 0x11, 0x9d, 0xe4, 0x02, 0x68,
                                   0xb7, 0x3f, 0xd5, 0x90, 0x4c, 0x21, 0xfa, 0x86};

struct fixture {
    struct eml_arena arena;
    struct eml_pool *pool;
    struct eml_buf topology, sealed;
    float w[N], x[N];
    struct eml_tensor input;
};

static void make_key(struct fixture *f, struct eml_blob_info *info, bool with_constant_output)
{
    struct eml_shape shape = {1, {N}};
    struct eml_value values[3] = {
        {.kind = EML_VALUE_INPUT, .dtype = EML_DT_F32, .shape = {1, {EML_DIM_UNKNOWN}}},
        {.kind = EML_VALUE_SLOT, .dtype = EML_DT_F32, .shape = shape, .bytes = sizeof f->w},
        {.kind = EML_VALUE_NODE, .dtype = EML_DT_F32},
    };
    const uint32_t in[2] = {0, 1}, out[1] = {2};
    struct eml_node node = {
        .op = EML_OP_ADD, .n_in = 2, .n_out = 1, .in = in, .out = out, .params = EML_ABSENT};
    struct eml_name input = {EML_LIT("x"), 0}, outputs[2] = {{EML_LIT("y"), 2}, {EML_LIT("z"), 1}};
    const struct eml_topology t = {
        .min_version = 1,
        .blob = *info,
        .graph = {.n_values = 3,
                  .n_nodes = 1,
                  .n_inputs = 1,
                  .n_outputs = with_constant_output ? 2 : 1,
                  .values = values,
                  .nodes = &node,
                  .inputs = &input,
                  .outputs = outputs},
    };
    assert_int_equal(eml_topology_encode(&t, &f->topology), EML_OK);
}

static void setup(struct fixture *f, bool with_constant_output)
{
    *f = (struct fixture){0};
    struct eml_gen g = eml_gen_from((struct eml_bytes){0});
    for (size_t i = 0; i < N; i++) {
        f->w[i] = eml_gen_f32(&g, -1, 1);
        f->x[i] = eml_gen_f32(&g, -1, 1);
    }
    memcpy(&f->w[100], marker, sizeof marker);
    struct eml_blob_info info = {.version = 1};
    assert_int_equal(eml_random(EML_ROOM(info.model_id)), EML_OK);
    uint8_t *plain = calloc(1, sizeof f->w + UNREAD);
    assert_non_null(plain);
    memcpy(plain, f->w, sizeof f->w);
    assert_int_equal(eml_blob_seal(eml_bytes(plain, sizeof f->w + UNREAD), &info, &f->sealed),
                     EML_OK);
    free(plain);
    make_key(f, &info, with_constant_output);
    eml_wipe(&info, sizeof info);
    assert_int_equal(eml_arena_create(&f->arena, ARENA), EML_OK);
    assert_int_equal(eml_pool_create(2, &f->pool), EML_OK);
    f->input = (struct eml_tensor){EML_DT_F32, {1, {N}}, f->x, sizeof f->x};
}

static void teardown(struct fixture *f)
{
    (void)eml_arena_destroy(&f->arena);
    eml_pool_destroy(f->pool);
    eml_buf_free(&f->topology);
    eml_buf_free(&f->sealed);
}

/* Everything ever handed out by the arena: not only the marker, any byte. */
static void assert_arena_clean(const struct eml_arena *a)
{
    assert_true(a->peak > 0);
    assert_true(eml_ct_is_zero(eml_bytes(a->base, a->peak)));
}

static bool holds_marker(const struct eml_arena *a)
{
    return memmem(a->base, a->peak, marker, sizeof marker) != NULL;
}

struct seen {
    const struct fixture *f;
    unsigned calls;
    bool weights_in_clear;
    struct eml_times times;
};

static enum eml_err look(void *ctx, const struct eml_tensor *out, size_t n,
                         const struct eml_times *times)
{
    struct seen *s = ctx;
    s->calls++;
    s->times = *times;
    s->weights_in_clear = holds_marker(&s->f->arena);
    const float *y = out[0].data;
    for (size_t i = 0; i < N; i++) {
        float want = s->f->x[i] + s->f->w[i]; /* the marker's floats are finite */
        assert_memory_equal(&y[i], &want, sizeof want);
    }
    if (n == 2)
        assert_memory_equal(out[1].data, s->f->w, sizeof s->f->w);
    return EML_OK;
}

static enum eml_err fail_to_send(void *ctx, const struct eml_tensor *out, size_t n,
                                 const struct eml_times *times)
{
    (void)ctx, (void)out, (void)n, (void)times;
    return EML_E_NET;
}

static enum eml_err take_weights(struct eml_model *m, struct eml_bytes sealed, struct eml_why *why)
{
    uint8_t digest[32];
    assert_int_equal(eml_blob_digest(sealed, digest), EML_OK);
    return eml_model_weights(m, sealed, EML_SEALED_FIXED, digest, why);
}

static void give_weights(struct fixture *f, struct eml_model *m)
{
    struct eml_why why = {0};
    assert_int_equal(take_weights(m, eml_buf_bytes(&f->sealed), &why), EML_OK);
}

/* As a reader of the tags sees them: changed after the digest was compared, as a file may be. */
static void give_changed_weights(struct fixture *f, struct eml_model *m)
{
    struct eml_why why = {0};
    const struct eml_bytes sealed = eml_buf_bytes(&f->sealed);
    assert_int_equal(
        eml_model_weights(m, sealed, EML_SEALED_CHANGEABLE, m->topology->blob.digest, &why),
        EML_OK);
}

static const struct eml_budget no_limit = {UINT64_MAX, UINT64_MAX};

static void request_mode_leaves_nothing(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    struct eml_model m;
    struct eml_times t = {0};
    struct eml_why why = {0};
    assert_int_equal(
        eml_model_decode(&m, &f.arena, eml_buf_bytes(&f.topology), EML_ISA_AUTO, f.pool, &t, &why),
        EML_OK);
    give_weights(&f, &m);
    struct seen s = {.f = &f};
    for (unsigned i = 1; i <= 2; i++) { /* the second run opens the weights again */
        t = (struct eml_times){0};
        assert_int_equal(eml_model_infer(&m, &f.input, false, &no_limit, look, &s, &t, &why),
                         EML_OK);
        assert_int_equal(s.calls, i);
        assert_false(s.weights_in_clear);
        assert_true(s.times.exposure > 0 && s.times.exposure >= s.times.run);
        assert_true(s.times.wiped_bytes >= EML_CHUNK_BYTES);
        assert_false(holds_marker(&f.arena));
    }
    eml_model_close(&m, &t);
    assert_arena_clean(&f.arena);
    teardown(&f);
}

static void session_mode_keeps_weights_until_close(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    struct eml_model m;
    struct eml_times t = {0};
    struct eml_why why = {0};
    assert_int_equal(
        eml_model_decode(&m, &f.arena, eml_buf_bytes(&f.topology), EML_ISA_AUTO, f.pool, &t, &why),
        EML_OK);
    give_weights(&f, &m);
    struct seen s = {.f = &f};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(eml_model_infer(&m, &f.input, true, &no_limit, look, &s, &t, &why),
                         EML_OK);
        assert_true(s.weights_in_clear);
    }
    uint64_t before = t.exposure;
    eml_model_close(&m, &t);
    assert_true(t.exposure > before);
    assert_arena_clean(&f.arena);
    teardown(&f);
}

/* Kept weights lie below the plan; a call that is to wipe them before its outputs go cannot. */
static void kept_weights_stay_kept(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    struct eml_model m;
    struct eml_times t = {0};
    struct eml_why why = {0};
    assert_int_equal(
        eml_model_decode(&m, &f.arena, eml_buf_bytes(&f.topology), EML_ISA_AUTO, f.pool, &t, &why),
        EML_OK);
    give_weights(&f, &m);
    struct seen s = {.f = &f};
    assert_int_equal(eml_model_infer(&m, &f.input, true, &no_limit, look, &s, &t, &why), EML_OK);
    assert_int_equal(eml_model_infer(&m, &f.input, false, &no_limit, look, &s, &t, &why),
                     EML_E_USAGE);
    assert_int_equal(s.calls, 1);
    assert_int_equal(eml_model_infer(&m, &f.input, true, &no_limit, look, &s, &t, &why), EML_OK);
    assert_int_equal(s.calls, 2);
    eml_model_close(&m, &t);
    assert_arena_clean(&f.arena);
    teardown(&f);
}

static void constant_output_outlives_the_weights(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, true);
    struct eml_model m;
    struct eml_times t = {0};
    struct eml_why why = {0};
    assert_int_equal(
        eml_model_decode(&m, &f.arena, eml_buf_bytes(&f.topology), EML_ISA_AUTO, f.pool, &t, &why),
        EML_OK);
    give_weights(&f, &m);
    struct seen s = {.f = &f};
    assert_int_equal(eml_model_infer(&m, &f.input, false, &no_limit, look, &s, &t, &why), EML_OK);
    assert_int_equal(s.calls, 1);
    eml_model_close(&m, &t);
    assert_arena_clean(&f.arena);
    teardown(&f);
}

/* One fault per row; each must end with its class and a clean arena. */
static void failures_leave_nothing(void **state)
{
    (void)state;
    enum fault { FLIPPED, SHAPE, BUDGET, FLOPS, SINK, FAULTS };
    static const enum eml_err want[FAULTS] = {EML_E_AUTH, EML_E_INPUT, EML_E_REFUSED, EML_E_REFUSED,
                                              EML_E_NET};
    for (int keep = 0; keep < 2; keep++)
        for (int fault = 0; fault < FAULTS; fault++) {
            struct fixture f;
            setup(&f, false);
            struct eml_budget limits = no_limit;
            for (size_t i = 0; fault == FLIPPED && i < f.sealed.len; i += EML_CHUNK_SEALED_BYTES)
                f.sealed.ptr[i + 77] ^= 1;
            if (fault == SHAPE) {
                f.input.shape.dim[0] = N - 1;
                f.input.bytes -= sizeof(float);
            }
            if (fault == BUDGET)
                limits.activation_bytes = 100;
            if (fault == FLOPS)
                limits.flops = 10;
            struct eml_model m;
            struct eml_times t = {0};
            struct eml_why why = {0};
            assert_int_equal(eml_model_decode(&m, &f.arena, eml_buf_bytes(&f.topology),
                                              EML_ISA_AUTO, f.pool, &t, &why),
                             EML_OK);
            give_changed_weights(&f, &m);
            struct seen s = {.f = &f};
            assert_int_equal(eml_model_infer(&m, &f.input, keep != 0, &limits,
                                             fault == SINK ? fail_to_send : look, &s, &t, &why),
                             want[fault]);
            if (keep == 0)
                assert_false(holds_marker(&f.arena));
            assert_int_equal(s.calls, 0);
            eml_model_close(&m, &t);
            assert_arena_clean(&f.arena);
            teardown(&f);
        }
}

/* The host may damage any chunk: whether a request reads it or not, the answer is the same, it is
 * given at the same point, and nothing was opened by then. */
static void damage_is_found_before_anything_is_opened(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    const size_t chunks = f.sealed.len / EML_CHUNK_SEALED_BYTES;
    assert_int_equal(chunks, 4); /* of which a request reads one */
    for (size_t i = 0; i <= chunks; i++) {
        struct eml_bytes sealed = eml_buf_bytes(&f.sealed);
        struct eml_model m;
        struct eml_times t = {0};
        struct eml_why why = {0};
        assert_int_equal(eml_model_decode(&m, &f.arena, eml_buf_bytes(&f.topology), EML_ISA_AUTO,
                                          f.pool, &t, &why),
                         EML_OK);
        struct eml_bytes known = eml_bytes(f.arena.base, f.arena.used);
        uint8_t *before = malloc(known.len);
        assert_non_null(before);
        memcpy(before, known.ptr, known.len);
        uint8_t *byte = f.sealed.ptr + (i % chunks) * EML_CHUNK_SEALED_BYTES + 1000 * i;
        *byte ^= i < chunks;
        sealed.len -= i == chunks; /* and one that is short */
        assert_int_equal(take_weights(&m, sealed, &why), i < chunks ? EML_E_AUTH : EML_E_INPUT);
        assert_string_equal(why.rule, i < chunks ? "weights: not the object that was sealed"
                                                 : "weights: object has the wrong length");
        assert_int_equal(f.arena.used, known.len);
        assert_memory_equal(before, known.ptr, known.len);
        *byte ^= i < chunks;
        free(before);
        /* And the model cannot be run without. */
        struct seen s = {.f = &f};
        for (int keep = 0; keep < 2; keep++)
            assert_int_equal(
                eml_model_infer(&m, &f.input, keep != 0, &no_limit, look, &s, &t, &why),
                EML_E_INPUT);
        assert_int_equal(s.calls, 0);
        assert_int_equal(t.opened_bytes, 0);
        eml_model_close(&m, &t);
        assert_arena_clean(&f.arena);
    }
    teardown(&f);
}

/* y = x * w for a w of many chunks. */
enum { K = 512, BIG_N = 4096, CHUNKS = K * BIG_N * 4 / EML_CHUNK_BYTES };

static void setup_big(struct fixture *f, float *w)
{
    *f = (struct fixture){0};
    struct eml_gen g = eml_gen_from((struct eml_bytes){0});
    for (size_t i = 0; i < K * BIG_N; i++)
        w[i] = (float)(i % 1009) / 1009 - 0.5f;
    for (size_t i = 0; i < CHUNKS; i++) /* in every chunk, at its own place */
        memcpy((uint8_t *)w + i * EML_CHUNK_BYTES + 64 * (i % 1000), marker, sizeof marker);
    for (size_t i = 0; i < N; i++)
        f->x[i] = eml_gen_f32(&g, -1, 1);
    struct eml_blob_info info = {.version = 1};
    assert_int_equal(eml_random(EML_ROOM(info.model_id)), EML_OK);
    assert_int_equal(eml_blob_seal(eml_bytes(w, K * BIG_N * sizeof *w), &info, &f->sealed), EML_OK);
    struct eml_value values[3] = {
        {.kind = EML_VALUE_INPUT, .dtype = EML_DT_F32, .shape = {2, {EML_DIM_UNKNOWN, K}}},
        {.kind = EML_VALUE_SLOT,
         .dtype = EML_DT_F32,
         .shape = {2, {K, BIG_N}},
         .layout = EML_LAYOUT_PANEL16,
         .bytes = K * BIG_N * sizeof *w},
        {.kind = EML_VALUE_NODE, .dtype = EML_DT_F32},
    };
    const uint32_t in[2] = {0, 1}, out[1] = {2};
    struct eml_node node = {
        .op = EML_OP_MATMUL, .n_in = 2, .n_out = 1, .in = in, .out = out, .params = EML_ABSENT};
    struct eml_name input = {EML_LIT("x"), 0}, output = {EML_LIT("y"), 2};
    const struct eml_topology t = {
        .min_version = 1,
        .blob = info,
        .graph = {.n_values = 3,
                  .n_nodes = 1,
                  .n_inputs = 1,
                  .n_outputs = 1,
                  .values = values,
                  .nodes = &node,
                  .inputs = &input,
                  .outputs = &output},
    };
    assert_int_equal(eml_topology_encode(&t, &f->topology), EML_OK);
    eml_wipe(&info, sizeof info);
    assert_int_equal(eml_arena_create(&f->arena, ARENA), EML_OK);
    assert_int_equal(eml_pool_create(2, &f->pool), EML_OK);
    f->input = (struct eml_tensor){EML_DT_F32, {2, {2, K}}, f->x, 2 * K * sizeof(float)};
}

struct kept {
    const struct fixture *f;
    unsigned calls;
    bool marker;
    float y[2 * BIG_N];
    struct eml_times times;
};

static enum eml_err keep(void *ctx, const struct eml_tensor *out, size_t n,
                         const struct eml_times *times)
{
    struct kept *k = ctx;
    assert_int_equal(n, 1);
    assert_int_equal(out[0].bytes, sizeof k->y);
    memcpy(k->y, out[0].data, sizeof k->y);
    k->calls++;
    k->marker = holds_marker(&k->f->arena);
    k->times = *times;
    return EML_OK;
}

static enum eml_err infer_big(struct fixture *f, enum eml_sealed_in in, bool keep_weights,
                              struct kept *k)
{
    struct eml_model m;
    struct eml_times t = {0};
    struct eml_why why = {0};
    assert_int_equal(eml_model_decode(&m, &f->arena, eml_buf_bytes(&f->topology), EML_ISA_AUTO,
                                      f->pool, &t, &why),
                     EML_OK);
    if (in == EML_SEALED_FIXED)
        give_weights(f, &m);
    else
        give_changed_weights(f, &m);
    enum eml_err e = eml_model_infer(&m, &f->input, keep_weights, &no_limit, keep, k, &t, &why);
    if (!keep_weights)
        assert_false(holds_marker(&f->arena));
    eml_model_close(&m, &t);
    assert_arena_clean(&f->arena);
    return e;
}

/* Request mode: the result of session mode bit for bit, with a window in place of the weights. */
static void weights_are_opened_piece_by_piece(void **state)
{
    (void)state;
    static float w[K * BIG_N];
    static struct kept request, session, tags;
    struct fixture f;
    setup_big(&f, w);
    request.f = session.f = tags.f = &f;
    assert_int_equal(infer_big(&f, EML_SEALED_FIXED, false, &request), EML_OK);
    assert_int_equal(infer_big(&f, EML_SEALED_CHANGEABLE, false, &tags), EML_OK);
    size_t peak = f.arena.peak;
    assert_int_equal(infer_big(&f, EML_SEALED_FIXED, true, &session), EML_OK);
    assert_memory_equal(request.y, session.y, sizeof request.y);
    assert_memory_equal(request.y, tags.y, sizeof request.y);
    assert_true(session.marker);
    assert_false(request.marker);
    assert_true(peak < sizeof w / 2);
    assert_true(request.times.window_bytes < sizeof w / 2);
    assert_true(session.times.window_bytes >= sizeof w);
    /* Each chunk once, but where two threads meet: how often they do is theirs. */
    assert_in_range(tags.times.opened_bytes, sizeof w, 3 * sizeof w);
    /* Parts: every byte of the matrix once, whoever multiplies with it. */
    assert_in_range(request.times.opened_bytes, sizeof w, sizeof w + 2 * EML_CHUNK_BYTES);
    assert_true(request.times.wiped_bytes >= request.times.window_bytes);
    assert_true(request.times.exposure >= request.times.run);
    teardown(&f);
}

/* Wherever in the object a bit is flipped after its digest was computed: no output, and nothing
 * stays. */
static void damage_anywhere_is_found(void **state)
{
    (void)state;
    static float w[K * BIG_N];
    static struct kept k;
    struct fixture f;
    setup_big(&f, w);
    k.f = &f;
    for (size_t i = 0; i < CHUNKS; i += 9) {
        uint8_t *byte = f.sealed.ptr + i * EML_CHUNK_SEALED_BYTES + i * 31;
        *byte ^= 1;
        assert_int_equal(infer_big(&f, EML_SEALED_CHANGEABLE, false, &k), EML_E_AUTH);
        *byte ^= 1;
    }
    assert_int_equal(k.calls, 0);
    assert_int_equal(infer_big(&f, EML_SEALED_CHANGEABLE, false, &k), EML_OK);
    teardown(&f);
}

static void damaged_key_leaves_nothing(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    for (size_t n = 0; n < f.topology.len; n += 3) {
        struct eml_model m;
        struct eml_times t = {0};
        struct eml_why why = {0};
        assert_int_equal(eml_model_decode(&m, &f.arena, eml_bytes(f.topology.ptr, n), EML_ISA_AUTO,
                                          f.pool, &t, &why),
                         EML_E_INPUT);
        assert_null(m.arena);
        assert_true(eml_ct_is_zero(eml_bytes(f.arena.base, f.arena.peak)));
    }
    teardown(&f);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_mode_leaves_nothing),
        cmocka_unit_test(session_mode_keeps_weights_until_close),
        cmocka_unit_test(kept_weights_stay_kept),
        cmocka_unit_test(constant_output_outlives_the_weights),
        cmocka_unit_test(damage_is_found_before_anything_is_opened),
        cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(weights_are_opened_piece_by_piece),
        cmocka_unit_test(damage_anywhere_is_found),
        cmocka_unit_test(damaged_key_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
