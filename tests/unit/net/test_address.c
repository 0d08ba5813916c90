#include "testsupport/support.h"

#include "net/address.h"

#include <string.h>

static void good_addresses(void **state)
{
    (void)state;
    struct eml_address a;
    assert_int_equal(eml_address_parse("tcp:127.0.0.1:80", &a, NULL), EML_OK);
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(a.port, 80);
    assert_int_equal(eml_address_parse("tcp:[::1]:65535", &a, NULL), EML_OK);
    assert_string_equal(a.host, "::1");
    assert_int_equal(a.port, 65535);
    assert_int_equal(eml_address_parse("unix:/run/a:b", &a, NULL), EML_OK);
    assert_string_equal(a.path, "/run/a:b");
    assert_int_equal(eml_address_parse("vsock:16:5000", &a, NULL), EML_OK);
    assert_int_equal(a.cid, 16);
    assert_int_equal(eml_address_parse("vsock:any:5000", &a, NULL), EML_OK);
    assert_int_equal(a.cid, EML_ADDRESS_CID_ANY);
    assert_int_equal(eml_address_parse("vsock-unix:/run/v.sock:9000", &a, NULL), EML_OK);
    assert_string_equal(a.path, "/run/v.sock");
    assert_int_equal(a.port, 9000);
}

static void bad_addresses_name_their_rule(void **state)
{
    (void)state;
    static const struct {
        const char *text, *rule;
    } bad[] = {
        {"", "begins with"},
        {"udp:a:1", "begins with"},
        {"tcp:host", "tcp:HOST:PORT"},
        {"tcp:host:", "tcp:HOST:PORT"},
        {"tcp:host:65536", "tcp:HOST:PORT"},
        {"tcp:host:1x", "tcp:HOST:PORT"},
        {"tcp:host:-1", "tcp:HOST:PORT"},
        {"tcp:host:99999999999999999999", "tcp:HOST:PORT"},
        {"tcp::80", "host of 1"},
        {"tcp:::1:80", "brackets"},
        {"unix:", "Unix socket"},
        {"vsock:16", "vsock:CID:PORT"},
        {"vsock::1", "CID"},
        {"vsock:x:1", "CID"},
        {"vsock:1:4294967295", "vsock:CID:PORT"},
        {"vsock-unix:/a", "vsock-unix:PATH:PORT"},
        {"vsock-unix::1", "Unix socket"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_address a;
        struct eml_why why = {0};
        assert_int_equal(eml_address_parse(bad[i].text, &a, &why), EML_E_USAGE);
        assert_non_null(strstr(why.rule, bad[i].rule));
        assert_int_equal(a.port, 0);
    }
}

static void a_path_has_a_length(void **state)
{
    (void)state;
    char text[200] = "unix:";
    struct eml_address a;
    memset(text + 5, 'a', 107);
    assert_int_equal(eml_address_parse(text, &a, NULL), EML_OK);
    text[5 + 107] = 'a';
    assert_int_equal(eml_address_parse(text, &a, NULL), EML_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses),
        cmocka_unit_test(bad_addresses_name_their_rule),
        cmocka_unit_test(a_path_has_a_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
