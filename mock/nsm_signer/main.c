/* eml-test-nsm-signer: the half of an NSM that QEMU leaves out.
 *
 * QEMU's emulated NSM makes whole attestation documents but signs none: no certificate chain, 64
 * zero bytes for a signature. AWS's hypervisor signs where QEMU does not, so the test QEMU asks
 * this program at that place (tests/nitro/qemu-nsm-signer.h), and the image that is booted is the
 * production image, unchanged. It signs whatever it is given, under a development root that no
 * policy names but that of the test which made it. With --debug it zeroes the PCRs, as the real
 * hypervisor does for an enclave in debug mode. --unlocked answers DescribeNSM as if PCR 15 could
 * still be extended, --short gives 31 random bytes, --mute answers with an error: a hypervisor with
 * which an enclave must not start.
 */
#include "attest/document.h"
#include "cose/sign1.h"
#include "net/net.h"
#include "nsm/nsm.h"
#include "pki/pki_dir.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ZEROS = 64, MODULE_MAX = 256 };
#define UNSIGNED EML_LIT("\xa1\x01\x20") /* {1: -1}, QEMU's protected header */

enum mode { FAITHFUL, DEBUG, UNLOCKED, SHORT, MUTE, MODES_N };

struct signer {
    struct eml_minted root, chain[EML_CHAIN_N];
    int64_t leaf_until_unix_s;
    enum mode mode;
};
static const char *const mode_names[MODES_N] = {NULL, "--debug", "--unlocked", "--short", "--mute"};

static enum eml_err refresh_chain(struct signer *s, struct eml_bytes module_id)
{
    char module[MODULE_MAX + 1], instance[MODULE_MAX + 1];
    int64_t now = (int64_t)time(NULL);
    if (s->leaf_until_unix_s - now > EML_LEAF_SECONDS / 2)
        return EML_OK;
    for (size_t i = 0; i < EML_CHAIN_N; i++)
        eml_minted_free(&s->chain[i]);
    memcpy(module, module_id.ptr, module_id.len); /* the decoder's limit is MODULE_MAX */
    module[module_id.len] = '\0';
    memcpy(instance, module, sizeof instance);
    char *enclave = strstr(instance, "-enc");
    if (enclave != NULL)
        *enclave = '\0';
    EML_TRY(eml_mint_chain(&s->root, instance, module, now, s->chain));
    s->leaf_until_unix_s = now + EML_LEAF_SECONDS;
    return EML_OK;
}

static enum eml_err sign(struct signer *s, struct eml_bytes document, struct eml_buf *out)
{
    struct eml_sign1 envelope;
    struct eml_document d;
    struct eml_buf payload = {0};
    EML_TRY(eml_sign1_parse(document, EML_SIGN1_UNTAGGED, UNSIGNED, ZEROS, &envelope, NULL));
    EML_TRY(eml_document_decode(envelope.payload, &d, NULL));
    EML_TRY(refresh_chain(s, d.module_id));
    for (size_t i = 0; i < EML_CHAIN_N; i++)
        d.cert[i] = eml_buf_bytes(&s->chain[i].cert);
    d.n_certs = EML_CHAIN_N;
    if (s->mode == DEBUG)
        memset(d.pcr, 0, sizeof d.pcr);
    enum eml_err err = eml_document_encode(&d, &payload);
    if (err == EML_OK)
        err = eml_sign1_sign_es384(eml_buf_bytes(&s->chain[EML_CHAIN_N - 1].key),
                                   eml_buf_bytes(&payload), out);
    eml_buf_free(&payload);
    return err;
}

