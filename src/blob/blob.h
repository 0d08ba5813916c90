/* Sealed weights: the object that the host stores.
 *
 * The plaintext stream (all slots, in order of execution, each at a multiple of 64 bytes) is cut
 * into chunks of EML_CHUNK_BYTES, padded with zeros to a number of chunks out of a sparse set of
 * size classes (Padme: the size leaks at most O(log log n) bits). Chunk i is AES-256-GCM (or
 * AEGIS-256X4, if the owner chose so) under a key made fresh for this sealing; nonce = 4 zero bytes
 * || be64(i); associated data = "eml-weights/1" || model id || be64(version) || be64(chunks) ||
 * be64(i). The chunks (each followed by its tag) are stored at the positions of a permutation drawn
 * from the same key (docs/formats/sealed-weights.md). No header: the object is indistinguishable
 * from random bytes.
 */
#ifndef EML_BLOB_BLOB_H
#define EML_BLOB_BLOB_H

#include "base/arena.h"
#include "base/bytes.h"
#include "crypto/crypto.h"

#define EML_CHUNK_BYTES 65536u
#define EML_CHUNK_SEALED_BYTES (EML_CHUNK_BYTES + 16u)

struct eml_seal_key {
    uint8_t bytes[32];
};

/* All that is needed to open an object; carried in the topology key. */
struct eml_blob_info {
    uint8_t object_id[32]; /* made of all below with the key; the name in the store */
    uint8_t model_id[16];
    uint64_t version;
    uint64_t chunks;      /* size class, >= 1 */
    uint64_t plain_bytes; /* used part of the plaintext stream */
    enum eml_cipher cipher;
    struct eml_seal_key key;
    uint8_t digest[32]; /* SHA-256 of the sealed object */
};

/* Number of chunks (a size class) for a plaintext of this many bytes; 0 if that is too many (2^32).
 */
uint64_t eml_blob_chunks(uint64_t plain_bytes);
/* Bytes of the sealed object; chunks < 2^32. */
uint64_t eml_blob_sealed_bytes(uint64_t chunks);

/* Seals. Draws the key, sets chunks, plain_bytes, digest and object_id; cipher, model_id and
 * version are the caller's, in *info. Appends the object to *out (whose max must allow for it).
 * On failure the key in *info is wiped and *out is as before. */
EML_MUST enum eml_err eml_blob_seal(struct eml_bytes plain, struct eml_blob_info *info,
                                    struct eml_buf *out);

/* SHA-256 of a sealed object. On failure out is zero. */
EML_MUST enum eml_err eml_blob_digest(struct eml_bytes sealed, uint8_t out[32]);

/* Is an object of this length and digest the one that was sealed? To be asked before any chunk is
 * opened: then what a later run needs, and when it needs it, says nothing about damage elsewhere.
 * EML_E_INPUT: the wrong length; EML_E_AUTH: other bytes. */
EML_MUST enum eml_err eml_blob_check(const struct eml_blob_info *info, uint64_t sealed_bytes,
                                     const uint8_t digest[32], struct eml_why *why);

/* Opens the whole object into out (at least chunks * EML_CHUNK_BYTES long). EML_E_INPUT: the object
 * has the wrong length; EML_E_AUTH: a chunk is not authentic (why->index = logical chunk): out is
 * then wiped. Scratch comes from `arena` and is released. */
EML_MUST enum eml_err eml_blob_open(const struct eml_blob_info *info, struct eml_bytes sealed,
                                    struct eml_arena *arena, struct eml_room out,
                                    struct eml_why *why);

/* The same chunk by chunk, for weights that are decrypted just before they are used. A reader
 * checks the tag of each chunk. One that has compared the object's digest (eml_blob_reader_rely)
 * knows already that all of these bytes are the ones that were sealed: where the cipher allows it,
 * it leaves the tags alone, and can open parts of chunks. */
struct eml_blob_reader {
    struct eml_bytes sealed; /* borrowed */
    uint64_t chunks;
    struct eml_bulk *bulk;    /* secret, in the arena */
    const uint32_t *position; /* secret, in the arena: where logical chunk i is stored */
    uint8_t aad[45];          /* the associated data without the index */
    bool parts; /* the digest was compared, and parts can be opened: no tag is looked at */
};

/* Checks the length of the object and draws the permutation; reads no chunk. The reader lives until
 * the arena is reset to a mark from before. EML_E_INPUT, EML_E_SYSTEM: *r is zero, the arena as
 * before. */
EML_MUST enum eml_err eml_blob_reader_init(struct eml_blob_reader *r,
                                           const struct eml_blob_info *info,
                                           struct eml_bytes sealed, struct eml_arena *arena,
                                           struct eml_why *why);

/* Compares the digest with the one in `info`, and the reader relies on it from now on. There is no
 * other way to such a reader. `digest` is the SHA-256 of r->sealed, computed by somebody trusted
 * over bytes that NOBODY CAN HAVE CHANGED SINCE, NOR CAN while the reader lives: memory of this
 * process alone, or a memory file sealed against writing before it was read; not a file, which
 * others may write to behind a mapping. That key, model id, version and number of chunks are those
 * of the sealing, the object's id tells, which is made of them and the digest. EML_E_AUTH: other
 * bytes, or not their key, model or version. The reader is as before then. */
EML_MUST enum eml_err eml_blob_reader_rely(struct eml_blob_reader *r,
                                           const struct eml_blob_info *info,
                                           const uint8_t digest[32], struct eml_why *why);

/* Opens bytes [at, at + out.len) of the plaintext stream. Only if r->parts. EML_E_SYSTEM: out is
 * wiped. */
EML_MUST enum eml_err eml_blob_read_part(const struct eml_blob_reader *r, uint64_t at,
                                         struct eml_room out, struct eml_why *why);

/* Opens chunks [first, first + n) in logical order into out, n * EML_CHUNK_BYTES long. Any number
 * of threads may read at once. EML_E_AUTH: a chunk is not authentic (why->index = logical chunk):
 * out is wiped, all of it. */
EML_MUST enum eml_err eml_blob_read(const struct eml_blob_reader *r, uint64_t first, uint64_t n,
                                    struct eml_room out, struct eml_why *why);

#endif
