#include "testsupport/support.h"

#include "attest/attest.h"

#include <stdio.h>
#include <string.h>

#define H16 "0123456789abcdef"
#define PCR_A H16 H16 H16 H16 H16 H16
#define PCR_B "ffffffffffffffff" H16 H16 H16 H16 H16
#define PCR_UPPER "FFFFFFFFFFFFFFFF" H16 H16 H16 H16 H16
#define Z16 "0000000000000000"
#define PCR_ZERO Z16 Z16 Z16 Z16 Z16 Z16
#define ROOT H16 H16 H16 H16
#define ROOTS "\"roots\":[\"" ROOT "\"]"
#define M "{\"0\":\"" PCR_A "\",\"1\":\"" PCR_A "\",\"2\":\"" PCR_A "\"}"
#define MEASUREMENTS "\"measurements\":[" M "]"

static void reads_every_member(void **state)
{
    (void)state;
    static const char json[] =
        "{\"version\":1," ROOTS ",\"measurements\":[" M ",{\"31\":\"" PCR_B "\",\"8\":\"" PCR_UPPER
        "\",\"2\":\"" PCR_B "\",\"1\":\"" PCR_B "\",\"version\":9223372036854775807,\"0\":\"" PCR_B
        "\"}],\"max_age_ms\":1000,\"max_skew_ms\":0,\"serial\":12}";
    struct eml_policy p;
    struct eml_why why = {0};
    assert_int_equal(eml_policy_parse(eml_bytes_of_str(json), &p, &why), EML_OK);
    assert_int_equal(p.n_roots, 1);
    assert_int_equal(p.roots[0].b[1], 0x23);
    assert_int_equal(p.n_accept, 2);
    assert_int_equal(p.accept[0].required, 7);
    assert_int_equal(p.accept[1].required, 0x80000107);
    assert_int_equal(p.accept[1].pcr[8].b[0], 0xff);
    assert_memory_equal(p.accept[1].pcr[8].b, p.accept[1].pcr[31].b, 48);
    assert_int_equal(p.max_age_ms, 1000);
    assert_int_equal(p.max_skew_ms, 0);
    assert_int_equal(p.serial, 12);
    assert_int_equal(p.accept[0].version, 0);
    assert_int_equal(p.accept[1].version, INT64_MAX);
}

static void members_have_defaults(void **state)
{
    (void)state;
    struct eml_policy p;
    assert_int_equal(
        eml_policy_parse(EML_LIT("{\"version\":1," ROOTS "," MEASUREMENTS "}"), &p, NULL), EML_OK);
    assert_int_equal(p.max_age_ms, 300000);
    assert_int_equal(p.max_skew_ms, 300000);
    assert_int_equal(p.serial, 0);
    assert_int_equal(p.accept[0].version, 0);
}

/* Spaces and the order of members are not what a policy says. */
static void a_digest_is_of_the_meaning(void **state)
{
    (void)state;
    static const char *const json[] = {
        "{\"version\":1,\"serial\":3," ROOTS "," MEASUREMENTS "}",
        "{ \"serial\": 3, " MEASUREMENTS ", \"max_age_ms\": 300000, " ROOTS ",\"version\":1 }",
        "{\"version\":1,\"serial\":4," ROOTS "," MEASUREMENTS "}",
    };
    struct eml_sha256 digest[3];
    for (size_t i = 0; i < 3; i++) {
        struct eml_policy p;
        assert_int_equal(eml_policy_parse(eml_bytes_of_str(json[i]), &p, NULL), EML_OK);
        assert_int_equal(eml_policy_digest(&p, &digest[i]), EML_OK);
    }
    assert_memory_equal(&digest[0], &digest[1], sizeof digest[0]);
    assert_memory_not_equal(&digest[0], &digest[2], sizeof digest[0]);
}

