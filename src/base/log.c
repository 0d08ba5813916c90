#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *program = "eml";

void eml_log_program(const char *name)
{
    program = name;
}

void eml_log(const char *event, enum eml_err e, const struct eml_log_field *fields, size_t n)
{
    char line[512];
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int len =
        snprintf(line, sizeof line, "%lld.%03ld %s event=%s class=\"%s\"", (long long)now.tv_sec,
                 now.tv_nsec / 1000000, program, event, eml_err_name(e));
    for (size_t i = 0; i < n && len > 0 && (size_t)len < sizeof line - 1; i++)
        len += snprintf(line + len, sizeof line - (size_t)len, " %s=%" PRId64, fields[i].key,
                        fields[i].value);
    if (len <= 0)
        return;
    size_t used = (size_t)len < sizeof line - 1 ? (size_t)len : sizeof line - 2;
    line[used] = '\n';
    /* One write per line keeps lines of several processes whole; a lost line is no error. */
    ssize_t ignored = write(STDERR_FILENO, line, used + 1);
    (void)ignored;
}
