#include "cli/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *command_name = "";

void eml_say_command(const char *name)
{
    command_name = name;
}

void eml_say(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    (void)fprintf(stderr, "eml%s%s: ", command_name[0] != '\0' ? " " : "", command_name);
    (void)vfprintf(stderr, format, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
}

int eml_say_failed(const char *what, enum eml_err e, const struct eml_why *why, const char *hint)
{
    const char *rule = why != NULL && why->rule != NULL ? why->rule : NULL;
    char at[32] = "";
    if (rule != NULL && why->index >= 0)
        (void)snprintf(at, sizeof at, " [%ld]", why->index);
    eml_say("%s: %s%s%s%s%s%s", what, eml_err_name(e), rule != NULL ? ": " : "",
            rule != NULL ? rule : "", at, hint != NULL ? "; " : "", hint != NULL ? hint : "");
    return eml_err_exit(e);
}

void eml_say_progress(const char *step)
{
    if (isatty(STDERR_FILENO) == 1)
        (void)fprintf(stderr, "eml %s: %s ...\n", command_name, step);
}