/* Other values for what `response` says, by the mode. False: it passes as it is. */
static bool spoil(enum eml_nsm_call call, const struct signer *s, struct eml_bytes response,
                  struct eml_nsm_response *r)
{
    static const uint8_t zero[sizeof(struct eml_sha384)];
    enum { LAST_OF_BOOT = 15, TOO_FEW = 31 };
    if (eml_nsm_response_decode(response, call, r, NULL) != EML_OK)
        return false;
    if (call == EML_NSM_DESCRIBE_PCR)
        r->data = EML_BYTES(zero);
    else if (call == EML_NSM_GET_RANDOM && s->mode == SHORT)
        r->random.len = TOO_FEW;
    else if (call == EML_NSM_GET_RANDOM)
        *r = (struct eml_nsm_response){.call = call, .error = EML_NSM_INTERNAL_ERROR};
    else
        r->locked_pcrs &= ~(1u << LAST_OF_BOOT);
    return true;
}

/* One response of the emulated NSM; all but documents and what the mode says pass unchanged. */
static enum eml_err answer(struct signer *s, struct eml_bytes response, struct eml_buf *out)
{
    static const enum eml_nsm_call spoilt[MODES_N] = {[DEBUG] = EML_NSM_DESCRIBE_PCR,
                                                      [UNLOCKED] = EML_NSM_DESCRIBE_NSM,
                                                      [SHORT] = EML_NSM_GET_RANDOM,
                                                      [MUTE] = EML_NSM_GET_RANDOM};
    struct eml_nsm_response r = {0};
    struct eml_bytes document;
    struct eml_buf is_signed = {0};
    enum eml_err err = EML_OK;
    if (eml_nsm_get_attestation(response, &document, NULL) == EML_OK) {
        err = sign(s, document, &is_signed);
        r = (struct eml_nsm_response){.call = EML_NSM_ATTESTATION,
                                      .document = eml_buf_bytes(&is_signed)};
        if (err == EML_OK)
            err = eml_nsm_response_encode(&r, out);
    } else if (s->mode != FAITHFUL && spoil(spoilt[s->mode], s, response, &r)) {
        err = eml_nsm_response_encode(&r, out);
    } else {
        eml_buf_put(out, response);
        err = eml_buf_ok(out);
    }
    eml_buf_free(&is_signed);
    return err;
}

static enum eml_err serve_one(struct signer *s, int listener)
{
    int fd = -1;
    struct eml_buf frame = {0}, out = {0};
    enum eml_err err = eml_net_accept(listener, INT64_MAX, &fd);
    if (err == EML_OK)
        err = eml_net_recv_frame(fd, EML_NSM_RESPONSE_MAX, INT64_MAX, &frame);
    if (err == EML_OK)
        err = answer(s, eml_buf_bytes(&frame), &out);
    if (err == EML_OK)
        err = eml_net_send_frame(fd, eml_buf_bytes(&out), INT64_MAX);
    eml_net_close(&fd);
    eml_buf_free(&frame);
    eml_buf_free(&out);
    return err;
}

int main(int argc, char **argv)
{
    struct signer s = {.mode = FAITHFUL};
    struct eml_why why = {
        .rule = "usage: eml-test-nsm-signer PKI_DIR SOCKET [--debug|--unlocked|--short|--mute]"};
    int listener = -1;
    for (int i = DEBUG; i < MODES_N && argc == 4; i++)
        if (strcmp(argv[3], mode_names[i]) == 0)
            s.mode = (enum mode)i;
    enum eml_err err = argc == 3 || s.mode != FAITHFUL ? EML_OK : EML_E_USAGE;
    eml_crypto_init();
    if (err == EML_OK)
        err = eml_pki_dir_load(argv[1], &s.root, &why);
    if (err == EML_OK)
        err = eml_net_listen(argv[2], &listener, &why);
    if (err != EML_OK) {
        (void)fprintf(stderr, "eml-test-nsm-signer: %s\n", why.rule);
        return eml_err_exit(err);
    }
    (void)fprintf(stderr, "eml-test-nsm-signer: FOR TESTS ONLY: signs whatever it is given\n");
    for (;;)
        if (serve_one(&s, listener) != EML_OK)
            (void)fprintf(stderr, "eml-test-nsm-signer: a response was not answered\n");
}
