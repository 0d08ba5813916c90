#include "testsupport/support.h"

#include "base/cur.h"
#include "base/wipe.h"
#include "blob/blob.h"
#include "blob/permutation.h"
#include "crypto/crypto.h"

#include <string.h>

struct sealed {
    struct eml_blob_info info;
    struct eml_buf plain, object;
};

static struct sealed seal_with(enum eml_cipher cipher, size_t plain_bytes, uint64_t version)
{
    struct sealed s = {
        .info = {.model_id = "a model, 16 byte", .version = version, .cipher = cipher}};
    uint8_t *p = eml_buf_grow(&s.plain, plain_bytes);
    for (size_t i = 0; i < plain_bytes; i++)
        p[i] = (uint8_t)(i % 4 == 3 ? 0x3d : i * 7 + i / 4096); /* as floats: few exponents */
    assert_int_equal(eml_blob_seal(eml_buf_bytes(&s.plain), &s.info, &s.object), EML_OK);
    assert_int_equal(s.info.plain_bytes, plain_bytes);
    assert_int_equal(s.object.len, eml_blob_sealed_bytes(s.info.chunks));
    return s;
}

static struct sealed seal(size_t plain_bytes, uint64_t version)
{
    return seal_with(EML_CIPHER_AES_256_GCM, plain_bytes, version);
}

static void drop(struct sealed *s)
{
    eml_buf_free(&s->plain);
    eml_buf_free(&s->object);
}

static enum eml_err open(const struct eml_blob_info *info, struct eml_bytes object,
                         struct eml_buf *out, struct eml_why *why)
{
    struct eml_arena a;
    assert_int_equal(eml_arena_create(&a, 1 << 20), EML_OK);
    size_t n = (size_t)info->chunks * EML_CHUNK_BYTES;
    eml_buf_free(out);
    uint8_t *p = eml_buf_grow(out, n);
    memset(p, 0xff, n);
    enum eml_err e = eml_blob_open(info, object, &a, (struct eml_room){p, n}, why);
    assert_int_equal(a.used, 0);
    assert_true(eml_ct_is_zero(eml_bytes(a.base, a.peak)));
    (void)eml_arena_destroy(&a);
    return e;
}

static void round_trips(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,      64,      65535,   65536,
                                   65537, 131072, 1000000, 2000001, 17 * 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct sealed s = seal(sizes[i], 3);
        struct eml_buf out = {0};
        assert_int_equal(open(&s.info, eml_buf_bytes(&s.object), &out, NULL), EML_OK);
        assert_true(eml_bytes_equal(eml_bytes(out.ptr, sizes[i]), eml_buf_bytes(&s.plain)));
        assert_true(eml_ct_is_zero(eml_bytes(out.ptr + sizes[i], out.len - sizes[i])));
        eml_buf_free(&out);
        drop(&s);
    }
}

/* The format's page, written down a second time and as naively as it reads. */
static void naive_permutation(const uint8_t key[32], uint64_t n, uint64_t *position)
{
    uint8_t stream[4096], info[33] = "eml-weights/1 permutation";
    struct eml_aead_key k;
    assert_true(n <= 512); /* one block of draws, and a rejection has probability 2^-55 */
    assert_int_equal(
        eml_hkdf_expand(eml_bytes(key, 32), EML_BYTES(info), (struct eml_room){k.b, 32}), EML_OK);
    assert_int_equal(eml_keystream(&k, EML_ROOM(stream)), EML_OK);
    struct eml_cur c = eml_cur(EML_BYTES(stream));
    for (uint64_t i = 0; i < n; i++)
        position[i] = i;
    for (uint64_t i = n - 1; i >= 1; i--) {
        uint64_t j = eml_cur_u64(&c) % (i + 1), swapped = position[j];
        position[j] = position[i];
        position[i] = swapped;
    }
}

