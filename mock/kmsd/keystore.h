/* The keys of the development KMS: one file per key in a directory, mode 0600, written atomically.
 *
 * A file is JSON: {"CreationDate", "Description", "KeyId", "Material" (base64), "Policy" (text)}.
 * All keys are symmetric, enabled, and stay. A store with a file that cannot be read whole does not
 * open.
 */
#ifndef EML_KMSD_KEYSTORE_H
#define EML_KMSD_KEYSTORE_H

#include "crypto/crypto.h"
#include "wire/json.h"

#define EML_KMSD_KEYS_MAX 1000u
#define EML_KMSD_ID_BYTES 36u /* a version 4 UUID in lower case */

struct eml_kmsd_key {
    char id[EML_KMSD_ID_BYTES + 1];
    struct eml_aead_key material; /* secret */
    int64_t created_unix_s;
    char *description; /* UTF-8 */
    json_t *policy;    /* checked */
};

struct eml_kmsd_store;

/* Opens the directory, which is made (mode 0700) if it is not there. */
EML_MUST enum eml_err eml_kmsd_store_open(const char *dir, struct eml_kmsd_store **out,
                                          struct eml_why *why);
void eml_kmsd_store_close(struct eml_kmsd_store *s); /* wipes; NULL is allowed */

/* A new key with fresh material, on disk when this returns. policy is checked, and shared.
 * EML_E_REFUSED when the store is full. */
EML_MUST enum eml_err eml_kmsd_store_create(struct eml_kmsd_store *s, const char *description,
                                            json_t *policy, int64_t now_unix_s,
                                            const struct eml_kmsd_key **out);
/* NULL if there is none. Valid until the store is closed. */
const struct eml_kmsd_key *eml_kmsd_store_find(const struct eml_kmsd_store *s, struct eml_bytes id);
EML_MUST enum eml_err eml_kmsd_store_set_policy(struct eml_kmsd_store *s,
                                                const struct eml_kmsd_key *key, json_t *policy);
size_t eml_kmsd_store_count(const struct eml_kmsd_store *s);
const struct eml_kmsd_key *eml_kmsd_store_at(const struct eml_kmsd_store *s, size_t i);

/* A version 4 UUID (RFC 9562). */
EML_MUST enum eml_err eml_kmsd_uuid(char out[EML_KMSD_ID_BYTES + 1]);

#endif
