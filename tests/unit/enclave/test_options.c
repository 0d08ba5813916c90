#include "testsupport/support.h"

#include "enclave/options.h"

#include <stdio.h>
#include <string.h>

static void assert_arguments(const char *file, const char *const want[])
{
    char text[256], *argv[EML_OPTIONS_LINES_MAX + 2];
    (void)snprintf(text, sizeof text, "%s", file);
    assert_int_equal(eml_options_split(text, argv), EML_OK);
    size_t n = 0;
    for (; want[n] != NULL; n++) {
        assert_non_null(argv[n]);
        assert_string_equal(argv[n], want[n]);
    }
    assert_null(argv[n]);
}

static void lines_become_arguments(void **state)
{
    (void)state;
    assert_arguments("", (const char *const[]){"eml-enclaved", NULL});
    assert_arguments("\n\n", (const char *const[]){"eml-enclaved", NULL});
    assert_arguments("--a=1\n--b c\n",
                     (const char *const[]){"eml-enclaved", "--a=1", "--b c", NULL});
    assert_arguments("# no\n--a=#1\n\n--b",
                     (const char *const[]){"eml-enclaved", "--a=#1", "--b", NULL});
}

static void too_many_lines_are_refused(void **state)
{
    (void)state;
    char text[2 * EML_OPTIONS_LINES_MAX + 3], *argv[EML_OPTIONS_LINES_MAX + 2];
    for (size_t i = 0; i <= EML_OPTIONS_LINES_MAX; i++)
        memcpy(text + 2 * i, "x\n", 2);
    text[2 * EML_OPTIONS_LINES_MAX] = '\0';
    assert_int_equal(eml_options_split(text, argv), EML_OK);
    assert_string_equal(argv[EML_OPTIONS_LINES_MAX], "x");
    assert_null(argv[EML_OPTIONS_LINES_MAX + 1]);
    for (size_t i = 0; i <= EML_OPTIONS_LINES_MAX; i++)
        memcpy(text + 2 * i, "x\n", 2);
    text[2 * EML_OPTIONS_LINES_MAX + 2] = '\0';
    assert_int_equal(eml_options_split(text, argv), EML_E_INPUT);
    assert_null(argv[1]);
}

static void what_init_reads_is_what_the_broker_takes(void **state)
{
    (void)state;
    char text[] = "--listen=vsock:any:5000\n--host=vsock:3:5001\n--max-sessions=3\n";
    char *argv[EML_OPTIONS_LINES_MAX + 2];
    struct eml_options o;
    assert_int_equal(eml_options_split(text, argv), EML_OK);
    assert_int_equal(eml_options_parse(4, argv, 0, &o), EML_OK);
    assert_string_equal(o.listen, "vsock:any:5000");
    assert_string_equal(o.host, "vsock:3:5001");
    assert_int_equal(o.max_sessions, 3);
    assert_null(o.kms_ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_arguments),
        cmocka_unit_test(too_many_lines_are_refused),
        cmocka_unit_test(what_init_reads_is_what_the_broker_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
