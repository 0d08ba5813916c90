/* The audit sink: keeps the enclave's log on disk, as C2SP tlog-tiles lays it out, and understands
 * none of it.
 *
 *   DIR/checkpoint              what the enclave signed last; names the size
 *   DIR/tile/<L>/<N>[.p/<W>]    hashes          DIR/tile/entries/<N>[.p/<W>]   records
 *   DIR/boots/<index>.cose      attestation documents, by the index of their boot record
 *   DIR/journal.0, .1           the sink's own (journal.h): the last commits
 *   DIR/tile.new.0, .1, DIR/checkpoint.new    the sink's own: the next commit's files, made ahead
 *
 * A commit is acknowledged when it is in the journal for good (one write, beside which the files
 * are written) and everybody sees it in the files, which the system writes back when it likes. So a
 * reader needs no journal, and finds what was acknowledged whether the host runs, has ended or was
 * killed. After the machine itself crashed the files may be anything; opening makes them again from
 * the journal: its snapshot holds all partial tiles, its commits what came after, and full tiles of
 * before were synced before it was written. What the files have beyond the checkpoint is
 * overwritten by the next commit. A full tile that the checkpoint covers is never touched again;
 * partial ones go when a wider one is there. Thread safe; two enclaves at once cannot both write,
 * since a commit must begin where the log ends; nor two hosts, since the directory is locked.
 */
#ifndef EML_HOST_SINK_H
#define EML_HOST_SINK_H

#include "hostproto/audit.h"

struct eml_sink;

/* Opens (and makes) the directory, as the journal says or, in one without (an older log, a copy),
 * as far as the checkpoint says. EML_E_INPUT: that is not there whole; EML_E_SYSTEM: the disk, or
 * another process has it open. *out is NULL on failure. bytes_max: of all that it holds, the
 * journal aside. */
EML_MUST enum eml_err eml_sink_open(const char *dir, uint64_t bytes_max, struct eml_sink **out,
                                    struct eml_why *why);
void eml_sink_close(struct eml_sink *s);
void eml_sink_count(struct eml_sink *s, uint64_t *records, uint64_t *bytes);

/* Appends the answer to a first frame 'A'. */
EML_MUST enum eml_err eml_sink_state(struct eml_sink *s, struct eml_buf *answer);
/* EML_HOST_OK: on disk, and to be seen. EML_HOST_EXISTS: it does not begin where this log ends.
 * EML_HOST_TOO_LARGE: over bytes_max, or the disk is full. EML_HOST_SYSTEM: the disk failed, and
 * nothing more is taken until it is opened again, which shows whether it has this one. Else, unless
 * OK, the log is what it was. */
enum eml_host_status eml_sink_commit(struct eml_sink *s, const struct eml_host_commit *c);
/* What can wait until a commit has been answered: old partial tiles go, full ones are synced, the
 * journal begins anew when the next commit might not fit, and that one's files are made ahead. The
 * next commit does it if nobody has; a failure is the next commit's. */
void eml_sink_settle(struct eml_sink *s);

#endif
