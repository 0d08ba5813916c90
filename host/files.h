/* Files below a directory, whole: what the sink writes, reads and makes durable. Paths are relative
 * to `at`, a directory's descriptor. On failure errno tells why. */
#ifndef EML_HOST_FILES_H
#define EML_HOST_FILES_H

#include "base/bytes.h"
#include "tile/tile.h"

/* Writes the file, and makes the directories on the way. Whole for every reader when this returns;
 * durable only when the system gets round to it, or by eml_files_sync. */
bool eml_files_write(int at, const char *path, struct eml_bytes b);
/* A file made before its content is known, since making one takes the time; empty and open. */
struct eml_ahead {
    const char *name; /* until it has its content: a file that nobody reads */
    int fd;           /* -1: not made yet, and then it is made when it is needed */
};
/* Makes it, if it is not: a new file, whatever had the name. */
void eml_files_ahead(int at, struct eml_ahead *f);
/* Its content; it stays under its own name. */
bool eml_files_fill(int at, struct eml_ahead *f, struct eml_bytes b);
/* As eml_files_write, by means of one that was made ahead. */
bool eml_files_put(int at, struct eml_ahead *f, const char *path, struct eml_bytes b);
/* Removes it, if it was made and is still empty. */
void eml_files_drop(int at, struct eml_ahead *f);
/* The file and its name, with all directories on the way. path: shorter than EML_TILE_PATH_MAX. */
bool eml_files_sync(int at, const char *path);
/* Into an emptied *out. *missing: there is no such file, which may be fine. More than max bytes are
 * a failure. */
bool eml_files_read(int at, const char *path, size_t max, struct eml_buf *out, bool *missing);

#endif
