/* The development NSM: eml_nsm_open, _close and _exchange of nsm/nsm.h without a device.
 *
 * It answers as the real one does: 32 PCRs of which 0 to 15 are locked at boot, extension without a
 * hash of the data, documents with the locked PCRs only. Documents are signed under the development
 * root in the directory named by EML_DEV_PKI, so they are worth what that root is worth. PCR 0 to 2
 * are made of this program's own file (pki/pki_dir.h), PCR 4 of the instance id; 3 and 8 are zero,
 * as on an instance without a role and with an unsigned image. One thread at a time.
 */
#include "nsm/nsm.h"

#include "attest/document.h"
#include "base/wipe.h"
#include "cose/sign1.h"
#include "pki/pki_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RANDOM_BYTES = 256, LOCKED_AT_BOOT = 16, RENEW_SECONDS = 1800 };
#define INSTANCE "i-0de0e10000000000d"

const bool eml_nsm_genuine = false;

struct eml_nsm {
    struct eml_minted root, chain[EML_CHAIN_N]; /* chain is empty until the first document */
    int64_t leaf_until_unix_s;
    char module_id[64];
    struct eml_sha384 pcr[EML_NSM_PCR_N];
    uint32_t locked;
    uint8_t random[RANDOM_BYTES];
    struct eml_buf document; /* of the last answer */
};

static enum eml_err name_module(struct eml_nsm *n)
{
    uint8_t id[8];
    EML_TRY(eml_random(EML_ROOM(id)));
    int len = snprintf(n->module_id, sizeof n->module_id, INSTANCE "-enc");
    for (size_t i = 0; i < sizeof id; i++)
        len += snprintf(n->module_id + len, sizeof n->module_id - (size_t)len, "%02x", id[i]);
    return EML_OK;
}

static enum eml_err extend(struct eml_sha384 *pcr, struct eml_bytes data)
{
    const struct eml_sha384 old = *pcr;
    const struct eml_bytes parts[] = {EML_BYTES(old.b), data};
    return eml_sha384(parts, 2, pcr);
}

static enum eml_err boot(struct eml_nsm *n, struct eml_why *why)
{
    const char *dir = getenv("EML_DEV_PKI");
    if (dir == NULL)
        return eml_fail(why, EML_E_USAGE,
                        "development NSM: set EML_DEV_PKI to a directory made by eml-devpki", -1);
    EML_TRY(eml_pki_dir_load(dir, &n->root, why));
    EML_TRY(name_module(n));
    EML_TRY(eml_pki_measure("/proc/self/exe", n->pcr, why));
    EML_TRY(extend(&n->pcr[4], EML_LIT(INSTANCE)));
    n->locked = (1u << LOCKED_AT_BOOT) - 1;
    return EML_OK;
}

enum eml_err eml_nsm_open(struct eml_nsm **out, struct eml_why *why)
{
    *out = NULL;
    struct eml_nsm *n = calloc(1, sizeof *n);
    if (n == NULL)
        return eml_fail(why, EML_E_SYSTEM, "development NSM: out of memory", -1);
    enum eml_err e = boot(n, why);
    if (e == EML_OK)
        *out = n;
    else
        eml_nsm_close(n);
    return e;
}

static void drop_chain(struct eml_nsm *n)
{
    for (size_t i = 0; i < EML_CHAIN_N; i++)
        eml_minted_free(&n->chain[i]);
}

void eml_nsm_close(struct eml_nsm *n)
{
    if (n == NULL)
        return;
    drop_chain(n);
    eml_minted_free(&n->root);
    eml_buf_free(&n->document);
    eml_wipe(n, sizeof *n);
    free(n);
}

/* The hypervisor keeps a leaf for its three hours; this one renews it in time. */
static enum eml_err refresh_chain(struct eml_nsm *n, int64_t now_unix_s)
{
    if (n->leaf_until_unix_s - now_unix_s > RENEW_SECONDS)
        return EML_OK;
    drop_chain(n);
    n->leaf_until_unix_s = 0;
    EML_TRY(eml_mint_chain(&n->root, INSTANCE, n->module_id, now_unix_s, n->chain));
    n->leaf_until_unix_s = now_unix_s + EML_LEAF_SECONDS;
    return EML_OK;
}

