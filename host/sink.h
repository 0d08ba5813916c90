/* The audit sink: keeps the enclave's log on disk, as C2SP tlog-tiles lays it out, and understands
 * none of it.
 *
 *   DIR/checkpoint              what the enclave signed last; names the size
 *   DIR/tile/<L>/<N>[.p/<W>]    hashes          DIR/tile/entries/<N>[.p/<W>]   records
 *   DIR/boots/<index>.cose      attestation documents, by the index of their boot record
 *
 * A commit is acknowledged when all of it is on disk: entries, tiles from low to high, and then the
 * checkpoint, by fsync of each file and its directory. What a crash left beyond the checkpoint is
 * overwritten by the next commit. A full tile that the checkpoint covers is never touched again;
 * partial ones go when a wider one is on disk. Thread safe; two enclaves at once cannot both write,
 * since a commit must begin where the log ends.
 */
#ifndef EML_HOST_SINK_H
#define EML_HOST_SINK_H

#include "hostproto/audit.h"

struct eml_sink;

/* Opens (and makes) the directory. Fails if what the checkpoint claims is not there whole. *out is
 * NULL on failure. bytes_max: of all that it holds. */
EML_MUST enum eml_err eml_sink_open(const char *dir, uint64_t bytes_max, struct eml_sink **out,
                                    struct eml_why *why);
void eml_sink_close(struct eml_sink *s);
void eml_sink_count(struct eml_sink *s, uint64_t *records, uint64_t *bytes);

/* Appends the answer to a first frame 'A'. */
EML_MUST enum eml_err eml_sink_state(struct eml_sink *s, struct eml_buf *answer);
/* EML_HOST_OK: on disk. EML_HOST_EXISTS: it does not begin where this log ends. EML_HOST_TOO_LARGE:
 * over bytes_max, or the disk is full. EML_HOST_SYSTEM: the disk failed. Unless OK, the log is what
 * it was. */
enum eml_host_status eml_sink_commit(struct eml_sink *s, const struct eml_host_commit *c);

#endif
