#include "testsupport/known.h"
#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/crypto.h"

#include <string.h>

/* RFC 7748 sections 5.2 and 6.1. */
static void x25519_known_answers(void **state)
{
    (void)state;
    struct eml_x25519_sk sk;
    struct eml_x25519_pk peer, pk;
    uint8_t shared[32];
    eml_test_hex_into("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                      EML_ROOM(sk.b));
    eml_test_hex_into("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                      EML_ROOM(peer.b));
    assert_int_equal(eml_x25519(&sk, &peer, shared), EML_OK);
    eml_test_assert_hex(EML_BYTES(shared),
                        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    eml_test_hex_into("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
                      EML_ROOM(sk.b));
    eml_test_hex_into("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
                      EML_ROOM(peer.b));
    assert_int_equal(eml_x25519_public(&sk, &pk), EML_OK);
    eml_test_assert_hex(EML_BYTES(pk.b),
                        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    assert_int_equal(eml_x25519(&sk, &peer, shared), EML_OK);
    eml_test_assert_hex(EML_BYTES(shared),
                        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

static void x25519_refuses_small_order_points(void **state)
{
    (void)state;
    static const char *points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    struct eml_x25519_sk sk;
    struct eml_x25519_pk peer;
    uint8_t shared[32];
    memset(&sk, 0x42, sizeof sk);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        memset(shared, 0xff, sizeof shared);
        eml_test_hex_into(points[i], EML_ROOM(peer.b));
        assert_int_equal(eml_x25519(&sk, &peer, shared), EML_E_AUTH);
        assert_true(eml_ct_is_zero(EML_BYTES(shared)));
    }
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x25519_known_answers),
        cmocka_unit_test(x25519_refuses_small_order_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
