/* Files below a directory, whole: what the sink writes, reads and makes durable. Paths are relative
 * to `at`, a directory's descriptor. On failure errno tells why. */
#ifndef EML_HOST_FILES_H
#define EML_HOST_FILES_H

#include "base/bytes.h"
#include "tile/tile.h"

/* Writes the file, and makes the directories on the way. Whole for every reader when this returns;
 * durable only when the system gets round to it, or by eml_files_sync. */
bool eml_files_write(int at, const char *path, struct eml_bytes b);
/* The file and its name, with all directories on the way. path: shorter than EML_TILE_PATH_MAX. */
bool eml_files_sync(int at, const char *path);
/* Into an emptied *out. *missing: there is no such file, which may be fine. More than max bytes are
 * a failure. */
bool eml_files_read(int at, const char *path, size_t max, struct eml_buf *out, bool *missing);

#endif
