/* The vectors of AIR v1, then every rule of levels 1 to 3 by hand, then level 4 field by field. */
#include "testsupport/support.h"

#include "receipt/air.h"
#include "wire/cbor.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define DIRECTORY EML_VECTORS "/air/"
enum { VALID_N = 2, INVALID_N = 8, HEADER_BYTES = 13 };

static const uint64_t vectors_time = 1740500000; /* iat of the vectors */

static bool has_code(const char *rule, const char *code)
{
    size_t n = strlen(code);
    return strlen(rule) > 3 + n && strncmp(rule + 3, code, n) == 0 &&
           (rule[3 + n] == ':' || rule[3 + n] == ' ');
}

static struct eml_buf hex_of(const json_t *j, const char *name)
{
    const char *hex = json_string_value(json_object_get(j, name));
    assert_non_null(hex);
    return eml_test_hex(hex);
}

static struct eml_ed25519_pk key_of(const json_t *j, const char *name)
{
    struct eml_ed25519_pk key;
    struct eml_buf b = hex_of(j, name);
    assert_int_equal(b.len, sizeof key.b);
    memcpy(key.b, b.ptr, sizeof key.b);
    eml_buf_free(&b);
    return key;
}

static size_t each(const char *folder, void (*check)(const json_t *j))
{
    char path[512];
    size_t n = 0;
    (void)snprintf(path, sizeof path, DIRECTORY "%s", folder);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strstr(e->d_name, ".json") == NULL)
            continue;
        (void)snprintf(path, sizeof path, DIRECTORY "%s/%s", folder, e->d_name);
        json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(j);
        check(j);
        json_decref(j);
        n++;
    }
    (void)closedir(d);
    return n;
}

/* --- vectors --- */

static void assert_hash(const json_t *claims, const char *name, const struct eml_sha256 *is)
{
    struct eml_buf b = hex_of(claims, name);
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), EML_BYTES(is->b)));
    eml_buf_free(&b);
}

static void assert_text(const json_t *claims, const char *name, struct eml_bytes is)
{
    const char *s = json_string_value(json_object_get(claims, name));
    assert_non_null(s);
    assert_true(eml_bytes_equal(eml_bytes_of_str(s), is));
}

static void assert_claims(const json_t *c, const struct eml_air *a)
{
    const json_t *m = json_object_get(c, "enclave_measurements");
    static const char *const pcrs[] = {"pcr0_hex", "pcr1_hex", "pcr2_hex"};
    struct eml_buf cti = hex_of(c, "cti_hex");
    assert_text(c, "iss", a->issuer);
    assert_int_equal(json_integer_value(json_object_get(c, "iat")), a->issued_s);
    assert_true(eml_bytes_equal(eml_buf_bytes(&cti), EML_BYTES(a->cti)));
    assert_text(c, "model_id", a->model_id);
    assert_text(c, "model_version", a->model_version);
    assert_hash(c, "model_hash_hex", &a->model_hash);
    assert_hash(c, "request_hash_hex", &a->request_hash);
    assert_hash(c, "response_hash_hex", &a->response_hash);
    assert_hash(c, "attestation_doc_hash_hex", &a->document_hash);
    assert_text(c, "policy_version", a->policy_version);
    assert_int_equal(json_integer_value(json_object_get(c, "sequence_number")), a->sequence);
    assert_int_equal(json_integer_value(json_object_get(c, "execution_time_ms")), a->execution_ms);
    assert_int_equal(json_integer_value(json_object_get(c, "memory_peak_mb")), a->memory_mb);
    assert_text(c, "security_mode", eml_bytes_of_str(eml_air_mode_name(a->mode)));
    assert_text(m, "measurement_type", eml_bytes_of_str(eml_air_platform_name(a->platform)));
    assert_int_equal(a->pcr_present, 7);
    for (size_t i = 0; i < 3; i++) {
        struct eml_buf pcr = hex_of(m, pcrs[i]);
        assert_true(eml_bytes_equal(eml_buf_bytes(&pcr), EML_BYTES(a->pcr[i].b)));
        eml_buf_free(&pcr);
    }
    eml_buf_free(&cti);
}

