#include "testsupport/support.h"

#include "crypto/crypto.h"
#include "eif/eif.h"

#include <jansson.h>
#include <stdio.h>

static const char *const images[] = {"unsigned-2ramdisk", "single-ramdisk", "signed-es384"};
enum { IMAGES = 3, SIGNED = 2 };

static struct eml_buf read_image(size_t i)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/eif/%s.eif", EML_VECTORS, images[i]);
    return eml_test_read(path);
}

static json_t *read_expected(size_t i)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/eif/%s.expected.json", EML_VECTORS, images[i]);
    json_t *j = json_load_file(path, 0, NULL);
    assert_non_null(j);
    return j;
}

static void assert_pcr(const json_t *measurements, const char *name, const struct eml_sha384 *got)
{
    struct eml_buf want = eml_test_hex(json_string_value(json_object_get(measurements, name)));
    assert_int_equal(want.len, sizeof got->b);
    assert_memory_equal(want.ptr, got->b, sizeof got->b);
    eml_buf_free(&want);
}

static void reads_and_measures_as_expected(void **state)
{
    (void)state;
    for (size_t i = 0; i < IMAGES; i++) {
        struct eml_buf file = read_image(i);
        json_t *want = read_expected(i);
        json_t *m = json_object_get(want, "Measurements");
        struct eml_eif e;
        struct eml_eif_pcrs pcrs;
        struct eml_sha384 pcr8;
        struct eml_why why = {0};
        assert_int_equal(eml_eif_parse(eml_buf_bytes(&file), &e, &why), EML_OK);
        assert_int_equal(e.n, json_array_size(json_object_get(want, "sections")));
        assert_int_equal(eml_eif_measure(&e, &pcrs), EML_OK);
        assert_pcr(m, "PCR0", &pcrs.pcr[0]);
        assert_pcr(m, "PCR1", &pcrs.pcr[1]);
        assert_pcr(m, "PCR2", &pcrs.pcr[2]);
        enum eml_err signature = eml_eif_check_signature(&e, &pcrs, &pcr8, &why);
        assert_int_equal(signature, i == SIGNED ? EML_OK : EML_E_USAGE);
        if (i == SIGNED)
            assert_pcr(m, "PCR8", &pcr8);
        json_decref(want);
        eml_buf_free(&file);
    }
}

static void writes_what_it_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < IMAGES; i++) {
        struct eml_buf file = read_image(i), again = {0};
        struct eml_eif e;
        struct eml_why why = {0};
        assert_int_equal(eml_eif_parse(eml_buf_bytes(&file), &e, &why), EML_OK);
        assert_int_equal(eml_eif_write(&e, &again, &why), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&file), eml_buf_bytes(&again)));
        eml_buf_free(&file);
        eml_buf_free(&again);
    }
}

static void refuses_damage(void **state)
{
    (void)state;
    struct eml_buf file = read_image(SIGNED);
    struct eml_eif e;
    struct eml_why why = {0};
    for (size_t n = 0; n < file.len; n += 1 + n / 64)
        assert_int_equal(eml_eif_parse(eml_bytes(file.ptr, n), &e, &why), EML_E_INPUT);
    for (size_t i = 0; i < file.len; i += 1 + i / 600) {
        file.ptr[i] ^= 1;
        assert_int_not_equal(eml_eif_parse(eml_buf_bytes(&file), &e, &why), EML_OK);
        assert_int_equal(e.n, 0);
        file.ptr[i] ^= 1;
    }
    eml_buf_put_u8(&file, 0);
    assert_int_equal(eml_eif_parse(eml_buf_bytes(&file), &e, &why), EML_E_INPUT);
    eml_buf_free(&file);
}

