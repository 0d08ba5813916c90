#define _GNU_SOURCE /* memmem */
#include "testsupport/pki.h"
#include "testsupport/support.h"

#include "crypto/crypto.h"

#include <string.h>

/* Chains of the shape that Nitro documents carry: root, three issuers with path lengths 2, 1, 0,
 * and a leaf without key identifiers; each mutated case breaks one rule. */

enum { ROOT, REGION, ZONE, INSTANCE, LEAF, N };
enum { T0 = 1700000000, HOUR = 3600, NOW = T0 + HOUR };

struct chain {
    struct eml_test_cert spec[N];
    struct eml_buf der[N];
    struct eml_bytes certs[N + 8];
    size_t n;
    struct eml_sha256 root;
    int64_t at;
    struct eml_x509_known *known; /* may be NULL */
};

static void plan(struct chain *c)
{
    static const char *const names[N] = {"root", "region", "zone", "instance", "leaf"};
    static const char *const constraints[N] = {"critical,CA:TRUE", "critical,CA:TRUE,pathlen:2",
                                               "critical,CA:TRUE,pathlen:1",
                                               "critical,CA:TRUE,pathlen:0", "critical,CA:FALSE"};
    memset(c, 0, sizeof *c);
    c->at = NOW;
    for (size_t i = 0; i < N; i++) {
        c->spec[i].subject = names[i];
        c->spec[i].constraints = constraints[i];
        c->spec[i].key_usage = i == INSTANCE ? "critical,keyCertSign"
                               : i == LEAF   ? "digitalSignature,nonRepudiation"
                                             : "critical,digitalSignature,keyCertSign,cRLSign";
        c->spec[i].not_before = T0;
        c->spec[i].not_after = T0 + 3 * HOUR;
    }
}

static void issue(struct chain *c)
{
    EVP_PKEY *above = NULL;
    for (size_t i = 0; i < N; i++) {
        EVP_PKEY *key = eml_test_certify(&c->spec[i], i == 0 ? NULL : c->spec[i - 1].subject, above,
                                         &c->der[i]);
        EVP_PKEY_free(above);
        above = key;
        c->certs[i] = eml_buf_bytes(&c->der[i]);
    }
    EVP_PKEY_free(above);
    c->n = N;
    assert_int_equal(eml_sha256(&c->certs[0], 1, &c->root), EML_OK);
}

static enum eml_err verify(const struct chain *c, struct eml_buf *spki, struct eml_why *why)
{
    struct eml_sha256 roots[2] = {{{0}}, c->root};
    *why = (struct eml_why){0};
    return eml_x509_verify(c->certs, c->n, roots, 2, c->at, c->known, spki, why);
}

static void drop(struct chain *c)
{
    for (size_t i = 0; i < N; i++)
        eml_buf_free(&c->der[i]);
}

static void a_valid_chain_gives_its_leafs_key(void **state)
{
    (void)state;
    struct chain c;
    struct eml_buf spki = {0};
    struct eml_why why;
    plan(&c);
    issue(&c);
    assert_int_equal(verify(&c, &spki, &why), EML_OK);
    assert_int_equal(spki.len, 120);
    /* The key stands in the leaf as it was returned. */
    assert_non_null(memmem(c.certs[LEAF].ptr, c.certs[LEAF].len, spki.ptr, spki.len));
    for (int64_t at = 0; at <= 1; at++) { /* both ends of validity are inside it */
        c.at = at == 0 ? T0 : T0 + 3 * HOUR;
        assert_int_equal(verify(&c, &spki, &why), EML_OK);
    }
    eml_buf_free(&spki);
    drop(&c);
}

#define SPEC(name, ...)                                                                            \
    static void name(struct chain *c)                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
