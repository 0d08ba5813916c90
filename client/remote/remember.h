/* A client's memory of one service (memory.h) in a file: what lets it notice that somebody has put
 * something older in place of a newer.
 *
 * A session compares with what was remembered when it began, so that sessions at one time do not
 * refuse each other; what is newer is put into the file as it is then, by one process at a time.
 * The file is replaced as a whole and is on disk when a call returns. The lock is FILE.lock.
 */
#ifndef EML_REMOTE_REMEMBER_H
#define EML_REMOTE_REMEMBER_H

#include "remote/memory.h"

/* No such file: *out is empty, and so it is on failure. To be freed. */
EML_MUST enum eml_err eml_remember_read(const char *path, struct eml_memory *out,
                                        struct eml_why *why);

/* Compares with *was, and puts what is newer into the file and into *was. If anything is refused
 * (as eml_memory_compare and eml_memory_raise do), nothing is written. */
EML_MUST enum eml_err eml_remember(const char *path, struct eml_memory *was,
                                   const struct eml_seen *seen, struct eml_why *why);

#endif
