#include "testsupport/support.h"

#include "crypto/crypto.h"

#include <openssl/err.h>

#include <string.h>

/* AWS Nitro Enclaves root G1, as published by AWS; its DER has this SHA-256. */
static const char root_pem[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIICETCCAZagAwIBAgIRAPkxdWgbkK/hHUbMtOTn+FYwCgYIKoZIzj0EAwMwSTEL\n"
                               "MAkGA1UEBhMCVVMxDzANBgNVBAoMBkFtYXpvbjEMMAoGA1UECwwDQVdTMRswGQYD\n"
                               "VQQDDBJhd3Mubml0cm8tZW5jbGF2ZXMwHhcNMTkxMDI4MTMyODA1WhcNNDkxMDI4\n"
                               "MTQyODA1WjBJMQswCQYDVQQGEwJVUzEPMA0GA1UECgwGQW1hem9uMQwwCgYDVQQL\n"
                               "DANBV1MxGzAZBgNVBAMMEmF3cy5uaXRyby1lbmNsYXZlczB2MBAGByqGSM49AgEG\n"
                               "BSuBBAAiA2IABPwCVOumCMHzaHDimtqQvkY4MpJzbolL//Zy2YlES1BR5TSksfbb\n"
                               "48C8WBoyt7F2Bw7eEtaaP+ohG2bnUs990d0JX28TcPQXCEPZ3BABIeTPYwEoCWZE\n"
                               "h8l5YoQwTcU/9KNCMEAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUkCW1DdkF\n"
                               "R+eWw5b6cp3PmanfS5YwDgYDVR0PAQH/BAQDAgGGMAoGCCqGSM49BAMDA2kAMGYC\n"
                               "MQCjfy+Rocm9Xue4YnwWmNJVA44fA0P5W2OpYow9OYCVRaEevL8uO1XYru5xtMPW\n"
                               "rfMCMQCi85sWBbJwKKXdS6BptQFuZbT73o/gBh1qUxl/nNr12UO8Yfwr6wPLb+6N\n"
                               "IwLz3/Y=\n"
                               "-----END CERTIFICATE-----\n";

static void digests_one_certificate(void **state)
{
    (void)state;
    struct eml_sha256 got;
    struct eml_buf want =
        eml_test_hex("641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b");
    assert_int_equal(eml_x509_pem_digest(eml_bytes_of_str(root_pem), &got), EML_OK);
    assert_memory_equal(got.b, want.ptr, 32);
    eml_buf_free(&want);
}

static void refuses_what_is_not_one_certificate(void **state)
{
    (void)state;
    struct eml_sha256 got;
    char text[2 * sizeof root_pem];
    memcpy(text, root_pem, sizeof root_pem - 1);
    memcpy(text + sizeof root_pem - 1, root_pem, sizeof root_pem);
    assert_int_equal(eml_x509_pem_digest(eml_bytes_of_str(text), &got), EML_E_INPUT);
    assert_int_equal(eml_x509_pem_digest(EML_LIT("nothing"), &got), EML_E_INPUT);
    assert_int_equal(eml_x509_pem_digest(eml_bytes(NULL, 0), &got), EML_E_INPUT);
    assert_int_equal(eml_x509_pem_digest(eml_bytes(root_pem, sizeof root_pem / 2), &got),
                     EML_E_INPUT);
}

/* What stands behind the certificate is looked at: a damaged second one, an encrypted one (for
 * which nobody is asked a password), but also harmless text. */
static void looks_behind_the_first(void **state)
{
    (void)state;
    static const char damaged[] = "-----BEGIN CERTIFICATE-----\nMIIC!\n-----END CERTIFICATE-----\n";
    static const char encrypted[] = "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n"
                                    "DEK-Info: AES-256-CBC,000102030405060708090A0B0C0D0E0F\n\n"
                                    "AAAAAAAAAAAAAAAAAAAAAA==\n-----END CERTIFICATE-----\n";
    const struct {
        const char *behind;
        enum eml_err want;
    } cases[] = {{"a comment\n", EML_OK}, {damaged, EML_E_INPUT}, {encrypted, EML_E_INPUT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_sha256 got;
        struct eml_buf text = {0};
        eml_buf_put(&text, eml_bytes_of_str(root_pem));
        eml_buf_put(&text, eml_bytes_of_str(cases[i].behind));
        assert_int_equal(eml_x509_pem_digest(eml_buf_bytes(&text), &got), cases[i].want);
        assert_int_equal(ERR_peek_error(), 0);
        eml_buf_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_one_certificate),
        cmocka_unit_test(refuses_what_is_not_one_certificate),
        cmocka_unit_test(looks_behind_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