/* One row per fault. */
/* clang-format off */
SPEC(leaf_expired, c->spec[LEAF].not_after = NOW - 1;)
SPEC(leaf_early, c->spec[LEAF].not_before = NOW + 1;)
SPEC(root_expired, c->spec[ROOT].not_after = NOW - 1;)
SPEC(issuer_expired, c->spec[INSTANCE].not_after = NOW - 1;)
SPEC(issuer_early, c->spec[ZONE].not_before = NOW + 1;)
SPEC(path_short, c->spec[REGION].constraints = "critical,CA:TRUE,pathlen:1";)
SPEC(path_zero_at_root, c->spec[ROOT].constraints = "critical,CA:TRUE,pathlen:0";)
SPEC(leaf_is_ca, c->spec[LEAF].constraints = "critical,CA:TRUE";)
SPEC(leaf_without_usage, c->spec[LEAF].key_usage = NULL;)
SPEC(leaf_wrong_usage, c->spec[LEAF].key_usage = "keyAgreement";)
SPEC(leaf_signs, c->spec[LEAF].key_usage = "digitalSignature,keyCertSign";)
SPEC(issuer_not_ca, c->spec[ZONE].constraints = "critical,CA:FALSE";)
SPEC(issuer_bare, c->spec[ZONE].constraints = NULL;)
SPEC(issuer_usage, c->spec[ZONE].key_usage = "critical,digitalSignature,cRLSign";)
SPEC(issuer_no_usage, c->spec[ZONE].key_usage = NULL;)
SPEC(root_not_ca, c->spec[ROOT].constraints = NULL;)
SPEC(leaf_p256, c->spec[LEAF].curve = "P-256";)
SPEC(issuer_p521, c->spec[REGION].curve = "P-521";)
SPEC(root_p256, c->spec[ROOT].curve = "P-256";)
SPEC(leaf_sha256, c->spec[LEAF].digest = "SHA256";)
SPEC(issuer_sha512, c->spec[ZONE].digest = "SHA512";)
SPEC(leaf_issuer_name, c->spec[LEAF].issuer = "another";)
SPEC(root_issuer_name, c->spec[ROOT].issuer = "another";)
SPEC(critical_constraint, c->spec[REGION].other_nid = "nameConstraints"; c->spec[REGION].other_value = "critical,permitted;DNS:.example";)
SPEC(critical_policy, c->spec[LEAF].other_nid = "extendedKeyUsage"; c->spec[LEAF].other_value = "critical,serverAuth";)
SPEC(version_1, c->spec[LEAF].version = 1;)
/* clang-format on */

static const struct {
    void (*fault)(struct chain *);
    enum eml_err class;
    const char *rule;
    long index;
} cases[] = {
    {leaf_expired, EML_E_AUTH, "x509: certificate expired", LEAF},
    {leaf_early, EML_E_AUTH, "x509: certificate not yet valid", LEAF},
    {root_expired, EML_E_AUTH, "x509: certificate expired", ROOT},
    {issuer_expired, EML_E_AUTH, "x509: certificate expired", INSTANCE},
    {issuer_early, EML_E_AUTH, "x509: certificate not yet valid", ZONE},
    {path_short, EML_E_AUTH, "x509: path length exceeded", REGION},
    {path_zero_at_root, EML_E_AUTH, "x509: path length exceeded", ROOT},
    {leaf_is_ca, EML_E_AUTH, "x509: leaf is a CA", LEAF},
    {leaf_without_usage, EML_E_AUTH, "x509: leaf lacks digitalSignature", LEAF},
    {leaf_wrong_usage, EML_E_AUTH, "x509: leaf lacks digitalSignature", LEAF},
    {leaf_signs, EML_E_AUTH, "x509: leaf may sign certificates", LEAF},
    {issuer_not_ca, EML_E_AUTH, "x509: issuer is not a CA", ZONE},
    {issuer_bare, EML_E_AUTH, "x509: issuer is not a CA", ZONE},
    {issuer_usage, EML_E_AUTH, "x509: issuer lacks keyCertSign", ZONE},
    {issuer_no_usage, EML_E_AUTH, "x509: issuer lacks keyCertSign", ZONE},
    {root_not_ca, EML_E_AUTH, "x509: issuer is not a CA", ROOT},
    {leaf_p256, EML_E_AUTH, "x509: key is not on P-384", LEAF},
    {issuer_p521, EML_E_AUTH, "x509: key is not on P-384", REGION},
    {root_p256, EML_E_AUTH, "x509: key is not on P-384", ROOT},
    {leaf_sha256, EML_E_AUTH, "x509: signature algorithm is not ecdsa-with-SHA384", LEAF},
    {issuer_sha512, EML_E_AUTH, "x509: signature algorithm is not ecdsa-with-SHA384", ZONE},
    {leaf_issuer_name, EML_E_AUTH, "x509: issuer name does not match", LEAF},
    {root_issuer_name, EML_E_AUTH, "x509: issuer name does not match", ROOT},
    {critical_constraint, EML_E_AUTH, "x509: unknown critical extension", REGION},
    {critical_policy, EML_E_AUTH, "x509: unknown critical extension", LEAF},
    {version_1, EML_E_INPUT, "x509: not a version 3 certificate", LEAF},
};

