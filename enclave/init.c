#define _GNU_SOURCE
#include "enclave/init.h"

#include "base/log.h"
#include "base/wipe.h"
#include "enclave/options.h"
#include "net/net.h"
#include "nsm/nsm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    HEARTBEAT = 0xb7,
    HEARTBEAT_MS = 30000,
    SEED_BYTES = 256,
    LOCKED_AT_BOOT = 16,
    OPTIONS_BYTES_MAX = 4096
};
#define PARENT_HEARTBEAT "vsock:3:9000"

bool eml_init_is(const char *argv0)
{
    return getpid() == 1 && strcmp(argv0, EML_INIT_PATH) == 0;
}

/* --- file systems --- */

/* Nothing can be written but devices and kernel settings, and the latter by root only. */
static enum eml_err mount_all(struct eml_why *why)
{
    static const struct {
        const char *type, *at, *data;
        unsigned long flags;
    } mounts[] = {
        {"devtmpfs", "/dev", "mode=0755", MS_NOSUID | MS_NOEXEC},
        {"proc", "/proc", "hidepid=invisible", MS_NOSUID | MS_NOEXEC | MS_NODEV},
        {"sysfs", "/sys", NULL, MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY},
    };
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++)
        if (mount(mounts[i].type, mounts[i].at, mounts[i].type, mounts[i].flags, mounts[i].data) !=
            0)
            return eml_fail(why, EML_E_SYSTEM, "init: cannot mount", (long)i);
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) != 0)
        return eml_fail(why, EML_E_SYSTEM, "init: cannot make the root read-only", -1);
    return EML_OK;
}

/* An initramfs without device nodes starts its PID 1 without standard streams. */
static void open_console(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    for (int i = 0; i < 3 && fd >= 0; i++)
        (void)dup2(fd, i);
    if (fd > 2)
        (void)close(fd);
}

/* A kernel whose drivers are modules finds them in the image, in the order of their dependencies;
 * ours has them built in. */
static enum eml_err load_modules(struct eml_why *why)
{
    static const char *const modules[] = {"/modules/virtio_mmio.ko", "/modules/vsock.ko",
                                          "/modules/vmw_vsock_virtio_transport_common.ko",
                                          "/modules/vmw_vsock_virtio_transport.ko",
                                          "/modules/nsm.ko"};
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        int fd = open(modules[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        bool ok = fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0;
        eml_net_close(&fd);
        if (!ok)
            return eml_fail(why, EML_E_SYSTEM, "init: a kernel module does not load", (long)i);
    }
    return EML_OK;
}

/* --- kernel settings --- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    return close(fd) == 0 && ok;
}

/* What a kernel does not have it does not have to be told; anything else that fails is fatal. */
static enum eml_err harden(struct eml_why *why)
{
    static const char *const settings[][2] = {
        {"/proc/sys/kernel/modules_disabled", "1"},
        {"/proc/sys/kernel/yama/ptrace_scope", "3"},
        {"/proc/sys/kernel/core_pattern", "/dev/null"},
        {"/proc/sys/kernel/kptr_restrict", "2"},
        {"/proc/sys/kernel/dmesg_restrict", "1"},
        {"/proc/sys/kernel/randomize_va_space", "2"},
        {"/proc/sys/kernel/perf_event_paranoid", "3"},
        {"/proc/sys/kernel/unprivileged_bpf_disabled", "1"},
        {"/proc/sys/kernel/io_uring_disabled", "2"},
        {"/proc/sys/kernel/kexec_load_disabled", "1"},
        {"/proc/sys/kernel/sysrq", "0"},
        {"/proc/sys/kernel/panic_on_oops", "1"},
        {"/proc/sys/vm/unprivileged_userfaultfd", "0"},
        {"/proc/sys/fs/suid_dumpable", "0"},
    };
    int64_t set = 0, absent = 0;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        if (write_file(settings[i][0], settings[i][1]))
            set++;
        else if (errno == ENOENT)
            absent++;
        else
            return eml_fail(why, EML_E_SYSTEM, "init: a kernel setting was refused", (long)i);
    }
    eml_log_event("init.settings", EML_OK, {"set", set}, {"absent", absent});
    return EML_OK;
}

/* --- the world outside --- */

