/* Sealed weights: the object that the host stores.
 *
 * The plaintext stream (all slots, in order of execution, each at a multiple of 64 bytes) is cut
 * into chunks of EML_CHUNK_BYTES, padded with zeros to a number of chunks out of a sparse set of
 * size classes (Padme: the size leaks at most O(log log n) bits). Chunk i is AES-256-GCM under a key
 * made fresh for this sealing; nonce = 4 zero bytes || be64(i); associated data = "eml-weights/1" ||
 * model id || be64(version) || be64(chunks) || be64(i). The chunks (each followed by its tag) are
 * stored at the positions of a permutation drawn from the same key (docs/formats/sealed-weights.md).
 * No header: the object is indistinguishable from random bytes.
 */
#ifndef EML_BLOB_BLOB_H
#define EML_BLOB_BLOB_H

#include "base/arena.h"
#include "base/bytes.h"

#define EML_CHUNK_BYTES 65536u
#define EML_CHUNK_SEALED_BYTES (EML_CHUNK_BYTES + 16u)

struct eml_seal_key {
    uint8_t bytes[32];
};

/* All that is needed to open an object; carried in the topology key. */
struct eml_blob_info {
    uint8_t object_id[32];  /* random; the name in the store */
    uint8_t model_id[16];
    uint64_t version;
    uint64_t chunks;        /* size class, >= 1 */
    uint64_t plain_bytes;   /* used part of the plaintext stream */
    struct eml_seal_key key;
};

/* Number of chunks (a size class) for a plaintext of this many bytes. */
uint64_t eml_blob_chunks(uint64_t plain_bytes);
/* Bytes of the sealed object. */
uint64_t eml_blob_sealed_bytes(uint64_t chunks);

/* Seals. Draws object_id and key, sets chunks and plain_bytes; model_id and version are the
 * caller's, in *info. Appends the object to *out. On failure the key in *info is wiped. */
EML_MUST enum eml_err eml_blob_seal(struct eml_bytes plain, struct eml_blob_info *info,
                                    struct eml_buf *out);

/* Opens the whole object into out (at least chunks * EML_CHUNK_BYTES long). EML_E_INPUT: the object
 * has the wrong length; EML_E_AUTH: a chunk is not authentic (why->index = logical chunk): out is
 * then wiped. Scratch comes from `arena` and is released. */
EML_MUST enum eml_err eml_blob_open(const struct eml_blob_info *info, struct eml_bytes sealed,
                                    struct eml_arena *arena, struct eml_room out,
                                    struct eml_why *why);

#endif
