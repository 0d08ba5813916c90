/* Diagnostics of the services: one line per event on standard error, as key=value.
 *
 * Fields are numbers, ids that are public anyway, and string literals. There is no %s for data:
 * nothing that a user, a file or a peer sent has a way into a log line.
 */
#ifndef EML_BASE_LOG_H
#define EML_BASE_LOG_H

#include "base/err.h"

#include <stdint.h>

struct eml_log_field {
    const char *key; /* a literal */
    int64_t value;
};

/* Names the program in every line; a literal. */
void eml_log_program(const char *name);

/* event and the fields' keys must be string literals. */
void eml_log(const char *event, enum eml_err e, const struct eml_log_field *fields, size_t n);

/* eml_log_event("session.close", err, {"session", id}, {"ms", t}); */
#define eml_log_event(event, e, ...)                                                               \
    eml_log("" event, (e), (const struct eml_log_field[]){__VA_ARGS__},                            \
            sizeof((const struct eml_log_field[]){__VA_ARGS__}) / sizeof(struct eml_log_field))

#endif
