#include "testsupport/gen_graph.h"
#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/crypto.h"
#include "model/limits.h"
#include "topology/topology.h"
#include "wire/cbor.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA = 64 << 20 };

struct sample {
    struct eml_arena arena;
    struct eml_topology t;
    struct eml_buf bytes;
};

static struct sample make(struct eml_gen *g, uint32_t nodes)
{
    struct sample s = {0};
    assert_int_equal(eml_arena_create(&s.arena, ARENA), EML_OK);
    eml_gen_topology(g, &s.arena, nodes, &s.t);
    assert_int_equal(eml_topology_encode(&s.t, &s.bytes), EML_OK);
    return s;
}

static void drop(struct sample *s)
{
    eml_buf_free(&s->bytes);
    (void)eml_arena_destroy(&s->arena);
}

static void assert_same_shape(const struct eml_shape *a, const struct eml_shape *b)
{
    assert_int_equal(a->rank, b->rank);
    for (uint32_t i = 0; i < a->rank; i++)
        assert_int_equal(a->dim[i], b->dim[i]);
}

static void assert_same_value(const struct eml_value *a, const struct eml_value *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->dtype, b->dtype);
    if (a->kind == EML_VALUE_NODE)
        return;
    assert_same_shape(&a->shape, &b->shape);
    assert_int_equal(a->layout, b->layout);
    assert_int_equal(a->offset, b->offset);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->n_ints, b->n_ints);
    for (uint32_t i = 0; i < a->n_ints; i++)
        assert_int_equal(a->ints[i], b->ints[i]);
}

static void assert_same_node(const struct eml_node *a, const struct eml_node *b)
{
    assert_int_equal(a->op, b->op);
    assert_int_equal(a->params, b->params);
    assert_int_equal(a->n_in, b->n_in);
    assert_int_equal(a->n_out, b->n_out);
    assert_int_equal(a->n_attr, b->n_attr);
    assert_memory_equal(a->in, b->in, a->n_in * sizeof *a->in);
    assert_memory_equal(a->out, b->out, a->n_out * sizeof *a->out);
    for (uint32_t i = 0; i < a->n_attr; i++) {
        assert_int_equal(a->attr[i].id, b->attr[i].id);
        assert_int_equal(a->attr[i].n, b->attr[i].n);
        for (uint32_t k = 0; k < a->attr[i].n; k++)
            assert_int_equal(a->attr[i].v[k], b->attr[i].v[k]);
    }
}

static void assert_same_names(const struct eml_name *a, const struct eml_name *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        assert_true(eml_bytes_equal(a[i].text, b[i].text));
        assert_int_equal(a[i].value, b[i].value);
    }
}

static void assert_same(const struct eml_topology *a, const struct eml_topology *b)
{
    const struct eml_graph *x = &a->graph, *y = &b->graph;
    assert_int_equal(a->min_version, b->min_version);
    assert_int_equal(a->activation_bytes_max, b->activation_bytes_max);
    assert_int_equal(a->flops_max, b->flops_max);
    assert_memory_equal(a->blob.object_id, b->blob.object_id, 32);
    assert_memory_equal(a->blob.model_id, b->blob.model_id, 16);
    assert_memory_equal(a->blob.key.bytes, b->blob.key.bytes, 32);
    assert_memory_equal(a->blob.digest, b->blob.digest, 32);
    assert_int_equal(a->blob.version, b->blob.version);
    assert_int_equal(a->blob.chunks, b->blob.chunks);
    assert_int_equal(a->blob.cipher, b->blob.cipher);
    assert_int_equal(a->blob.plain_bytes, b->blob.plain_bytes);
    assert_int_equal(x->n_values, y->n_values);
    assert_int_equal(x->n_nodes, y->n_nodes);
    assert_int_equal(x->n_inputs, y->n_inputs);
    assert_int_equal(x->n_outputs, y->n_outputs);
    for (uint32_t i = 0; i < x->n_values; i++)
        assert_same_value(&x->values[i], &y->values[i]);
    for (uint32_t i = 0; i < x->n_nodes; i++)
        assert_same_node(&x->nodes[i], &y->nodes[i]);
    assert_same_names(x->inputs, y->inputs, x->n_inputs);
    assert_same_names(x->outputs, y->outputs, x->n_outputs);
}

