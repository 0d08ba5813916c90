/* The sink's journal: frames of bytes, each durable when appended, at the cost of one write.
 *
 *   DIR/journal.0, DIR/journal.1    each FILE_BYTES long, one of them in use
 *   frame = be32 magic || be32 CRC-32 of what follows || be64 epoch || be32 number || be32 length
 * || bytes || zeros up to a multiple of BLOCK
 *
 * The files are made once, full of zeros, and then only overwritten in place: no block is allocated
 * and no size changes, so a write with O_DSYNC is all that durability asks for (and with O_DIRECT,
 * where the file system has it, the disk is asked once instead of twice). A frame that a crash tore
 * has not its CRC, and ends the journal.
 *
 * An epoch begins with frame 0, a snapshot of all that the frames of the epoch before add up to; it
 * is written into the file that is not in use. A crash in the middle of it leaves the epoch before.
 * Knows nothing of what frames mean. Not thread safe; one process at a time (the sink's lock).
 */
#ifndef EML_HOST_JOURNAL_H
#define EML_HOST_JOURNAL_H

#include "base/bytes.h"

struct eml_journal;

/* Reads the journal of the directory `dir` (a descriptor, borrowed for the journal's life). *found:
 * there is one, whose newest epoch can be read by eml_journal_next. EML_E_INPUT: it is damaged: the
 * files are there, but none with a snapshot. *out is NULL on failure. */
EML_MUST enum eml_err eml_journal_open(int dir, struct eml_journal **out, bool *found);
void eml_journal_close(struct eml_journal *j); /* NULL is allowed */

/* The next frame of the epoch that was found, borrowed until eml_journal_begin; false: no more. */
bool eml_journal_next(struct eml_journal *j, struct eml_bytes *frame);
/* Begins an epoch (and makes the files, if there are none). Durable if true; if false (errno) it is
 * not known whether, and nothing may be appended any more. */
EML_MUST bool eml_journal_begin(struct eml_journal *j, struct eml_bytes snapshot);
/* Whether a frame of so many bytes has room in this epoch. */
bool eml_journal_fits(const struct eml_journal *j, size_t bytes);
/* Durable if true; if false (errno: why) the next one takes its place. It must fit. */
EML_MUST bool eml_journal_append(struct eml_journal *j, struct eml_bytes frame);
/* Takes back the frame that was appended last, once: durable if true, else it is not known whether.
 */
EML_MUST bool eml_journal_retract(struct eml_journal *j);

#endif