/* Verifies, says what the vector says, and comes out byte for byte when it is signed again. */
static void check_valid(const json_t *j)
{
    struct eml_buf receipt = hex_of(j, "receipt_hex"), seed = hex_of(j, "signing_key_seed_hex");
    struct eml_ed25519_pk key = key_of(j, "public_key_hex");
    struct eml_ed25519_sk signer;
    struct eml_air a;
    struct eml_why why = {"", -1};
    struct eml_buf again = {0};
    const struct eml_air_policy any = {.now_s = 0};
    assert_int_equal(eml_air_verify(eml_buf_bytes(&receipt), &key, &any, &a, &why), EML_OK);
    assert_claims(json_object_get(j, "claims"), &a);
    memcpy(signer.b, seed.ptr, sizeof signer.b);
    assert_int_equal(eml_ed25519_make(&signer), EML_OK);
    assert_int_equal(eml_air_sign(&a, &signer, &again, &why), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&again), eml_buf_bytes(&receipt)));
    eml_buf_free(&again);
    eml_buf_free(&seed);
    eml_buf_free(&receipt);
}

static void check_invalid(const json_t *j)
{
    struct eml_buf receipt = hex_of(j, "receipt_hex"), nonce = {0}, model = {0};
    const json_t *failure = json_object_get(j, "expected_failure");
    const json_t *p = json_object_get(j, "verify_policy");
    bool other_key = json_object_get(j, "wrong_public_key_hex") != NULL;
    struct eml_ed25519_pk key = key_of(j, other_key ? "wrong_public_key_hex" : "public_key_hex");
    struct eml_air_policy policy = {.now_s = vectors_time + 366 * 86400};
    struct eml_sha256 model_hash;
    struct eml_air a;
    struct eml_why why = {"", -1};
    policy.max_age_s = (uint64_t)json_integer_value(json_object_get(p, "max_age_secs"));
    if (json_object_get(p, "expected_nonce_hex") != NULL) {
        nonce = hex_of(p, "expected_nonce_hex");
        policy.nonce = eml_buf_bytes(&nonce);
    }
    if (json_object_get(p, "expected_model_hash_hex") != NULL) {
        model = hex_of(p, "expected_model_hash_hex");
        memcpy(model_hash.b, model.ptr, sizeof model_hash.b);
        policy.model_hash = &model_hash;
    }
    if (json_object_get(p, "expected_platform") != NULL)
        policy.platform = EML_AIR_TDX;
    int level = (int)json_integer_value(json_object_get(failure, "layer"));
    const char *code = json_string_value(json_object_get(failure, "code"));
    enum eml_err e = eml_air_verify(eml_buf_bytes(&receipt), &key, &policy, &a, &why);
    assert_int_equal(e, level == 2 ? EML_E_AUTH : level == 4 ? EML_E_REFUSED : EML_E_INPUT);
    if (!has_code(why.rule, code) || why.rule[1] != '0' + level)
        fail_msg("level %d %s: %s", level, code, why.rule);
    static const struct eml_air nothing;
    assert_memory_equal(&a, &nothing, sizeof a);
    if (level == 4) { /* it is only the policy that it breaks */
        const struct eml_air_policy any = {.now_s = 0};
        assert_int_equal(eml_air_verify(eml_buf_bytes(&receipt), &key, &any, &a, &why), EML_OK);
    }
    eml_buf_free(&nonce);
    eml_buf_free(&model);
    eml_buf_free(&receipt);
}

static void vectors_pass_or_fail_as_they_should(void **state)
{
    (void)state;
    assert_int_equal(each("valid", check_valid), VALID_N);
    assert_int_equal(each("invalid", check_invalid), INVALID_N);
}

/* --- by hand: a receipt of pairs in hex --- */

static struct eml_ed25519_sk secret = {.b = {7, 7, 7}};

#define H16 "000102030405060708090a0b0c0d0e0f"
#define H32 H16 H16
#define H48 H16 H16 H16
#define PROFILE_HEX "782168747470733a2f2f737065632e63796e7472697365632e636f6d2f6169722f7631"
#define PCRS "64706372305830" H48 "64706372315830" H48 "64706372325830" H48
#define TYPE "706d6561737572656d656e745f74797065696e6974726f2d706372"