static void expect(const struct chain *c, enum eml_err class, const char *rule, long index)
{
    struct eml_buf spki = {0};
    struct eml_why why;
    enum eml_err e = verify(c, &spki, &why);
    if (why.rule == NULL || strcmp(why.rule, rule) != 0)
        print_error("expected \"%s\", got \"%s\"\n", rule, why.rule != NULL ? why.rule : "nothing");
    assert_int_equal(e, class);
    assert_string_equal(why.rule, rule);
    assert_int_equal(why.index, index);
    assert_int_equal(spki.len, 0);
}

static void each_fault_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct chain c;
        plan(&c);
        cases[i].fault(&c);
        issue(&c);
        expect(&c, cases[i].class, cases[i].rule, cases[i].index);
        drop(&c);
    }
}

static void order_and_length_of_the_chain(void **state)
{
    (void)state;
    struct chain c;
    plan(&c);
    issue(&c);
    struct eml_bytes kept = c.certs[REGION];
    c.certs[REGION] = c.certs[ZONE];
    c.certs[ZONE] = kept;
    expect(&c, EML_E_AUTH, "x509: issuer name does not match", REGION);
    c.certs[ZONE] = c.certs[REGION];
    c.certs[REGION] = kept;
    c.n = 0;
    expect(&c, EML_E_INPUT, "x509: a chain has a root and a leaf at least", -1);
    c.n = 1;
    expect(&c, EML_E_INPUT, "x509: a chain has a root and a leaf at least", -1);
    c.n = N - 1; /* ends in a CA */
    expect(&c, EML_E_AUTH, "x509: leaf is a CA", INSTANCE);
    c.n = 11;
    expect(&c, EML_E_INPUT, "x509: chain longer than 10 certificates", -1);
    c.n = N;
    kept = c.certs[ROOT]; /* without its root the chain hangs in the air */
    c.certs[ROOT] = c.certs[REGION];
    expect(&c, EML_E_AUTH, "x509: root is not a pinned one", 0);
    c.certs[ROOT] = kept;
    c.root.b[31] ^= 1;
    expect(&c, EML_E_AUTH, "x509: root is not a pinned one", 0);
    drop(&c);
}

/* Same names, other keys: a forger's chain under its own root, and its leaf under the true issuers.
 */
static void a_forgers_chain_is_refused(void **state)
{
    (void)state;
    struct chain c, forged;
    plan(&c);
    issue(&c);
    plan(&forged);
    issue(&forged);
    forged.root = c.root;
    expect(&forged, EML_E_AUTH, "x509: root is not a pinned one", 0);
    forged.certs[ROOT] = c.certs[ROOT];
    expect(&forged, EML_E_AUTH, "x509: signature does not verify", REGION);
    c.certs[LEAF] = forged.certs[LEAF];
    expect(&c, EML_E_AUTH, "x509: signature does not verify", LEAF);
    drop(&c);
    drop(&forged);
}