static void printed_policies_read_back(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("policies");
    for (int run = 0; run < 200; run++) {
        struct eml_policy p = {.serial = (uint64_t)eml_gen_range(&g, 0, INT64_MAX),
                               .n_roots = (size_t)eml_gen_range(&g, 1, EML_POLICY_ROOTS_MAX),
                               .n_accept = (size_t)eml_gen_range(&g, 1, 16),
                               .max_age_ms = (uint64_t)eml_gen_range(&g, 1, 86400000),
                               .max_skew_ms = (uint64_t)eml_gen_range(&g, 0, 86400000)};
        struct eml_policy back;
        struct eml_buf json = {0};
        struct eml_why why = {0};
        for (size_t i = 0; i < p.n_roots; i++)
            eml_gen_fill(&g, p.roots[i].b, sizeof p.roots[i].b);
        for (size_t i = 0; i < p.n_accept; i++) {
            p.accept[i].version = (uint64_t)eml_gen_range(&g, 0, INT64_MAX);
            p.accept[i].required = 7u | (uint32_t)eml_gen_u64(&g);
            for (size_t k = 0; k < EML_PCR_N; k++)
                if ((p.accept[i].required >> k & 1) != 0)
                    eml_gen_fill(&g, p.accept[i].pcr[k].b, 48);
        }
        assert_int_equal(eml_policy_print(&p, &json), EML_OK);
        assert_int_equal(eml_policy_parse(eml_buf_bytes(&json), &back, &why), EML_OK);
        assert_memory_equal(&p, &back, sizeof p);
        eml_buf_free(&json);
    }
}