/* nitro-cli waits for this byte, and stops an enclave that does not send it. */
static enum eml_err heartbeat(struct eml_why *why)
{
    int64_t deadline = eml_net_now_ms() + HEARTBEAT_MS;
    uint8_t byte = HEARTBEAT;
    size_t got = 0;
    int fd = -1;
    enum eml_err err = eml_net_connect(PARENT_HEARTBEAT, deadline, &fd, NULL);
    if (err == EML_OK)
        err = eml_net_send(fd, eml_bytes(&byte, 1), deadline);
    byte = 0;
    if (err == EML_OK)
        err = eml_net_recv(fd, (struct eml_room){&byte, 1}, deadline, &got);
    if (err == EML_OK && byte != HEARTBEAT)
        err = EML_E_INPUT;
    eml_net_close(&fd);
    return err == EML_OK ? EML_OK : eml_fail(why, err, "init: no heartbeat from the parent", -1);
}

static enum eml_err call(struct eml_nsm *nsm, const struct eml_nsm_request *q,
                         uint8_t bytes[EML_NSM_RESPONSE_MAX], struct eml_nsm_response *r,
                         struct eml_why *why)
{
    struct eml_buf request = {0};
    size_t n = 0;
    enum eml_err err = eml_nsm_request_encode(q, &request);
    if (err == EML_OK)
        err = eml_nsm_exchange(nsm, eml_buf_bytes(&request),
                               (struct eml_room){bytes, EML_NSM_RESPONSE_MAX}, &n);
    eml_buf_free(&request);
    if (err != EML_OK)
        return eml_fail(why, err, "init: the NSM does not answer", -1);
    return eml_nsm_response_decode(eml_bytes(bytes, n), q->call, r, why);
}

/* The PCRs that say what was booted must be locked: one that is not can be extended from inside. */
static enum eml_err check_nsm(struct eml_nsm *nsm, struct eml_why *why)
{
    uint8_t bytes[EML_NSM_RESPONSE_MAX];
    struct eml_nsm_response nsm_is, pcr0;
    EML_TRY(
        call(nsm, &(struct eml_nsm_request){.call = EML_NSM_DESCRIBE_NSM}, bytes, &nsm_is, why));
    const uint32_t boot = (1u << LOCKED_AT_BOOT) - 1, locked = nsm_is.locked_pcrs;
    if ((locked & boot) != boot)
        return eml_fail(why, EML_E_REFUSED, "init: PCR 0 to 15 are not locked", -1);
    EML_TRY(call(nsm, &(struct eml_nsm_request){.call = EML_NSM_DESCRIBE_PCR}, bytes, &pcr0, why));
    bool zero = true; /* debug mode: every client's policy refuses it */
    for (size_t i = 0; i < pcr0.data.len; i++)
        zero = zero && pcr0.data.ptr[i] == 0;
    eml_log_event("init.nsm", EML_OK, {"locked_pcrs", __builtin_popcount(locked)}, {"debug", zero});
    return EML_OK;
}

/* Mixes the NSM's random bytes into the kernel's pool, and sees to it that the pool is seeded: no
 * key is drawn before. */
static enum eml_err seed(struct eml_nsm *nsm, struct eml_why *why)
{
    /* struct rand_pool_info of random(4), whose last member has no length */
    struct {
        int entropy_bits, bytes_n;
        uint8_t bytes[SEED_BYTES];
    } pool = {0};
    uint8_t bytes[EML_NSM_RESPONSE_MAX], probe[32];
    struct eml_nsm_response r;
    enum eml_err err =
        call(nsm, &(struct eml_nsm_request){.call = EML_NSM_GET_RANDOM}, bytes, &r, why);
    if (err == EML_OK && r.random.len < sizeof probe)
        err = eml_fail(why, EML_E_INPUT, "init: the NSM gave fewer than 32 random bytes", -1);
    if (err == EML_OK) {
        size_t n = r.random.len < SEED_BYTES ? r.random.len : SEED_BYTES;
        memcpy(pool.bytes, r.random.ptr, n);
        pool.bytes_n = (int)n;
        pool.entropy_bits = (int)n * 8;
        int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
        if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) != 0)
            err = eml_fail(why, EML_E_SYSTEM, "init: cannot add to the entropy pool", -1);
        eml_net_close(&fd);
    }
    if (err == EML_OK && getrandom(probe, sizeof probe, GRND_NONBLOCK) != sizeof probe)
        err = eml_fail(why, EML_E_SYSTEM, "init: the entropy pool is not seeded", -1);
    if (err == EML_OK)
        eml_log_event("init.entropy", EML_OK, {"nsm_bytes", pool.bytes_n});
    eml_wipe(&pool, sizeof pool);
    eml_wipe(bytes, sizeof bytes);
    eml_wipe(probe, sizeof probe);
    return err;
}

