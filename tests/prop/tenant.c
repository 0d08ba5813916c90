/* A tenant who keeps to no rule: sends files as requests, as they are, in one session with an
 * enclave, and says what came of each. usage: tenant HOST POLICY RESULT REQUEST...
 *
 * One line per request: "result" (its bytes are then appended to RESULT), the class that the
 * enclave reported, or "ended": the session was over. Exit code 0 unless no session could be
 * opened.
 */
#include "attest/attest.h"
#include "file/file.h"
#include "net/net.h"
#include "remote/remote.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SESSION_MS = 60000, FILE_MAX = 1 << 28 };

static enum eml_err open_session(const char *host, const char *policy_file, struct eml_remote *r,
                                 struct eml_policy *policy, struct eml_why *why)
{
    struct eml_buf json = {0};
    enum eml_err e = eml_file_read(policy_file, FILE_MAX, &json, why);
    if (e == EML_OK)
        e = eml_policy_parse(eml_buf_bytes(&json), policy, why);
    eml_buf_free(&json);
    if (e == EML_OK)
        e = eml_remote_attest(r, host, policy, (int64_t)time(NULL) * 1000, NULL,
                              eml_net_now_ms() + SESSION_MS, why);
    return e == EML_OK ? eml_remote_open(r, why) : e;
}

static const char *exchange(struct eml_remote *r, struct eml_bytes request, FILE *results)
{
    struct eml_why why = {0};
    struct eml_bytes content;
    struct eml_arena arena;
    enum eml_msg_type type = EML_MSG_END;
    enum eml_err e = eml_remote_send(r, EML_MSG_REQUEST, request, &why);
    /* What the enclave said before it closed may still be there. */
    enum eml_err received = eml_arena_create(&arena, EML_MESSAGE_BYTES_MAX);
    if (received == EML_OK)
        received = eml_remote_receive(r, EML_MESSAGE_BYTES_MAX, &arena, &type, &content, &why);
    if (received == EML_OK && type == EML_MSG_RECEIPT)
        received = eml_remote_receive(r, EML_MESSAGE_BYTES_MAX, &arena, &type, &content, &why);
    const char *outcome = "ended";
    if (e == EML_OK && received == EML_OK && type == EML_MSG_RESULT)
        outcome = fwrite(content.ptr, 1, content.len, results) == content.len ? "result" : "ended";
    else if (received != EML_OK && strncmp(why.rule, "enclave:", 8) == 0)
        outcome = eml_err_name(received);
    (void)eml_arena_destroy(&arena);
    return outcome;
}

int main(int argc, char **argv)
{
    struct eml_remote r = {.fd = -1};
    struct eml_policy policy;
    struct eml_why why = {0};
    if (argc < 5)
        return 2;
    eml_crypto_init();
    FILE *results = fopen(argv[3], "wb");
    enum eml_err e =
        results != NULL ? open_session(argv[1], argv[2], &r, &policy, &why) : EML_E_SYSTEM;
    for (int i = 4; e == EML_OK && i < argc; i++) {
        struct eml_buf request = {0};
        e = eml_file_read(argv[i], FILE_MAX, &request, &why);
        if (e == EML_OK)
            (void)puts(exchange(&r, eml_buf_bytes(&request), results));
        eml_buf_free(&request);
    }
    if (e != EML_OK)
        (void)fprintf(stderr, "tenant: %s: %s\n", eml_err_name(e),
                      why.rule != NULL ? why.rule : "");
    eml_remote_close(&r);
    if (results != NULL && fclose(results) != 0)
        e = EML_E_SYSTEM;
    return eml_err_exit(e);
}