/* A section list, and the rule that it breaks. */
static void refuses_ambiguous_images(void **state)
{
    (void)state;
    enum {
        K = EML_EIF_KERNEL,
        C = EML_EIF_CMDLINE,
        R = EML_EIF_RAMDISK,
        S = EML_EIF_SIGNATURE,
        M = EML_EIF_METADATA
    };
    static const struct {
        uint16_t version;
        int types[6];
        const char *rule;
    } bad[] = {
        {4, {K, C, M}, "eif: no ramdisk"},
        {4, {K, K, C, M, R}, "eif: not exactly one kernel and one command line"},
        {4, {K, M, R}, "eif: not exactly one kernel and one command line"},
        {4, {K, C, C, M, R}, "eif: not exactly one kernel and one command line"},
        {4, {R, K, C, M}, "eif: a ramdisk stands before the kernel"},
        {4, {K, C, R}, "eif: not exactly one metadata section"},
        {4, {K, C, M, M, R}, "eif: not exactly one metadata section"},
        {4, {K, C, M, R, S, S}, "eif: more signatures than the version allows"},
        {2, {K, C, R, S}, "eif: more signatures than the version allows"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_eif e = {.version = bad[i].version};
        struct eml_buf out = {0};
        struct eml_why why = {0};
        for (; e.n < 6 && bad[i].types[e.n] != 0; e.n++)
            e.section[e.n] =
                (struct eml_eif_section){(enum eml_eif_type)bad[i].types[e.n], EML_LIT("data")};
        assert_int_equal(eml_eif_write(&e, &out, &why), EML_E_INPUT);
        assert_string_equal(why.rule, bad[i].rule);
        assert_int_equal(out.len, 0);
        eml_buf_free(&out);
    }
}

/* Moving a byte over the border between two ramdisks keeps PCR0 and changes PCR1 and 2; any changed
 * byte of measured data changes PCR0; metadata changes nothing. */
static void measures_what_it_should(void **state)
{
    (void)state;
    static const uint8_t disks[] = "abcdef";
    struct eml_eif e = {.version = 4, .n = 5};
    e.section[0] = (struct eml_eif_section){EML_EIF_KERNEL, EML_LIT("kernel")};
    e.section[1] = (struct eml_eif_section){EML_EIF_CMDLINE, EML_LIT("quiet")};
    e.section[2] = (struct eml_eif_section){EML_EIF_METADATA, EML_LIT("{}")};
    e.section[3] = (struct eml_eif_section){EML_EIF_RAMDISK, {disks, 3}};
    e.section[4] = (struct eml_eif_section){EML_EIF_RAMDISK, {disks + 3, 3}};
    struct eml_eif_pcrs a, b;
    assert_int_equal(eml_eif_measure(&e, &a), EML_OK);
    e.section[3].data.len = 4;
    e.section[4].data = eml_bytes(disks + 4, 2);
    assert_int_equal(eml_eif_measure(&e, &b), EML_OK);
    assert_memory_equal(&a.pcr[0], &b.pcr[0], 48);
    assert_memory_not_equal(&a.pcr[1], &b.pcr[1], 48);
    assert_memory_not_equal(&a.pcr[2], &b.pcr[2], 48);
    e.section[2].data = EML_LIT("{\"x\":1}");
    assert_int_equal(eml_eif_measure(&e, &a), EML_OK);
    assert_memory_equal(&a, &b, sizeof a);
    for (size_t i = 0; i < 5; i++) {
        if (i == 2)
            continue;
        struct eml_eif changed = e;
        changed.section[i].data = EML_LIT("other");
        assert_int_equal(eml_eif_measure(&changed, &a), EML_OK);
        assert_memory_not_equal(&a.pcr[0], &b.pcr[0], 48);
    }
}

static void a_signature_holds_for_one_image_only(void **state)
{
    (void)state;
    struct eml_buf file = read_image(SIGNED), other = read_image(1);
    struct eml_eif e, o;
    struct eml_eif_pcrs pcrs;
    struct eml_sha384 pcr8;
    struct eml_why why = {0};
    assert_int_equal(eml_eif_parse(eml_buf_bytes(&file), &e, &why), EML_OK);
    assert_int_equal(eml_eif_parse(eml_buf_bytes(&other), &o, &why), EML_OK);
    assert_int_equal(eml_eif_measure(&o, &pcrs), EML_OK);
    assert_int_equal(eml_eif_check_signature(&e, &pcrs, &pcr8, &why), EML_E_AUTH);
    assert_int_equal(eml_eif_measure(&e, &pcrs), EML_OK);
    struct eml_eif_section *s = &e.section[e.n - 1];
    struct eml_buf copy = {0};
    eml_buf_put(&copy, s->data);
    for (size_t at = copy.len - 1; at > copy.len - 150; at -= 7) { /* inside the signature */
        copy.ptr[at] ^= 1;
        s->data = eml_buf_bytes(&copy);
        assert_int_not_equal(eml_eif_check_signature(&e, &pcrs, &pcr8, &why), EML_OK);
        copy.ptr[at] ^= 1;
    }
    eml_buf_free(&copy);
    eml_buf_free(&file);
    eml_buf_free(&other);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_measures_as_expected),
        cmocka_unit_test(writes_what_it_read),
        cmocka_unit_test(refuses_damage),
        cmocka_unit_test(refuses_ambiguous_images),
        cmocka_unit_test(measures_what_it_should),
        cmocka_unit_test(a_signature_holds_for_one_image_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
