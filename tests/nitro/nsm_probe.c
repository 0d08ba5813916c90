/* The /init of a test image: every call of the NSM on the booted machine's /dev/nsm, through the
 * production device object and codec, then the ioctl itself with buffers that are too short. Prints
 * "ok NAME" or "not ok NAME" of each, and "done N" at the end. QEMU answers here, behind the
 * driver of a real kernel.
 */
#include "crypto/crypto.h"
#include "nsm/nsm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <termios.h>
#include <unistd.h>

enum { FREE_PCR = 16, OTHER_PCR = 20, HASH = sizeof(struct eml_sha384), RANDOM = 256 };

struct raw { /* include/uapi/linux/nsm.h */
    uint64_t request_addr, request_len, response_addr, response_len;
};
#define RAW _IOWR(0x0a, 0, struct raw)

static struct eml_nsm *nsm;
static uint8_t answer[EML_NSM_RESPONSE_MAX];
static unsigned checks;

static void check(const char *name, bool holds)
{
    checks++;
    (void)printf("%s %s\n", holds ? "ok" : "not ok", name);
}

/* One call through device and codec. r points into `answer`. */
static enum eml_err call(struct eml_nsm_request q, struct eml_nsm_response *r, struct eml_why *why)
{
    struct eml_buf request = {0};
    size_t n = 0;
    memset(r, 0, sizeof *r);
    enum eml_err err = eml_nsm_request_encode(&q, &request);
    if (err == EML_OK)
        err = eml_nsm_exchange(nsm, eml_buf_bytes(&request), EML_ROOM(answer), &n);
    eml_buf_free(&request);
    return err == EML_OK ? eml_nsm_response_decode(eml_bytes(answer, n), q.call, r, why) : err;
}

static bool refused(struct eml_nsm_request q, enum eml_nsm_error expected)
{
    struct eml_nsm_response r;
    return call(q, &r, NULL) == EML_E_REFUSED && r.error == expected;
}

static uint32_t locked(void)
{
    struct eml_nsm_response r;
    return call((struct eml_nsm_request){.call = EML_NSM_DESCRIBE_NSM}, &r, NULL) == EML_OK
               ? r.locked_pcrs
               : 0;
}

static bool pcr_is(uint16_t index, const struct eml_sha384 *value, bool lock)
{
    struct eml_nsm_response r;
    return call((struct eml_nsm_request){.call = EML_NSM_DESCRIBE_PCR, .index = index}, &r, NULL) ==
               EML_OK &&
           r.lock == lock && eml_bytes_equal(r.data, eml_bytes(value, HASH));
}

static void describe_and_random(void)
{
    struct eml_nsm_response r;
    static uint8_t first[RANDOM];
    const struct eml_nsm_request random = {.call = EML_NSM_GET_RANDOM};
    check("DescribeNSM: module, 32 PCRs, 0 to 15 locked",
          call((struct eml_nsm_request){.call = EML_NSM_DESCRIBE_NSM}, &r, NULL) == EML_OK &&
              r.max_pcrs == EML_NSM_PCR_N && r.locked_pcrs == 0xffff && r.module_id.len > 0);
    check("DescribePCR: one of the boot is locked",
          call((struct eml_nsm_request){.call = EML_NSM_DESCRIBE_PCR}, &r, NULL) == EML_OK &&
              r.lock && r.data.len == HASH);
    check("DescribePCR: no such PCR",
          refused((struct eml_nsm_request){.call = EML_NSM_DESCRIBE_PCR, .index = EML_NSM_PCR_N},
                  EML_NSM_INVALID_INDEX));
    bool full = call(random, &r, NULL) == EML_OK && r.random.len == RANDOM;
    check("GetRandom: 256 bytes", full);
    if (full)
        memcpy(first, r.random.ptr, RANDOM);
    check("GetRandom: other bytes the second time", call(random, &r, NULL) == EML_OK &&
                                                        r.random.len == RANDOM &&
                                                        memcmp(first, r.random.ptr, RANDOM) != 0);
}

/* What a PCR becomes: SHA384(old || data). */
static bool extend(struct eml_sha384 *value, uint16_t index, struct eml_bytes data)
{
    struct eml_nsm_response r;
    const struct eml_bytes parts[] = {eml_bytes(value, HASH), data};
    if (eml_sha384(parts, 2, value) != EML_OK)
        return false;
    return call((struct eml_nsm_request){.call = EML_NSM_EXTEND_PCR, .index = index, .data = data},
                &r, NULL) == EML_OK &&
           eml_bytes_equal(r.data, eml_bytes(value, HASH));
}