static void object_is_as_the_format_says(void **state)
{
    (void)state;
    struct sealed s = seal(20 * 65536, 0x0102030405060708);
    uint64_t position[64];
    naive_permutation(s.info.key.bytes, s.info.chunks, position);
    for (uint64_t i = 0; i < s.info.chunks; i++) {
        struct eml_aead_key k;
        struct eml_nonce n = {{0}};
        struct eml_buf aad = {0};
        static uint8_t out[EML_CHUNK_BYTES], expected[EML_CHUNK_BYTES];
        uint8_t be[8];
        memcpy(k.b, s.info.key.bytes, 32);
        n.b[11] = (uint8_t)i;
        eml_buf_put(&aad, EML_LIT("eml-weights/1a model, 16 byte\1\2\3\4\5\6\7\10"));
        eml_store_u64(be, s.info.chunks);
        eml_buf_put(&aad, EML_BYTES(be));
        eml_store_u64(be, i);
        eml_buf_put(&aad, EML_BYTES(be));
        assert_int_equal(
            eml_aead_open(&k, &n, eml_buf_bytes(&aad),
                          eml_bytes(s.object.ptr + position[i] * EML_CHUNK_SEALED_BYTES,
                                    EML_CHUNK_SEALED_BYTES),
                          EML_ROOM(out)),
            EML_OK);
        memset(expected, 0, sizeof expected);
        if (i < 20)
            memcpy(expected, s.plain.ptr + i * EML_CHUNK_BYTES, sizeof expected);
        assert_memory_equal(out, expected, sizeof out);
        eml_buf_free(&aad);
    }
    drop(&s);
}

static void reader_opens_any_range(void **state)
{
    (void)state;
    struct sealed s = seal(9 * 65536, 1);
    struct eml_arena a;
    struct eml_blob_reader r;
    assert_int_equal(eml_arena_create(&a, 1 << 20), EML_OK);
    assert_int_equal(eml_blob_reader_init(&r, &s.info, eml_buf_bytes(&s.object), &a, NULL), EML_OK);
    static uint8_t out[3 * EML_CHUNK_BYTES];
    for (uint64_t first = 0; first + 3 <= 9; first++) {
        assert_int_equal(eml_blob_read(&r, first, 3, EML_ROOM(out), NULL), EML_OK);
        assert_memory_equal(out, s.plain.ptr + first * EML_CHUNK_BYTES, sizeof out);
    }
    assert_int_equal(eml_blob_read(&r, r.chunks, 0, (struct eml_room){0}, NULL), EML_OK);
    (void)eml_arena_destroy(&a);
    struct eml_arena tiny;
    assert_int_equal(eml_arena_create(&tiny, 1), EML_OK);
    tiny.size = 64; /* less than a key schedule */
    assert_int_equal(eml_blob_reader_init(&r, &s.info, eml_buf_bytes(&s.object), &tiny, NULL),
                     EML_E_SYSTEM);
    assert_int_equal(tiny.used, 0);
    assert_null(r.bulk);
    (void)eml_arena_destroy(&tiny);
    drop(&s);
}

static struct eml_blob_reader reader_of(const struct sealed *s, struct eml_arena *a)
{
    struct eml_blob_reader r;
    assert_int_equal(eml_arena_create(a, 1 << 20), EML_OK);
    assert_int_equal(eml_blob_reader_init(&r, &s->info, eml_buf_bytes(&s->object), a, NULL),
                     EML_OK);
    assert_false(r.parts);
    return r;
}

