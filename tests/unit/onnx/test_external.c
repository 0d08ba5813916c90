#include "testsupport/pb.h"
#include "testsupport/support.h"

#include "file/file.h"
#include "onnx/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[EML_TEST_DIR];

static int enter(void **state)
{
    (void)state;
    static const uint8_t weights[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    eml_test_dir_make(dir);
    if (chdir(dir) != 0 || mkdir("m", 0700) != 0 || mkdir("m/sub", 0700) != 0 ||
        symlink("../outside", "m/link") != 0)
        return -1;
    return eml_file_write_atomic("outside", 0600, EML_BYTES(weights), NULL) == EML_OK &&
                   eml_file_write_atomic("m/w.bin", 0600, EML_BYTES(weights), NULL) == EML_OK &&
                   eml_file_write_atomic("m/sub/w.bin", 0600, EML_BYTES(weights), NULL) == EML_OK
               ? 0
               : -1;
}

static int leave(void **state)
{
    (void)state;
    return chdir("/") == 0 ? eml_test_dir_drop(dir) : -1;
}

static void put_kv(struct eml_buf *t, const char *key, const char *value)
{
    struct eml_buf kv = {0};
    if (value == NULL)
        return;
    eml_pb_str(&kv, 1, key);
    eml_pb_str(&kv, 2, value);
    eml_pb_msg(t, 13, &kv);
}

/* m/model.onnx with one external initializer, float32 [2]; absent keys are NULL. */
static enum eml_err load(const char *location, const char *offset, const char *length,
                         struct eml_onnx_model **m, struct eml_onnx_diag *d)
{
    struct eml_buf t = {0}, g = {0}, file = {0};
    eml_pb_int(&t, 1, 2);
    eml_pb_int(&t, 2, 1);
    eml_pb_str(&t, 8, "w");
    put_kv(&t, "location", location);
    put_kv(&t, "offset", offset);
    put_kv(&t, "length", length);
    put_kv(&t, "checksum", "0000");
    eml_pb_int(&t, 14, 1);
    eml_pb_msg(&g, 5, &t);
    eml_pb_model(&file, 8, &g, 17);
    assert_int_equal(eml_file_write_atomic("m/model.onnx", 0600, eml_buf_bytes(&file), NULL),
                     EML_OK);
    eml_buf_free(&file);
    return eml_onnx_load("m/model.onnx", m, d);
}

static void data_beside_the_model_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *location, *offset, *length;
        uint8_t first;
    } cases[] = {
        {"w.bin", NULL, NULL, 0}, {"w.bin", "0", "8", 0},     {"w.bin", "8", "8", 8},
        {"w.bin", "5", NULL, 5},  {"sub/w.bin", "4", "8", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_onnx_model *m;
        assert_int_equal(load(cases[i].location, cases[i].offset, cases[i].length, &m, NULL),
                         EML_OK);
        assert_int_equal(m->inits[0].data.len, 8);
        for (size_t k = 0; k < 8; k++)
            assert_int_equal(m->inits[0].data.ptr[k], cases[i].first + k);
        eml_onnx_free(m);
    }
}

static void hostile_places_are_refused(void **state)
{
    (void)state;
    static const char confined[] =
        "onnx: external data must be a file inside the model's directory";
    static const char missing[] = "onnx: external data file is missing or unreadable";
    static const char too_short[] = "onnx: external data file is too short";
    static const char malformed[] = "onnx: external data offset or length";
    static const char wrong_length[] = "onnx: element data is not as long as dims say";
    static const struct {
        const char *location, *offset, *length, *rule;
    } cases[] = {
        {NULL, NULL, NULL, "onnx: external data without a location"},
        {"", NULL, NULL, confined},
        {"../outside", NULL, NULL, confined},
        {"sub/../../outside", NULL, NULL, confined},
        {"/etc/hostname", NULL, NULL, confined},
        {"link", NULL, NULL, confined},
        {"none.bin", NULL, NULL, missing},
        {"sub", NULL, NULL, missing},
        {"w.bin", "9", "8", too_short},
        {"w.bin", "17", NULL, too_short},
        {"w.bin", "18446744073709551615", NULL, malformed},
        {"w.bin", "18446744073709551600", NULL, too_short},
        {"w.bin", "-1", NULL, malformed},
        {"w.bin", "", NULL, malformed},
        {"w.bin", " 1", NULL, malformed},
        {"w.bin", "0x1", NULL, malformed},
        {"w.bin", "99999999999999999999", NULL, malformed},
        {"w.bin", NULL, "7", wrong_length},
        {"w.bin", NULL, "9", wrong_length},
        {"w.bin", NULL, "8x", malformed},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_onnx_model *m;
        struct eml_onnx_diag d;
        enum eml_err err = load(cases[i].location, cases[i].offset, cases[i].length, &m, &d);
        if (err != EML_E_INPUT || strcmp(d.why.rule, cases[i].rule) != 0)
            print_error("case %zu: %s\n", i, d.why.rule);
        assert_int_equal(err, EML_E_INPUT);
        assert_string_equal(d.why.rule, cases[i].rule);
        assert_null(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(data_beside_the_model_is_found, enter, leave),
        cmocka_unit_test_setup_teardown(hostile_places_are_refused, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
