#include "testsupport/support.h"

#include "aws/sigv4.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define HEADERS_MAX 16

/* A vector's request and what must come of it; all borrowed from the vector's JSON. */
struct case_ {
    struct eml_sigv4_header header[HEADERS_MAX];
    struct eml_sigv4_request request;
    struct eml_sigv4_scope scope;
    struct eml_bytes time;
    struct eml_aws_credentials who;
    struct eml_bytes canonical, to_sign, signature;
};

static struct eml_bytes text(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    assert_non_null(s);
    return eml_bytes_of_str(s);
}

static json_t *load(const char *path)
{
    json_error_t e;
    json_t *v = json_load_file(path, 0, &e);
    assert_non_null(v);
    return v;
}

static void check(struct case_ *c)
{
    struct eml_buf canonical = {0}, to_sign = {0}, authorization = {0};
    uint8_t signature[EML_SIGV4_SIGNATURE_BYTES];
    struct eml_sigv4_authorization a;
    c->request.header = c->header;
    assert_int_equal(eml_sigv4_canonical_request(&c->request, &canonical), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&canonical), c->canonical));
    assert_int_equal(
        eml_sigv4_string_to_sign(eml_buf_bytes(&canonical), c->time, &c->scope, &to_sign), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&to_sign), c->to_sign));
    assert_int_equal(eml_sigv4_signature(c->who.secret_access_key, &c->scope,
                                         eml_buf_bytes(&to_sign), signature),
                     EML_OK);
    assert_true(eml_bytes_equal(EML_BYTES(signature), c->signature));
    assert_int_equal(eml_sigv4_authorize(&c->request, c->time, &c->scope, &c->who, &authorization),
                     EML_OK);
    assert_int_equal(eml_sigv4_parse(eml_buf_bytes(&authorization), &a), EML_OK);
    assert_true(eml_bytes_equal(a.access_key_id, c->who.access_key_id));
    assert_true(eml_bytes_equal(a.scope.region, c->scope.region));
    assert_true(eml_bytes_equal(a.scope.service, c->scope.service));
    assert_true(eml_bytes_equal(a.signature, c->signature));
    eml_buf_free(&canonical);
    eml_buf_free(&to_sign);
    eml_buf_free(&authorization);
}

static struct eml_bytes split(struct eml_bytes *rest, char at)
{
    const uint8_t *p = memchr(rest->ptr, at, rest->len);
    struct eml_bytes head = p != NULL ? eml_bytes(rest->ptr, (size_t)(p - rest->ptr)) : *rest;
    size_t skip = head.len + (p != NULL ? 1 : 0);
    *rest = eml_bytes(rest->ptr + skip, rest->len - skip);
    return head;
}

static void add(struct case_ *c, struct eml_bytes name, struct eml_bytes value)
{
    assert_true(c->request.n_headers < HEADERS_MAX);
    c->header[c->request.n_headers++] = (struct eml_sigv4_header){name, value};
}

/* The suite: a request as text, to which the signer adds the date, token and content digest. */
static void read_suite_case(const json_t *v, struct case_ *c, json_t **context)
{
    struct eml_bytes request = text(v, "request.txt");
    struct eml_bytes line = split(&request, '\n');
    *context = json_loads(json_string_value(json_object_get(v, "context.json")), 0, NULL);
    assert_non_null(*context);
    const json_t *who = json_object_get(*context, "credentials");
    *c = (struct case_){
        .canonical = text(v, "header-canonical-request.txt"),
        .to_sign = text(v, "header-string-to-sign.txt"),
        .signature = text(v, "header-signature.txt"),
        .time = EML_LIT("20150830T123600Z"),
        .scope = {EML_LIT("20150830"), text(*context, "region"), text(*context, "service")},
        .who = {text(who, "access_key_id"), text(who, "secret_access_key"), {NULL, 0}}};
    c->request.method = split(&line, ' ');
    struct eml_bytes target = split(&line, ' ');
    c->request.path = split(&target, '?');
    c->request.query = target;
    while (request.len > 0) {
        line = split(&request, '\n');
        if (line.len == 0)
            break;
        struct eml_bytes name = split(&line, ':');
        add(c, name, line);
    }
    c->request.body = request;
    add(c, EML_LIT("X-Amz-Date"), c->time);
    if (json_object_get(who, "token") != NULL)
        add(c, EML_LIT("X-Amz-Security-Token"), text(who, "token"));
    if (json_is_true(json_object_get(*context, "sign_body")))
        add(c, EML_LIT("x-amz-content-sha256"),
            eml_bytes(c->canonical.ptr + c->canonical.len - 64, 64));
}