static enum eml_err make_document(struct eml_nsm *n, const struct eml_nsm_request *q)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return EML_E_SYSTEM;
    EML_TRY(refresh_chain(n, now.tv_sec));
    struct eml_document d = {
        .module_id = eml_bytes_of_str(n->module_id),
        .timestamp_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
        .pcr_present = n->locked,
        .n_certs = EML_CHAIN_N,
        .public_key = q->public_key,
        .user_data = q->user_data,
        .nonce = q->nonce,
    };
    for (size_t i = 0; i < EML_CHAIN_N; i++)
        d.cert[i] = eml_buf_bytes(&n->chain[i].cert);
    for (size_t i = 0; i < EML_PCR_N; i++)
        memcpy(d.pcr[i].b, n->pcr[i].b, sizeof d.pcr[i].b);
    struct eml_buf payload = {0};
    eml_buf_free(&n->document);
    enum eml_err e = eml_document_encode(&d, &payload);
    if (e == EML_OK)
        e = eml_sign1_sign_es384(eml_buf_bytes(&n->chain[EML_CHAIN_N - 1].key),
                                 eml_buf_bytes(&payload), &n->document);
    eml_buf_free(&payload);
    return e;
}

static bool is_locked(const struct eml_nsm *n, uint16_t index)
{
    return (n->locked >> index & 1) != 0;
}

static enum eml_nsm_error answer_pcr(struct eml_nsm *n, const struct eml_nsm_request *q,
                                     struct eml_nsm_response *r)
{
    if (q->index >= EML_NSM_PCR_N)
        return EML_NSM_INVALID_INDEX;
    struct eml_sha384 *pcr = &n->pcr[q->index];
    if (q->call != EML_NSM_DESCRIBE_PCR && is_locked(n, q->index))
        return EML_NSM_READ_ONLY_INDEX;
    if (q->call == EML_NSM_LOCK_PCR)
        n->locked |= 1u << q->index;
    if (q->call == EML_NSM_EXTEND_PCR && extend(pcr, q->data) != EML_OK)
        return EML_NSM_INTERNAL_ERROR;
    r->lock = is_locked(n, q->index);
    r->data = EML_BYTES(pcr->b);
    return EML_NSM_SUCCESS;
}

static enum eml_nsm_error answer(struct eml_nsm *n, const struct eml_nsm_request *q,
                                 struct eml_nsm_response *r)
{
    switch (q->call) {
    case EML_NSM_DESCRIBE_NSM:
        r->version_major = 1;
        r->module_id = eml_bytes_of_str(n->module_id);
        r->max_pcrs = EML_NSM_PCR_N;
        r->locked_pcrs = n->locked;
        return EML_NSM_SUCCESS;
    case EML_NSM_DESCRIBE_PCR:
    case EML_NSM_EXTEND_PCR:
    case EML_NSM_LOCK_PCR:
        return answer_pcr(n, q, r);
    case EML_NSM_LOCK_PCRS:
        if (q->range > EML_NSM_PCR_N)
            return EML_NSM_INVALID_INDEX;
        n->locked |= (uint32_t)(((uint64_t)1 << q->range) - 1);
        return EML_NSM_SUCCESS;
    case EML_NSM_GET_RANDOM:
        if (eml_random(EML_ROOM(n->random)) != EML_OK)
            return EML_NSM_INTERNAL_ERROR;
        r->random = EML_BYTES(n->random);
        return EML_NSM_SUCCESS;
    case EML_NSM_ATTESTATION:
        if (make_document(n, q) != EML_OK)
            return EML_NSM_INTERNAL_ERROR;
        r->document = eml_buf_bytes(&n->document);
        return EML_NSM_SUCCESS;
    case EML_NSM_CALLS_N:
        break;
    }
    return EML_NSM_INVALID_OPERATION;
}

enum eml_err eml_nsm_exchange(struct eml_nsm *n, struct eml_bytes request, struct eml_room response,
                              size_t *response_len)
{
    *response_len = 0;
    if (request.len > EML_NSM_REQUEST_MAX || response.len < EML_NSM_RESPONSE_MAX)
        return EML_E_USAGE;
    struct eml_nsm_request q;
    struct eml_nsm_response r = {.error = EML_NSM_INVALID_OPERATION};
    if (eml_nsm_request_decode(request, &q) == EML_OK) {
        r.call = q.call;
        r.error = answer(n, &q, &r);
    }
    struct eml_buf bytes = {.max = EML_NSM_RESPONSE_MAX};
    enum eml_err e = eml_nsm_response_encode(&r, &bytes);
    if (e == EML_OK) {
        memcpy(response.ptr, bytes.ptr, bytes.len);
        *response_len = bytes.len;
    }
    eml_wipe(n->random, sizeof n->random);
    eml_buf_free(&bytes);
    return e;
}
