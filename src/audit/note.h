/* Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint), with Ed25519.
 *
 * A note is a text, an empty line, and signature lines that name their key. A checkpoint is a note
 * whose text is three lines: origin, size, root. The key of a log has the origin as its name. A
 * note with a known key's signature that does not verify is refused, whatever else it carries;
 * unknown keys are ignored; one known key must have signed. Our own checkpoints have no extension
 * lines and one signature, so that read(x) ok implies that signing the same again gives x;
 * extension lines of others' are accepted and ignored.
 */
#ifndef EML_AUDIT_NOTE_H
#define EML_AUDIT_NOTE_H

#include "crypto/crypto.h"

#define EML_NOTE_BYTES_MAX 16384u
#define EML_NOTE_SIGNATURES_MAX 32u
#define EML_NOTE_NAME_MAX 255u
#define EML_CHECKPOINT_BYTES_MAX 1024u /* of our own */

struct eml_note_key {
    struct eml_bytes name; /* borrowed */
    struct eml_ed25519_pk key;
    uint8_t id[4];
};

/* EML_E_INPUT: no name of a key (empty, too long, not UTF-8, a space, control character or '+'). */
EML_MUST enum eml_err eml_note_key_make(struct eml_bytes name, const struct eml_ed25519_pk *key,
                                        struct eml_note_key *out);
/* The text form, "name+id+base64". Parse: EML_E_INPUT for anything else, EML_E_UNSUPPORTED for a
 * key that is not Ed25519; the name is borrowed from text. */
EML_MUST enum eml_err eml_note_key_print(const struct eml_note_key *k, struct eml_buf *out);
EML_MUST enum eml_err eml_note_key_parse(struct eml_bytes text, struct eml_note_key *out,
                                         struct eml_why *why);

/* text: UTF-8, ends with a line feed, no other control character. Appends the note. */
EML_MUST enum eml_err eml_note_sign(struct eml_bytes text, const struct eml_note_key *k,
                                    const struct eml_ed25519_sk *secret, struct eml_buf *out);
/* *text: what the key signed, borrowed from note. EML_E_INPUT: no note; EML_E_AUTH: not signed by
 * this key. *text is empty on failure. */
EML_MUST enum eml_err eml_note_verify(struct eml_bytes note, const struct eml_note_key *k,
                                      struct eml_bytes *text, struct eml_why *why);

struct eml_checkpoint {
    struct eml_bytes origin; /* borrowed */
    uint64_t size;
    struct eml_sha256 root;
};

/* Signed by the key named as the origin. Appends the note. */
EML_MUST enum eml_err eml_checkpoint_sign(const struct eml_checkpoint *c,
                                          const struct eml_note_key *k,
                                          const struct eml_ed25519_sk *secret, struct eml_buf *out);
/* What a note claims, whoever signed it: not authentic. For finding out which key to ask. */
EML_MUST enum eml_err eml_checkpoint_peek(struct eml_bytes note, struct eml_checkpoint *out,
                                          struct eml_why *why);
/* Signed by k, and k's name is its origin. */
EML_MUST enum eml_err eml_checkpoint_verify(struct eml_bytes note, const struct eml_note_key *k,
                                            struct eml_checkpoint *out, struct eml_why *why);

#endif