enum { PAIRS = 18 };
static const struct pair {
    const char *key, *value;
} good[PAIRS] = {
    {"01", "6161"},
    {"06", "01"},
    {"07", "50" H16},
    {"0a", "48"
           "0001020304050607"},
    {"190109", PROFILE_HEX},
    {"3a00010000", "6162"},
    {"3a00010001", "6163"},
    {"3a00010002", "5820" H32},
    {"3a00010003", "5820" H32},
    {"3a00010004", "5820" H32},
    {"3a00010005", "5820" H32},
    {"3a00010006", "a4" PCRS TYPE},
    {"3a00010007", "6164"},
    {"3a00010008", "00"},
    {"3a00010009", "01"},
    {"3a0001000a", "02"},
    {"3a0001000b", "6a70726f64756374696f6e"},
    {"3a0001000c", "6d7368613235362d73696e676c65"},
};

static void put_hex(struct eml_buf *out, const char *hex)
{
    struct eml_buf b = eml_test_hex(hex);
    eml_buf_put(out, eml_buf_bytes(&b));
    eml_buf_free(&b);
}

/* Pair `at` is replaced by `pairs` (how many these are: n); at = PAIRS: none, they come last. */
static struct eml_buf payload_with(size_t at, const char *pairs, uint64_t n)
{
    struct eml_buf b = {0};
    eml_cbor_put_map(&b, (at < PAIRS ? PAIRS - 1u : PAIRS) + n);
    for (size_t i = 0; i <= PAIRS; i++) {
        if (i == at)
            put_hex(&b, pairs);
        else if (i < PAIRS) {
            put_hex(&b, good[i].key);
            put_hex(&b, good[i].value);
        }
    }
    assert_int_equal(eml_buf_ok(&b), EML_OK);
    return b;
}

static struct eml_buf envelope(const char *protected_header, struct eml_bytes payload)
{
    struct eml_buf out = {0}, header = eml_test_hex(protected_header);
    assert_int_equal(
        eml_sign1_sign_ed25519(eml_buf_bytes(&header), &secret, payload, EML_SIGN1_TAGGED, &out),
        EML_OK);
    eml_buf_free(&header);
    return out;
}

static enum eml_err verify(struct eml_bytes receipt, struct eml_why *why)
{
    struct eml_air a;
    const struct eml_air_policy any = {.now_s = 0};
    return eml_air_verify(receipt, &secret.pk, &any, &a, why);
}

