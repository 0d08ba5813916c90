#include "testsupport/support.h"

#include "kmsd/cipher.h"
#include "kmsd/keystore.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALLOW_ALL                                                                                  \
    "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":"     \
    "\"*\"}]}"
#define DENY_ALL                                                                                   \
    "{\"Statement\":[{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":"      \
    "\"*\"}]}"

static char dir[EML_TEST_DIR];

static int make_dir(void **state)
{
    (void)state;
    eml_test_dir_make(dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return eml_test_dir_drop(dir);
}

static json_t *policy(const char *text)
{
    json_t *v = NULL;
    assert_int_equal(eml_json_parse(eml_bytes_of_str(text), 10000, &v, NULL), EML_OK);
    return v;
}

static struct eml_kmsd_store *opened(void)
{
    struct eml_kmsd_store *s = NULL;
    struct eml_why why = {"", 0};
    assert_int_equal(eml_kmsd_store_open(dir, &s, &why), EML_OK);
    return s;
}

static void keys_survive_reopening(void **state)
{
    (void)state;
    struct eml_kmsd_store *s = opened();
    const struct eml_kmsd_key *k;
    json_t *allow = policy(ALLOW_ALL), *deny = policy(DENY_ALL);
    struct eml_aead_key material;
    char id[EML_KMSD_ID_BYTES + 1];
    assert_int_equal(eml_kmsd_store_create(s, "d\xc3\xa4 \"x\"", allow, 1767323045, &k), EML_OK);
    assert_int_equal(eml_kmsd_store_set_policy(s, k, deny), EML_OK);
    material = k->material;
    memcpy(id, k->id, sizeof id);
    assert_int_equal(strlen(id), EML_KMSD_ID_BYTES);
    eml_kmsd_store_close(s);

    s = opened();
    assert_int_equal(eml_kmsd_store_count(s), 1);
    k = eml_kmsd_store_find(s, eml_bytes_of_str(id));
    assert_non_null(k);
    assert_ptr_equal(k, eml_kmsd_store_at(s, 0));
    assert_memory_equal(k->material.b, material.b, sizeof material.b);
    assert_string_equal(k->description, "d\xc3\xa4 \"x\"");
    assert_int_equal(k->created_unix_s, 1767323045);
    assert_true(json_equal(k->policy, deny));
    assert_null(eml_kmsd_store_find(s, EML_LIT("nobody")));
    assert_null(eml_kmsd_store_at(s, 1));
    eml_kmsd_store_close(s);
    json_decref(allow);
    json_decref(deny);
}

static void files_are_private_and_whole(void **state)
{
    (void)state;
    struct eml_kmsd_store *s = opened();
    const struct eml_kmsd_key *k;
    json_t *allow = policy(ALLOW_ALL);
    char path[128];
    struct stat st;
    assert_int_equal(eml_kmsd_store_create(s, "", allow, 0, &k), EML_OK);
    (void)snprintf(path, sizeof path, "%s/%s.json", dir, k->id);
    eml_kmsd_store_close(s);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    (void)snprintf(path + strlen(dir), sizeof path - strlen(dir), "/new");
    assert_int_equal(stat(path, &st), -1);
    json_decref(allow);
}

/* Any byte of a key's file changed or cut: the store does not open, or the key is what it was. */
static void damaged_files_are_refused(void **state)
{
    (void)state;
    struct eml_kmsd_store *s = opened();
    const struct eml_kmsd_key *k;
    json_t *allow = policy(ALLOW_ALL);
    char path[128];
    assert_int_equal(eml_kmsd_store_create(s, "", allow, 7, &k), EML_OK);
    (void)snprintf(path, sizeof path, "%s/%s.json", dir, k->id);
    eml_kmsd_store_close(s);
    struct eml_buf whole = eml_test_read(path);
    for (size_t n = 0; n < whole.len; n++) {
        assert_int_equal(truncate(path, 0), 0);
        int fd = open(path, O_WRONLY);
        assert_int_equal(write(fd, whole.ptr, n), (ssize_t)n);
        (void)close(fd);
        struct eml_why why;
        assert_int_not_equal(eml_kmsd_store_open(dir, &s, &why), EML_OK);
        assert_null(s);
        assert_string_equal(why.rule, "store: a key's file is damaged or unreadable");
    }
    eml_buf_free(&whole);
    json_decref(allow);
}

static void blobs_bind_key_and_context(void **state)
{
    (void)state;
    struct eml_kmsd_store *s = opened();
    const struct eml_kmsd_key *a, *b;
    json_t *allow = policy(ALLOW_ALL), *context = policy("{\"x\":\"1\",\"y\":\"2\"}");
    json_t *same = policy("{\"y\":\"2\",\"x\":\"1\"}"), *other = policy("{\"x\":\"1\"}");
    struct eml_buf blob = {0}, plain = {0};
    struct eml_bytes id;
    assert_int_equal(eml_kmsd_store_create(s, "", allow, 0, &a), EML_OK);
    assert_int_equal(eml_kmsd_store_create(s, "", allow, 0, &b), EML_OK);
    assert_int_equal(eml_kmsd_cipher_seal(a, context, EML_LIT("secret"), &blob), EML_OK);
    assert_int_equal(eml_kmsd_cipher_key_id(eml_buf_bytes(&blob), &id), EML_OK);
    assert_true(eml_bytes_equal(id, eml_bytes_of_str(a->id)));
    assert_int_equal(eml_kmsd_cipher_open(a, same, eml_buf_bytes(&blob), &plain), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&plain), EML_LIT("secret")));
    eml_buf_free(&plain);
    assert_int_equal(eml_kmsd_cipher_open(a, other, eml_buf_bytes(&blob), &plain), EML_E_AUTH);
    assert_int_equal(eml_kmsd_cipher_open(b, same, eml_buf_bytes(&blob), &plain), EML_E_AUTH);
    for (size_t i = 0; i < blob.len; i++) {
        blob.ptr[i] ^= 0x10;
        assert_int_equal(eml_kmsd_cipher_open(a, same, eml_buf_bytes(&blob), &plain),
                         i < 2 ? EML_E_INPUT : EML_E_AUTH);
        blob.ptr[i] ^= 0x10;
        enum eml_err e = eml_kmsd_cipher_open(a, same, eml_bytes(blob.ptr, i), &plain);
        assert_int_equal(e, i < 66 ? EML_E_INPUT : EML_E_AUTH);
    }
    assert_int_equal(plain.len, 0);
    eml_buf_free(&blob);
    eml_buf_free(&plain);
    eml_kmsd_store_close(s);
    json_decref(allow);
    json_decref(context);
    json_decref(same);
    json_decref(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_survive_reopening, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(files_are_private_and_whole, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(damaged_files_are_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(blobs_bind_key_and_context, make_dir, remove_dir),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
