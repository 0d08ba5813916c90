#include "testsupport/support.h"

#include "kmsd/auth.h"

#include <string.h>

#define NOW 1767323045 /* 20260102T030405Z */
#define HEADERS_MAX 12

/* A request signed as an SDK does; `change` below spoils it. */
struct signed_ {
    struct eml_sigv4_header header[HEADERS_MAX];
    struct eml_sigv4_request request;
    struct eml_buf authorization;
};

static void sign(struct signed_ *s, const char *time, const char *region, const char *service)
{
    const struct eml_sigv4_header h[] = {
        {EML_LIT("Host"), EML_LIT("localhost:8443")},
        {EML_LIT("Content-Type"), EML_LIT("application/x-amz-json-1.1")},
        {EML_LIT("X-Amz-Date"), eml_bytes_of_str(time)},
        {EML_LIT("X-Amz-Target"), EML_LIT("TrentService.ListKeys")},
        {EML_LIT("User-Agent"), EML_LIT("not signed")},
    };
    const struct eml_sigv4_scope scope = {eml_bytes(time, 8), eml_bytes_of_str(region),
                                          eml_bytes_of_str(service)};
    const struct eml_aws_credentials who = {EML_LIT("AKID"), EML_LIT("secret"), {NULL, 0}};
    *s = (struct signed_){
        .request = {EML_LIT("POST"), EML_LIT("/"), {NULL, 0}, NULL, 4, EML_LIT("{}")}};
    memcpy(s->header, h, sizeof h);
    s->request.header = s->header;
    assert_int_equal(
        eml_sigv4_authorize(&s->request, eml_bytes_of_str(time), &scope, &who, &s->authorization),
        EML_OK);
    s->header[5] =
        (struct eml_sigv4_header){EML_LIT("Authorization"), eml_buf_bytes(&s->authorization)};
    s->request.n_headers = 6;
}

static const char *authenticate(const struct signed_ *s, const char **arn)
{
    const struct eml_kmsd_auth auth = {
        .caller = {{EML_LIT("AKID0"), EML_LIT("other"), "arn:other"},
                   {EML_LIT("AKID"), EML_LIT("secret"), "arn:me"}},
        .n_callers = 2,
        .region = EML_LIT("us-east-1"),
    };
    const struct eml_kmsd_caller *caller;
    const char *error = eml_kmsd_authenticate(&auth, &s->request, NOW, &caller);
    assert_int_equal(error == NULL, caller != NULL);
    *arn = caller != NULL ? caller->arn : NULL;
    return error;
}

static void good_signatures_name_the_caller(void **state)
{
    (void)state;
    static const char *const times[] = {"20260102T030405Z", "20260102T025905Z", "20260102T030905Z"};
    for (size_t i = 0; i < 3; i++) {
        struct signed_ s;
        const char *arn;
        sign(&s, times[i], "us-east-1", "kms");
        assert_null(authenticate(&s, &arn));
        assert_string_equal(arn, "arn:me");
        eml_buf_free(&s.authorization);
    }
}

static void wrong_scopes_and_times_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[][3] = {
        {"20260102T025904Z", "us-east-1", "kms"}, /* five minutes and a second ago */
        {"20260102T030906Z", "us-east-1", "kms"}, {"20260103T030405Z", "us-east-1", "kms"},
        {"20260102T030405Z", "us-east-2", "kms"}, {"20260102T030405Z", "us-east-1", "s3"},
        {"20260102X030405Z", "us-east-1", "kms"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct signed_ s;
        const char *arn;
        sign(&s, wrong[i][0], wrong[i][1], wrong[i][2]);
        assert_string_equal(authenticate(&s, &arn), "InvalidSignatureException");
        eml_buf_free(&s.authorization);
    }
}