/* The payload with one claim replaced by n others, in CBOR, and the rule that it breaks. */
static const struct {
    size_t at;
    const char *pairs;
    uint64_t n;
    const char *rule;
} bad_claims[] = {
    {0, "", 0, "L3 MISSING_CLAIM:iss"},
    {1, "", 0, "L3 MISSING_CLAIM:iat"},
    {2, "", 0, "L3 MISSING_CLAIM:cti"},
    {4, "", 0, "L3 MISSING_CLAIM:eat_profile"},
    {5, "", 0, "L3 MISSING_CLAIM:model_id"},
    {6, "", 0, "L3 MISSING_CLAIM:model_version"},
    {7, "", 0, "L3 MISSING_CLAIM:model_hash"},
    {8, "", 0, "L3 MISSING_CLAIM:request_hash"},
    {9, "", 0, "L3 MISSING_CLAIM:response_hash"},
    {10, "", 0, "L3 MISSING_CLAIM:attestation_doc_hash"},
    {11, "", 0, "L3 MISSING_CLAIM:enclave_measurements"},
    {12, "", 0, "L3 MISSING_CLAIM:policy_version"},
    {13, "", 0, "L3 MISSING_CLAIM:sequence_number"},
    {14, "", 0, "L3 MISSING_CLAIM:execution_time_ms"},
    {15, "", 0, "L3 MISSING_CLAIM:memory_peak_mb"},
    {16, "", 0, "L3 MISSING_CLAIM:security_mode"},
    {0, "0101", 1, "L3 WRONG_TYPE:iss"},
    {0, "01f6", 1, "L3 WRONG_TYPE:iss"},
    {1, "0620", 1, "L3 WRONG_TYPE:iat"},
    {1, "06fb3ff0000000000000", 1, "L3 WRONG_TYPE:iat"},
    {2, "076161", 1, "L3 WRONG_TYPE:cti"},
    {3, "0a6161", 1, "L3 WRONG_TYPE:eat_nonce"},
    {7, "3a000100026161", 1, "L3 WRONG_TYPE:model_hash"},
    {11, "3a0001000680", 1, "L3 WRONG_TYPE:enclave_measurements"},
    {13, "3a000100084100", 1, "L3 WRONG_TYPE:sequence_number"},
    {16, "3a0001000b01", 1, "L3 WRONG_TYPE:security_mode"},
    {17, "3a0001000cf5", 1, "L3 WRONG_TYPE:model_hash_scheme"},
    {0, "0160", 1, "L3 BAD_TEXT_LENGTH:iss"},
    {5, "3a0001000060", 1, "L3 BAD_TEXT_LENGTH:model_id"},
    {1, "0600", 1, "L3 BAD_IAT: iat is zero"},
    {2, "074f000102030405060708090a0b0c0d0e", 1,
     "L3 BAD_CTI_LENGTH: cti is not 16 bytes, or all zero"},
    {2, "075000000000000000000000000000000000", 1,
     "L3 BAD_CTI_LENGTH: cti is not 16 bytes, or all zero"},
    {3, "0a4700010203040506", 1, "L3 BAD_NONCE_LENGTH: eat_nonce is not 8 to 64 bytes"},
    {3, "0a5841" H32 H32 "00", 1, "L3 BAD_NONCE_LENGTH: eat_nonce is not 8 to 64 bytes"},
    {7, "3a00010002581f" H16 "000102030405060708090a0b0c0d0e", 1, "L3 BAD_HASH_LENGTH:model_hash"},
    {8, "3a000100035821" H32 "00", 1, "L3 BAD_HASH_LENGTH:request_hash"},
    {9, "3a0001000440", 1, "L3 BAD_HASH_LENGTH:response_hash"},
    {10, "3a0001000541ff", 1, "L3 BAD_HASH_LENGTH:attestation_doc_hash"},
    {7,
     "3a000100025820"
     "0000000000000000000000000000000000000000000000000000000000000000",
     1, "L3 ZERO_MODEL_HASH: model_hash is all zero"},
    {11, "3a00010006a3" PCRS, 1, "L3 MISSING_CLAIM:measurement_type"},
    {11,
     "3a00010006a3"
     "64706372305830" H48 "64706372315830" H48 TYPE,
     1, "L3 MISSING_CLAIM:pcr0, pcr1 or pcr2"},
    {11, "3a00010006a1" TYPE, 1, "L3 MISSING_CLAIM:pcr0, pcr1 or pcr2"},
    {11, "3a00010006a4" PCRS "706d6561737572656d656e745f747970656173", 1,
     "L3 UNKNOWN_MTYPE: measurement_type has no meaning"},
    {11, "3a00010006a5" PCRS "64706372355830" H48 TYPE, 1,
     "L3 UNKNOWN_MEASUREMENT: a measurement has no meaning"},
    {11, "3a00010006a5" PCRS "64706372325830" H48 TYPE, 1,
     "L3 DUPLICATE_MEASUREMENT: a measurement comes twice"},
    {11, "3a00010006a5" PCRS TYPE TYPE, 1, "L3 DUPLICATE_MEASUREMENT: a measurement comes twice"},
    {11, "3a00010006a5" PCRS "6470637234582f" H32 "000102030405060708090a0b0c0d0e" TYPE, 1,
     "L3 BAD_MEASUREMENT_LENGTH: a measurement is not 48 bytes"},
    {11,
     "3a00010006a5" PCRS "64706372385830" H48
     "706d6561737572656d656e745f747970656d7464782d6d7274642d72746d72",
     1, "L3 UNKNOWN_MEASUREMENT: pcr8 is none of TDX"},
    {11, "3a00010006a4" TYPE PCRS, 1, "L3 NOT_DETERMINISTIC: measurements are not in order"},
    {16, "3a0001000b6b476174657761794f6e6c79", 1,
     "L3 UNKNOWN_SECURITY_MODE: neither production nor evaluation"},
    {17, "3a0001000c66736861323536", 1,
     "L3 UNKNOWN_MODEL_HASH_SCHEME: model_hash_scheme has no meaning"},
    {PAIRS, "3a0001000d00", 1, "L3 UNKNOWN_CLAIM: a claim has no meaning"},
    {PAIRS, "616100", 1, "L3 UNKNOWN_CLAIM: a claim has no meaning"},
    {0,
     "000001"
     "6161",
     2, "L3 UNKNOWN_CLAIM: a claim has no meaning"},
    {0,
     "01616101"
     "6161",
     2, "L3 DUPLICATE_CLAIM: a claim comes twice"},
    {PAIRS, "3a0001000c6d7368613235362d73696e676c65", 1, "L3 DUPLICATE_CLAIM: a claim comes twice"},
    {0,
     "06010161"
     "61",
     2, "L3 NOT_DETERMINISTIC: claims are not in order"},
    {4, "1901096161", 1, "L1 WRONG_PROFILE: eat_profile is not AIR v1"},
    {4, "19010901", 1, "L1 WRONG_PROFILE: eat_profile is not AIR v1"},
    {0,
     "01"
     "780161",
     1, "L1 PAYLOAD_NOT_MAP: payload is not one map"},
    {0,
     "1801"
     "6161",
     1, "L1 PAYLOAD_NOT_MAP: payload is not one map"},
    {0,
     "01"
     "7f6161ff",
     1, "L1 PAYLOAD_NOT_MAP: payload is not one map"},
    {PAIRS, "00", 0, "L1 PAYLOAD_NOT_MAP: payload is not one map"},
    {PAIRS, "", 1, "L1 PAYLOAD_NOT_MAP: payload is not one map"},
};

