/* The command line, the same for the broker and its children. */
#ifndef EML_ENCLAVE_OPTIONS_H
#define EML_ENCLAVE_OPTIONS_H

#include "base/bytes.h"

struct eml_options {
    const char *listen;       /* address */
    const char *host;         /* address of the host's service port */
    const char *kms_ca;       /* PEM file, or NULL: no KMS */
    const char *kms_endpoint; /* HOST or HOST:PORT, for TLS and the Host header */
    uint64_t threads;         /* of one worker, this one counted */
    uint64_t max_sessions, session_s, request_s, idle_s;
    uint64_t memory_bytes, cache_bytes, flops;
};

/* argv[skip + 1 ...]. EML_E_USAGE: the usage was asked for or violated. */
EML_MUST enum eml_err eml_options_parse(int argc, char **argv, int skip, struct eml_options *out);
extern const char eml_options_usage[];

/* Options as a text (NUL-terminated, changed in place), one a line: argv = {"eml-enclaved",
 * lines..., NULL}, pointing into it. Lines that are empty or begin with '#' are left out.
 * EML_E_INPUT: too many; argv has none then. */
enum { EML_OPTIONS_LINES_MAX = 40 };
EML_MUST enum eml_err eml_options_split(char *text, char *argv[EML_OPTIONS_LINES_MAX + 2]);

#endif