/* A reader that relies on the digest gives the same bytes, and any part of them. */
static void relying_reader_opens_any_part(void **state)
{
    (void)state;
    enum { MAX = 3 * EML_CHUNK_BYTES };
    static uint8_t out[MAX];
    struct sealed s = seal(9 * 65536, 1);
    struct eml_gen g = eml_gen_seeded("parts");
    struct eml_arena a;
    struct eml_blob_reader r = reader_of(&s, &a);
    uint8_t digest[32];
    assert_int_equal(eml_blob_digest(r.sealed, digest), EML_OK);
    assert_int_equal(eml_blob_reader_rely(&r, &s.info, digest, NULL), EML_OK);
    assert_true(r.parts);
    for (uint64_t first = 0; first + 3 <= 9; first++) {
        assert_int_equal(eml_blob_read(&r, first, 3, EML_ROOM(out), NULL), EML_OK);
        assert_memory_equal(out, s.plain.ptr + first * EML_CHUNK_BYTES, sizeof out);
    }
    for (int i = 0; i < 300; i++) {
        size_t n = (size_t)eml_gen_range(&g, 0, i % 10 == 0 ? MAX : 2000);
        size_t at = (size_t)eml_gen_range(&g, 0, (int64_t)(s.plain.len - n));
        assert_int_equal(eml_blob_read_part(&r, at, (struct eml_room){out, n}, NULL), EML_OK);
        assert_memory_equal(out, s.plain.ptr + at, n);
    }
    (void)eml_arena_destroy(&a);
    drop(&s);
}

/* Only the right digest makes a reader rely on it; until then, and with AEGIS ever, each tag is
 * checked. */
