/* eml-test-nsm-signer: the half of an NSM that QEMU leaves out.
 *
 * QEMU's emulated NSM makes whole attestation documents but signs none: no certificate chain, 64
 * zero bytes for a signature. AWS's hypervisor signs where QEMU does not, so the test QEMU asks
 * this program at that place (tests/nitro/qemu-nsm-signer.h), and the image that is booted is the
 * production image, unchanged. It signs whatever it is given, under a development root that no
 * policy names but that of the test which made it. With --debug it zeroes the PCRs, as the real
 * hypervisor does for an enclave in debug mode.
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

struct signer {
    struct eml_minted root, chain[EML_CHAIN_N];
    int64_t leaf_until_unix_s;
    bool debug;
};

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
    if (s->debug)
        memset(d.pcr, 0, sizeof d.pcr);
    enum eml_err err = eml_document_encode(&d, &payload);
    if (err == EML_OK)
        err = eml_sign1_sign_es384(eml_buf_bytes(&s->chain[EML_CHAIN_N - 1].key),
                                   eml_buf_bytes(&payload), out);
    eml_buf_free(&payload);
    return err;
}

/* One response of the emulated NSM; all but documents (and, in debug mode, PCRs) pass unchanged. */
static enum eml_err answer(struct signer *s, struct eml_bytes response, struct eml_buf *out)
{
    static const uint8_t zero[sizeof(struct eml_sha384)];
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
    } else if (s->debug &&
               eml_nsm_response_decode(response, EML_NSM_DESCRIBE_PCR, &r, NULL) == EML_OK) {
        r.data = EML_BYTES(zero);
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
    struct signer s = {.debug = argc == 4 && strcmp(argv[3], "--debug") == 0};
    struct eml_why why = {.rule = "usage: eml-test-nsm-signer PKI_DIR SOCKET [--debug]"};
    int listener = -1;
    enum eml_err err = argc == 3 || s.debug ? EML_OK : EML_E_USAGE;
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
