#include "testsupport/support.h"

#include "session/request.h"

#include <stdio.h>
#include <string.h>

static struct eml_arena arena;

static int arena_up(void **state)
{
    (void)state;
    return eml_arena_create(&arena, 1 << 20) != EML_OK;
}

static int arena_down(void **state)
{
    (void)state;
    (void)eml_arena_destroy(&arena);
    return 0;
}

static struct eml_named_tensor tensor(struct eml_bytes name, enum eml_dtype t, int64_t n,
                                      const void *data, size_t bytes)
{
    return (struct eml_named_tensor){name, {t, {1, {n}}, data, bytes}};
}

static const uint8_t eight[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t salt[EML_SALT_BYTES] = {0xee};

/* One of each form: plain, plain without topology, under KMS. */
static struct eml_request sample(unsigned form, struct eml_named_tensor t[2])
{
    struct eml_request r = {.mode = form == 1 ? EML_MODE_SESSION : EML_MODE_REQUEST};
    if (form == 2) {
        r.has_kms = true;
        r.kms =
            (struct eml_request_kms){EML_LIT("arn:aws:kms:x"), EML_LIT("blob"), EML_LIT("seal")};
        return r;
    }
    if (form == 0)
        r.topology = EML_LIT("topology");
    t[0] = tensor(EML_LIT("x"), EML_DT_F32, 2, eight, 8);
    t[1] = tensor(EML_LIT("\xce\xb1"), EML_DT_I64, 0, eight, 0);
    r.n_inputs = 2;
    r.inputs = t;
    r.salt = EML_BYTES(salt);
    return r;
}

static struct eml_result sample_result(struct eml_named_tensor t[1])
{
    t[0] = tensor(EML_LIT("y"), EML_DT_U8, 8, eight, 8);
    t[0].tensor.shape = (struct eml_shape){3, {2, 2, 2}};
    return (struct eml_result){.n_outputs = 1,
                               .outputs = t,
                               .weights_us = 1,
                               .assemble_us = 2,
                               .run_us = 300,
                               .wipe_us = 70000,
                               .exposure_us = 1ull << 33,
                               .wiped_bytes = 6,
                               .kernels = EML_LIT("avx512"),
                               .salt = EML_BYTES(salt)};
}

static struct eml_buf encoded(unsigned form)
{
    struct eml_named_tensor t[2];
    struct eml_buf b = {0};
    if (form < 3) {
        struct eml_request r = sample(form, t);
        assert_int_equal(eml_request_encode(&r, (struct eml_part_sink){eml_part_to_buf, &b}), 0);
    } else {
        struct eml_result r = sample_result(t);
        assert_int_equal(eml_result_encode(&r, (struct eml_part_sink){eml_part_to_buf, &b}), 0);
        assert_int_equal(eml_result_bytes(&r), b.len);
    }
    return b;
}

/* Decodes; what decodes must encode to the same bytes. */
static enum eml_err decode(struct eml_bytes in, bool result, struct eml_why *why)
{
    size_t mark = eml_arena_mark(&arena);
    struct eml_request q;
    struct eml_result r;
    struct eml_buf b = {0};
    struct eml_part_sink to = {eml_part_to_buf, &b};
    enum eml_err err =
        result ? eml_result_decode(in, &arena, &r, why) : eml_request_decode(in, &arena, &q, why);
    if (err == EML_OK) {
        assert_int_equal(result ? eml_result_encode(&r, to) : eml_request_encode(&q, to), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&b), in));
    } else {
        assert_int_equal(result ? r.n_outputs : q.n_inputs, 0);
    }
    eml_buf_free(&b);
    (void)eml_arena_reset(&arena, mark);
    return err;
}

static void the_encoding_is_the_documented_one(void **state)
{
    (void)state;
    struct eml_buf b = encoded(0);
    struct eml_buf expected = eml_test_hex("a4"
                                           "0100"
                                           "0248746f706f6c6f6779"
                                           "0382"
                                           "84617801810248"
                                           "0102030405060708"
                                           "8462ceb107810040"
                                           "055820ee00000000000000000000000000000000"
                                           "000000000000000000000000000000");
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&expected)));
    eml_buf_free(&expected);
    eml_buf_free(&b);
}