static void bad_policies_name_their_rule(void **state)
{
    (void)state;
#define BAD_ROOT "policy: a root is not a SHA-256 in 64 hex digits"
#define BAD_NAME "policy: a PCR is not named \"0\" to \"31\""
#define BAD_PCR "policy: a PCR is not 96 hex digits"
#define LACKS "policy: a measurement lacks PCR 0, 1 or 2"
#define N_MEASUREMENTS "policy: \"measurements\" is not an array of 1 to 16"
#define N_ROOTS "policy: \"roots\" is not an array of 1 to 8 digests"
#define AGE "policy: \"max_age_ms\" is not 1 to 86400000"
#define SERIAL "policy: \"serial\" is not 0 to 2^63 - 1"
#define VERSION "policy: the \"version\" of a measurement is not 0 to 2^63 - 1"
#define ONE(pcrs) "{\"version\":1," ROOTS ",\"measurements\":[{" pcrs "}]}"
    static const struct {
        const char *json, *rule;
    } bad[] = {
        {"", "policy: empty or larger than 64 KiB"},
        {" ", "json: ends too early"},
        {"{", "json: ends too early"},
        {"{\"version\":1," ROOTS "," MEASUREMENTS "} x", "json: bytes after the value"},
        {"{\"version\":1,\"version\":1," ROOTS "," MEASUREMENTS "}",
         "json: a member name appears twice"},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",}", "json: syntax"},
        {"{\"version\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", "json: nested too deeply"},
        {"[]", "json: not an object"},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"max_age\":1}", "policy: unknown member"},
        {"{" ROOTS "," MEASUREMENTS "}", "policy: \"version\" is not 1"},
        {"{\"version\":2," ROOTS "," MEASUREMENTS "}", "policy: \"version\" is not 1"},
        {"{\"version\":1.0," ROOTS "," MEASUREMENTS "}", "policy: \"version\" is not 1"},
        {"{\"version\":\"1\"," ROOTS "," MEASUREMENTS "}", "policy: \"version\" is not 1"},
        {"{\"version\":1," MEASUREMENTS "}", N_ROOTS},
        {"{\"version\":1,\"roots\":[]," MEASUREMENTS "}", N_ROOTS},
        {"{\"version\":1,\"roots\":\"" ROOT "\"," MEASUREMENTS "}", N_ROOTS},
        {"{\"version\":1,\"roots\":[1]," MEASUREMENTS "}", BAD_ROOT},
        {"{\"version\":1,\"roots\":[\"" H16 "\"]," MEASUREMENTS "}", BAD_ROOT},
        {"{\"version\":1,\"roots\":[\"" ROOT "0\"]," MEASUREMENTS "}", BAD_ROOT},
        {"{\"version\":1,\"roots\":[\"g123456789abcdef" H16 H16 H16 "\"]," MEASUREMENTS "}",
         BAD_ROOT},
        {"{\"version\":1," ROOTS "}", N_MEASUREMENTS},
        {"{\"version\":1," ROOTS ",\"measurements\":[]}", N_MEASUREMENTS},
        {"{\"version\":1," ROOTS ",\"measurements\":" M "}", N_MEASUREMENTS},
        {"{\"version\":1," ROOTS ",\"measurements\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}",
         N_MEASUREMENTS},
        {"{\"version\":1," ROOTS ",\"measurements\":[1]}",
         "policy: a measurement is not an object"},
        {ONE(""), LACKS},
        {ONE("\"0\":\"" PCR_A "\",\"1\":\"" PCR_A "\""), LACKS},
        {ONE("\"0\":\"" PCR_A "\",\"2\":\"" PCR_A "\",\"8\":\"" PCR_A "\""), LACKS},
        {ONE("\"32\":\"" PCR_A "\""), BAD_NAME},
        {ONE("\"00\":\"" PCR_A "\""), BAD_NAME},
        {ONE("\"-1\":\"" PCR_A "\""), BAD_NAME},
        {ONE("\"0x1\":\"" PCR_A "\""), BAD_NAME},
        {ONE("\"\":\"" PCR_A "\""), BAD_NAME},
        {ONE("\" 1\":\"" PCR_A "\""), BAD_NAME},
        {ONE("\"4294967296\":\"" PCR_A "\""), BAD_NAME},
        {ONE("\"0\":\"\""), BAD_PCR},
        {ONE("\"0\":null"), BAD_PCR},
        {ONE("\"0\":\"" PCR_A "00\""), BAD_PCR},
        {ONE("\"0\":\"0x23456789abcdef" H16 H16 H16 H16 H16 "\""), BAD_PCR},
        {ONE("\"0\":\"" PCR_ZERO "\""), "policy: a PCR is all zero"},
        {ONE("\"8\":\"" PCR_ZERO "\""), "policy: a PCR is all zero"},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"max_age_ms\":0}", AGE},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"serial\":-1}", SERIAL},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"serial\":\"1\"}", SERIAL},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"serial\":null}", SERIAL},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"serial\":1.0}", SERIAL},
        {ONE("\"version\":-1"), VERSION},
        {ONE("\"version\":\"" PCR_A "\""), VERSION},
        {ONE("\"version\":null"), VERSION},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"max_age_ms\":-1}", AGE},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"max_age_ms\":86400001}", AGE},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"max_age_ms\":\"1\"}", AGE},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"max_age_ms\":null}", AGE},
        {"{\"version\":1," ROOTS "," MEASUREMENTS ",\"max_skew_ms\":-1}",
         "policy: \"max_skew_ms\" is not 0 to 86400000"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_policy p;
        struct eml_why why = {0};
        assert_int_equal(eml_policy_parse(eml_bytes_of_str(bad[i].json), &p, &why), EML_E_INPUT);
        assert_string_equal(why.rule, bad[i].rule);
        assert_int_equal(p.n_roots, 0);
        assert_int_equal(p.n_accept, 0);
    }
}

static void cut_policies_are_refused(void **state)
{
    (void)state;
    static const char json[] = "{\"version\":1," ROOTS "," MEASUREMENTS "}";
    struct eml_policy p;
    for (size_t n = 0; n < sizeof json - 1; n++)
        assert_int_equal(eml_policy_parse(eml_bytes(json, n), &p, NULL), EML_E_INPUT);
    static uint8_t large[65537];
    memset(large, ' ', sizeof large);
    memcpy(large, json, sizeof json - 1);
    assert_int_equal(eml_policy_parse(eml_bytes(large, 65536), &p, NULL), EML_OK);
    assert_int_equal(eml_policy_parse(eml_bytes(large, 65537), &p, NULL), EML_E_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_member),
        cmocka_unit_test(members_have_defaults),
        cmocka_unit_test(a_digest_is_of_the_meaning),
        cmocka_unit_test(printed_policies_read_back),
        cmocka_unit_test(bad_policies_name_their_rule),
        cmocka_unit_test(cut_policies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