static void damaged_certificates_are_refused(void **state)
{
    (void)state;
    struct chain c;
    struct eml_gen g = eml_gen_seeded("x509");
    plan(&c);
    issue(&c);
    struct eml_bytes whole = c.certs[LEAF];
    for (size_t n = 0; n < whole.len; n++) {
        c.certs[LEAF].len = n;
        expect(&c, EML_E_INPUT, "x509: not a DER certificate", LEAF);
    }
    c.certs[LEAF] = whole;
    eml_buf_put_u8(&c.der[LEAF], 0);
    c.certs[LEAF] = eml_buf_bytes(&c.der[LEAF]);
    expect(&c, EML_E_INPUT, "x509: bytes after the certificate", LEAF);
    c.certs[LEAF].len--;
    for (size_t k = 0; k < 600; k++) { /* any bit of any certificate */
        size_t i = (size_t)eml_gen_range(&g, 0, N - 1);
        size_t at = (size_t)eml_gen_range(&g, 0, (int64_t)c.certs[i].len - 1);
        uint8_t bit = (uint8_t)(1u << eml_gen_range(&g, 0, 7));
        struct eml_buf spki = {0};
        struct eml_why why;
        c.der[i].ptr[at] ^= bit;
        enum eml_err e = verify(&c, &spki, &why);
        assert_true(e == EML_E_AUTH || e == EML_E_INPUT);
        assert_non_null(why.rule);
        assert_int_equal(spki.len, 0);
        c.der[i].ptr[at] ^= bit;
    }
    drop(&c);
}

/* --- chains that are known --- */

static void expect_key(const struct chain *c, struct eml_bytes key)
{
    struct eml_buf spki = {0};
    struct eml_why why;
    assert_int_equal(verify(c, &spki, &why), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&spki), key));
    eml_buf_free(&spki);
}

/* A valid chain that `known` remembers; *key: its leaf's. */
static void know(struct chain *c, struct eml_x509_known *known, struct eml_buf *key)
{
    struct eml_why why;
    size_t before = known->n;
    plan(c);
    issue(c);
    c->known = known;
    key->len = 0;
    assert_int_equal(verify(c, key, &why), EML_OK);
    assert_int_equal(known->n, before + 1);
}

static void a_known_chain_is_not_verified_again(void **state)
{
    (void)state;
    struct chain c;
    struct eml_x509_known known = {.n = 0};
    struct eml_buf key = {0};
    know(&c, &known, &key);
    expect_key(&c, eml_buf_bytes(&key));
    assert_int_equal(known.n, 1);
    /* That the answer was remembered shows where what is remembered is made wrong. */
    known.entry[0].spki[119] ^= 1;
    key.ptr[119] ^= 1;
    expect_key(&c, eml_buf_bytes(&key));
    eml_buf_free(&key);
    drop(&c);
}

/* As many as there is room for, and then the newest in the oldest's place. */
static void the_newest_chains_are_known(void **state)
{
    (void)state;
    enum { CHAINS = EML_X509_KNOWN_MAX + 2 };
    static struct chain c[CHAINS];
    struct eml_x509_known known = {.n = 0};
    struct eml_buf key[CHAINS] = {{0}};
    for (size_t i = 0; i < CHAINS; i++)
        know(&c[i], &known, &key[i]);
    for (size_t i = CHAINS; i-- > 2;)
        expect_key(&c[i], eml_buf_bytes(&key[i]));
    assert_int_equal(known.n, CHAINS);
    expect_key(&c[0], eml_buf_bytes(&key[0])); /* forgotten, and verified again */
    assert_int_equal(known.n, CHAINS + 1);
    for (size_t i = 0; i < CHAINS; i++) {
        eml_buf_free(&key[i]);
        drop(&c[i]);
    }
}

/* The faults of the table, by one who has seen the good chain; none comes to be known. */
static void faults_are_named_beside_a_known_chain(void **state)
{
    (void)state;
    struct chain good;
    struct eml_x509_known known = {.n = 0};
    struct eml_buf key = {0};
    know(&good, &known, &key);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct chain c;
        plan(&c);
        cases[i].fault(&c);
        issue(&c);
        c.known = &known;
        for (int again = 0; again < 2; again++)
            expect(&c, cases[i].class, cases[i].rule, cases[i].index);
        drop(&c);
    }
    assert_int_equal(known.n, 1);
    eml_buf_free(&key);
    drop(&good);
}

