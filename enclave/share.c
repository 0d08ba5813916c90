#define _GNU_SOURCE
#include "enclave/share.h"

#include "net/net.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

enum eml_err eml_share_make(uint32_t threads, struct eml_share *s)
{
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
    void *p = MAP_FAILED;
    *s = (struct eml_share){.fd = memfd_create("share", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (s->fd >= 0 && ftruncate(s->fd, PAGE) == 0)
        p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    s->threads = p != MAP_FAILED ? p : NULL;
    if (s->threads == NULL || fcntl(s->fd, F_ADD_SEALS, seals) != 0) {
        eml_share_free(s);
        return EML_E_SYSTEM;
    }
    atomic_store(s->threads, threads);
    return EML_OK;
}

void eml_share_free(struct eml_share *s)
{
    if (s->threads != NULL)
        (void)munmap((void *)s->threads, PAGE);
    eml_net_close(&s->fd);
    s->threads = NULL;
}

const _Atomic uint32_t *eml_share_map(int fd)
{
    void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    return p != MAP_FAILED ? p : NULL;
}