enum change {
    NO_AUTH,
    TWO_AUTHS,
    BAD_AUTH,
    NO_DATE,
    UNKNOWN_KEY,
    BODY,
    TARGET,
    HOST,
    TYPE,
    PATH,
    SIGNATURE,
    TWO_TARGETS,
    HEADER_GONE,
    CHANGES
};
static const char *const error_of[CHANGES] = {
    [NO_AUTH] = "MissingAuthenticationTokenException",
    [TWO_AUTHS] = "MissingAuthenticationTokenException",
    [BAD_AUTH] = "IncompleteSignatureException",
    [NO_DATE] = "IncompleteSignatureException",
    [UNKNOWN_KEY] = "UnrecognizedClientException",
    [BODY] = "InvalidSignatureException",
    [TARGET] = "InvalidSignatureException",
    [HOST] = "InvalidSignatureException",
    [TYPE] = "InvalidSignatureException",
    [PATH] = "InvalidSignatureException",
    [SIGNATURE] = "InvalidSignatureException",
    [TWO_TARGETS] = "IncompleteSignatureException",
    [HEADER_GONE] = "IncompleteSignatureException",
};

static void spoil(struct signed_ *s, enum change c)
{
    static const char unknown[] =
        "AWS4-HMAC-SHA256 Credential=NOBODY/20260102/us-east-1/kms/aws4_request, "
        "SignedHeaders=host;x-amz-date;x-amz-target, "
        "Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    switch (c) {
    case NO_AUTH:
        s->request.n_headers = 5;
        break;
    case TWO_AUTHS:
        s->header[6] = s->header[5];
        s->request.n_headers = 7;
        break;
    case BAD_AUTH:
        s->header[5].value = EML_LIT("Bearer x");
        break;
    case NO_DATE:
        s->header[2].name = EML_LIT("Date");
        break;
    case UNKNOWN_KEY:
        s->header[5].value = EML_LIT(unknown);
        break;
    case BODY:
        s->request.body = EML_LIT("{ }");
        break;
    case TARGET:
        s->header[3].value = EML_LIT("TrentService.CreateKey");
        break;
    case HOST:
        s->header[0].value = EML_LIT("localhost:8444");
        break;
    case TYPE:
        s->header[1].value = EML_LIT("text/plain");
        break;
    case PATH:
        s->request.path = EML_LIT("/x");
        break;
    case SIGNATURE:
        s->authorization.ptr[s->authorization.len - 1] ^= 1;
        break;
    case TWO_TARGETS:
        s->header[6] = s->header[3];
        s->request.n_headers = 7;
        break;
    case HEADER_GONE:
        s->header[1].name = EML_LIT("Content-Kind");
        break;
    case CHANGES:
        break;
    }
}

static void every_change_is_refused(void **state)
{
    (void)state;
    for (int c = 0; c < CHANGES; c++) {
        struct signed_ s;
        const char *arn;
        sign(&s, "20260102T030405Z", "us-east-1", "kms");
        spoil(&s, (enum change)c);
        assert_string_equal(authenticate(&s, &arn), error_of[c]);
        eml_buf_free(&s.authorization);
    }
}

/* Host, date and target must be among what is signed. */
static void short_lists_are_refused(void **state)
{
    (void)state;
    for (size_t without = 0; without < 4; without++) {
        struct signed_ s;
        const char *arn;
        sign(&s, "20260102T030405Z", "us-east-1", "kms");
        struct eml_sigv4_header few[4];
        size_t n = 0;
        for (size_t i = 0; i < 4; i++)
            if (i != without)
                few[n++] = s.header[i];
        const struct eml_sigv4_request r = {EML_LIT("POST"), EML_LIT("/"), {NULL, 0}, few, n,
                                            EML_LIT("{}")};
        const struct eml_sigv4_scope scope = {EML_LIT("20260102"), EML_LIT("us-east-1"),
                                              EML_LIT("kms")};
        const struct eml_aws_credentials who = {EML_LIT("AKID"), EML_LIT("secret"), {NULL, 0}};
        struct eml_buf authorization = {0};
        assert_int_equal(eml_sigv4_authorize(&r, s.header[2].value, &scope, &who, &authorization),
                         EML_OK);
        s.header[5].value = eml_buf_bytes(&authorization);
        const char *error = authenticate(&s, &arn);
        if (without == 1) /* the content type may stay unsigned */
            assert_null(error);
        else
            assert_string_equal(error, "IncompleteSignatureException");
        eml_buf_free(&authorization);
        eml_buf_free(&s.authorization);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_signatures_name_the_caller),
        cmocka_unit_test(wrong_scopes_and_times_are_refused),
        cmocka_unit_test(every_change_is_refused),
        cmocka_unit_test(short_lists_are_refused),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