static void claims_against_the_rules(void **state)
{
    (void)state;
    struct eml_why why;
    struct eml_buf payload = payload_with(PAIRS, "", 0);
    struct eml_buf receipt = envelope("a2012703183d", eml_buf_bytes(&payload));
    assert_int_equal(verify(eml_buf_bytes(&receipt), &why), EML_OK);
    for (size_t i = 0; i < sizeof bad_claims / sizeof bad_claims[0]; i++) {
        eml_buf_free(&payload);
        eml_buf_free(&receipt);
        payload = payload_with(bad_claims[i].at, bad_claims[i].pairs, bad_claims[i].n);
        receipt = envelope("a2012703183d", eml_buf_bytes(&payload));
        why.rule = "";
        enum eml_err e = verify(eml_buf_bytes(&receipt), &why);
        /* what has a wrong key at level 3 had another one's value after it */
        if (e != EML_E_INPUT || strcmp(why.rule, bad_claims[i].rule) != 0)
            fail_msg("%zu: %s: %s", i, bad_claims[i].rule, why.rule);
    }
    eml_buf_free(&payload);
    eml_buf_free(&receipt);
}

static void envelopes_against_the_rules(void **state)
{
    (void)state;
    static const struct {
        const char *header, *rule;
    } headers[] = {
        {"a2012603183d", "L1 BAD_ALG: algorithm is not EdDSA"},
        {"a103183d", "L1 BAD_ALG: algorithm is not EdDSA"},
        {"a0", "L1 BAD_ALG: algorithm is not EdDSA"},
        {"a10127", "L1 BAD_CONTENT_TYPE: content type is not application/cwt"},
        {"a2012703183c", "L1 BAD_CONTENT_TYPE: content type is not application/cwt"},
        {"a301270"
         "3183d044131",
         "L1 COSE_DECODE_FAILED: protected header holds more, or not in order"},
        {"a203183d0127", "L1 COSE_DECODE_FAILED: protected header holds more, or not in order"},
        {"a201270319003d", "L1 COSE_DECODE_FAILED: protected header is not one map"},
        {"a2012703183d00", "L1 COSE_DECODE_FAILED: protected header is not one map"},
        {"", "L1 COSE_DECODE_FAILED: protected header is not one map"},
        {"80", "L1 COSE_DECODE_FAILED: protected header is not one map"},
    };
    struct eml_why why;
    struct eml_buf payload = payload_with(PAIRS, "", 0);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct eml_buf r = envelope(headers[i].header, eml_buf_bytes(&payload));
        assert_int_equal(verify(eml_buf_bytes(&r), &why), EML_E_INPUT);
        assert_string_equal(why.rule, headers[i].rule);
        eml_buf_free(&r);
    }
    eml_buf_free(&payload);
    static const struct {
        const char *hex, *rule;
        enum eml_err e;
    } whole[] = {
        {"8446a2012703183da041a040",
         "L1 COSE_DECODE_FAILED: not a COSE_Sign1 of four items with tag 18", EML_E_INPUT},
        {"d18446a2012703183da041a040",
         "L1 COSE_DECODE_FAILED: not a COSE_Sign1 of four items with tag 18", EML_E_INPUT},
        {"d28346a2012703183da041a0",
         "L1 COSE_DECODE_FAILED: not a COSE_Sign1 of four items with tag 18", EML_E_INPUT},
        {"d284a0a041a040", "L1 COSE_DECODE_FAILED: protected header is no byte string",
         EML_E_INPUT},
        {"d28446a2012703183da1044131"
         "41a040",
         "L1 NON_EMPTY_UNPROTECTED: unprotected header is not empty", EML_E_INPUT},
        {"d28446a2012703183d8041a040", "L1 COSE_DECODE_FAILED: unprotected header is no map",
         EML_E_INPUT},
        {"d28446a2012703183d46a2012703183d40",
         "L1 COSE_DECODE_FAILED: unprotected header is no map", EML_E_INPUT},
        {"d28446a2012703183da0f640", "L1 MISSING_PAYLOAD: payload is null", EML_E_INPUT},
        {"d28446a2012703183da04040", "L1 MISSING_PAYLOAD: payload is empty", EML_E_INPUT},
        {"d28446a2012703183da06040", "L1 COSE_DECODE_FAILED: payload is no byte string",
         EML_E_INPUT},
        {"d28446a2012703183da041a06161",
         "L1 COSE_DECODE_FAILED: the signature is no byte string at the end", EML_E_INPUT},
        {"d28446a2012703183da041a04000",
         "L1 COSE_DECODE_FAILED: the signature is no byte string at the end", EML_E_INPUT},
        {"d28446a2012703183da0418040", "L1 PAYLOAD_NOT_MAP: payload is not one map", EML_E_INPUT},
        {"d28446a2012703183da041a040", "L2 BAD_SIG_LENGTH: signature is not 64 bytes", EML_E_AUTH},
        {"d28446a2012703183da041a05840" H32 H32, "L2 SIG_FAILED: signature is not this key's",
         EML_E_AUTH},
    };
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        struct eml_buf r = eml_test_hex(whole[i].hex);
        why.rule = "";
        enum eml_err e = verify(eml_buf_bytes(&r), &why);
        if (e != whole[i].e || strcmp(why.rule, whole[i].rule) != 0)
            fail_msg("%s: %s", whole[i].hex, why.rule);
        eml_buf_free(&r);
    }
    static const uint8_t large[EML_AIR_BYTES_MAX + 1];
    assert_int_equal(verify(EML_BYTES(large), &why), EML_E_INPUT);
    assert_string_equal(why.rule, "L1 RECEIPT_TOO_LARGE: more than 65536 bytes");
}

