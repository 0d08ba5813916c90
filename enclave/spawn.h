/* Children of the broker: this same program, executed afresh in another role.
 *
 * Executed, not only forked: a child's memory then holds nothing of the broker's, neither its RSA
 * key nor its NSM. It gets the broker's command line, at most two descriptors (3 and 4), no
 * environment, and no place to write text to.
 */
#ifndef EML_ENCLAVE_SPAWN_H
#define EML_ENCLAVE_SPAWN_H

#include "base/bytes.h"

#include <sys/types.h>

enum eml_role { EML_ROLE_BROKER, EML_ROLE_WORKER, EML_ROLE_FETCHER, EML_ROLE_CONNECTOR };
enum { EML_CHILD_FD_0 = 3, EML_CHILD_FD_1 = 4 };

struct eml_program {
    int exe_fd;        /* this program's file */
    int null_fd;       /* /dev/null */
    char *const *argv; /* the broker's */
};

EML_MUST enum eml_err eml_program_open(struct eml_program *p, char *const *argv);

/* fd1 may be -1. argument: a further argument for the role, or NULL. The child has the given
 * descriptors as 3 and 4; the caller keeps its own. *out is -1 on failure. */
EML_MUST enum eml_err eml_spawn(const struct eml_program *p, enum eml_role role, int fd0, int fd1,
                                const char *argument, pid_t *out);

/* Finds out the role from argv[1] ("--role=..."); sets *argument, and *skip to how many arguments
 * after argv[0] are not options. */
enum eml_role eml_role_of(int argc, char *const *argv, const char **argument, int *skip);

#endif