static void only_the_digest_spares_the_tags(void **state)
{
    (void)state;
    static uint8_t out[EML_CHUNK_BYTES];
    for (int c = 0; c < EML_CIPHER_N; c++) {
        if (strcmp(eml_bulk_name((enum eml_cipher)c), "none") == 0)
            continue;
        struct sealed s = seal_with((enum eml_cipher)c, 5 * 65536, 1);
        struct eml_arena a;
        struct eml_why why = {0};
        struct eml_blob_reader r = reader_of(&s, &a);
        uint8_t digest[32];
        assert_int_equal(eml_blob_digest(r.sealed, digest), EML_OK);
        size_t tag = r.position[2] * (size_t)EML_CHUNK_SEALED_BYTES + EML_CHUNK_BYTES;
        s.object.ptr[tag] ^= 1; /* after the digest, as nobody can to what a reader relies on */
        for (size_t bit = 0; bit < 256; bit++) {
            digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(eml_blob_reader_rely(&r, &s.info, digest, &why), EML_E_AUTH);
            assert_false(r.parts);
            digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(eml_blob_read(&r, 2, 1, EML_ROOM(out), &why), EML_E_AUTH);
        assert_int_equal(why.index, 2);
        assert_true(eml_ct_is_zero(EML_BYTES(out)));
        assert_int_equal(eml_blob_reader_rely(&r, &s.info, digest, &why), EML_OK);
        const bool spared = c == EML_CIPHER_AES_256_GCM;
        assert_int_equal(r.parts, spared);
        assert_int_equal(eml_blob_read(&r, 2, 1, EML_ROOM(out), &why),
                         spared ? EML_OK : EML_E_AUTH);
        (void)eml_arena_destroy(&a);
        drop(&s);
    }
}

/* As docs/formats/sealed-weights.md has it. */
static void the_id_is_made_with_the_key(void **state)
{
    (void)state;
    for (int c = 0; c < EML_CIPHER_N; c++) {
        if (strcmp(eml_bulk_name((enum eml_cipher)c), "none") == 0)
            continue;
        struct sealed s = seal_with((enum eml_cipher)c, 3 * 65536, 1);
        struct eml_buf bound = {0};
        uint8_t number[8], want[32];
        eml_buf_put(&bound, EML_LIT("eml-weights/1 object"));
        eml_buf_put(&bound, EML_BYTES(s.info.model_id));
        eml_store_u64(number, s.info.version);
        eml_buf_put(&bound, EML_BYTES(number));
        eml_store_u64(number, 3);
        eml_buf_put(&bound, EML_BYTES(number));
        eml_buf_put_u8(&bound, (uint8_t)c);
        eml_buf_put(&bound, EML_BYTES(s.info.digest));
        assert_int_equal(
            eml_hkdf_expand(EML_BYTES(s.info.key.bytes), eml_buf_bytes(&bound), EML_ROOM(want)),
            EML_OK);
        assert_memory_equal(s.info.object_id, want, sizeof want);
        eml_buf_free(&bound);
        drop(&s);
    }
}

/* The digest says nothing about key, model id and version: the object's id does, and of the digest
 * itself whether it is that of the key. */
static void relied_on_only_under_its_key_and_model(void **state)
{
    (void)state;
    struct sealed s = seal(3 * 65536, 1), other = seal(3 * 65536, 2);
    const struct eml_blob_info sound = s.info;
    for (int i = 0; i < 5; i++) {
        struct eml_arena a;
        struct eml_why why = {0};
        s.info = sound;
        s.info.key.bytes[0] ^= i == 1;
        s.info.model_id[15] ^= i == 2;
        s.info.version += i == 3;
        s.info.object_id[31] ^= i == 4;
        struct eml_blob_reader r = reader_of(&s, &a);
        assert_int_equal(eml_blob_reader_rely(&r, &s.info, s.info.digest, &why),
                         i == 0 ? EML_OK : EML_E_AUTH);
        assert_int_equal(r.parts, i == 0);
        (void)eml_arena_destroy(&a);
    }
    struct eml_arena a;
    s.info = sound;
    memcpy(s.info.digest, other.info.digest, sizeof s.info.digest);
    struct eml_blob_reader r = reader_of(&s, &a);
    assert_int_equal(eml_blob_reader_rely(&r, &s.info, other.info.digest, NULL), EML_E_AUTH);
    assert_false(r.parts);
    (void)eml_arena_destroy(&a);
    s.info = sound;
    drop(&s);
    drop(&other);
}

static void expect_refused(const struct eml_blob_info *info, struct eml_bytes object,
                           enum eml_err expected)
{
    struct eml_buf out = {0};
    struct eml_why why = {0};
    assert_int_equal(open(info, object, &out, &why), expected);
    assert_non_null(why.rule);
    if (expected == EML_E_AUTH) {
        assert_true(why.index >= 0 && (uint64_t)why.index < info->chunks);
        assert_true(eml_ct_is_zero(eml_buf_bytes(&out)));
    }
    eml_buf_free(&out);
}

static void every_chunk_is_authenticated(void **state)
{
    (void)state;
    struct sealed s = seal(10 * 65536 + 5, 1);
    struct eml_gen g = eml_gen_seeded("flip");
    for (uint64_t i = 0; i < s.info.chunks; i++) {
        uint8_t *chunk = s.object.ptr + i * EML_CHUNK_SEALED_BYTES;
        size_t at[] = {0, EML_CHUNK_BYTES - 1, EML_CHUNK_BYTES, EML_CHUNK_SEALED_BYTES - 1,
                       (size_t)eml_gen_range(&g, 0, EML_CHUNK_SEALED_BYTES - 1)};
        for (size_t j = 0; j < sizeof at / sizeof at[0]; j++) {
            uint8_t bit = (uint8_t)(1u << eml_gen_range(&g, 0, 7));
            chunk[at[j]] ^= bit;
            expect_refused(&s.info, eml_buf_bytes(&s.object), EML_E_AUTH);
            chunk[at[j]] ^= bit;
        }
    }
    drop(&s);
}

static void wrong_lengths_and_order_are_refused(void **state)
{
    (void)state;
    struct sealed s = seal(5 * 65536, 1);
    struct eml_bytes whole = eml_buf_bytes(&s.object);
    expect_refused(&s.info, eml_bytes(whole.ptr, whole.len - 1), EML_E_INPUT);
    expect_refused(&s.info, eml_bytes(whole.ptr, whole.len - EML_CHUNK_SEALED_BYTES), EML_E_INPUT);
    expect_refused(&s.info, (struct eml_bytes){0}, EML_E_INPUT);
    for (size_t i = 0; i + 1 < s.info.chunks; i++) { /* neighbours swapped */
        static uint8_t kept[EML_CHUNK_SEALED_BYTES];
        uint8_t *a = s.object.ptr + i * sizeof kept, *b = a + sizeof kept;
        memcpy(kept, a, sizeof kept);
        memcpy(a, b, sizeof kept);
        memcpy(b, kept, sizeof kept);
        expect_refused(&s.info, whole, EML_E_AUTH);
        memcpy(b, a, sizeof kept);
        memcpy(a, kept, sizeof kept);
    }
    uint8_t *doubled = s.object.ptr; /* one chunk in the place of another */
    memcpy(doubled, doubled + EML_CHUNK_SEALED_BYTES, EML_CHUNK_SEALED_BYTES);
    expect_refused(&s.info, whole, EML_E_AUTH);
    eml_buf_put_u8(&s.object, 0);
    expect_refused(&s.info, eml_buf_bytes(&s.object), EML_E_INPUT);
    drop(&s);
}

static void other_objects_and_other_claims_are_refused(void **state)
{
    (void)state;
    struct sealed s = seal(3 * 65536, 2), older = seal(3 * 65536, 1);
    expect_refused(&s.info, eml_buf_bytes(&older.object), EML_E_AUTH);
    struct eml_blob_info info = s.info;
    info.version = 1; /* same key and object, other claims */
    expect_refused(&info, eml_buf_bytes(&s.object), EML_E_AUTH);
    info = s.info;
    info.model_id[15] ^= 1;
    expect_refused(&info, eml_buf_bytes(&s.object), EML_E_AUTH);
    info = s.info;
    info.key.bytes[0] ^= 1;
    expect_refused(&info, eml_buf_bytes(&s.object), EML_E_AUTH);
    info = s.info;
    info.plain_bytes = 200 * 65536; /* not the size class of that many chunks */
    expect_refused(&info, eml_buf_bytes(&s.object), EML_E_INPUT);
    info = s.info;
    info.chunks = 0;
    expect_refused(&info, (struct eml_bytes){0}, EML_E_INPUT);
    drop(&s);
    drop(&older);
}

static void the_digest_tells_one_object_from_any_other(void **state)
{
    (void)state;
    struct sealed s = seal(5 * 65536, 1);
    struct eml_bytes object = eml_buf_bytes(&s.object);
    struct eml_sha256 want;
    struct eml_why why = {0};
    uint8_t digest[32];
    assert_int_equal(eml_sha256(&object, 1, &want), EML_OK);
    assert_memory_equal(s.info.digest, want.b, sizeof want.b);
    assert_int_equal(eml_blob_digest(object, digest), EML_OK);
    assert_int_equal(eml_blob_check(&s.info, object.len, digest, &why), EML_OK);
    assert_int_equal(eml_blob_check(&s.info, object.len + 1, digest, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "weights: object has the wrong length");
    for (size_t bit = 0; bit < 256; bit++) {
        digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(eml_blob_check(&s.info, object.len, digest, &why), EML_E_AUTH);
        assert_string_equal(why.rule, "weights: not the object that was sealed");
        digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    drop(&s);
}

/* Pearson's statistic of the byte counts, 255 degrees of freedom: mean 255, deviation 22.6. */
static double chi_square(struct eml_bytes b)
{
    double count[256] = {0}, sum = 0, mean = (double)b.len / 256;
    for (size_t i = 0; i < b.len; i++)
        count[b.ptr[i]]++;
    for (size_t v = 0; v < 256; v++)
        sum += (count[v] - mean) * (count[v] - mean) / mean;
    return sum;
}

static void sealings_are_unrelated_and_look_random(void **state)
{
    (void)state;
    struct sealed a = seal(1000000, 1), b = seal(1000000, 1);
    assert_memory_not_equal(a.info.key.bytes, b.info.key.bytes, 32);
    assert_memory_not_equal(a.info.object_id, b.info.object_id, 32);
    size_t same = 0;
    for (size_t i = 0; i < a.object.len; i++)
        same += a.object.ptr[i] == b.object.ptr[i];
    double expected = (double)a.object.len / 256;
    assert_true((double)same > expected * 0.9 && (double)same < expected * 1.1); /* > 6 sigma */
    struct eml_buf both = {0};
    for (size_t i = 0; i < a.object.len; i++)
        eml_buf_put_u8(&both, a.object.ptr[i] ^ b.object.ptr[i]);
    assert_true(chi_square(eml_buf_bytes(&a.object)) < 255 + 8 * 22.6);
    assert_true(chi_square(eml_buf_bytes(&both)) < 255 + 8 * 22.6);
    assert_true(chi_square(eml_buf_bytes(&a.plain)) > 255 + 8 * 22.6);
    eml_buf_free(&both);
    drop(&a);
    drop(&b);
}

static void permutation_is_one_and_uniform(void **state)
{
    (void)state;
    enum { N = 6, ROUNDS = 18000 };
    static double count[N][N];
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct eml_seal_key key = {{0}};
        uint32_t position[N], seen = 0;
        memcpy(key.bytes, &round, sizeof round);
        assert_int_equal(eml_permutation_draw(&key, position, N), EML_OK);
        for (uint32_t i = 0; i < N; i++) {
            assert_true(position[i] < N);
            seen |= 1u << position[i];
            count[i][position[i]]++;
        }
        assert_int_equal(seen, (1u << N) - 1);
    }
    for (uint32_t i = 0; i < N; i++) /* mean 3000, deviation 50; the keys are fixed */
        for (uint32_t j = 0; j < N; j++)
            assert_true(count[i][j] > 2800 && count[i][j] < 3200);
    static uint32_t large[5000]; /* more than one block of draws */
    static bool taken[5000];
    struct eml_seal_key key = {{1}};
    assert_int_equal(eml_permutation_draw(&key, large, 5000), EML_OK);
    for (size_t i = 0; i < 5000; i++) {
        assert_false(taken[large[i]]);
        taken[large[i]] = true;
    }
}

static void size_classes_are_sparse_and_tight(void **state)
{
    (void)state;
    static const struct {
        uint64_t plain, chunks;
    } cases[] = {
        {0, 1},          {1, 1},           {65536, 1},         {65537, 2},           {3 * 65536, 3},
        {9 * 65536, 10}, {17 * 65536, 18}, {165 * 65536, 176}, {1000 * 65536, 1024},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(eml_blob_chunks(cases[i].plain), cases[i].chunks);
    uint64_t classes = 0, last = 0;
    for (uint64_t n = 1; n <= 1 << 18; n++) { /* 16 GiB, EML_WEIGHT_BYTES_MAX */
        uint64_t c = eml_blob_chunks(n * 65536);
        assert_true(c >= n && c >= last && (c - n) * 100 <= n * 12);
        classes += c != last;
        last = c;
    }
    assert_int_equal(classes, 236); /* 7.9 bits: docs/threat-model.md, formats/sealed-weights.md */
    assert_int_equal(eml_blob_chunks(UINT64_MAX), 0);
}

static void sealing_fails_whole(void **state)
{
    (void)state;
    struct eml_blob_info info = {.version = 1};
    struct eml_buf out = {.max = 100};
    eml_buf_put(&out, EML_LIT("before"));
    assert_int_equal(eml_blob_seal(EML_LIT("weights"), &info, &out), EML_E_SYSTEM);
    assert_true(eml_ct_is_zero(EML_BYTES(info.key.bytes)));
    assert_int_equal(out.len, 6);
    eml_buf_free(&out);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(object_is_as_the_format_says),
        cmocka_unit_test(reader_opens_any_range),
        cmocka_unit_test(relying_reader_opens_any_part),
        cmocka_unit_test(relied_on_only_under_its_key_and_model),
        cmocka_unit_test(only_the_digest_spares_the_tags),
        cmocka_unit_test(the_id_is_made_with_the_key),
        cmocka_unit_test(every_chunk_is_authenticated),
        cmocka_unit_test(wrong_lengths_and_order_are_refused),
        cmocka_unit_test(other_objects_and_other_claims_are_refused),
        cmocka_unit_test(the_digest_tells_one_object_from_any_other),
        cmocka_unit_test(sealings_are_unrelated_and_look_random),
        cmocka_unit_test(permutation_is_one_and_uniform),
        cmocka_unit_test(size_classes_are_sparse_and_tight),
        cmocka_unit_test(sealing_fails_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
