/* Models as they are found: all of Debian's libonnx-testdata, and the real ones under $EML_MODELS.
 * What is not installed is skipped, and said so. */
#include "testsupport/support.h"

#include "onnx/check.h"
#include "onnx/tensor_pb.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NODE_TESTS "/usr/share/libonnx-testdata/data/node"

struct tally {
    size_t models, supported, tensors;
};

static void check_model(const char *path, struct tally *t)
{
    struct eml_onnx_model *m;
    struct eml_onnx_diag d;
    struct eml_check_report r = {0};
    enum eml_err err = eml_onnx_load(path, &m, &d);
    if (err != EML_OK)
        print_error("%s: %s: %s\n", path, d.why.rule, d.subject);
    assert_int_equal(err, EML_OK);
    assert_int_equal(eml_check_static(m, &r), EML_OK);
    for (size_t i = 0; i < r.n; i++) {
        assert_true(strlen(r.list[i].reason) > 0);
        assert_true(r.list[i].node == EML_CHECK_NO_NODE || r.list[i].node < m->n_nodes);
    }
    t->models++;
    t->supported += r.n == 0;
    eml_check_free(&r);
    eml_onnx_free(m);
}

/* input_0.pb may hold a sequence instead of a tensor: not counted. */
static void read_first_input(const char *dir, struct tally *t)
{
    char path[1024];
    struct stat st;
    struct eml_arena arena;
    struct eml_tensor tensor;
    (void)snprintf(path, sizeof path, "%s/test_data_set_0/input_0.pb", dir);
    if (stat(path, &st) != 0)
        return;
    struct eml_buf file = eml_test_read(path);
    assert_int_equal(eml_arena_create(&arena, (size_t)1 << 20), EML_OK);
    if (eml_tensor_pb_decode(eml_buf_bytes(&file), &arena, &tensor, NULL) == EML_OK)
        t->tensors++;
    (void)eml_arena_destroy(&arena);
    eml_buf_free(&file);
}

static void all_node_tests_load(void **state)
{
    (void)state;
    struct tally t = {0};
    DIR *d = opendir(NODE_TESTS);
    if (d == NULL) {
        print_message("skipped: %s (package libonnx-testdata) is not installed\n", NODE_TESTS);
        skip();
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char dir[512], path[600];
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(dir, sizeof dir, NODE_TESTS "/%s", e->d_name);
        (void)snprintf(path, sizeof path, "%s/model.onnx", dir);
        check_model(path, &t);
        read_first_input(dir, &t);
    }
    (void)closedir(d);
    print_message("%zu models loaded, %zu without a static problem, %zu first inputs read\n",
                  t.models, t.supported, t.tensors);
    assert_true(t.models >= 900);
    assert_true(t.supported >= 900); /* what it refuses, test_check shows */
    assert_true(t.tensors >= 800);
}

static void real_models_load(void **state)
{
    (void)state;
    struct tally t = {0};
    const char *dir = getenv("EML_MODELS");
    DIR *d = dir != NULL ? opendir(dir) : NULL;
    if (d == NULL) {
        print_message("skipped: the environment variable EML_MODELS names no directory\n");
        skip();
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[1024];
        size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 5, ".onnx") != 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        check_model(path, &t);
    }
    (void)closedir(d);
    print_message("%zu real models loaded, %zu without a static problem\n", t.models, t.supported);
    if (t.models == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_node_tests_load),
        cmocka_unit_test(real_models_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
