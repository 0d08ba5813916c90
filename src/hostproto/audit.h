/* What enclave and host say about the audit log, after the first frame 'A' on the service port
 * (docs/formats/host.md): the host answers with the state of the log that it keeps; then each frame
 * from the enclave is a commit, each answer a status (a frame of one byte). The connection stays.
 *
 *   state   status; be64 size; be16 length || checkpoint; then, from level 0 up, the hashes of the
 *           partial tile at the right edge, as many as the size says
 *   commit  be64 first index; be16 n; n entries, each be16 length || bytes; then, from level 0 up,
 *           the hashes that these entries complete, as many as first and n say;
 *           be32 length || attestation document (may be empty); be16 length || checkpoint
 *
 * Hashes have 32 bytes. Nobody here looks into entries, hashes or documents.
 */
#ifndef EML_HOSTPROTO_AUDIT_H
#define EML_HOSTPROTO_AUDIT_H

#include "hostproto/hostproto.h"
#include "tile/tile.h"

#define EML_HOST_LOG_BATCH_MAX 256u       /* entries of one commit */
#define EML_HOST_LOG_ENTRY_MAX 2048u      /* bytes of one entry */
#define EML_HOST_LOG_CHECKPOINT_MAX 1024u /* bytes */
#define EML_HOST_LOG_DOCUMENT_MAX 16384u
#define EML_HOST_LOG_STATE_MAX (1u << 17)  /* bytes of a state frame */
#define EML_HOST_LOG_COMMIT_MAX (1u << 20) /* bytes of a commit frame */

struct eml_host_log_state { /* views borrowed */
    uint64_t size;
    struct eml_bytes checkpoint; /* empty iff size is 0 */
    struct eml_bytes edge[EML_TILE_LEVELS];
};
/* Appends a whole answer with status OK. EML_E_USAGE: lengths that do not fit the size. */
EML_MUST enum eml_err eml_host_log_state_encode(const struct eml_host_log_state *s,
                                                struct eml_buf *out);
/* Views into frame. *status is set in any case that decodes; the state only if it is OK. */
EML_MUST enum eml_err eml_host_log_state_decode(struct eml_bytes frame,
                                                enum eml_host_status *status,
                                                struct eml_host_log_state *out);

struct eml_host_commit { /* views borrowed */
    uint64_t first;
    unsigned n;
    struct eml_bytes entries; /* n times be16 length || bytes */
    struct eml_bytes hashes[EML_TILE_LEVELS];
    struct eml_bytes document, checkpoint;
};
/* How many hashes of a level the entries [first, first + n) complete. */
uint64_t eml_host_commit_hashes(uint64_t first, unsigned n, unsigned level);
/* Appends the frame's content. EML_E_USAGE: lengths that do not fit, or over a limit. */
EML_MUST enum eml_err eml_host_commit_encode(const struct eml_host_commit *c, struct eml_buf *out);
/* EML_E_INPUT for anything but one whole commit; *out is then zero. */
EML_MUST enum eml_err eml_host_commit_decode(struct eml_bytes frame, struct eml_host_commit *out);

#endif
