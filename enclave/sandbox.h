/* What a child of the broker gives up, in order: eml_sandbox_start first thing after exec, files
 * read, eml_sandbox_no_paths, threads started, eml_sandbox_enter, and only then the first byte of a
 * peer.
 *
 * Three belts: identity and limits (an unprivileged user when started as root, rlimits), Landlock
 * where the kernel has it (no path at all), seccomp (an allow-list; any other call kills the
 * process).
 */
#ifndef EML_ENCLAVE_SANDBOX_H
#define EML_ENCLAVE_SANDBOX_H

#include "base/bytes.h"

enum eml_sandbox {
    EML_SANDBOX_WORKER,  /* its sockets, memory, its threads; no file, no new socket, no process */
    EML_SANDBOX_FETCHER, /* one socket to read, one memory file to write and seal */
};

struct eml_sandbox_limits {
    uint64_t memory_bytes; /* address space */
    uint64_t cpu_seconds;
    uint64_t file_bytes; /* a memory file counts as a file */
    uint64_t descriptors;
};

/* Undumpable, no core files, no new privileges, killed with the parent. */
EML_MUST enum eml_err eml_sandbox_start(void);
/* Landlock: no path may be opened any more, by this thread and those that it starts from now on.
 * Not an error where the kernel has none. */
EML_MUST enum eml_err eml_sandbox_no_paths(void);
/* The rest, for all threads; cannot be undone. */
EML_MUST enum eml_err eml_sandbox_enter(enum eml_sandbox which,
                                        const struct eml_sandbox_limits *limits);

#endif
