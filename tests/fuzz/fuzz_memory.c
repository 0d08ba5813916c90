// link: remote
#include "remote/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(const struct eml_memory *m, struct eml_buf *out)
{
    EML_ASSERT(eml_memory_print(m, out) == EML_OK);
}

/* A memory that is read is printed as what reads as the same; it agrees with all that it holds, and
 * refuses what is older than that. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_memory m, again;
    struct eml_why why = {NULL, 0};
    struct eml_buf first = {0}, second = {0};
    if (eml_memory_parse(eml_bytes(data, size), &m, &why) != EML_OK) {
        EML_ASSERT(why.rule != NULL && m.model == NULL && m.checkpoint.ptr == NULL);
        return 0;
    }
    put(&m, &first);
    EML_ASSERT(eml_memory_parse(eml_buf_bytes(&first), &again, NULL) == EML_OK);
    put(&again, &second);
    EML_ASSERT(eml_bytes_equal(eml_buf_bytes(&first), eml_buf_bytes(&second)));
    struct eml_seen_model last = {.version = 0};
    struct eml_seen seen = {.policy = m.has_policy ? &m.policy : NULL,
                            .image_version = &m.image_version};
    if (m.checkpoint.len != 0)
        seen.checkpoint = eml_buf_bytes(&m.checkpoint);
    if (m.n_models != 0) {
        last = m.model[m.n_models - 1];
        seen.model = &last;
    }
    bool changed = true;
    EML_ASSERT(eml_memory_compare(&m, &seen, NULL) == EML_OK);
    EML_ASSERT(eml_memory_raise(&again, &seen, &changed, NULL) == EML_OK && !changed);
    if (last.version > 0) {
        last.version--;
        EML_ASSERT(eml_memory_compare(&m, &seen, NULL) == EML_E_REFUSED);
    }
    eml_buf_free(&first);
    eml_buf_free(&second);
    eml_memory_free(&m);
    eml_memory_free(&again);
    return 0;
}