static void generated_topologies_round_trip(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("topology");
    for (int i = 0; i < 200; i++) {
        struct sample s = make(&g, (uint32_t)eml_gen_range(&g, 1, i % 20 == 0 ? 1000 : 40));
        struct eml_topology back;
        struct eml_why why = {0};
        struct eml_buf again = {0};
        enum eml_err e = eml_topology_decode(eml_buf_bytes(&s.bytes), &s.arena, &back, &why);
        if (e != EML_OK)
            print_error("%s (%ld)\n", why.rule, why.index);
        assert_int_equal(e, EML_OK);
        assert_same(&s.t, &back);
        assert_int_equal(eml_topology_encode(&back, &again), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&again), eml_buf_bytes(&s.bytes)));
        eml_buf_free(&again);
        drop(&s);
    }
}

/* Decoding must fail with nothing left behind, or give what encodes to the same bytes. */
static enum eml_err decode_strictly(struct eml_bytes in, struct eml_arena *arena)
{
    struct eml_topology t;
    struct eml_why why = {0};
    const size_t mark = eml_arena_mark(arena);
    enum eml_err e = eml_topology_decode(in, arena, &t, &why);
    if (e == EML_OK) {
        struct eml_buf again = {0};
        assert_int_equal(eml_topology_encode(&t, &again), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&again), in));
        eml_buf_free(&again);
        (void)eml_arena_reset(arena, mark);
        return e;
    }
    assert_non_null(why.rule);
    assert_true(eml_ct_is_zero(eml_bytes(&t, sizeof t)));
    assert_int_equal(eml_arena_mark(arena), mark);
    return e;
}

static void truncation_at_every_byte_is_refused(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("truncate");
    struct sample s = make(&g, 20);
    for (size_t n = 0; n < s.bytes.len; n++)
        assert_int_equal(decode_strictly(eml_bytes(s.bytes.ptr, n), &s.arena), EML_E_INPUT);
    eml_buf_put_u8(&s.bytes, 0);
    assert_int_equal(decode_strictly(eml_buf_bytes(&s.bytes), &s.arena), EML_E_INPUT);
    drop(&s);
}

static void a_flipped_bit_is_refused_or_means_what_it_says(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("flip");
    struct sample s = make(&g, 12);
    for (size_t bit = 0; bit < s.bytes.len * 8; bit++) {
        s.bytes.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)decode_strictly(eml_buf_bytes(&s.bytes), &s.arena);
        s.bytes.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    drop(&s);
}

