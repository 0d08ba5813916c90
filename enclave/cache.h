/* The weights cache: sealed objects in memory files, by id and size, the least recently used given
 * up first. Sealed bytes only: what is here is what the host has. One thread.
 */
#ifndef EML_ENCLAVE_CACHE_H
#define EML_ENCLAVE_CACHE_H

#include "enclave/ipc.h"
#include "enclave/limits.h"

#include <sys/types.h>

struct eml_cache_entry {
    uint8_t id[EML_IPC_ID];
    uint64_t size;                  /* 0: the entry is free */
    int fd;                         /* memory file; write-sealed once ready */
    int report;                     /* what the fetcher says comes out here; -1: none */
    uint8_t digest[EML_IPC_DIGEST]; /* SHA-256 of the file, once ready */
    pid_t fetcher;                  /* 0: ready */
    uint64_t used;                  /* when last asked for, in requests */
    bool doomed;                    /* reported as bad while it was being fetched */
};

struct eml_cache {
    struct eml_cache_entry entry[EML_CACHE_ENTRIES];
    uint64_t bytes_max, bytes, clock;
};

/* The entry, ready or being fetched, or NULL. Counts as use. */
struct eml_cache_entry *eml_cache_find(struct eml_cache *c, const uint8_t id[EML_IPC_ID],
                                       uint64_t size);
/* A new entry with an empty memory file of this size; gives up ready ones as needed. The caller
 * sets `fetcher`. EML_E_REFUSED: larger than the cache; EML_E_SYSTEM: no room now. */
EML_MUST enum eml_err eml_cache_add(struct eml_cache *c, const uint8_t id[EML_IPC_ID],
                                    uint64_t size, struct eml_cache_entry **out);
struct eml_cache_entry *eml_cache_fetched_by(struct eml_cache *c, pid_t fetcher);
/* The whole file, to be read, with munmap(2) to end it; NULL on failure. Begins where huge pages
 * can, and has all of its pages: with small ones that takes 0.4 microseconds a page, for every
 * request. */
EML_MUST const void *eml_cache_map(int file, size_t size);
/* The fetcher's last steps: seals the file against writing and resizing, for good, puts it into
 * huge pages if the kernel can, and only then computes the digest of what everybody will read. */
EML_MUST enum eml_err eml_cache_seal(int file, uint64_t size, uint8_t digest[EML_IPC_DIGEST]);
/* The fetcher has ended well: takes the digest that it reported. EML_E_SYSTEM: there is none, or
 * the file is not sealed; the entry is dropped. */
EML_MUST enum eml_err eml_cache_ready(struct eml_cache *c, struct eml_cache_entry *e);
/* Closes and forgets; workers that have it mapped keep their mapping. */
void eml_cache_drop(struct eml_cache *c, struct eml_cache_entry *e);
/* Forgets every entry of this id (one that is being fetched: as soon as it is there). */
void eml_cache_bad(struct eml_cache *c, const uint8_t id[EML_IPC_ID]);
void eml_cache_clear(struct eml_cache *c);

#endif
