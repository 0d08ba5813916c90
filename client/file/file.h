/* Files of the client: whole reads with a limit, read-only maps, atomic writes.
 *
 * A file that is being written never stands half-written under its name: bytes go to a temporary
 * file in the same directory, which is synced and renamed; on any failure it is removed and what
 * stood there before still does. Paths come from the command line and are trusted, except the
 * relative paths of eml_file_map_beneath, which come out of model files.
 * Errors: EML_E_USAGE (no such file, not readable, a directory), EML_E_INPUT (larger than the
 * limit, or a hostile relative path), EML_E_SYSTEM (disk, memory).
 */
#ifndef EML_FILE_FILE_H
#define EML_FILE_FILE_H

#include "base/bytes.h"

/* The whole file or pipe, at most max bytes, appended to an empty *out. On failure *out is empty
 * (and wiped). */
EML_MUST enum eml_err eml_file_read(const char *path, uint64_t max, struct eml_buf *out,
                                    struct eml_why *why);

/* A regular file mapped read-only; an empty file is an empty view. Who truncates it meanwhile kills
 * this process (SIGBUS). On failure *out is empty. */
EML_MUST enum eml_err eml_file_map(const char *path, uint64_t max, struct eml_bytes *out,
                                   struct eml_why *why);

/* The same for `relative` inside `dir`: it must not be absolute, have an empty, "." or ".."
 * component, or pass through or end in a symbolic link. */
EML_MUST enum eml_err eml_file_map_beneath(const char *dir, const char *relative, uint64_t max,
                                           struct eml_bytes *out, struct eml_why *why);

void eml_file_unmap(struct eml_bytes map); /* empty is fine */

/* Replaces or creates `path` with the given permission bits (0600 for anything secret). After
 * EML_OK the file and its name are on disk. */
EML_MUST enum eml_err eml_file_write_atomic(const char *path, unsigned mode, struct eml_bytes bytes,
                                            struct eml_why *why);

#endif