/* Nothing shorter passes, nor anything with one bit changed. */
static void cuts_and_flips_are_refused(void **state)
{
    (void)state;
    struct eml_why why;
    struct eml_buf payload = payload_with(PAIRS, "", 0);
    struct eml_buf r = envelope("a2012703183d", eml_buf_bytes(&payload));
    for (size_t n = 0; n < r.len; n++)
        assert_int_not_equal(verify(eml_bytes(r.ptr, n), &why), EML_OK);
    for (size_t bit = 0; bit < 8 * r.len; bit++) {
        r.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(verify(eml_buf_bytes(&r), &why), EML_OK);
        r.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(verify(eml_buf_bytes(&r), &why), EML_OK);
    eml_buf_free(&payload);
    eml_buf_free(&r);
}

static void what_would_be_refused_is_not_signed(void **state)
{
    (void)state;
    struct eml_buf payload = payload_with(PAIRS, "", 0), out = {0};
    struct eml_air a;
    struct eml_why why;
    assert_int_equal(eml_air_claims(eml_buf_bytes(&payload), &a, &why), EML_OK);
    struct eml_air bad[8];
    for (size_t i = 0; i < 8; i++)
        bad[i] = a;
    bad[0].issued_s = 0;
    bad[1].model_hash = (struct eml_sha256){{0}};
    bad[2].pcr_present = 3;
    bad[3].pcr_present |= 1u << 5;
    bad[4].mode = (enum eml_air_mode)3;
    bad[5].platform = (enum eml_air_platform)0;
    bad[6].nonce.len = 7;
    bad[7].model_id.len = 0;
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(eml_air_sign(&bad[i], &secret, &out, &why), EML_E_USAGE);
        assert_int_equal(out.len, 0);
    }
    eml_buf_free(&payload);
}

static bool seen(void *ctx, const uint8_t cti[16])
{
    return memcmp(ctx, cti, 16) == 0;
}