static enum eml_err use_nsm(struct eml_why *why)
{
    struct eml_nsm *nsm = NULL;
    EML_TRY(eml_nsm_open(&nsm, why));
    enum eml_err err = check_nsm(nsm, why);
    if (err == EML_OK)
        err = seed(nsm, why);
    eml_nsm_close(nsm);
    return err;
}

/* For the log only: what time is made of here. TLS to KMS depends on it, no client does. */
static void note_clock(void)
{
    static const char *const known[] = {"kvm-clock", "tsc", "hpet", "acpi_pm", "refined-jiffies"};
    char name[32] = "";
    int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                  O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, name, sizeof name - 1) : -1;
    eml_net_close(&fd);
    name[n > 0 ? strcspn(name, "\n") : 0] = '\0';
    const char *key = "other";
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            key = known[i];
    eml_log_event("init.clock", EML_OK, {key, 1});
}

/* --- the broker --- */

static enum eml_err read_options(char text[OPTIONS_BYTES_MAX + 1], struct eml_why *why)
{
    int fd = open(EML_INIT_OPTIONS, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, OPTIONS_BYTES_MAX + 1) : -1;
    eml_net_close(&fd);
    if (n < 0 || n > OPTIONS_BYTES_MAX || memchr(text, '\0', (size_t)n) != NULL)
        return eml_fail(why, EML_E_INPUT, "init: the options file is missing, too long or binary",
                        -1);
    text[n] = '\0';
    return EML_OK;
}

static enum eml_err start_broker(pid_t *broker, struct eml_why *why)
{
    char text[OPTIONS_BYTES_MAX + 1], *argv[EML_OPTIONS_LINES_MAX + 2];
    char *const no_environment[] = {NULL};
    EML_TRY(read_options(text, why));
    if (eml_options_split(text, argv) != EML_OK)
        return eml_fail(why, EML_E_INPUT, "init: more options than there can be", -1);
    *broker = fork();
    if (*broker == 0) {
        (void)execve(EML_INIT_PATH, argv, no_environment);
        _exit(EML_E_SYSTEM);
    }
    return *broker > 0 ? EML_OK : eml_fail(why, EML_E_SYSTEM, "init: cannot fork", -1);
}

/* Everything that loses its parent becomes ours. Returns when the broker has ended. */
static int reap_until(pid_t broker)
{
    int status = 0;
    for (pid_t pid; (pid = wait(&status)) != broker;)
        if (pid < 0 && errno != EINTR)
            return 0;
    return status;
}

static enum eml_err set_up(struct eml_why *why)
{
    EML_TRY(mount_all(why));
    open_console();
    EML_TRY(load_modules(why));
    EML_TRY(heartbeat(why));
    EML_TRY(harden(why));
    EML_TRY(use_nsm(why));
    note_clock();
    return EML_OK;
}

_Noreturn void eml_init_run(void)
{
    struct eml_why why = {.rule = ""};
    pid_t broker = -1;
    eml_log_program("init");
    enum eml_err err = set_up(&why);
    if (err == EML_OK)
        err = start_broker(&broker, &why);
    if (err == EML_OK) {
        int status = reap_until(broker);
        eml_log_event("init.end",
                      WIFEXITED(status) && WEXITSTATUS(status) == 0 ? EML_OK : EML_E_SYSTEM,
                      {"status", WIFEXITED(status) ? WEXITSTATUS(status) : -1},
                      {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0});
    } else {
        (void)fprintf(stderr, "init: %s: %s (%ld)\n", eml_err_name(err), why.rule, why.index);
    }
    (void)reboot(RB_AUTOBOOT); /* the end of an enclave, as of its parent's view */
    _exit(EML_E_SYSTEM);       /* the kernel's last word: a panic */
}
