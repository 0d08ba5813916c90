#include "testsupport/support.h"

#include "base/text.h"
#include "remote/memory.h"

#include <stdio.h>
#include <string.h>

static struct eml_ed25519_sk signer;

static int make_signer(void **state)
{
    (void)state;
    return eml_ed25519_make(&signer) == EML_OK ? 0 : -1;
}

/* A checkpoint of a log of `size` records; its root says which one. To be freed. */
static struct eml_buf note_of(const char *origin, uint64_t size, uint8_t root)
{
    struct eml_note_key key;
    struct eml_buf out = {0};
    const struct eml_checkpoint c = {
        .origin = eml_bytes_of_str(origin), .size = size, .root = {{root}}};
    assert_int_equal(eml_note_key_make(c.origin, &signer.pk, &key), EML_OK);
    assert_int_equal(eml_checkpoint_sign(&c, &key, &signer, &out), EML_OK);
    return out;
}

static struct eml_seen_model model_of(uint8_t id, uint64_t version, uint8_t digest)
{
    return (struct eml_seen_model){.id = {id}, .version = version, .digest = {{digest}}};
}

static void assert_same(const struct eml_memory *a, const struct eml_memory *b)
{
    assert_int_equal(a->has_policy, b->has_policy);
    assert_int_equal(a->policy.serial, b->policy.serial);
    assert_memory_equal(&a->policy.digest, &b->policy.digest, sizeof a->policy.digest);
    assert_int_equal(a->image_version, b->image_version);
    assert_int_equal(a->n_models, b->n_models);
    for (size_t i = 0; i < a->n_models; i++) {
        assert_memory_equal(a->model[i].id, b->model[i].id, sizeof a->model[i].id);
        assert_int_equal(a->model[i].version, b->model[i].version);
        assert_memory_equal(&a->model[i].digest, &b->model[i].digest, sizeof a->model[i].digest);
    }
    assert_true(eml_bytes_equal(eml_buf_bytes(&a->checkpoint), eml_buf_bytes(&b->checkpoint)));
}

static void assert_reads_back(const struct eml_memory *m)
{
    struct eml_buf json = {0};
    struct eml_memory back;
    struct eml_why why = {0};
    assert_int_equal(eml_memory_print(m, &json), EML_OK);
    assert_int_equal(eml_memory_parse(eml_buf_bytes(&json), &back, &why), EML_OK);
    assert_same(m, &back);
    eml_memory_free(&back);
    eml_buf_free(&json);
}

/* --- comparing --- */

static void assert_taken(struct eml_memory *m, struct eml_seen seen, bool newer)
{
    bool changed;
    struct eml_why why = {0};
    assert_int_equal(eml_memory_compare(m, &seen, &why), EML_OK);
    assert_int_equal(eml_memory_raise(m, &seen, &changed, &why), EML_OK);
    assert_int_equal(changed, newer);
    assert_reads_back(m);
}

static void assert_older(struct eml_memory *m, struct eml_seen seen, const char *rule)
{
    bool changed;
    struct eml_why why = {0};
    assert_int_equal(eml_memory_compare(m, &seen, &why), EML_E_REFUSED);
    assert_string_equal(why.rule, rule);
    /* Somebody else was faster: what is remembered stays. */
    assert_int_equal(eml_memory_raise(m, &seen, &changed, &why), EML_OK);
    assert_false(changed);
}

static void assert_other(struct eml_memory *m, struct eml_seen seen, const char *rule)
{
    bool changed = true;
    struct eml_why why = {0};
    assert_int_equal(eml_memory_compare(m, &seen, &why), EML_E_REFUSED);
    assert_string_equal(why.rule, rule);
    assert_int_equal(eml_memory_raise(m, &seen, &changed, &why), EML_E_REFUSED);
    assert_string_equal(why.rule, rule);
    assert_false(changed);
}