static void aws_c_auth_suite(void **state)
{
    (void)state;
    json_t *suite = load(EML_VECTORS "/sigv4/aws-c-auth-v4-open.json"), *v, *context;
    const char *name;
    assert_int_equal(json_object_size(suite), 11);
    json_object_foreach(suite, name, v)
    {
        struct case_ c;
        (void)printf("  %s\n", name);
        read_suite_case(v, &c, &context);
        check(&c);
        json_decref(context);
    }
    json_decref(suite);
}

static void add_listed(struct case_ *c, const json_t *headers, const char *except)
{
    size_t i;
    json_t *h;
    json_array_foreach(headers, i, h)
    {
        const char *name = json_string_value(json_array_get(h, 0));
        const char *value = json_string_value(json_array_get(h, 1));
        if (strstr(except, name) == NULL)
            add(c, eml_bytes_of_str(name), eml_bytes_of_str(value));
        if (strcmp(name, "x-amz-date") == 0 || strcmp(name, "X-Amz-Date") == 0)
            c->time = eml_bytes_of_str(value);
    }
    struct eml_bytes rest = c->to_sign; /* algorithm, time, date/region/service/aws4_request */
    (void)split(&rest, '\n');
    (void)split(&rest, '\n');
    c->scope.date = split(&rest, '/');
    c->scope.region = split(&rest, '/');
    c->scope.service = split(&rest, '/');
}

static void kms_requests(void **state)
{
    (void)state;
    json_t *own = load(EML_VECTORS "/sigv4/kms-minimal-own.json"), *v;
    size_t i;
    assert_true(json_array_size(own) >= 2);
    json_array_foreach(own, i, v)
    {
        struct case_ c = {.canonical = text(v, "canonicalRequest"),
                          .to_sign = text(v, "stringToSign"),
                          .signature = text(v, "signature"),
                          .who = {text(v, "accessKeyId"), text(v, "secretAccessKey"), {NULL, 0}},
                          .request = {.method = EML_LIT("POST"), .path = EML_LIT("/")}};
        c.request.body = text(v, "body");
        add_listed(&c, json_object_get(v, "headers"), "");
        check(&c);
        struct eml_buf authorization = {0};
        assert_int_equal(eml_sigv4_authorize(&c.request, c.time, &c.scope, &c.who, &authorization),
                         EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&authorization), text(v, "authorization")));
        eml_buf_free(&authorization);
    }
    json_decref(own);
}

static void captured_sdk_request(void **state)
{
    (void)state;
    json_t *v = load(EML_VECTORS "/sigv4/captured-aws-sdk-js-kms-decrypt.json");
    const json_t *who = json_object_get(v, "credentials");
    struct case_ c = {.canonical = text(v, "canonicalRequest"),
                      .to_sign = text(v, "stringToSign"),
                      .signature = text(v, "signature"),
                      .who = {text(who, "accessKeyId"), text(who, "secretAccessKey"), {NULL, 0}},
                      .request = {.method = EML_LIT("POST"), .path = EML_LIT("/")}};
    c.request.body = text(v, "body");
    add_listed(&c, json_object_get(v, "headers"), "user-agent authorization");
    check(&c);
    json_decref(v);
}

static void headers_are_counted_and_single(void **state)
{
    (void)state;
    struct eml_sigv4_header many[EML_SIGV4_HEADERS_MAX + 1];
    char name[EML_SIGV4_HEADERS_MAX + 1][4];
    struct eml_sigv4_request r = {.method = EML_LIT("POST"), .path = EML_LIT("/"), .header = many};
    struct eml_buf out = {0};
    for (size_t i = 0; i <= EML_SIGV4_HEADERS_MAX; i++) {
        (void)snprintf(name[i], sizeof name[i], "h%02zu", i);
        many[i] = (struct eml_sigv4_header){eml_bytes_of_str(name[i]), EML_LIT("v")};
    }
    assert_int_equal(eml_sigv4_canonical_request(&r, &out), EML_E_INPUT);
    r.n_headers = EML_SIGV4_HEADERS_MAX + 1;
    assert_int_equal(eml_sigv4_canonical_request(&r, &out), EML_E_INPUT);
    r.n_headers = EML_SIGV4_HEADERS_MAX;
    assert_int_equal(eml_sigv4_canonical_request(&r, &out), EML_OK);
    many[3].name = EML_LIT("H04");
    assert_int_equal(eml_sigv4_canonical_request(&r, &out), EML_E_INPUT);
    eml_buf_free(&out);
}

