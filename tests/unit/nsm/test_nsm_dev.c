/* The device's object file with the three system calls replaced: there is no /dev/nsm outside of an
 * enclave. The source is included because programs, not a library, choose their device. */
#include "testsupport/support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct raw { /* include/uapi/linux/nsm.h */
    uint64_t request_addr, request_len, response_addr, response_len;
};

static struct {
    int open_result, closed, calls;
    int interruptions; /* so many calls end with EINTR first, the lengths overwritten */
    int failure;       /* errno of the call; 0: it succeeds */
    uint64_t answer_len;
    struct raw seen;
} fake;

static int fake_open(const char *path, int flags)
{
    assert_string_equal(path, "/dev/nsm");
    assert_int_equal(flags, O_RDWR | O_CLOEXEC);
    return fake.open_result;
}

static int fake_close(int fd)
{
    assert_int_equal(fd, fake.open_result);
    fake.closed++;
    return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    struct raw *raw = argument;
    assert_int_equal(fd, fake.open_result);
    assert_int_equal(request, 0xc0200a00);
    fake.calls++;
    fake.seen = *raw;
    if (fake.interruptions > 0) {
        fake.interruptions--;
        raw->request_len = raw->response_len = 0;
        errno = EINTR;
        return -1;
    }
    errno = fake.failure;
    if (fake.failure != 0)
        return -1;
    memset((void *)(uintptr_t)raw->response_addr, 0x55, 4);
    raw->response_len = fake.answer_len;
    return 0;
}

#define open fake_open
#define close fake_close
#define ioctl fake_ioctl
#include "../../../enclave/nsm_dev.c"
#undef open
#undef close
#undef ioctl

static uint8_t response[EML_NSM_RESPONSE_MAX];

static struct eml_nsm *device(void)
{
    struct eml_nsm *n;
    memset(&fake, 0, sizeof fake);
    fake.open_result = 7;
    fake.answer_len = 4;
    assert_int_equal(eml_nsm_open(&n, NULL), EML_OK);
    return n;
}

static void passes_both_buffers_whole(void **state)
{
    (void)state;
    struct eml_nsm *n = device();
    struct eml_bytes request = EML_LIT("request");
    size_t len = 99;
    fake.interruptions = 2;
    assert_int_equal(eml_nsm_exchange(n, request, EML_ROOM(response), &len), EML_OK);
    assert_int_equal(fake.calls, 3);
    assert_int_equal(fake.seen.request_addr, (uintptr_t)request.ptr);
    assert_int_equal(fake.seen.request_len, 7);
    assert_int_equal(fake.seen.response_addr, (uintptr_t)response);
    assert_int_equal(fake.seen.response_len, 12288);
    assert_int_equal(len, 4);
    assert_int_equal(response[3], 0x55);
    eml_nsm_close(n);
    assert_int_equal(fake.closed, 1);
    eml_nsm_close(NULL);
}

static void failures_have_a_class(void **state)
{
    (void)state;
    static const struct {
        int failure;
        uint64_t answer_len;
        enum eml_err e;
    } cases[] = {
        {ETIMEDOUT, 0, EML_E_NET},     {EIO, 0, EML_E_SYSTEM}, {EMSGSIZE, 0, EML_E_SYSTEM},
        {ENODATA, 0, EML_E_SYSTEM},    {0, 0, EML_E_SYSTEM},   {0, 12289, EML_E_SYSTEM},
        {0, UINT64_MAX, EML_E_SYSTEM}, {0, 12288, EML_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_nsm *n = device();
        size_t len = 99;
        fake.failure = cases[i].failure;
        fake.answer_len = cases[i].answer_len;
        assert_int_equal(eml_nsm_exchange(n, EML_LIT("x"), EML_ROOM(response), &len), cases[i].e);
        assert_int_equal(len, cases[i].e == EML_OK ? 12288 : 0);
        eml_nsm_close(n);
    }
}

static void sizes_are_checked_before_the_device_sees_them(void **state)
{
    (void)state;
    static uint8_t request[EML_NSM_REQUEST_MAX + 1];
    struct eml_nsm *n = device();
    struct eml_room small = {response, sizeof response - 1};
    size_t len = 99;
    assert_int_equal(eml_nsm_exchange(n, EML_BYTES(request), EML_ROOM(response), &len),
                     EML_E_USAGE);
    assert_int_equal(eml_nsm_exchange(n, EML_LIT("x"), small, &len), EML_E_USAGE);
    assert_int_equal(fake.calls, 0);
    assert_int_equal(len, 0);
    eml_nsm_close(n);
}

static void without_the_device_it_does_not_open(void **state)
{
    (void)state;
    struct eml_nsm *n;
    struct eml_why why = {0};
    memset(&fake, 0, sizeof fake);
    fake.open_result = -1;
    assert_int_equal(eml_nsm_open(&n, &why), EML_E_SYSTEM);
    assert_null(n);
    assert_non_null(why.rule);
    assert_int_equal(fake.closed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_both_buffers_whole),
        cmocka_unit_test(failures_have_a_class),
        cmocka_unit_test(sizes_are_checked_before_the_device_sees_them),
        cmocka_unit_test(without_the_device_it_does_not_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