static void each_part_only_rises(void **state)
{
    (void)state;
    struct eml_memory m = {.has_policy = false};
    const struct eml_seen_policy p0 = {0, {{1}}}, p5 = {5, {{1}}}, p5b = {5, {{2}}},
                                 p6 = {INT64_MAX, {{3}}};
    const struct eml_seen_model a2 = model_of(1, 2, 1), a2b = model_of(1, 2, 2),
                                a3 = model_of(1, 3, 3), b1 = model_of(0, 1, 4);
    const uint64_t image[] = {0, 7, INT64_MAX};
    assert_taken(&m, (struct eml_seen){.policy = NULL}, false);
    assert_taken(&m, (struct eml_seen){.image_version = &image[0]}, false);
    assert_taken(&m, (struct eml_seen){.policy = &p0}, true);
    assert_taken(&m, (struct eml_seen){.policy = &p5}, true);
    assert_taken(&m, (struct eml_seen){.policy = &p5, .image_version = &image[1]}, true);
    assert_older(&m, (struct eml_seen){.policy = &p0},
                 "policy: older than remembered (rolled back)");
    assert_other(&m, (struct eml_seen){.policy = &p5b},
                 "policy: another of the same serial is remembered");
    assert_taken(&m, (struct eml_seen){.policy = &p6}, true);
    assert_older(&m, (struct eml_seen){.image_version = &image[0]},
                 "enclave image: older than remembered (rolled back)");
    assert_taken(&m, (struct eml_seen){.image_version = &image[2]}, true);
    assert_taken(&m, (struct eml_seen){.model = &a3}, true);
    assert_taken(&m, (struct eml_seen){.model = &a3}, false);
    assert_older(&m, (struct eml_seen){.model = &a2},
                 "topology key: older than remembered (rolled back)");
    assert_taken(&m, (struct eml_seen){.model = &b1}, true); /* another model: not compared */
    assert_memory_equal(&m.model[0], &b1, sizeof b1);
    const struct eml_seen_model a3b = model_of(1, 3, 9);
    assert_other(&m, (struct eml_seen){.model = &a3b},
                 "topology key: another of the same model and version is remembered");
    assert_older(&m, (struct eml_seen){.model = &a2b},
                 "topology key: older than remembered (rolled back)");
    eml_memory_free(&m);
}

static void a_log_only_grows(void **state)
{
    (void)state;
    struct eml_memory m = {.has_policy = false};
    struct eml_buf at5 = note_of("log", 5, 1), fork = note_of("log", 5, 2),
                   other = note_of("another", 9, 1), at4 = note_of("log", 4, 1),
                   at9 = note_of("log", 9, 1);
    assert_taken(&m, (struct eml_seen){.checkpoint = eml_buf_bytes(&at4)}, true);
    assert_taken(&m, (struct eml_seen){.checkpoint = eml_buf_bytes(&at5)}, true);
    assert_taken(&m, (struct eml_seen){.checkpoint = eml_buf_bytes(&at5)}, false);
    assert_older(&m, (struct eml_seen){.checkpoint = eml_buf_bytes(&at4)},
                 "audit log: older than remembered (rolled back)");
    assert_other(&m, (struct eml_seen){.checkpoint = eml_buf_bytes(&fork)},
                 "audit log: another of the same size (forked)");
    assert_other(&m, (struct eml_seen){.checkpoint = eml_buf_bytes(&other)},
                 "audit log: not the log that is remembered");
    assert_taken(&m, (struct eml_seen){.checkpoint = eml_buf_bytes(&at9)}, true);
    assert_true(eml_bytes_equal(eml_buf_bytes(&m.checkpoint), eml_buf_bytes(&at9)));
    eml_buf_free(&at4);
    eml_buf_free(&at5);
    eml_buf_free(&at9);
    eml_buf_free(&fork);
    eml_buf_free(&other);
    eml_memory_free(&m);
}