static void level_four_field_by_field(void **state)
{
    (void)state;
    struct eml_buf payload = payload_with(PAIRS, "", 0), bare = payload_with(3, "", 0);
    struct eml_air a, without_nonce;
    struct eml_why why;
    assert_int_equal(eml_air_claims(eml_buf_bytes(&payload), &a, &why), EML_OK);
    assert_int_equal(eml_air_claims(eml_buf_bytes(&bare), &without_nonce, &why), EML_OK);
    a.issued_s = 1000;
    struct eml_air evaluation = a;
    evaluation.mode = EML_AIR_EVALUATION;
    uint8_t cti[16];
    memcpy(cti, a.cti, sizeof cti);
    struct eml_sha256 other = a.model_hash;
    other.b[31] ^= 1;
    const struct {
        const struct eml_air *a;
        struct eml_air_policy p;
        const char *code; /* NULL: passes */
    } cases[] = {
        {&a, {.now_s = 1000}, NULL},
        {&a, {.now_s = 990, .max_skew_s = 10}, NULL},
        {&a, {.now_s = 989, .max_skew_s = 10}, "TIMESTAMP_FUTURE"},
        {&a, {.now_s = 1100, .max_age_s = 100}, NULL},
        {&a, {.now_s = 1101, .max_age_s = 100}, "TIMESTAMP_STALE"},
        {&a, {.now_s = UINT64_MAX}, NULL},
        {&a, {.model_hash = &a.model_hash, .request_hash = &a.request_hash}, NULL},
        {&a, {.response_hash = &a.response_hash, .document_hash = &a.document_hash}, NULL},
        {&a, {.model_hash = &other}, "MODEL_HASH_MISMATCH"},
        {&a, {.request_hash = &other}, "REQUEST_HASH_MISMATCH"},
        {&a, {.response_hash = &other}, "RESPONSE_HASH_MISMATCH"},
        {&a, {.document_hash = &other}, "ATTESTATION_DOC_HASH_MISMATCH"},
        {&a, {.model_id = EML_LIT("b")}, NULL},
        {&a, {.model_id = EML_LIT("c")}, "MODEL_ID_MISMATCH"},
        {&a, {.platform = EML_AIR_NITRO}, NULL},
        {&a, {.platform = EML_AIR_TDX}, "PLATFORM_MISMATCH"},
        {&a, {.mode = EML_AIR_PRODUCTION, .production_only = true}, NULL},
        {&a, {.mode = EML_AIR_EVALUATION}, "SECURITY_MODE_MISMATCH"},
        {&evaluation, {.mode = EML_AIR_EVALUATION}, NULL},
        {&evaluation, {.production_only = true}, "EVALUATION_MODE_REJECTED"},
        {&a, {.nonce = EML_LIT("\0\1\2\3\4\5\6\7"), .nonce_required = true}, NULL},
        {&a, {.nonce = EML_LIT("\0\1\2\3\4\5\6\6")}, "NONCE_MISMATCH"},
        {&without_nonce, {.nonce = EML_LIT("\0\1\2\3\4\5\6\7")}, "NONCE_MISSING"},
        {&without_nonce, {.nonce_required = true}, "NONCE_MISSING"},
        {&a, {.seen = seen, .ctx = cti}, "REPLAY_CTI"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        why.rule = "";
        enum eml_err e = eml_air_accept(cases[i].a, &cases[i].p, &why);
        if (e != (cases[i].code != NULL ? EML_E_REFUSED : EML_OK) ||
            (cases[i].code != NULL && !has_code(why.rule, cases[i].code)))
            fail_msg("%zu: %s", i, why.rule);
    }
    cti[3] ^= 1;
    const struct eml_air_policy fresh = {.seen = seen, .ctx = cti};
    assert_int_equal(eml_air_accept(&a, &fresh, &why), EML_OK);
    eml_buf_free(&payload);
    eml_buf_free(&bare);
}

static int make_key(void **state)
{
    (void)state;
    return eml_ed25519_make(&secret) != EML_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_pass_or_fail_as_they_should),
        cmocka_unit_test(claims_against_the_rules),
        cmocka_unit_test(envelopes_against_the_rules),
        cmocka_unit_test(cuts_and_flips_are_refused),
        cmocka_unit_test(what_would_be_refused_is_not_signed),
        cmocka_unit_test(level_four_field_by_field),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, make_key, NULL);
}
