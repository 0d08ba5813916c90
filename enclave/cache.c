#define _GNU_SOURCE
#include "enclave/cache.h"

#include "blob/blob.h"
#include "net/net.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool has_id(const struct eml_cache_entry *e, const uint8_t id[EML_IPC_ID])
{
    return e->size != 0 && memcmp(e->id, id, EML_IPC_ID) == 0;
}

struct eml_cache_entry *eml_cache_find(struct eml_cache *c, const uint8_t id[EML_IPC_ID],
                                       uint64_t size)
{
    for (size_t i = 0; i < EML_CACHE_ENTRIES; i++) {
        struct eml_cache_entry *e = &c->entry[i];
        if (has_id(e, id) && e->size == size && !e->doomed) {
            e->used = ++c->clock;
            return e;
        }
    }
    return NULL;
}

/* A free entry, with room for `size` in the budget; NULL if only what is being fetched is left. */
static struct eml_cache_entry *make_room(struct eml_cache *c, uint64_t size)
{
    for (;;) {
        struct eml_cache_entry *spare = NULL, *oldest = NULL;
        for (size_t i = 0; i < EML_CACHE_ENTRIES; i++) {
            struct eml_cache_entry *e = &c->entry[i];
            if (e->size == 0)
                spare = e;
            else if (e->fetcher == 0 && (oldest == NULL || e->used < oldest->used))
                oldest = e;
        }
        if (spare != NULL && size <= c->bytes_max - c->bytes)
            return spare;
        if (oldest == NULL)
            return NULL;
        eml_cache_drop(c, oldest);
    }
}

enum eml_err eml_cache_add(struct eml_cache *c, const uint8_t id[EML_IPC_ID], uint64_t size,
                           struct eml_cache_entry **out)
{
    *out = NULL;
    if (size == 0)
        return EML_E_INPUT;
    if (size > c->bytes_max || size > INT64_MAX)
        return EML_E_REFUSED;
    struct eml_cache_entry *e = make_room(c, size);
    if (e == NULL)
        return EML_E_SYSTEM;
    int fd = memfd_create("weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
        eml_net_close(&fd);
        return EML_E_SYSTEM;
    }
    *e = (struct eml_cache_entry){
        .size = size, .fd = fd, .report = -1, .fetcher = -1, .used = ++c->clock};
    memcpy(e->id, id, EML_IPC_ID);
    c->bytes += size;
    *out = e;
    return EML_OK;
}

struct eml_cache_entry *eml_cache_fetched_by(struct eml_cache *c, pid_t fetcher)
{
    for (size_t i = 0; i < EML_CACHE_ENTRIES; i++)
        if (c->entry[i].size != 0 && c->entry[i].fetcher == fetcher)
            return &c->entry[i];
    return NULL;
}

enum { SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };
enum { SMALL_PAGE = 4096, HUGE_PAGE = 2 << 20 };
enum { MADV_COLLAPSE_ALL = 25 }; /* MADV_COLLAPSE, which the C library's header may not know */

const void *eml_cache_map(int file, size_t size)
{
    if (size == 0 || size > SIZE_MAX - HUGE_PAGE)
        return NULL;
    uint8_t *room =
        mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    size_t before = HUGE_PAGE - (uintptr_t)room % HUGE_PAGE;
    uint8_t *end = room + size + HUGE_PAGE, *at = room + before;
    void *p = mmap(at, size, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file, 0);
    if (p == MAP_FAILED) {
        (void)munmap(room, size + HUGE_PAGE);
        return NULL;
    }
    uint8_t *rest = at + (size + SMALL_PAGE - 1) / SMALL_PAGE * SMALL_PAGE;
    (void)munmap(room, before);
    if (rest < end)
        (void)munmap(rest, (size_t)(end - rest));
    return p;
}

enum eml_err eml_cache_seal(int file, uint64_t size, uint8_t digest[EML_IPC_DIGEST])
{
    memset(digest, 0, EML_IPC_DIGEST);
    if (size > SIZE_MAX || fcntl(file, F_ADD_SEALS, SEALS) != 0)
        return EML_E_SYSTEM;
    union {
        const void *in;
        void *out;
    } p = {eml_cache_map(file, (size_t)size)};
    if (p.in == NULL)
        return EML_E_SYSTEM;
    /* Since Linux 6.1, whatever the system's setting for shared memory; without it is slower. */
    (void)madvise(p.out, (size_t)size / HUGE_PAGE * HUGE_PAGE, MADV_COLLAPSE_ALL);
    enum eml_err err = eml_blob_digest(eml_bytes(p.in, (size_t)size), digest);
    (void)munmap(p.out, (size_t)size);
    return err;
}

enum eml_err eml_cache_ready(struct eml_cache *c, struct eml_cache_entry *e)
{
    size_t n = 0;
    enum eml_err err = eml_ipc_recv(e->report, eml_net_now_ms(), EML_ROOM(e->digest), &n, NULL);
    eml_net_close(&e->report);
    if (err != EML_OK || n != sizeof e->digest || fcntl(e->fd, F_GET_SEALS) != SEALS) {
        eml_cache_drop(c, e);
        return EML_E_SYSTEM;
    }
    e->fetcher = 0;
    return EML_OK;
}

void eml_cache_drop(struct eml_cache *c, struct eml_cache_entry *e)
{
    c->bytes -= e->size;
    eml_net_close(&e->fd);
    eml_net_close(&e->report);
    *e = (struct eml_cache_entry){.fd = -1, .report = -1};
}

void eml_cache_bad(struct eml_cache *c, const uint8_t id[EML_IPC_ID])
{
    for (size_t i = 0; i < EML_CACHE_ENTRIES; i++) {
        struct eml_cache_entry *e = &c->entry[i];
        if (has_id(e, id) && e->fetcher == 0)
            eml_cache_drop(c, e);
        else if (has_id(e, id))
            e->doomed = true;
    }
}

void eml_cache_clear(struct eml_cache *c)
{
    for (size_t i = 0; i < EML_CACHE_ENTRIES; i++)
        if (c->entry[i].size != 0)
            eml_cache_drop(c, &c->entry[i]);
}