/* One part that is refused keeps the others out, too. */
static void all_or_nothing(void **state)
{
    (void)state;
    bool changed = true;
    struct eml_memory m = {.has_policy = false};
    struct eml_buf note = note_of("log", 5, 1), fork = note_of("log", 5, 2);
    const struct eml_seen_policy policy = {9, {{1}}};
    const struct eml_seen_model model = model_of(1, 1, 1);
    const uint64_t image = 3;
    const struct eml_seen seen = {&policy, &image, &model, eml_buf_bytes(&fork)};
    assert_taken(&m, (struct eml_seen){.checkpoint = eml_buf_bytes(&note)}, true);
    assert_int_equal(eml_memory_raise(&m, &seen, &changed, NULL), EML_E_REFUSED);
    assert_false(changed);
    assert_false(m.has_policy);
    assert_int_equal(m.image_version, 0);
    assert_int_equal(m.n_models, 0);
    eml_buf_free(&note);
    eml_buf_free(&fork);
    eml_memory_free(&m);
}

static void numbers_have_a_limit(void **state)
{
    (void)state;
    bool changed;
    struct eml_memory m = {.has_policy = false};
    const uint64_t image = (uint64_t)INT64_MAX + 1;
    const struct eml_seen_policy policy = {image, {{1}}};
    const struct eml_seen_model model = model_of(1, image, 1);
    const struct eml_seen seen[] = {
        {.image_version = &image}, {.policy = &policy}, {.model = &model}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(eml_memory_compare(&m, &seen[i], NULL), EML_E_INPUT);
        assert_int_equal(eml_memory_raise(&m, &seen[i], &changed, NULL), EML_E_INPUT);
    }
}

static void models_have_a_limit(void **state)
{
    (void)state;
    bool changed;
    struct eml_memory m = {.has_policy = false};
    struct eml_seen_model s = model_of(0, 1, 1);
    struct eml_why why = {0};
    for (uint32_t i = 0; i < EML_MEMORY_MODELS_MAX; i++) {
        s.id[1] = (uint8_t)(i * 7 >> 8), s.id[2] = (uint8_t)(i * 7);
        assert_int_equal(eml_memory_raise(&m, &(struct eml_seen){.model = &s}, &changed, &why),
                         EML_OK);
    }
    assert_reads_back(&m);
    s.version = 2; /* of one that is there: there is room */
    assert_taken(&m, (struct eml_seen){.model = &s}, true);
    s.id[0] = 1;
    assert_int_equal(eml_memory_raise(&m, &(struct eml_seen){.model = &s}, &changed, &why),
                     EML_E_REFUSED);
    assert_string_equal(why.rule, "memory: holds as many models as it can");
    assert_int_equal(m.n_models, EML_MEMORY_MODELS_MAX);
    eml_memory_free(&m);
}

/* Against the simplest memory there is: the highest of each part so far, in arrays. */
static void a_naive_memory_says_the_same(void **state)
{
    (void)state;
    enum { MODELS = 5 };
    struct eml_gen g = eml_gen_seeded("memory");
    for (int run = 0; run < 100; run++) {
        struct eml_memory m = {.has_policy = false};
        int64_t policy = -1, model[MODELS] = {0}, image = 0, log = 0;
        for (int step = 0; step < 30; step++) {
            const int64_t p = eml_gen_range(&g, 0, 20), i = eml_gen_range(&g, 0, 20),
                          v = eml_gen_range(&g, 1, 20), k = eml_gen_range(&g, 0, MODELS - 1),
                          l = eml_gen_range(&g, 1, 20), shown = eml_gen_range(&g, 1, 15);
            const struct eml_seen_policy sp = {(uint64_t)p, {{(uint8_t)p}}};
            const struct eml_seen_model sm = model_of((uint8_t)k, (uint64_t)v, (uint8_t)v);
            const uint64_t si = (uint64_t)i;
            struct eml_buf note = note_of("log", (uint64_t)l, (uint8_t)l);
            struct eml_seen seen = {.policy = (shown & 1) != 0 ? &sp : NULL,
                                    .image_version = (shown & 2) != 0 ? &si : NULL,
                                    .model = (shown & 4) != 0 ? &sm : NULL};
            if ((shown & 8) != 0)
                seen.checkpoint = eml_buf_bytes(&note);
            const bool older = ((shown & 1) != 0 && p < policy) ||
                               ((shown & 2) != 0 && i < image) ||
                               ((shown & 4) != 0 && v < model[k]) || ((shown & 8) != 0 && l < log);
            bool changed;
            assert_int_equal(eml_memory_compare(&m, &seen, NULL), older ? EML_E_REFUSED : EML_OK);
            if (!older) {
                assert_int_equal(eml_memory_raise(&m, &seen, &changed, NULL), EML_OK);
                policy = (shown & 1) != 0 ? p : policy;
                image = (shown & 2) != 0 ? i : image;
                model[k] = (shown & 4) != 0 ? v : model[k];
                log = (shown & 8) != 0 ? l : log;
            }
            eml_buf_free(&note);
        }
        assert_reads_back(&m);
        eml_memory_free(&m);
    }
}