static void versions_and_size_class_must_agree(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("claims");
    struct sample s = make(&g, 5);
    struct eml_topology t = s.t;
    struct eml_why why = {0};
    struct eml_buf b = {0};
    t.min_version = t.blob.version + 1;
    assert_int_equal(eml_topology_encode(&t, &b), EML_OK);
    assert_int_equal(eml_topology_decode(eml_buf_bytes(&b), &s.arena, &t, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "topology: weights older than the least version");
    eml_buf_free(&b);
    t = s.t;
    t.blob.chunks += 1000001;
    assert_int_equal(eml_topology_encode(&t, &b), EML_OK);
    assert_int_equal(eml_topology_decode(eml_buf_bytes(&b), &s.arena, &t, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "topology: chunks are not the size class of the weights");
    eml_buf_free(&b);
    drop(&s);
}

static void an_arena_too_small_is_refused(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("small arena");
    struct sample s = make(&g, 200);
    for (size_t kib = 4; kib <= 64; kib *= 2) {
        struct eml_arena small;
        assert_int_equal(eml_arena_create(&small, kib << 10), EML_OK);
        enum eml_err e = decode_strictly(eml_buf_bytes(&s.bytes), &small);
        assert_true(e == EML_E_REFUSED || (e == EML_OK && kib > 32));
        (void)eml_arena_destroy(&small);
    }
    drop(&s);
}

/* Counts that promise far more than the bytes hold: refused before anything is allocated. */
static void huge_counts_allocate_nothing(void **state)
{
    (void)state;
    struct eml_arena arena;
    struct eml_buf b = {0};
    const uint8_t zeros[32] = {0};
    assert_int_equal(eml_arena_create(&arena, ARENA), EML_OK);
    eml_cbor_put_array(&b, 10);
    eml_cbor_put_text(&b, EML_LIT("eml-topology/4"));
    eml_cbor_put_array(&b, 8);
    eml_cbor_put_bytes(&b, eml_bytes(zeros, 32));
    eml_cbor_put_bytes(&b, eml_bytes(zeros, 16));
    for (int i = 0; i < 4; i++)
        eml_cbor_put_uint(&b, 1);
    for (int i = 0; i < 2; i++)
        eml_cbor_put_bytes(&b, eml_bytes(zeros, 32));
    for (int i = 0; i < 3; i++)
        eml_cbor_put_uint(&b, 0);
    eml_cbor_put_array(&b, 400000);
    assert_int_equal(decode_strictly(eml_buf_bytes(&b), &arena), EML_E_INPUT);
    assert_int_equal(arena.peak, 0);
    eml_buf_free(&b);
    (void)eml_arena_destroy(&arena);
}

static void a_key_over_the_limit_is_not_read(void **state)
{
    (void)state;
    struct eml_arena arena;
    struct eml_topology t;
    struct eml_why why = {0};
    uint8_t *zeros = calloc(1, EML_TOPOLOGY_BYTES_MAX + 1);
    assert_int_equal(eml_arena_create(&arena, 4096), EML_OK);
    struct eml_bytes in = {zeros, EML_TOPOLOGY_BYTES_MAX + 1};
    assert_int_equal(eml_topology_decode(in, &arena, &t, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "topology: longer than the limit");
    free(zeros);
    (void)eml_arena_destroy(&arena);
}

/* Property 1: no floating-point item has a place in the key. */
static void no_float_is_accepted(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("floats");
    struct sample s = make(&g, 8);
    for (size_t at = 0; at < s.bytes.len; at++) {
        uint8_t old = s.bytes.ptr[at];
        for (uint8_t head = 0xf9; head <= 0xfb; head++) {
            s.bytes.ptr[at] = head;
            struct eml_topology t;
            size_t mark = eml_arena_mark(&s.arena);
            if (eml_topology_decode(eml_buf_bytes(&s.bytes), &s.arena, &t, NULL) == EML_OK) {
                /* Then the byte lay inside a key, an id, a name or an integer: still canonical. */
                struct eml_buf again = {0};
                assert_int_equal(eml_topology_encode(&t, &again), EML_OK);
                assert_true(eml_bytes_equal(eml_buf_bytes(&again), eml_buf_bytes(&s.bytes)));
                eml_buf_free(&again);
            }
            (void)eml_arena_reset(&s.arena, mark);
        }
        s.bytes.ptr[at] = old;
    }
    drop(&s);
}

/* The fuzz targets start from keys of the current format. */
static void seeds_of_the_fuzz_targets_decode(void **state)
{
    static const char *const targets[] = {"fuzz_topology", "fuzz_plan"};
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        char path[1024];
        size_t n = 0;
        (void)snprintf(path, sizeof path, "%s/../fuzz/corpus/%s", EML_VECTORS, targets[i]);
        DIR *d = opendir(path);
        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
            struct eml_arena arena;
            struct eml_topology t;
            struct eml_why why = {0};
            if (e->d_name[0] == '.')
                continue;
            (void)snprintf(path, sizeof path, "%s/../fuzz/corpus/%s/%s", EML_VECTORS, targets[i],
                           e->d_name);
            struct eml_buf seed = eml_test_read(path);
            assert_int_equal(eml_arena_create(&arena, ARENA), EML_OK);
            if (eml_topology_decode(eml_buf_bytes(&seed), &arena, &t, &why) != EML_OK)
                fail_msg("%s: %s", path, why.rule);
            (void)eml_arena_destroy(&arena);
            eml_buf_free(&seed);
            n++;
        }
        (void)closedir(d);
        assert_true(n > 5);
    }
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_topologies_round_trip),
        cmocka_unit_test(truncation_at_every_byte_is_refused),
        cmocka_unit_test(a_flipped_bit_is_refused_or_means_what_it_says),
        cmocka_unit_test(versions_and_size_class_must_agree),
        cmocka_unit_test(an_arena_too_small_is_refused),
        cmocka_unit_test(huge_counts_allocate_nothing),
        cmocka_unit_test(a_key_over_the_limit_is_not_read),
        cmocka_unit_test(no_float_is_accepted),
        cmocka_unit_test(seeds_of_the_fuzz_targets_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
