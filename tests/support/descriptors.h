/* Descriptors that are only numbers, for fuzz targets in whose programs nothing is behind them, and
 * a count of real ones: each is closed once, and none is left ("// wrap: socketpair memfd_create
 * close"). Numbers from EML_FD_OTHERS to EML_FD_FIRST are the target's own.
 */
#ifndef EML_TESTSUPPORT_DESCRIPTORS_H
#define EML_TESTSUPPORT_DESCRIPTORS_H

#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

enum { EML_FD_OTHERS = 6000, EML_FD_FIRST = 7000, EML_FDS_MAX = 128 };

static struct {
    bool open[EML_FDS_MAX]; /* from EML_FD_FIRST on */
    int files;              /* real ones that are open */
} eml_fds;

int __wrap_socketpair(int domain, int type, int protocol, int pair[2]);
int __wrap_memfd_create(const char *name, unsigned flags);
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_close(int fd);
int __real_close(int fd);

/* The lowest number that is free; -1 if none is. */
static inline int eml_fds_new(void)
{
    for (int i = 0; i < EML_FDS_MAX; i++)
        if (!eml_fds.open[i]) {
            eml_fds.open[i] = true;
            return EML_FD_FIRST + i;
        }
    errno = EMFILE;
    return -1;
}

static inline bool eml_fds_is_open(int fd)
{
    return fd >= EML_FD_FIRST && fd < EML_FD_FIRST + EML_FDS_MAX && eml_fds.open[fd - EML_FD_FIRST];
}

static inline bool eml_fds_all_closed(void)
{
    return eml_fds.files == 0 && memchr(eml_fds.open, true, sizeof eml_fds.open) == NULL;
}

int __wrap_socketpair(int domain, int type, int protocol, int pair[2])
{
    EML_ASSERT(domain == AF_UNIX && (type & SOCK_CLOEXEC) != 0 && protocol == 0);
    pair[0] = eml_fds_new();
    pair[1] = pair[0] >= 0 ? eml_fds_new() : -1;
    if (pair[1] >= 0)
        return 0;
    if (pair[0] >= 0)
        (void)__wrap_close(pair[0]);
    errno = EMFILE;
    return -1;
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
    int fd = __real_memfd_create(name, flags);
    eml_fds.files += fd >= 0;
    return fd;
}

int __wrap_close(int fd)
{
    if (fd < EML_FD_OTHERS) {
        eml_fds.files--;
        return __real_close(fd);
    }
    EML_ASSERT(fd < EML_FD_FIRST || eml_fds_is_open(fd));
    if (fd >= EML_FD_FIRST)
        eml_fds.open[fd - EML_FD_FIRST] = false;
    return 0;
}

#endif
