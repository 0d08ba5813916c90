/* What `eml` says to the person at the terminal: messages on standard error, one line each, that
 * name what was wrong and what to do. Arguments are the user's own words (file names, options),
 * never contents of a model, key, input or output.
 */
#ifndef EML_CLI_SAY_H
#define EML_CLI_SAY_H

#include "base/err.h"

#include <stdbool.h>

/* "eml COMMAND: text"; the command is set once by main. */
void eml_say_command(const char *name);
void eml_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says that `what` failed: class, the broken rule and its position if there are any, and a hint of
 * what to do. Returns the exit code of the class. */
int eml_say_failed(const char *what, enum eml_err e, const struct eml_why *why, const char *hint);

/* A step of a long command: shown on a terminal only, and only if it is standard error. */
void eml_say_progress(const char *step);

#endif
