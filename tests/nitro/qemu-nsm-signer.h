/* Compiled into the tests' QEMU only (build-qemu.sh): each response of the emulated NSM goes through the
 * program that listens on the socket $EML_TEST_NSM_SIGNER, which signs documents as the Nitro hypervisor
 * would (mock/nsm_signer). Without that variable nothing changes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/socket.h>
#include <sys/un.h>

static bool eml_whole(ssize_t (*step)(int, void *, size_t), int fd, void *buf, size_t n)
{
    for (char *p = buf; n > 0;) {
        ssize_t k = step(fd, p, n);
        if (k <= 0) {
            return false;
        }
        p += k;
        n -= k;
    }
    return true;
}

static ssize_t eml_write(int fd, void *buf, size_t n)
{
    return write(fd, buf, n);
}

static ssize_t eml_read(int fd, void *buf, size_t n)
{
    return read(fd, buf, n);
}

/* A frame is a big-endian length of four bytes, and so many bytes. */
static void eml_test_sign(struct iovec *response)
{
    const char *path = getenv("EML_TEST_NSM_SIGNER");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    uint32_t length = cpu_to_be32(response->iov_len);
    int fd;
    if (!path) {
        return;
    }
    pstrcpy(to.sun_path, sizeof(to.sun_path), path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 ||
        !eml_whole(eml_write, fd, &length, 4) ||
        !eml_whole(eml_write, fd, response->iov_base, response->iov_len) ||
        !eml_whole(eml_read, fd, &length, 4) || be32_to_cpu(length) > NSM_RESPONSE_BUF_SIZE ||
        !eml_whole(eml_read, fd, response->iov_base, be32_to_cpu(length))) {
        error_report("eml-test-nsm-signer does not answer");
        exit(1);
    }
    response->iov_len = be32_to_cpu(length);
    close(fd);
}
