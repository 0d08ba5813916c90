#define _GNU_SOURCE
#include "enclave/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static bool die_with_parent(void)
{
    /* A parent that died before this call is gone for good: then there is nobody to work for. */
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() != 0;
}

/* Through syscall(2), since C libraries do not agree on the type of `what`. */
static bool limit(int what, uint64_t value)
{
    const struct rlimit r = {value, value};
    return syscall(SYS_prlimit64, 0, what, &r, NULL) == 0;
}

enum eml_err eml_sandbox_start(void)
{
    bool ok = prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
              limit(RLIMIT_CORE, 0) && die_with_parent();
    return ok ? EML_OK : EML_E_SYSTEM;
}

/* Changing the user makes the kernel forget the two settings after it. */
static bool drop_user(void)
{
    if (geteuid() != 0)
        return true;
    return setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
           setresuid(NOBODY, NOBODY, NOBODY) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0 &&
           die_with_parent();
}

/* No path may be opened, for any purpose. A kernel (or a container) without Landlock leaves it to
 * seccomp, which has no call that takes a path. */
enum eml_err eml_sandbox_no_paths(void)
{
    const struct landlock_ruleset_attr all = {.handled_access_fs =
                                                  (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    long fd = syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
    if (fd < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM ? EML_OK : EML_E_SYSTEM;
    bool ok = syscall(SYS_landlock_restrict_self, fd, 0) == 0;
    (void)close((int)fd);
    return ok ? EML_OK : EML_E_SYSTEM;
}

/* Needed by both: memory, time, waiting, the end. getpid is OpenSSL's check for forks. */
static const int common[] = {
    SCMP_SYS(munmap),        SCMP_SYS(mremap),       SCMP_SYS(madvise),
    SCMP_SYS(brk),           SCMP_SYS(poll),         SCMP_SYS(ppoll),
    SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(getrandom),     SCMP_SYS(close),        SCMP_SYS(exit),
    SCMP_SYS(exit_group),    SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
    SCMP_SYS(recvmsg),       SCMP_SYS(recvfrom),     SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),        SCMP_SYS(futex),        SCMP_SYS(sched_yield),
    SCMP_SYS(getpid),
};
/* Threads that start late register themselves; they were created before. The pool asks where its
 * threads are: a system call where neither rseq nor the vDSO tells. */
static const int for_threads[] = {
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq),   SCMP_SYS(rt_sigprocmask), SCMP_SYS(mlock2),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(gettid), SCMP_SYS(getcpu),
};

static bool allow(scmp_filter_ctx f, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0) != 0)
            return false;
    return true;
}

static bool fill(scmp_filter_ctx f, enum eml_sandbox which)
{
    const struct scmp_arg_cmp not_exec = SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    bool ok = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
              seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0 &&
              seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 &&
              allow(f, common, sizeof common / sizeof common[0]) &&
              seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, not_exec) == 0 &&
              seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, not_exec) == 0;
    /* Its own threads only: a worker halts them before it wipes; each chooses its CPU itself. */
    const struct scmp_arg_cmp own = SCMP_A0_64(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0);
    const struct scmp_arg_cmp self = SCMP_A0_32(SCMP_CMP_EQ, 0, 0);
    if (which == EML_SANDBOX_WORKER)
        return ok && allow(f, for_threads, sizeof for_threads / sizeof for_threads[0]) &&
               seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, own) == 0 &&
               seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(sched_getaffinity), 1, self) == 0 &&
               seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(sched_setaffinity), 1, self) == 0;
    return ok && seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(pwrite64), 0) == 0 &&
           seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                            SCMP_A1(SCMP_CMP_EQ, F_ADD_SEALS, 0)) == 0;
}

static bool filter(enum eml_sandbox which)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
    bool ok = f != NULL && fill(f, which) && seccomp_load(f) == 0;
    if (f != NULL)
        seccomp_release(f);
    return ok;
}

enum eml_err eml_sandbox_enter(enum eml_sandbox which, const struct eml_sandbox_limits *l)
{
    bool ok = limit(RLIMIT_CPU, l->cpu_seconds) && limit(RLIMIT_FSIZE, l->file_bytes) &&
              limit(RLIMIT_NOFILE, l->descriptors) && limit(RLIMIT_AS, l->memory_bytes) &&
              drop_user() && limit(RLIMIT_NPROC, 0) && filter(which);
    return ok ? EML_OK : EML_E_SYSTEM;
}
