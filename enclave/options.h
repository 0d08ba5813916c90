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

#endif
