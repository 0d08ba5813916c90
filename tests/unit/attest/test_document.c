#include "testsupport/support.h"

#include "attest/document.h"
#include "wire/cbor.h"

#include <stdio.h>
#include <string.h>

/* A payload as its nine fields, each a piece of CBOR that a case may replace. */
enum { MODULE_ID, DIGEST, TIMESTAMP, PCRS, CERTIFICATE, CABUNDLE, PUBLIC_KEY, USER_DATA, NONCE, N };
static const char *const names[N] = {"module_id", "digest",     "timestamp", "pcrs", "certificate",
                                     "cabundle",  "public_key", "user_data", "nonce"};
static const char pcr0[] = "a1005830" /* map(1): 0 -> 48 bytes */
                           "111111111111111111111111111111111111111111111111"
                           "111111111111111111111111111111111111111111111111";

struct payload {
    const char *value[N]; /* hex; NULL: left out */
    const char *before;   /* hex of the map's head */
    const char *after;    /* hex of what ends it */
    const size_t *order;  /* NULL: AWS's */
};

static struct payload usual(void)
{
    return (struct payload){
        {"6169", "66534841333834", "1903e8", pcr0, "416c", "824172416d", "f6", "40", "4101"},
        "bf",
        "ff",
        NULL};
}

static void put_hex(struct eml_buf *b, const char *hex)
{
    struct eml_buf bytes = eml_test_hex(hex);
    eml_buf_put(b, eml_buf_bytes(&bytes));
    eml_buf_free(&bytes);
}

static struct eml_buf build(const struct payload *p)
{
    struct eml_buf b = {0};
    put_hex(&b, p->before);
    for (size_t i = 0; i < N; i++) {
        size_t f = p->order != NULL ? p->order[i] : i;
        if (p->value[f] == NULL)
            continue;
        eml_cbor_put_text(&b, eml_bytes_of_str(names[f]));
        put_hex(&b, p->value[f]);
    }
    put_hex(&b, p->after);
    return b;
}

static enum eml_err decode(const struct payload *p, struct eml_document *d, struct eml_why *why)
{
    struct eml_buf b = build(p);
    enum eml_err e = eml_document_decode(eml_buf_bytes(&b), d, why);
    if (e == EML_OK) { /* views do not outlive the bytes */
        assert_int_equal(d->module_id.len, 1);
        d->module_id.ptr = d->public_key.ptr = NULL;
    }
    eml_buf_free(&b);
    return e;
}

static void reads_both_kinds_of_maps_in_any_order(void **state)
{
    (void)state;
    static const size_t backwards[N] = {NONCE, USER_DATA, PUBLIC_KEY, CABUNDLE, CERTIFICATE,
                                        PCRS,  TIMESTAMP, DIGEST,     MODULE_ID};
    struct eml_document d;
    for (int form = 0; form < 4; form++) {
        struct payload p = usual();
        if ((form & 1) != 0) {
            p.before = "a9";
            p.after = "";
        }
        if ((form & 2) != 0)
            p.order = backwards;
        struct eml_buf b = build(&p);
        assert_int_equal(eml_document_decode(eml_buf_bytes(&b), &d, NULL), EML_OK);
        assert_int_equal(d.timestamp_ms, 1000);
        assert_int_equal(d.pcr_present, 1);
        assert_int_equal(d.pcr[0].b[47], 0x11);
        assert_int_equal(d.n_certs, 3);
        assert_true(eml_bytes_equal(d.cert[0], EML_LIT("r")));
        assert_true(eml_bytes_equal(d.cert[2], EML_LIT("l")));
        assert_null(d.public_key.ptr);
        assert_non_null(d.user_data.ptr);
        assert_int_equal(d.user_data.len, 0);
        assert_true(eml_bytes_equal(d.nonce, EML_LIT("\1")));
        eml_buf_free(&b);
    }
}

static void containers_inside_may_be_indefinite(void **state)
{
    (void)state;
    struct payload p = usual();
    struct eml_document d;
    p.value[CABUNDLE] = "9f4172416dff";
    char hex[256];
    (void)snprintf(hex, sizeof hex, "bf%sff", pcr0 + 2);
    p.value[PCRS] = hex;
    assert_int_equal(decode(&p, &d, NULL), EML_OK);
    assert_int_equal(d.pcr_present, 1);
    assert_int_equal(d.n_certs, 3);
}