/* --- reading --- */

#define H16 "0123456789abcdef"
#define ID H16 H16
#define DIGEST H16 H16 H16 H16
#define MODEL(id) "{\"id\":\"" id "\",\"version\":1,\"digest\":\"" DIGEST "\"}"
#define FILE_OF(policy, image, models)                                                             \
    "{\"version\":1,\"policy\":" policy ",\"image\":" image ",\"models\":[" models "]}"
#define POLICY "{\"serial\":1,\"digest\":\"" DIGEST "\"}"

static void bad_files_name_their_rule(void **state)
{
    (void)state;
    static const char policy[] = "memory: \"policy\" is not a serial and a digest",
                      image[] = "memory: \"image\" is not 0 to 2^63 - 1",
                      models[] = "memory: \"models\" is not an array of at most 4096",
                      model[] = "memory: a model is not an id, a version and a digest",
                      order[] = "memory: models are not in the order of their ids",
                      version[] = "memory: \"version\" is not 1",
                      note[] = "memory: \"checkpoint\" is not a note";
    static const struct {
        const char *json, *rule;
    } bad[] = {
        {"", "json: ends too early"},
        {"log\n5\nAAAA\n", "json: syntax"},
        {"[]", "json: not an object"},
        {"{}", version},
        {"{\"version\":1}", image},
        {"{\"version\":2,\"image\":0,\"models\":[]}", version},
        {"{\"version\":\"1\",\"image\":0,\"models\":[]}", version},
        {"{\"version\":1,\"version\":1,\"image\":0,\"models\":[]}",
         "json: a member name appears twice"},
        {"{\"version\":1,\"image\":0,\"models\":[],\"more\":1}", "memory: unknown member"},
        {"{\"version\":1,\"image\":0,\"models\":[]}}", "json: bytes after the value"},
        {"{\"version\":1,\"image\":0}", models},
        {"{\"version\":1,\"image\":0,\"models\":{}}", models},
        {FILE_OF(POLICY, "-1", ""), image},
        {FILE_OF(POLICY, "1.0", ""), image},
        {FILE_OF(POLICY, "\"1\"", ""), image},
        {FILE_OF(POLICY, "9223372036854775808", ""), "json: number out of range"},
        {FILE_OF("null", "0", ""), policy},
        {FILE_OF("{}", "0", ""), policy},
        {FILE_OF("{\"serial\":1}", "0", ""), policy},
        {FILE_OF("{\"serial\":-1,\"digest\":\"" DIGEST "\"}", "0", ""), policy},
        {FILE_OF("{\"serial\":1,\"digest\":\"" ID "\"}", "0", ""), policy},
        {FILE_OF("{\"serial\":1,\"digest\":\"" DIGEST "\",\"x\":1}", "0", ""), policy},
        {FILE_OF(POLICY, "0", "1"), model},
        {FILE_OF(POLICY, "0", "{}"), model},
        {FILE_OF(POLICY, "0", MODEL(H16)), model},
        {FILE_OF(POLICY, "0", MODEL("g123456789abcdef" H16)), model},
        {FILE_OF(POLICY, "0", "{\"id\":\"" ID "\",\"version\":-1,\"digest\":\"" DIGEST "\"}"),
         model},
        {FILE_OF(POLICY, "0", "{\"id\":\"" ID "\",\"version\":1,\"digest\":\"\"}"), model},
        {FILE_OF(POLICY, "0",
                 "{\"id\":\"" ID "\",\"version\":1,\"digest\":\"" DIGEST "\",\"x\":0}"),
         model},
        {FILE_OF(POLICY, "0", MODEL(ID) "," MODEL(ID)), order},
        {FILE_OF(POLICY, "0",
                 MODEL(ID) "," MODEL("00"
                                     "23456789abcdef" H16)),
         order},
        {"{\"version\":1,\"image\":0,\"models\":[],\"checkpoint\":1}", note},
        {"{\"version\":1,\"image\":0,\"models\":[],\"checkpoint\":\"\"}",
         "note: no text with signatures"},
        {"{\"version\":1,\"image\":0,\"models\":[],\"checkpoint\":\"log\\n5\\n\"}",
         "note: no text with signatures"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_memory m;
        struct eml_why why = {0};
        enum eml_err e = eml_memory_parse(eml_bytes_of_str(bad[i].json), &m, &why);
        if (e != EML_E_INPUT || why.rule == NULL || strcmp(why.rule, bad[i].rule) != 0)
            fail_msg("%s: %s", bad[i].json, why.rule != NULL ? why.rule : "accepted");
        assert_false(m.has_policy);
        assert_null(m.model);
        assert_int_equal(m.checkpoint.len, 0);
    }
}

/* A file with everything in it. */
static struct eml_buf full_file(void)
{
    struct eml_memory m = {.has_policy = false};
    struct eml_buf note = note_of("ephemeralml/\"quoted\\log\"", 12345, 7), json = {0};
    const struct eml_seen_policy policy = {3, {{0xab, 0xcd}}};
    const struct eml_seen_model a = model_of(0x10, 5, 1), b = model_of(0x80, INT64_MAX, 2);
    const uint64_t image = 2;
    assert_taken(&m, (struct eml_seen){&policy, &image, &b, eml_buf_bytes(&note)}, true);
    assert_taken(&m, (struct eml_seen){.model = &a}, true);
    assert_int_equal(eml_memory_print(&m, &json), EML_OK);
    eml_buf_free(&note);
    eml_memory_free(&m);
    return json;
}

static void cut_files_are_refused(void **state)
{
    (void)state;
    struct eml_buf json = full_file();
    for (size_t n = 0; n < json.len; n++) {
        struct eml_memory m;
        assert_int_equal(eml_memory_parse(eml_bytes(json.ptr, n), &m, NULL), EML_E_INPUT);
        assert_null(m.model);
    }
    eml_buf_free(&json);
}

/* A flipped bit is refused, or reads as what prints and reads back; it never does harm. */
static void flipped_bits_do_no_harm(void **state)
{
    (void)state;
    struct eml_buf json = full_file();
    size_t refused = 0;
    for (size_t bit = 0; bit < json.len * 8; bit++) {
        struct eml_memory m;
        json.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (eml_memory_parse(eml_buf_bytes(&json), &m, NULL) == EML_OK)
            assert_reads_back(&m);
        else
            refused++;
        eml_memory_free(&m);
        json.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(refused > json.len);
    eml_buf_free(&json);
}

static void large_files_are_refused(void **state)
{
    (void)state;
    struct eml_buf json = full_file();
    struct eml_memory m;
    uint8_t *spaces = eml_buf_grow(&json, EML_MEMORY_BYTES_MAX - json.len);
    assert_non_null(spaces);
    memset(spaces, ' ', EML_MEMORY_BYTES_MAX - (size_t)(spaces - json.ptr));
    assert_int_equal(eml_memory_parse(eml_buf_bytes(&json), &m, NULL), EML_OK);
    eml_memory_free(&m);
    eml_buf_put_u8(&json, ' ');
    assert_int_equal(eml_memory_parse(eml_buf_bytes(&json), &m, NULL), EML_E_INPUT);
    eml_buf_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_only_rises),
        cmocka_unit_test(a_log_only_grows),
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(numbers_have_a_limit),
        cmocka_unit_test(models_have_a_limit),
        cmocka_unit_test(a_naive_memory_says_the_same),
        cmocka_unit_test(bad_files_name_their_rule),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(flipped_bits_do_no_harm),
        cmocka_unit_test(large_files_are_refused),
    };
    return cmocka_run_group_tests(tests, make_signer, NULL);
}