static void fields_survive(void **state)
{
    (void)state;
    struct eml_request q;
    struct eml_result r;
    struct eml_buf b = encoded(0);
    assert_int_equal(eml_request_decode(eml_buf_bytes(&b), &arena, &q, NULL), EML_OK);
    assert_int_equal(q.mode, EML_MODE_REQUEST);
    assert_true(eml_bytes_equal(q.topology, EML_LIT("topology")));
    assert_int_equal(q.n_inputs, 2);
    assert_int_equal(q.inputs[0].tensor.shape.dim[0], 2);
    assert_memory_equal(q.inputs[0].tensor.data, eight, 8);
    assert_int_equal(q.inputs[1].tensor.dtype, EML_DT_I64);
    assert_true(eml_bytes_equal(q.salt, EML_BYTES(salt)));
    eml_buf_free(&b);
    b = encoded(2);
    assert_int_equal(eml_request_decode(eml_buf_bytes(&b), &arena, &q, NULL), EML_OK);
    assert_true(q.has_kms && q.topology.ptr == NULL);
    assert_true(eml_bytes_equal(q.kms.ciphertext_blob, EML_LIT("blob")));
    eml_buf_free(&b);
    b = encoded(3);
    assert_int_equal(eml_result_decode(eml_buf_bytes(&b), &arena, &r, NULL), EML_OK);
    assert_int_equal(r.exposure_us, 1ull << 33);
    assert_true(eml_bytes_equal(r.kernels, EML_LIT("avx512")));
    assert_int_equal(r.outputs[0].tensor.shape.rank, 3);
    assert_true(eml_bytes_equal(r.salt, EML_BYTES(salt)));
    eml_buf_free(&b);
}

