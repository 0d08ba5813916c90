/* The real device of nsm/nsm.h: /dev/nsm, one ioctl per exchange. */
#include "nsm/nsm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* include/uapi/linux/nsm.h, which Debian 12's headers do not have yet. */
struct nsm_raw {
    uint64_t request_addr, request_len;
    uint64_t response_addr, response_len;
};
#define NSM_IOCTL_RAW _IOWR(0x0a, 0, struct nsm_raw)
_Static_assert(NSM_IOCTL_RAW == 0xc0200a00u, "the number that the driver answers to");

const bool eml_nsm_genuine = true;

struct eml_nsm {
    int fd;
};

enum eml_err eml_nsm_open(struct eml_nsm **out, struct eml_why *why)
{
    *out = NULL;
    struct eml_nsm *n = calloc(1, sizeof *n);
    if (n == NULL)
        return eml_fail(why, EML_E_SYSTEM, "NSM: out of memory", -1);
    n->fd = open("/dev/nsm", O_RDWR | O_CLOEXEC);
    if (n->fd < 0) {
        free(n);
        return eml_fail(why, EML_E_SYSTEM, "NSM: cannot open /dev/nsm (not a Nitro enclave?)", -1);
    }
    *out = n;
    return EML_OK;
}

void eml_nsm_close(struct eml_nsm *n)
{
    if (n == NULL)
        return;
    (void)close(n->fd);
    free(n);
}

enum eml_err eml_nsm_exchange(struct eml_nsm *n, struct eml_bytes request, struct eml_room response,
                              size_t *response_len)
{
    *response_len = 0;
    if (request.len > EML_NSM_REQUEST_MAX || response.len < EML_NSM_RESPONSE_MAX)
        return EML_E_USAGE;
    struct nsm_raw raw;
    int done;
    do { /* the driver rewrites the lengths, so each attempt starts afresh */
        raw = (struct nsm_raw){.request_addr = (uintptr_t)request.ptr,
                               .request_len = request.len,
                               .response_addr = (uintptr_t)response.ptr,
                               .response_len = response.len};
        done = ioctl(n->fd, NSM_IOCTL_RAW, &raw);
    } while (done < 0 && errno == EINTR);
    if (done < 0) /* ETIMEDOUT: the hypervisor did not answer within two minutes */
        return errno == ETIMEDOUT ? EML_E_NET : EML_E_SYSTEM;
    if (raw.response_len == 0 || raw.response_len > response.len)
        return EML_E_SYSTEM;
    *response_len = (size_t)raw.response_len;
    return EML_OK;
}
