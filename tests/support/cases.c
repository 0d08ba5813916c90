#include "testsupport/cases.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The case that runs, or that failed: cmocka leaves a test without a word to it. */
static struct {
    eml_case *one; /* NULL: none */
    struct eml_gen at;
    long number;
    unsigned size;
} current;

void eml_cases(struct eml_gen *g, long n, unsigned size, eml_case *one)
{
    for (long i = 0; i < n; i++) {
        current.at = *g;
        current.number = i;
        current.size = size;
        current.one = one;
        one(g, size);
        current.one = NULL;
    }
}

/* In a child: a failed assertion, which cmocka then makes an abort, ends it. */
static _Noreturn void run_alone(struct eml_gen g, unsigned size, eml_case *one)
{
    const struct rlimit no_core = {0, 0};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    bool ok = null >= 0 && dup2(null, STDOUT_FILENO) >= 0 && dup2(null, STDERR_FILENO) >= 0 &&
              setrlimit(RLIMIT_CORE, &no_core) == 0 && setenv("CMOCKA_TEST_ABORT", "1", 1) == 0 &&
              signal(SIGABRT, SIG_DFL) != SIG_ERR;
    if (ok)
        one(&g, size);
    _exit(0);
}

unsigned eml_cases_smallest(const struct eml_gen *at, unsigned size, eml_case *one)
{
    for (unsigned s = 1; s <= size; s++) {
        int status = 0;
        (void)fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            run_alone(*at, s, one);
        if (child > 0 && waitpid(child, &status, 0) == child && status != 0)
            return s;
    }
    return 0;
}

int eml_cases_shrink(void **state)
{
    (void)state;
    if (current.one == NULL)
        return 0;
    unsigned smallest = eml_cases_smallest(&current.at, current.size, current.one);
    if (smallest == 0)
        (void)fprintf(stderr, "case %ld of EML_SEED=%llu failed, but not again\n", current.number,
                      (unsigned long long)current.at.seed);
    else
        (void)fprintf(
            stderr,
            "case %ld of EML_SEED=%llu: the smallest that fails has at most %u of %u parts\n",
            current.number, (unsigned long long)current.at.seed, smallest, current.size);
    current.one = NULL;
    return 0;
}
