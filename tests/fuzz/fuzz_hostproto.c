// link: hostproto
/* The first byte chooses the decoder; what decodes must encode to the same bytes. */
#include "hostproto/audit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(struct eml_buf *b, struct eml_bytes in)
{
    EML_ASSERT(eml_bytes_equal(eml_buf_bytes(b), in));
    eml_buf_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct eml_bytes in = eml_bytes(data + 1, size - 1);
    struct eml_buf b = {0};
    struct eml_host_request r;
    struct eml_host_answer a;
    struct eml_host_credentials c;
    enum eml_host_status s;
    struct eml_host_log_state state;
    struct eml_host_commit commit;
    if (data[0] == 253 && eml_host_log_state_decode(in, &s, &state) == EML_OK && s == EML_HOST_OK) {
        EML_ASSERT(eml_host_log_state_encode(&state, &b) == EML_OK);
        same(&b, in);
    } else if (data[0] == 254 && eml_host_commit_decode(in, &commit) == EML_OK) {
        EML_ASSERT(eml_host_commit_encode(&commit, &b) == EML_OK);
        same(&b, in);
    } else if (data[0] % 3 == 0 && eml_host_request_decode(in, &r) == EML_OK) {
        EML_ASSERT(eml_host_request_encode(&r, &b) == EML_OK);
        same(&b, in);
    } else if (data[0] % 3 == 1 && eml_host_answer_decode(in, data[0] / 3 % 3, &a) == EML_OK) {
        EML_ASSERT(eml_host_answer_encode(&a, &b) == EML_OK);
        same(&b, in);
    } else if (data[0] % 3 == 2 && eml_host_credentials_decode(in, &s, &c) == EML_OK &&
               s == EML_HOST_OK) {
        EML_ASSERT(eml_host_credentials_encode(&c, &b) == EML_OK);
        same(&b, in);
    }
    return 0;
}
