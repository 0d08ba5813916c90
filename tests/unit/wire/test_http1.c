#include "testsupport/support.h"

#include "wire/http1.h"

#include <stdio.h>
#include <string.h>

#define BODY_MAX 1000u

static enum eml_err parse(struct eml_bytes in, struct eml_http1_response *r, bool *complete,
                          struct eml_why *why)
{
    *why = (struct eml_why){"", 0};
    return eml_http1_response(in, BODY_MAX, r, complete, why);
}

static const struct {
    const char *text;
    unsigned status;
    const char *body;
} good[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}"},
    {"HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n", 200, ""},
    {"HTTP/1.1 400 Bad Request\r\nX: a\tb \r\nCONTENT-LENGTH:\t3  \r\n\r\nabc", 400, "abc"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
     "Chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
     200, "abc0123456789"},
    {"HTTP/1.1 500 x\r\ntransfer-encoding: chunked\r\n\r\n00000000\r\n\r\n", 500, ""},
    {"HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
    {"HTTP/1.1 200 \xe4\r\nContent-Length: 1\r\nEmpty:\r\n\r\n\n", 200, "\n"},
};

static void good_responses_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct eml_http1_response r;
        bool complete;
        struct eml_why why;
        assert_int_equal(parse(eml_bytes_of_str(good[i].text), &r, &complete, &why), EML_OK);
        assert_true(complete);
        assert_int_equal(r.status, good[i].status);
        assert_true(eml_bytes_equal(eml_buf_bytes(&r.body), eml_bytes_of_str(good[i].body)));
        eml_http1_free(&r);
    }
}

/* A good response cut anywhere is "not yet", never wrong and never whole; one byte more is wrong.
 */
static void cut_anywhere_is_incomplete(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct eml_bytes whole = eml_bytes_of_str(good[i].text);
        struct eml_http1_response r;
        bool complete;
        struct eml_why why;
        for (size_t n = 0; n < whole.len; n++) {
            assert_int_equal(parse(eml_bytes(whole.ptr, n), &r, &complete, &why), EML_OK);
            assert_false(complete);
            assert_null(r.body.ptr);
            assert_int_equal(r.n_headers, 0);
        }
        struct eml_buf more = {0};
        eml_buf_put(&more, whole);
        eml_buf_put_u8(&more, '\r');
        assert_int_equal(parse(eml_buf_bytes(&more), &r, &complete, &why), EML_E_INPUT);
        assert_string_equal(why.rule, "http: bytes after the response");
        eml_buf_free(&more);
    }
}

static void headers_are_found_in_any_case(void **state)
{
    (void)state;
    struct eml_http1_response r;
    bool complete;
    struct eml_why why;
    static const char text[] = "HTTP/1.1 200 OK\r\nx-Amzn-RequestId:  7 \r\nX-A: 1\r\nX-A: 2\r\n"
                               "Content-Length: 0\r\n\r\n";
    assert_int_equal(parse(EML_LIT(text), &r, &complete, &why), EML_OK);
    assert_true(complete);
    assert_int_equal(r.n_headers, 4);
    assert_true(eml_bytes_equal(eml_http1_value(&r, "X-AMZN-REQUESTID"), EML_LIT("7")));
    assert_true(eml_bytes_equal(eml_http1_value(&r, "x-a"), EML_LIT("1")));
    assert_null(eml_http1_value(&r, "x-b").ptr);
    eml_http1_free(&r);
}