static void extend_and_lock(void)
{
    struct eml_nsm_response r;
    struct eml_sha384 value = {{0}};
    const struct eml_nsm_request more = {
        .call = EML_NSM_EXTEND_PCR, .index = FREE_PCR, .data = EML_LIT("more")};
    const struct eml_nsm_request lock = {.call = EML_NSM_LOCK_PCR, .index = FREE_PCR};
    check("DescribePCR: one that is free is zero", pcr_is(FREE_PCR, &value, false));
    check("ExtendPCR", extend(&value, FREE_PCR, EML_LIT("first")));
    check("ExtendPCR: again", extend(&value, FREE_PCR, EML_LIT("second")));
    check("ExtendPCR: one of the boot",
          refused((struct eml_nsm_request){.call = EML_NSM_EXTEND_PCR, .data = EML_LIT("x")},
                  EML_NSM_READ_ONLY_INDEX));
    check("ExtendPCR: no such PCR", refused((struct eml_nsm_request){.call = EML_NSM_EXTEND_PCR,
                                                                     .index = EML_NSM_PCR_N,
                                                                     .data = EML_LIT("x")},
                                            EML_NSM_INVALID_INDEX));
    check("LockPCR",
          call(lock, &r, NULL) == EML_OK && pcr_is(FREE_PCR, &value, true) && locked() == 0x1ffff);
    check("LockPCR: twice", refused(lock, EML_NSM_READ_ONLY_INDEX));
    check("ExtendPCR: locked",
          refused(more, EML_NSM_READ_ONLY_INDEX) && pcr_is(FREE_PCR, &value, true));
    check("LockPCR: no such PCR",
          refused((struct eml_nsm_request){.call = EML_NSM_LOCK_PCR, .index = EML_NSM_PCR_N},
                  EML_NSM_INVALID_INDEX));
    check("LockPCRs: below 20",
          call((struct eml_nsm_request){.call = EML_NSM_LOCK_PCRS, .range = OTHER_PCR}, &r, NULL) ==
                  EML_OK &&
              locked() == 0xfffff);
    check("LockPCRs: more than there are",
          refused((struct eml_nsm_request){.call = EML_NSM_LOCK_PCRS, .range = EML_NSM_PCR_N + 1},
                  EML_NSM_INVALID_INDEX));
    value = (struct eml_sha384){{0}};
    check("ExtendPCR: beyond those", extend(&value, OTHER_PCR, EML_LIT("free")));
}

static void attest(void)
{
    struct eml_nsm_response r;
    static const uint8_t big[EML_NSM_REQUEST_MAX];
    struct eml_nsm_request q = {
        .call = EML_NSM_ATTESTATION, .nonce = EML_LIT("nonce"), .public_key = EML_LIT("key")};
    check("Attestation: a document", call(q, &r, NULL) == EML_OK && r.document.len > 1000);
    q.user_data = EML_BYTES(big);
    check("Attestation: larger than a request can be", call(q, &r, NULL) == EML_E_USAGE);
}

/* What the device makes of a request, when `room` bytes are offered for the answer. -1: errno. */
static long raw_call(struct eml_bytes request, size_t room)
{
    int fd = open("/dev/nsm", O_RDWR | O_CLOEXEC);
    struct raw raw = {(uintptr_t)request.ptr, request.len, (uintptr_t)answer, room};
    memset(answer, 0xee, sizeof answer);
    int done = fd >= 0 ? ioctl(fd, RAW, &raw) : -1;
    int error = errno;
    (void)close(fd);
    errno = error;
    return done == 0 ? (long)raw.response_len : -1;
}

static void raw_calls(void)
{
    static uint8_t longer[EML_NSM_REQUEST_MAX + 1];
    struct eml_nsm_response r;
    struct eml_buf random = {0};
    bool cut = eml_nsm_put_random(&random) == EML_OK;
    const size_t whole = cut ? (size_t)raw_call(eml_buf_bytes(&random), sizeof answer) : 0;
    check("raw GetRandom", whole > RANDOM && whole < sizeof answer);
    for (size_t n = 0; n < whole && cut; n++)
        cut = raw_call(eml_buf_bytes(&random), n) == (long)n && answer[n] == 0xee &&
              eml_nsm_response_decode(eml_bytes(answer, n), EML_NSM_GET_RANDOM, &r, NULL) ==
                  EML_E_INPUT;
    check("raw: every shorter buffer is cut, not overrun, and refused", cut);
    eml_buf_free(&random);
    check("raw: a request that is too long",
          raw_call(EML_BYTES(longer), sizeof answer) == -1 && errno == EMSGSIZE);
    long n = raw_call(EML_LIT("\x6bNoSuchCall!"), sizeof answer);
    check("raw: an unknown call is an error",
          n > 0 &&
              eml_nsm_response_decode(eml_bytes(answer, (size_t)n), EML_NSM_GET_RANDOM, &r, NULL) ==
                  EML_E_REFUSED &&
              r.error == EML_NSM_INVALID_OPERATION);
    n = raw_call(EML_LIT("\xff\xff"), sizeof answer);
    check("raw: no CBOR is an error",
          n > 0 && eml_nsm_response_decode(eml_bytes(answer, (size_t)n), EML_NSM_GET_RANDOM, &r,
                                           NULL) == EML_E_REFUSED);
}

int main(void)
{
    struct eml_why why = {.rule = ""};
    bool up = mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755") == 0;
    int console = open("/dev/console", O_RDWR | O_NOCTTY);
    for (int i = 0; i < 3 && console >= 0; i++)
        (void)dup2(console, i);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    check("/dev/nsm", up && eml_nsm_open(&nsm, &why) == EML_OK);
    if (nsm != NULL) {
        describe_and_random();
        extend_and_lock();
        attest();
        raw_calls();
        eml_nsm_close(nsm);
    }
    (void)printf("done %u\n", checks);
    (void)fflush(stdout);
    (void)tcdrain(1);
    (void)reboot(RB_AUTOBOOT);
    return 1;
}