static void every_prefix_is_refused_and_every_flip_harmless(void **state)
{
    (void)state;
    for (unsigned form = 0; form < 4; form++) {
        struct eml_buf b = encoded(form);
        struct eml_why why;
        assert_int_equal(decode(eml_buf_bytes(&b), form == 3, &why), EML_OK);
        for (size_t n = 0; n < b.len; n++)
            assert_int_equal(decode(eml_bytes(b.ptr, n), form == 3, &why), EML_E_INPUT);
        for (size_t bit = 0; bit < b.len * 8; bit++) {
            b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
            enum eml_err e = decode(eml_buf_bytes(&b), form == 3, &why);
            assert_true(e == EML_OK || e == EML_E_INPUT);
            b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        eml_buf_put_u8(&b, 0);
        assert_int_equal(decode(eml_buf_bytes(&b), form == 3, &why), EML_E_INPUT);
        eml_buf_free(&b);
    }
}

static void bad_requests_name_their_rule(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *rule;
    } bad[] = {
        {"80", "begins with the mode"},
        {"a10100", "begins with the mode"},
        {"a2020003", "begins with the mode"},
        {"a3010203818461780180440000000000", "mode is request or session"},
        {"bf01000381846178018044000000ff", "begins with the mode"},
        {"a4010002400381846178018044000000000", "topology of 1 byte"},
        {"a3010002417404", "inputs and salt, or kms alone"},
        {"a301000241740381846178018044000000000", "inputs and salt, or kms alone"},
        {"a201000381846178018044000000000", "inputs and salt, or kms alone"},
        {"a301000404040404", "inputs and salt, or kms alone"},
        {"a30100024174"
         "04a301616102416203416300",
         "inputs and salt, or kms alone"},
        {"a3010003800000", "1 to 256 tensors"},
        {"a301000399010100", "1 to 256 tensors"},
        {"a30100038183617801804400000000", "array of name"},
        {"a30100038184600180"
         "4400000000",
         "name of 1 to 512"},
        {"a3010003818461ff018044"
         "00000000",
         "name of 1 to 512"},
        {"a301000381846178008044"
         "00000000",
         "unknown element type"},
        {"a3010003818461780e8044"
         "00000000",
         "unknown element type"},
        {"a3010003818461781901018044"
         "00000000",
         "unknown element type"},
        {"a3010003818461780189000000000000000000"
         "40",
         "at most 8 dims"},
        {"a30100038184617801811bffffffffffffffff40", "at most 8 dims"},
        {"a3010003818461780180"
         "43000000",
         "as long as"},
        {"a30100038184617801821b7fffffffffffffff1b7fffffffffffffff40", "as long as"},
        {"a301000382"
         "8461780180"
         "4400000000"
         "8461780180"
         "4400000000",
         "unique"},
        {"a2010004a20161610241"
         "62",
         "map of ARN"},
        {"a2010004a3016161024162034"
         "0",
         "not empty"},
        {"a301000381"
         "8461780180"
         "4400000000"
         "0558200000000000000000000000000000000000"
         "000000000000000000000000000000"
         "00",
         "nothing follows"},
        {"a301000381"
         "8461780180"
         "4400000000"
         "05581f0000000000000000000000000000000000"
         "0000000000000000000000000000",
         "a salt of 32 bytes"},
        {"a301000381"
         "8461780180"
         "4400000000"
         "04",
         "a salt of 32 bytes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_why why = {0};
        char even[256];
        (void)snprintf(even, sizeof even, "%s%s", bad[i].hex, strlen(bad[i].hex) % 2 ? "0" : "");
        struct eml_buf b = eml_test_hex(even);
        assert_int_equal(decode(eml_buf_bytes(&b), false, &why), EML_E_INPUT);
        if (strstr(why.rule, bad[i].rule) == NULL)
            fail_msg("%s: %s", bad[i].hex, why.rule);
        eml_buf_free(&b);
    }
}

static void bad_results_name_their_rule(void **state)
{
    (void)state;
    struct eml_named_tensor t[1];
    const struct eml_result good = sample_result(t);
    struct eml_result bad[2] = {good, good};
    static const char *const rules[2] = {"a salt of 32 bytes", "a salt of 32 bytes"};
    bad[0].salt.len--;
    bad[1].salt.len = 0;
    for (size_t i = 0; i < 2; i++) {
        struct eml_buf b = {0};
        struct eml_why why = {"", -1};
        assert_int_equal(eml_result_encode(&bad[i], (struct eml_part_sink){eml_part_to_buf, &b}),
                         EML_OK);
        assert_int_equal(decode(eml_buf_bytes(&b), true, &why), EML_E_INPUT);
        assert_non_null(strstr(why.rule, rules[i]));
        eml_buf_free(&b);
    }
}

static enum eml_err refuse(void *ctx, struct eml_bytes part)
{
    (void)part;
    size_t *left = ctx;
    return (*left)-- == 0 ? EML_E_NET : EML_OK;
}

static void a_sink_that_fails_ends_the_encoding(void **state)
{
    (void)state;
    struct eml_named_tensor t[2];
    struct eml_request r = sample(0, t);
    for (size_t i = 0; i < 5; i++) {
        size_t left = i;
        assert_int_equal(eml_request_encode(&r, (struct eml_part_sink){refuse, &left}), EML_E_NET);
    }
}

static void a_full_arena_is_this_machines_fault(void **state)
{
    (void)state;
    struct eml_arena small;
    struct eml_request q;
    struct eml_buf b = encoded(0);
    assert_int_equal(eml_arena_create(&small, 4096), EML_OK);
    assert_non_null(eml_arena_alloc(&small, 4000, 1));
    assert_int_equal(eml_request_decode(eml_buf_bytes(&b), &small, &q, NULL), EML_E_SYSTEM);
    (void)eml_arena_destroy(&small);
    eml_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_encoding_is_the_documented_one),
        cmocka_unit_test(fields_survive),
        cmocka_unit_test(every_prefix_is_refused_and_every_flip_harmless),
        cmocka_unit_test(bad_requests_name_their_rule),
        cmocka_unit_test(bad_results_name_their_rule),
        cmocka_unit_test(a_sink_that_fails_ends_the_encoding),
        cmocka_unit_test(a_full_arena_is_this_machines_fault),
    };
    return cmocka_run_group_tests(tests, arena_up, arena_down);
}
