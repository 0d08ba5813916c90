/* Reads a public key (DER) on standard input and writes an attestation document for it, made by the
 * development NSM (EML_DEV_PKI names its PKI). */
#include "nsm/nsm.h"

#include <stdio.h>

int main(void)
{
    uint8_t key[1024];
    static uint8_t response[EML_NSM_RESPONSE_MAX];
    struct eml_nsm *nsm = NULL;
    struct eml_buf request = {0};
    struct eml_bytes document = {0};
    struct eml_why why = {"output", -1};
    size_t n = 0;
    const struct eml_nsm_attest_args args = {.public_key =
                                                 eml_bytes(key, fread(key, 1, sizeof key, stdin))};
    enum eml_err e = eml_nsm_open(&nsm, &why);
    if (e == EML_OK)
        e = eml_nsm_put_attestation(&args, &request);
    if (e == EML_OK)
        e = eml_nsm_exchange(nsm, eml_buf_bytes(&request), EML_ROOM(response), &n);
    if (e == EML_OK)
        e = eml_nsm_get_attestation(eml_bytes(response, n), &document, &why);
    if (e == EML_OK &&
        (fwrite(document.ptr, 1, document.len, stdout) != document.len || fflush(stdout) != 0))
        e = EML_E_SYSTEM;
    if (e != EML_OK)
        (void)fprintf(stderr, "attest_key: %s\n", why.rule);
    eml_nsm_close(nsm);
    eml_buf_free(&request);
    return eml_err_exit(e);
}
