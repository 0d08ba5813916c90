#include "testsupport/support.h"

#include "model/limits.h"
#include "session/commit.h"

#include <string.h>

static const uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8}, number[8] = {0, 1, 2, 3, 4, 5, 6, 7};
static uint8_t salt[EML_SALT_BYTES];

static int make_salt(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < sizeof salt; i++)
        salt[i] = i;
    return 0;
}

static struct eml_named_tensor a(void)
{
    return (struct eml_named_tensor){EML_LIT("a"), {EML_DT_F32, {1, {2}}, data, 8}};
}

static struct eml_named_tensor b(void)
{
    return (struct eml_named_tensor){EML_LIT("b"), {EML_DT_I64, {0, {0}}, number, 8}};
}

static struct eml_sha256 committed(enum eml_commit which, const struct eml_named_tensor *t,
                                   size_t n)
{
    struct eml_sha256 d;
    assert_int_equal(eml_commit(which, salt, t, n, &d), EML_OK);
    return d;
}

/* Computed with Python's hashlib from the text of docs/formats/receipt.md. */
static void known_answers(void **state)
{
    (void)state;
    const struct eml_named_tensor t[] = {b(), a()}, u[] = {a(), b()};
    static const char *const hex[] = {
        "9e8fec8f368a47261343b9c02024986ec309b4605865b948fb6e7c707e2241f9",
        "818f154e8c0f260f28110df0eb9531514eb7678907c32c77e7cb058f06ba7193"};
    for (int which = EML_COMMIT_REQUEST; which <= EML_COMMIT_RESPONSE; which++) {
        struct eml_buf expected = eml_test_hex(hex[which]);
        struct eml_sha256 d = committed((enum eml_commit)which, t, 2);
        assert_true(eml_bytes_equal(eml_buf_bytes(&expected), EML_BYTES(d.b)));
        d = committed((enum eml_commit)which, u, 2); /* the order of a request is not its content */
        assert_true(eml_bytes_equal(eml_buf_bytes(&expected), EML_BYTES(d.b)));
        eml_buf_free(&expected);
    }
}

static void everything_counts(void **state)
{
    (void)state;
    const struct eml_named_tensor base[] = {a(), b()};
    const struct eml_sha256 d = committed(EML_COMMIT_REQUEST, base, 2);
    struct eml_named_tensor t[7][2];
    for (size_t i = 0; i < 7; i++)
        memcpy(t[i], base, sizeof base);
    t[0][0].name = EML_LIT("aa");
    t[1][0].tensor.dtype = EML_DT_I32;
    t[2][0].tensor.shape = (struct eml_shape){2, {1, 2}};
    t[3][0].tensor.data = number;
    t[4][0].tensor.data = number;
    t[4][1].tensor.data = data;
    t[5][0].name = EML_LIT("b");
    t[5][1].name = EML_LIT("a");
    t[6][0].tensor.bytes = 7;
    for (size_t i = 0; i < 7; i++) {
        struct eml_sha256 other = committed(EML_COMMIT_REQUEST, t[i], 2);
        assert_memory_not_equal(d.b, other.b, sizeof d.b);
    }
    struct eml_sha256 fewer = committed(EML_COMMIT_REQUEST, base, 1);
    struct eml_sha256 none = committed(EML_COMMIT_REQUEST, base, 0);
    assert_memory_not_equal(d.b, fewer.b, sizeof d.b);
    assert_memory_not_equal(none.b, fewer.b, sizeof d.b);
    for (size_t bit = 0; bit < 8 * sizeof salt; bit++) {
        salt[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct eml_sha256 other = committed(EML_COMMIT_REQUEST, base, 2);
        assert_memory_not_equal(d.b, other.b, sizeof d.b);
        salt[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void too_many_are_refused(void **state)
{
    (void)state;
    static struct eml_named_tensor t[EML_GRAPH_IO_MAX + 1];
    static uint8_t names[EML_GRAPH_IO_MAX + 1][2];
    struct eml_sha256 d;
    for (size_t i = 0; i <= EML_GRAPH_IO_MAX; i++) {
        t[i] = a();
        names[i][0] = (uint8_t)(i >> 8);
        names[i][1] = (uint8_t)i;
        t[i].name = EML_BYTES(names[i]);
    }
    assert_int_equal(eml_commit(EML_COMMIT_REQUEST, salt, t, EML_GRAPH_IO_MAX, &d), EML_OK);
    assert_int_equal(eml_commit(EML_COMMIT_REQUEST, salt, t, EML_GRAPH_IO_MAX + 1, &d),
                     EML_E_USAGE);
}

static void openings_round_trip_and_nothing_else_is_one(void **state)
{
    (void)state;
    struct eml_opening o, again;
    struct eml_buf f = {0}, g = {0};
    struct eml_why why;
    static const struct eml_opening nothing;
    for (size_t i = 0; i < EML_SALT_BYTES; i++) {
        o.request_salt[i] = (uint8_t)i;
        o.response_salt[i] = (uint8_t)(200 - i);
    }
    assert_int_equal(eml_opening_encode(&o, &f), EML_OK);
    assert_int_equal(eml_opening_decode(eml_buf_bytes(&f), &again, &why), EML_OK);
    assert_memory_equal(&o, &again, sizeof o);
    for (size_t n = 0; n < f.len; n++) {
        assert_int_equal(eml_opening_decode(eml_bytes(f.ptr, n), &again, &why), EML_E_INPUT);
        assert_memory_equal(&again, &nothing, sizeof again);
    }
    for (size_t bit = 0; bit < 8 * f.len; bit++) { /* a salt's bit makes another opening */
        f.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (eml_opening_decode(eml_buf_bytes(&f), &again, &why) == EML_OK) {
            g.len = 0;
            assert_int_equal(eml_opening_encode(&again, &g), EML_OK);
            assert_true(eml_bytes_equal(eml_buf_bytes(&f), eml_buf_bytes(&g)));
        }
        f.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    eml_buf_put_u8(&f, 0);
    assert_int_equal(eml_opening_decode(eml_buf_bytes(&f), &again, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "opening: no file of two salts, version 1");
    eml_buf_free(&f);
    eml_buf_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(everything_counts),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(openings_round_trip_and_nothing_else_is_one),
    };
    return cmocka_run_group_tests(tests, make_salt, NULL);
}
