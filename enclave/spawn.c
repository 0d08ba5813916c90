#define _GNU_SOURCE
#include "enclave/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARGS_MAX = 64, FREE_FD = 16 };

static const char *const role_argument[] = {
    [EML_ROLE_WORKER] = "--role=worker",
    [EML_ROLE_FETCHER] = "--role=fetcher",
    [EML_ROLE_CONNECTOR] = "--role=connector",
};

enum eml_role eml_role_of(int argc, char *const *argv, const char **argument, int *skip)
{
    *argument = NULL;
    *skip = 0;
    for (enum eml_role r = EML_ROLE_WORKER; argc >= 3 && r <= EML_ROLE_CONNECTOR; r++) {
        if (strcmp(argv[1], role_argument[r]) == 0) {
            *argument = argv[2];
            *skip = 2;
            return r;
        }
    }
    return EML_ROLE_BROKER;
}

enum eml_err eml_program_open(struct eml_program *p, char *const *argv)
{
    *p = (struct eml_program){.exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
                              .null_fd = open("/dev/null", O_RDWR | O_CLOEXEC),
                              .argv = argv};
    return p->exe_fd >= 0 && p->null_fd >= 0 ? EML_OK : EML_E_SYSTEM;
}

/* {name, role, argument, options...}; execve(2) does not write to them. */
static bool arguments(const struct eml_program *p, enum eml_role role, const char *argument,
                      char *out[ARGS_MAX])
{
    union {
        const char *in;
        char *out;
    } text[2] = {{role_argument[role]}, {argument != NULL ? argument : "-"}};
    size_t n = 0;
    out[n++] = p->argv[0];
    out[n++] = text[0].out;
    out[n++] = text[1].out;
    for (size_t i = 1; p->argv[i] != NULL; i++) {
        if (n >= ARGS_MAX - 1)
            return false;
        out[n++] = p->argv[i];
    }
    out[n] = NULL;
    return true;
}

/* Only calls that are safe after fork. All descriptors move up first, so that none is overwritten.
 */
static void become(const struct eml_program *p, int fd0, int fd1, char *const *argv)
{
    char *const no_environment[] = {NULL};
    sigset_t none;
    (void)sigemptyset(&none);
    int exe = fcntl(p->exe_fd, F_DUPFD_CLOEXEC, FREE_FD);
    int null = fcntl(p->null_fd, F_DUPFD_CLOEXEC, FREE_FD);
    int first = fcntl(fd0, F_DUPFD_CLOEXEC, FREE_FD);
    int second = fd1 >= 0 ? fcntl(fd1, F_DUPFD_CLOEXEC, FREE_FD) : null;
    bool ok = exe >= 0 && null >= 0 && first >= 0 && second >= 0;
    for (int i = 0; i < 3; i++)
        ok = ok && dup2(null, i) == i;
    ok = ok && dup2(first, EML_CHILD_FD_0) == EML_CHILD_FD_0 &&
         dup2(second, EML_CHILD_FD_1) == EML_CHILD_FD_1 &&
         dup3(exe, EML_CHILD_FD_1 + 1, O_CLOEXEC) == EML_CHILD_FD_1 + 1 &&
         syscall(SYS_close_range, EML_CHILD_FD_1 + 2, ~0u, 0) == 0 &&
         sigprocmask(SIG_SETMASK, &none, NULL) == 0;
    if (ok)
        (void)fexecve(EML_CHILD_FD_1 + 1, argv, no_environment);
    _exit(EML_E_SYSTEM);
}

enum eml_err eml_spawn(const struct eml_program *p, enum eml_role role, int fd0, int fd1,
                       const char *argument, pid_t *out)
{
    char *argv[ARGS_MAX];
    *out = -1;
    if (!arguments(p, role, argument, argv))
        return EML_E_USAGE;
    pid_t pid = fork();
    if (pid < 0)
        return EML_E_SYSTEM;
    if (pid == 0)
        become(p, fd0, fd1, argv);
    *out = pid;
    return EML_OK;
}
