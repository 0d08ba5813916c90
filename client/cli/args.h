/* Command lines of `eml`: one table per command gives options, help text and the manual's synopsis.
 */
#ifndef EML_CLI_ARGS_H
#define EML_CLI_ARGS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define EML_ARG_VALUES_MAX 64u

/* What was given for one option, or the positional arguments; borrowed from argv. */
struct eml_values {
    const char *v[EML_ARG_VALUES_MAX];
    size_t n;
};

struct eml_option {
    const char *name;    /* long name without dashes; 'o' is also -o for "output" */
    const char *metavar; /* NULL: a flag */
    const char *help;
    size_t max; /* how often it may be given */
    bool required;
    struct eml_values *out;
};

struct eml_command {
    const char *name;
    const char *positional; /* "MODEL.onnx", or "" */
    size_t positional_n;    /* exactly so many */
    const char *summary;
    int (*main)(const struct eml_command *self, int argc, char **argv); /* returns the exit code */
};

/* Parses argv[1..]. On a mistake it has said so on standard error and the result is EML_E_USAGE.
 * --help prints the help, sets *helped, and is EML_OK. */
EML_MUST enum eml_err eml_args_parse(const struct eml_command *command,
                                     const struct eml_option *options, size_t n_options, int argc,
                                     char **argv, struct eml_values *positional, bool *helped);

/* The value of an option that is given at most once, or `otherwise`. */
const char *eml_arg(const struct eml_values *v, const char *otherwise);

/* Decimal number in [min, max]; says what is wrong and is EML_E_USAGE otherwise. */
EML_MUST enum eml_err eml_arg_u64(const char *option, const char *text, uint64_t min, uint64_t max,
                                  uint64_t *out);

#endif