static void bad_fields_name_their_rule(void **state)
{
    (void)state;
#define R_PCRS "document: pcrs are not distinct indices 0..31 with 48 bytes each"
#define R_BUNDLE "document: cabundle is not 1..9 strings of 1..1024 bytes"
#define E24 "111111111111111111111111111111111111111111111111"
    static const struct {
        size_t field;
        const char *value, *rule;
    } bad[] = {
        {MODULE_ID, NULL, "document: required field missing"},
        {DIGEST, NULL, "document: required field missing"},
        {TIMESTAMP, NULL, "document: required field missing"},
        {PCRS, NULL, "document: required field missing"},
        {CERTIFICATE, NULL, "document: required field missing"},
        {CABUNDLE, NULL, "document: required field missing"},
        {MODULE_ID, "60", "document: module_id is not a non-empty text"},
        {MODULE_ID, "f6", "document: module_id is not a non-empty text"},
        {MODULE_ID, "4169", "document: module_id is not a non-empty text"},
        {MODULE_ID, "61ff", "document: module_id is not a non-empty text"},
        {DIGEST, "66534841323536", "document: digest is not SHA384"},
        {DIGEST, "66736861333834", "document: digest is not SHA384"},
        {DIGEST, "f6", "document: digest is not SHA384"},
        {TIMESTAMP, "00", "document: timestamp is not a positive number"},
        {TIMESTAMP, "20", "document: timestamp is not a positive number"},
        {TIMESTAMP, "f6", "document: timestamp is not a positive number"},
        {TIMESTAMP, "fb408f400000000000", "document: timestamp is not a positive number"},
        {TIMESTAMP, "1b8000000000000000", "document: timestamp is not a positive number"},
        {TIMESTAMP, "1903e7f6", "document: unknown field"},
        {TIMESTAMP, "1a000003e8", "document: timestamp is not a positive number"},
        {PCRS, "a0", R_PCRS},
        {PCRS, "bfff", R_PCRS},
        {PCRS, "80", R_PCRS},
        {PCRS, "f6", R_PCRS},
        {PCRS, "a118205830" E24 E24, R_PCRS},
        {PCRS, "a1205830" E24 E24, R_PCRS},
        {PCRS, "a161305830" E24 E24, R_PCRS},
        {PCRS, "a100582f" E24 "1111111111111111111111111111111111111111111111", R_PCRS},
        {PCRS, "a10058200000000000000000000000000000000000000000000000000000000000000000", R_PCRS},
        {PCRS, "a2005830" E24 E24 "005830" E24 E24, R_PCRS},
        {PCRS, "a100f6", R_PCRS},
        {CERTIFICATE, "40", "document: certificate is not 1..1024 bytes"},
        {CERTIFICATE, "f6", "document: certificate is not 1..1024 bytes"},
        {CERTIFICATE, "616c", "document: certificate is not 1..1024 bytes"},
        {CABUNDLE, "80", R_BUNDLE},
        {CABUNDLE, "9fff", R_BUNDLE},
        {CABUNDLE, "8140", R_BUNDLE},
        {CABUNDLE, "8a41724172417241724172417241724172417241724172", R_BUNDLE},
        {CABUNDLE, "9f41724172417241724172417241724172417241724172ff", R_BUNDLE},
        {CABUNDLE, "4172", R_BUNDLE},
        {CABUNDLE, "81f6", R_BUNDLE},
        {PUBLIC_KEY, "40", "document: public_key is not null or 1..1024 bytes"},
        {PUBLIC_KEY, "6161", "document: public_key is not null or 1..1024 bytes"},
        {PUBLIC_KEY, "f7", "document: public_key is not null or 1..1024 bytes"},
        {USER_DATA, "5f4161ff", "document: user_data is not null or 0..1024 bytes"},
        {USER_DATA, "f4", "document: user_data is not null or 0..1024 bytes"},
        {NONCE, "5f4161ff", "document: nonce is not null or 0..1024 bytes"},
        {NONCE, "80", "document: nonce is not null or 0..1024 bytes"},
        {NONCE, "580101", "document: nonce is not null or 0..1024 bytes"},
        {NONCE, "41", "document: nonce is not null or 0..1024 bytes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct payload p = usual();
        struct eml_document d;
        struct eml_why why = {0};
        p.value[bad[i].field] = bad[i].value;
        if (bad[i].field == NONCE && strcmp(bad[i].value, "41") == 0)
            p.after = ""; /* the string is cut by the end */
        assert_int_equal(decode(&p, &d, &why), EML_E_INPUT);
        assert_string_equal(why.rule, bad[i].rule);
        assert_int_equal(d.n_certs, 0);
    }
}

static void bad_maps_name_their_rule(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *rule;
    } bad[] = {
        {"9f", "ff", "document: payload is not a map"},
        {"40", "", "document: payload is not a map"},
        {"bf", "", "document: payload does not end with its map"},
        {"bf", "ff00", "document: payload does not end with its map"},
        {"a9", "00", "document: payload does not end with its map"},
        {"a9", "ff", "document: payload does not end with its map"},
        {"a8", "", "document: payload does not end with its map"},
        {"aa", "", "document: payload does not end with its map"},
        {"bf", "656e6f6e6365f6ff", "document: payload does not end with its map"},
        {"bf6178f6", "ff", "document: unknown field"},
        {"bf00f6", "ff", "document: unknown field"},
        {"bf696d6f64756c655f69646169", "ff", "document: field given twice"},
        {"bf695469", "ff", "document: unknown field"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct payload p = usual();
        struct eml_document d;
        struct eml_why why = {0};
        p.before = bad[i].before;
        p.after = bad[i].after;
        assert_int_equal(decode(&p, &d, &why), EML_E_INPUT);
        assert_string_equal(why.rule, bad[i].rule);
    }
}

static void lengths_are_bounded(void **state)
{
    (void)state;
    static uint8_t big[1025];
    static const struct {
        size_t field;
        const char *rule;
    } bounded[] = {
        {CERTIFICATE, "document: certificate is not 1..1024 bytes"},
        {PUBLIC_KEY, "document: public_key is not null or 1..1024 bytes"},
        {USER_DATA, "document: user_data is not null or 0..1024 bytes"},
        {NONCE, "document: nonce is not null or 0..1024 bytes"},
    };
    for (size_t i = 0; i < sizeof bounded / sizeof bounded[0]; i++) {
        for (size_t len = 1024; len <= 1025; len++) {
            struct eml_buf b = {0};
            struct payload p = usual();
            struct eml_document d;
            struct eml_why why = {0};
            p.value[bounded[i].field] = NULL;
            p.before = "a9";
            p.after = "";
            struct eml_buf rest = build(&p);
            eml_buf_put(&b, eml_buf_bytes(&rest));
            eml_cbor_put_text(&b, eml_bytes_of_str(names[bounded[i].field]));
            eml_cbor_put_bytes(&b, eml_bytes(big, len));
            enum eml_err e = eml_document_decode(eml_buf_bytes(&b), &d, &why);
            assert_int_equal(e, len == 1024 ? EML_OK : EML_E_INPUT);
            if (e != EML_OK)
                assert_string_equal(why.rule, bounded[i].rule);
            eml_buf_free(&b);
            eml_buf_free(&rest);
        }
    }
}

static void random_documents_round_trip(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("documents");
    for (int run = 0; run < 300; run++) {
        uint8_t raw[1024];
        struct eml_document d, back;
        memset(&d, 0, sizeof d);
        eml_gen_fill(&g, raw, sizeof raw);
        d.module_id = EML_LIT("i-0-enc0");
        d.timestamp_ms = (uint64_t)eml_gen_range(&g, 1, INT64_MAX);
        d.pcr_present = (uint32_t)eml_gen_u64(&g) | 1u;
        for (size_t i = 0; i < EML_PCR_N; i++)
            if ((d.pcr_present >> i & 1) != 0)
                eml_gen_fill(&g, d.pcr[i].b, sizeof d.pcr[i].b);
        d.n_certs = (size_t)eml_gen_range(&g, 2, EML_DOCUMENT_CERTS_MAX);
        for (size_t i = 0; i < d.n_certs; i++)
            d.cert[i] = eml_bytes(raw, (size_t)eml_gen_range(&g, 1, 1024));
        struct eml_bytes *optional[] = {&d.public_key, &d.user_data, &d.nonce};
        for (size_t i = 0; i < 3; i++)
            if (eml_gen_bool(&g))
                *optional[i] = eml_bytes(raw, (size_t)eml_gen_range(&g, i == 0, 1024));
        struct eml_buf once = {0}, twice = {0};
        assert_int_equal(eml_document_encode(&d, &once), EML_OK);
        assert_int_equal(eml_document_decode(eml_buf_bytes(&once), &back, NULL), EML_OK);
        assert_int_equal(back.pcr_present, d.pcr_present);
        assert_memory_equal(back.pcr, d.pcr, sizeof d.pcr);
        assert_int_equal(back.nonce.ptr == NULL, d.nonce.ptr == NULL);
        assert_int_equal(eml_document_encode(&back, &twice), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&once), eml_buf_bytes(&twice)));
        for (int cut = 0; cut < 20; cut++) {
            size_t n = (size_t)eml_gen_range(&g, 0, (int64_t)once.len - 1);
            assert_int_equal(eml_document_decode(eml_bytes(once.ptr, n), &back, NULL), EML_E_INPUT);
        }
        eml_buf_free(&once);
        eml_buf_free(&twice);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_both_kinds_of_maps_in_any_order),
        cmocka_unit_test(containers_inside_may_be_indefinite),
        cmocka_unit_test(bad_fields_name_their_rule),
        cmocka_unit_test(bad_maps_name_their_rule),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(random_documents_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
