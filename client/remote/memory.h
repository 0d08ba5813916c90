/* What a client has seen of one service: the highest version of each model's topology key (which
 * pins the weights), the highest serial of its policy, the highest version of its enclave image and
 * the newest checkpoint of its audit log. Who has seen these takes nothing older, and no other
 * thing of the same version.
 *
 * Here it is a value, read from and printed as JSON (docs/formats/memory.md); remember.h keeps it
 * in a file. The text is taken for hostile: every member and bound is checked. It is not
 * authenticated: who can write the client's files can make it forget.
 */
#ifndef EML_REMOTE_MEMORY_H
#define EML_REMOTE_MEMORY_H

#include "audit/note.h"

#define EML_MEMORY_BYTES_MAX (1u << 20)
#define EML_MEMORY_MODELS_MAX 4096u

struct eml_seen_policy {
    uint64_t serial;
    struct eml_sha256 digest; /* eml_policy_digest */
};
struct eml_seen_model {
    uint8_t id[16];
    uint64_t version;
    struct eml_sha256 digest; /* of the encoded topology key */
};

/* What one step of a session shows; parts that are NULL are not shown. All of it is authentic, but
 * serial and versions may be any number: EML_E_INPUT beyond INT64_MAX. */
struct eml_seen {
    const struct eml_seen_policy *policy;
    const uint64_t *image_version; /* 0: of no known order, and so the oldest */
    const struct eml_seen_model *model;
    struct eml_bytes checkpoint; /* as it was signed */
};

/* Zeroed: nothing seen yet. */
struct eml_memory {
    bool has_policy;
    struct eml_seen_policy policy;
    uint64_t image_version;
    struct eml_seen_model *model; /* ascending by id; owned */
    size_t n_models;
    struct eml_buf checkpoint; /* empty: none */
};

/* On failure (EML_E_INPUT, EML_E_SYSTEM) *out is empty. parse(print(m)) is m. */
EML_MUST enum eml_err eml_memory_parse(struct eml_bytes json, struct eml_memory *out,
                                       struct eml_why *why);
EML_MUST enum eml_err eml_memory_print(const struct eml_memory *m, struct eml_buf *json);
void eml_memory_free(struct eml_memory *m); /* empty afterwards */

/* EML_E_REFUSED, with what it was in the rule: a part is older than remembered, or another one of
 * the same version, or of another log. */
EML_MUST enum eml_err eml_memory_compare(const struct eml_memory *m, const struct eml_seen *seen,
                                         struct eml_why *why);
/* Takes over what is newer, and sets *changed if anything was. What is older stays as it is
 * remembered: another session has been faster. EML_E_REFUSED for another one of the same version or
 * another log, and beyond EML_MEMORY_MODELS_MAX; on failure m is as before. */
EML_MUST enum eml_err eml_memory_raise(struct eml_memory *m, const struct eml_seen *seen,
                                       bool *changed, struct eml_why *why);

#endif