#define OK "HTTP/1.1 200 OK\r\n"
static const struct {
    const char *text, *rule;
} bad[] = {
    {"HTTP/1.0 200 OK\r\n", "http: not an HTTP/1.1 status line"},
    {"http/1.1 200 OK\r\n", "http: not an HTTP/1.1 status line"},
    {"HTTP/2 200 OK\r\n", "http: not an HTTP/1.1 status line"},
    {"\r\nHTTP/1.1 200 OK\r\n", "http: not an HTTP/1.1 status line"},
    {"HTTP/1.1 200\r\n", "http: not an HTTP/1.1 status line"},
    {"HTTP/1.1  20 OK\r\n", "http: status is not three digits"},
    {"HTTP/1.1 20a OK\r\n", "http: status is not three digits"},
    {"HTTP/1.1 2000 OK\r\n", "http: not an HTTP/1.1 status line"},
    {"HTTP/1.1 100 Continue\r\n", "http: status is not 200 to 599"},
    {"HTTP/1.1 101 Switching\r\n", "http: status is not 200 to 599"},
    {"HTTP/1.1 600 x\r\n", "http: status is not 200 to 599"},
    {"HTTP/1.1 200 OK\n", "http: control character in a line"},
    {"HTTP/1.1 200 OK\rX", "http: CR without LF"},
    {"HTTP/1.1 200 O\x01K", "http: control character in a line"},
    {OK "A: b\n", "http: control character in a line"},
    {OK "A: b\r\n c\r\n", "http: folded header line"},
    {OK " A: b\r\n", "http: folded header line"},
    {OK "\tA: b\r\n", "http: folded header line"},
    {OK "A : b\r\n", "http: header is not a name and a colon"},
    {OK ": b\r\n", "http: header is not a name and a colon"},
    {OK "Ab\r\n", "http: header is not a name and a colon"},
    {OK "A(: b\r\n", "http: header is not a name and a colon"},
    {OK "A\xe4: b\r\n", "http: header is not a name and a colon"},
    {OK "\r\n", "http: no length header"},
    {OK "Connection: close\r\n\r\nabc", "http: no length header"},
    {OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "http: more than one length header"},
    {OK "Content-Length: 2\r\ncontent-length: 3\r\n\r\n{}", "http: more than one length header"},
    {OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
     "http: more than one length header"},
    {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     "http: more than one length header"},
    {OK "Content-Length:\r\n\r\n", "http: Content-Length is not 1 to 9 digits"},
    {OK "Content-Length: -1\r\n\r\n", "http: Content-Length is not 1 to 9 digits"},
    {OK "Content-Length: +1\r\n\r\n", "http: Content-Length is not 1 to 9 digits"},
    {OK "Content-Length: 0x2\r\n\r\n", "http: Content-Length is not 1 to 9 digits"},
    {OK "Content-Length: 2, 2\r\n\r\n", "http: Content-Length is not 1 to 9 digits"},
    {OK "Content-Length: 2 2\r\n\r\n", "http: Content-Length is not 1 to 9 digits"},
    {OK "Content-Length: 18446744073709551618\r\n\r\n",
     "http: Content-Length is not 1 to 9 digits"},
    {OK "Content-Length: 1001\r\n\r\n", "http: body too long"},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", "http: Transfer-Encoding is not chunked"},
    {OK "Transfer-Encoding: identity\r\n\r\n", "http: Transfer-Encoding is not chunked"},
    {OK "Transfer-Encoding: chunked,\r\n\r\n", "http: Transfer-Encoding is not chunked"},
    {OK "Transfer-Encoding: chunked\r\n\r\n\r\n", "http: chunk size is not 1 to 8 hex digits"},
    {OK "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n", "http: chunk size is not 1 to 8 hex digits"},
    {OK "Transfer-Encoding: chunked\r\n\r\n 3\r\n", "http: chunk size is not 1 to 8 hex digits"},
    {OK "Transfer-Encoding: chunked\r\n\r\n0x3\r\n", "http: chunk size is not 1 to 8 hex digits"},
    {OK "Transfer-Encoding: chunked\r\n\r\n-1\r\n", "http: chunk size is not 1 to 8 hex digits"},
    {OK "Transfer-Encoding: chunked\r\n\r\n000000003\r\n", "http: line or head too long"},
    {OK "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", "http: body too long"},
    {OK "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", "http: body too long"},
    {OK "Transfer-Encoding: chunked\r\n\r\n3\nabc", "http: control character in a line"},
    {OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd", "http: no CRLF after a chunk"},
    {OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n", "http: no CRLF after a chunk"},
    {OK "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", "http: trailers"},
    {OK "Content-Length: 2\r\n\r\n{}x", "http: bytes after the response"},
    {"HTTP/1.1 204 x\r\nContent-Length: 1\r\n\r\nx",
     "http: a length with a status that has no body"},
};

static void bad_responses_name_their_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_http1_response r;
        bool complete;
        struct eml_why why;
        assert_int_equal(parse(eml_bytes_of_str(bad[i].text), &r, &complete, &why), EML_E_INPUT);
        assert_string_equal(why.rule, bad[i].rule);
        assert_false(complete);
        assert_null(r.body.ptr);
        assert_int_equal(r.status, 0);
    }
}

static void limits_are_reached(void **state)
{
    (void)state;
    struct eml_http1_response r;
    bool complete;
    struct eml_why why;
    for (size_t n = EML_HTTP1_HEADERS_MAX; n <= EML_HTTP1_HEADERS_MAX + 1; n++) {
        struct eml_buf b = {0};
        eml_buf_put(&b, EML_LIT(OK "Content-Length: 0\r\n"));
        for (size_t i = 1; i < n; i++)
            eml_buf_put(&b, EML_LIT("A: b\r\n"));
        eml_buf_put(&b, EML_LIT("\r\n"));
        enum eml_err e = parse(eml_buf_bytes(&b), &r, &complete, &why);
        assert_int_equal(e, n == EML_HTTP1_HEADERS_MAX ? EML_OK : EML_E_INPUT);
        assert_string_equal(why.rule, e == EML_OK ? "" : "http: too many headers");
        eml_http1_free(&r);
        eml_buf_free(&b);
    }
    for (size_t over = 0; over < 2; over++) {
        struct eml_buf b = {0};
        eml_buf_put(&b, EML_LIT(OK "Content-Length: 0\r\nA:"));
        while (b.len < EML_HTTP1_HEAD_BYTES_MAX - 4 + over)
            eml_buf_put_u8(&b, 'a');
        eml_buf_put(&b, EML_LIT("\r\n\r\n"));
        enum eml_err e = parse(eml_buf_bytes(&b), &r, &complete, &why);
        assert_int_equal(e, over == 0 ? EML_OK : EML_E_INPUT);
        eml_http1_free(&r);
        b.len -= 4; /* an endless line is refused before its end comes */
        for (size_t i = 0; i < 8; i++)
            eml_buf_put_u8(&b, 'a');
        assert_int_equal(parse(eml_buf_bytes(&b), &r, &complete, &why), EML_E_INPUT);
        assert_string_equal(why.rule, "http: line or head too long");
        eml_buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_responses_parse),
        cmocka_unit_test(cut_anywhere_is_incomplete),
        cmocka_unit_test(headers_are_found_in_any_case),
        cmocka_unit_test(bad_responses_name_their_rule),
        cmocka_unit_test(limits_are_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