#define GOOD_SIG "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static const char *const bad_authorizations[] = {
    "",
    "AWS4-HMAC-SHA256",
    "AWS4-HMAC-SHA1 Credential=A/20260102/r/kms/aws4_request, SignedHeaders=host, "
    "Signature=" GOOD_SIG,
    "AWS4-HMAC-SHA256 Credential=/20260102/r/kms/aws4_request, SignedHeaders=host, "
    "Signature=" GOOD_SIG,
    "AWS4-HMAC-SHA256 Credential=A/2026010/r/kms/aws4_request, SignedHeaders=host, "
    "Signature=" GOOD_SIG,
    "AWS4-HMAC-SHA256 Credential=A/20260102/r/kms/aws4, SignedHeaders=host, Signature=" GOOD_SIG,
    "AWS4-HMAC-SHA256 Credential=A/20260102/r/kms/aws4_request, SignedHeaders=, "
    "Signature=" GOOD_SIG,
    "AWS4-HMAC-SHA256 Credential=A/20260102/r/kms/aws4_request, SignedHeaders=host, Signature=ab",
    "AWS4-HMAC-SHA256 Credential=A/20260102/r/kms/aws4_request, SignedHeaders=host, "
    "Signature=" GOOD_SIG "0",
    "AWS4-HMAC-SHA256 Credential=A/20260102/r/kms/aws4_request, SignedHeaders=host, "
    "Signature=" GOOD_SIG ", X=y",
    "AWS4-HMAC-SHA256 Credential=A/20260102/r/kms/aws4_request,SignedHeaders=host, "
    "Signature=" GOOD_SIG,
};

static void bad_authorizations_are_refused(void **state)
{
    (void)state;
    struct eml_sigv4_authorization a;
    const struct eml_bytes good = EML_LIT("AWS4-HMAC-SHA256 Credential=A/20260102/r/kms/"
                                          "aws4_request, SignedHeaders=host, Signature=" GOOD_SIG);
    assert_int_equal(eml_sigv4_parse(good, &a), EML_OK);
    for (size_t n = 0; n < good.len; n++)
        assert_int_equal(eml_sigv4_parse(eml_bytes(good.ptr, n), &a), EML_E_INPUT);
    for (size_t i = 0; i < sizeof bad_authorizations / sizeof bad_authorizations[0]; i++) {
        assert_int_equal(eml_sigv4_parse(eml_bytes_of_str(bad_authorizations[i]), &a), EML_E_INPUT);
        assert_null(a.signature.ptr);
    }
}

static void times_go_both_ways(void **state)
{
    (void)state;
    static const struct {
        int64_t s;
        const char *text;
    } known[] = {
        {0, "19700101T000000Z"},          {1440938160, "20150830T123600Z"},
        {951782400, "20000229T000000Z"},  {951868799, "20000229T235959Z"},
        {4107542400, "21000301T000000Z"}, {253402300799, "99991231T235959Z"},
        {1767323045, "20260102T030405Z"}, {1798761599, "20261231T235959Z"},
    };
    uint8_t out[EML_SIGV4_TIME_BYTES];
    int64_t s;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_int_equal(eml_sigv4_time(known[i].s, out), EML_OK);
        assert_memory_equal(out, known[i].text, sizeof out);
        assert_int_equal(eml_sigv4_parse_time(EML_BYTES(out), &s), EML_OK);
        assert_int_equal(s, known[i].s);
    }
    struct eml_gen g = eml_gen_seeded("times");
    for (int i = 0; i < 2000; i++) {
        int64_t t = eml_gen_range(&g, 0, 253402300799);
        assert_int_equal(eml_sigv4_time(t, out), EML_OK);
        assert_int_equal(eml_sigv4_parse_time(EML_BYTES(out), &s), EML_OK);
        assert_int_equal(s, t);
    }
    assert_int_equal(eml_sigv4_time(-1, out), EML_E_INPUT);
    assert_int_equal(eml_sigv4_time(253402300800, out), EML_E_INPUT);
    static const char *const bad[] = {
        "",
        "20260102T030405",
        "20260102T030405Z ",
        "20261302T030405Z",
        "20260002T030405Z",
        "20260229T030405Z",
        "20260100T030405Z",
        "20260102T240405Z",
        "20260102T036005Z",
        "20260102T030460Z",
        "20260102 030405Z",
        "2026010aT030405Z",
        "19691231T235959Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(eml_sigv4_parse_time(eml_bytes_of_str(bad[i]), &s), EML_E_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aws_c_auth_suite),
        cmocka_unit_test(kms_requests),
        cmocka_unit_test(captured_sdk_request),
        cmocka_unit_test(headers_are_counted_and_single),
        cmocka_unit_test(bad_authorizations_are_refused),
        cmocka_unit_test(times_go_both_ways),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