static void a_known_chain_expires(void **state)
{
    (void)state;
    for (size_t i = 0; i < N; i++) {
        struct chain c;
        struct eml_x509_known known = {.n = 0};
        struct eml_buf key = {0};
        struct eml_why why;
        plan(&c);
        c.spec[i].not_before = NOW - 10;
        c.spec[i].not_after = NOW + 10;
        issue(&c);
        c.known = &known;
        assert_int_equal(verify(&c, &key, &why), EML_OK);
        for (c.at = NOW - 10; c.at <= NOW + 10; c.at += 10)
            expect_key(&c, eml_buf_bytes(&key));
        assert_int_equal(known.n, 1);
        c.at = NOW - 11;
        expect(&c, EML_E_AUTH, "x509: certificate not yet valid", (long)i);
        c.at = NOW + 11;
        expect(&c, EML_E_AUTH, "x509: certificate expired", (long)i);
        eml_buf_free(&key);
        drop(&c);
    }
}

static void a_known_chain_hangs_on_a_pinned_root(void **state)
{
    (void)state;
    struct chain c;
    struct eml_x509_known known = {.n = 0};
    struct eml_buf key = {0};
    know(&c, &known, &key);
    c.root.b[0] ^= 1; /* another policy */
    expect(&c, EML_E_AUTH, "x509: root is not a pinned one", 0);
    eml_buf_free(&key);
    drop(&c);
}

/* Other bytes, other order, other ends of certificates in the same bytes. */
static void what_is_like_a_known_chain_is_verified(void **state)
{
    (void)state;
    struct chain c;
    struct eml_x509_known known = {.n = 0};
    struct eml_buf key = {0}, all = {0};
    struct eml_gen g = eml_gen_seeded("x509 known");
    know(&c, &known, &key);
    for (size_t k = 0; k < 200; k++) {
        size_t i = (size_t)eml_gen_range(&g, 0, N - 1);
        size_t at = (size_t)eml_gen_range(&g, 0, (int64_t)c.certs[i].len - 1);
        uint8_t bit = (uint8_t)(1u << eml_gen_range(&g, 0, 7));
        struct eml_buf none = {0};
        struct eml_why why;
        c.der[i].ptr[at] ^= bit;
        assert_int_not_equal(verify(&c, &none, &why), EML_OK);
        assert_int_equal(none.len, 0);
        c.der[i].ptr[at] ^= bit;
    }
    for (size_t i = 0; i < N; i++)
        eml_buf_put(&all, c.certs[i]);
    c.certs[LEAF] = eml_bytes(all.ptr + all.len - c.certs[LEAF].len, c.certs[LEAF].len);
    c.certs[INSTANCE] = eml_bytes(c.certs[LEAF].ptr - c.certs[INSTANCE].len, c.certs[INSTANCE].len);
    expect_key(&c, eml_buf_bytes(&key));
    c.certs[INSTANCE].len++;
    c.certs[LEAF].ptr++;
    c.certs[LEAF].len--;
    expect(&c, EML_E_INPUT, "x509: bytes after the certificate", INSTANCE);
    assert_int_equal(known.n, 1);
    eml_buf_free(&all);
    eml_buf_free(&key);
    drop(&c);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_chain_gives_its_leafs_key),
        cmocka_unit_test(each_fault_is_named),
        cmocka_unit_test(order_and_length_of_the_chain),
        cmocka_unit_test(a_forgers_chain_is_refused),
        cmocka_unit_test(damaged_certificates_are_refused),
        cmocka_unit_test(a_known_chain_is_not_verified_again),
        cmocka_unit_test(the_newest_chains_are_known),
        cmocka_unit_test(faults_are_named_beside_a_known_chain),
        cmocka_unit_test(a_known_chain_expires),
        cmocka_unit_test(a_known_chain_hangs_on_a_pinned_root),
        cmocka_unit_test(what_is_like_a_known_chain_is_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
