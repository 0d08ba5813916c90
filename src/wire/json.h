/* JSON (RFC 8259) by jansson, with the strictness that hostile text needs: bounded size, bounded
 * depth (checked before jansson's recursive parser sees the text), valid UTF-8, no duplicate member
 * names, no NUL in strings, one object and nothing behind it. For the client, the mocks and the KMS
 * client; what the enclave and the client say to each other is CBOR.
 */
#ifndef EML_WIRE_JSON_H
#define EML_WIRE_JSON_H

#include "base/bytes.h"

#include <jansson.h>

#define EML_JSON_DEPTH_MAX 16u

/* To be called once, before anything else here and before a sandbox is entered: jansson's heap
 * blocks are wiped when they are freed (answers of KMS hold keys), and the hash of objects' member
 * names is seeded, which reads the system's random device. */
void eml_json_init(void);

/* Parses an object into *out, for json_decref. On failure *out is NULL: EML_E_INPUT with the rule,
 * and why->index the byte where it broke (-1 if not known), or EML_E_SYSTEM: no memory. */
EML_MUST enum eml_err eml_json_parse(struct eml_bytes text, size_t max_bytes, json_t **out,
                                     struct eml_why *why);

/* A string member, borrowed from obj; ptr NULL if it is absent or no string. Any member name. */
struct eml_bytes eml_json_text(const json_t *obj, const char *name);

/* Appends the compact text with members in the order of their names. Strings must be valid UTF-8.
 */
EML_MUST enum eml_err eml_json_print(const json_t *v, struct eml_buf *out);

#endif
