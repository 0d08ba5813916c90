/* The weight store: a directory of opaque objects, named by ids that mean nothing to it.
 *
 *   DIR/ab/ab12...   an object, named by the hex of its 32-byte id, below its first two digits
 *   DIR/tmp/         what is being received; emptied at start
 *
 * An object appears whole or not at all: temporary file, fsync, rename without replacing, fsync of
 * the directory. Ids come from the wire as 32 bytes and become names by hex only, so no path does.
 * Thread safe. Limits: bytes of one object, bytes of all (those being received included).
 */
#ifndef EML_HOST_STORE_H
#define EML_HOST_STORE_H

#include "hostproto/hostproto.h"

struct eml_store;
struct eml_store_put; /* one object being received */

/* Opens (and makes) the directory and counts what is there. *out is NULL on failure. */
EML_MUST enum eml_err eml_store_open(const char *dir, uint64_t object_max, uint64_t total_max,
                                     struct eml_store **out, struct eml_why *why);
void eml_store_close(struct eml_store *s);
/* Objects and bytes stored. */
void eml_store_count(struct eml_store *s, uint64_t *objects, uint64_t *bytes);

/* Reserves room. EML_HOST_OK: write exactly `size` bytes, then finish; or abort. */
enum eml_host_status eml_store_put_begin(struct eml_store *s, const uint8_t id[EML_HOST_ID_BYTES],
                                         uint64_t size, struct eml_store_put **out);
/* EML_HOST_BAD_REQUEST if more than `size` come; EML_HOST_SYSTEM if the disk fails. */
enum eml_host_status eml_store_put_write(struct eml_store_put *p, struct eml_bytes bytes);
/* Frees p in any case. EML_HOST_OK if the object is stored now, or was, with the same bytes. */
enum eml_host_status eml_store_put_finish(struct eml_store_put *p);
/* Frees p and removes what it wrote. NULL is allowed. */
void eml_store_put_abort(struct eml_store_put *p);

/* An open descriptor for reading, and its size; *fd is -1 unless EML_HOST_OK. */
enum eml_host_status eml_store_get(struct eml_store *s, const uint8_t id[EML_HOST_ID_BYTES],
                                   int *fd, uint64_t *size);

#endif
