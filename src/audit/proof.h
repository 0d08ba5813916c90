/* One record's place in the log, in a file that can be checked offline (C2SP tlog-proof):
 *
 *   c2sp.org/tlog-proof@v1
 *   index <decimal>
 *   <base64 of a hash>      any number, leaf side first
 *                           (an empty line)
 *   <checkpoint>            as signed
 */
#ifndef EML_AUDIT_PROOF_H
#define EML_AUDIT_PROOF_H

#include "audit/note.h"
#include "audit/tree.h"

#define EML_PROOF_BYTES_MAX (EML_NOTE_BYTES_MAX + 4096u)

struct eml_proof {
    uint64_t index;
    struct eml_tree_proof path;
    struct eml_bytes checkpoint; /* the note, borrowed */
};

/* Appends the file. */
EML_MUST enum eml_err eml_proof_print(const struct eml_proof *p, struct eml_buf *out);
/* Accepts an "extra" line of others and ignores it. On failure *out is zero. */
EML_MUST enum eml_err eml_proof_parse(struct eml_bytes text, struct eml_proof *out,
                                      struct eml_why *why);
/* That this entry stands at p->index in a log whose key is k. *checkpoint (may be NULL): what was
 * signed. */
EML_MUST enum eml_err eml_proof_verify(const struct eml_proof *p, struct eml_bytes entry,
                                       const struct eml_note_key *k,
                                       struct eml_checkpoint *checkpoint, struct eml_why *why);

#endif
