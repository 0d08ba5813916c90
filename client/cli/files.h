/* The files of the command line: a topology key decoded into an arena, a policy, named tensors. */
#ifndef EML_CLI_FILES_H
#define EML_CLI_FILES_H

#include "cli/args.h"

#include "attest/attest.h"
#include "session/request.h"
#include "topology/topology.h"

/* What `eml` reserves for secrets: address space, not memory. */
#define EML_CLI_ARENA_BYTES ((size_t)64 << 30)

#define EML_TOPOLOGY_FILE "topology.key"
#define EML_WEIGHTS_FILE "weights.sealed"

/* All of these say what is wrong with which file, and return the class. */

/* The command's arena. */
EML_MUST enum eml_err eml_cli_reserve(struct eml_arena *arena);

/* The encoded topology key. Refuses one that others may read (mode beyond 0600). Secret. */
EML_MUST enum eml_err eml_cli_read_topology(const char *path, struct eml_buf *encoded);
EML_MUST enum eml_err eml_cli_decode_topology(const char *path, struct eml_bytes encoded,
                                              struct eml_arena *arena, struct eml_topology *out);
EML_MUST enum eml_err eml_cli_read_policy(const char *path, struct eml_policy *out);

/* Tensors given as NAME=FILE (.npy or .pb) with this option. Data lies in the arena. */
EML_MUST enum eml_err eml_cli_read_tensors(const char *option, const struct eml_values *args,
                                           struct eml_arena *arena, struct eml_named_tensor *out,
                                           size_t *n);

/* The inputs that a model wants, on standard error. */
void eml_cli_print_inputs(const struct eml_graph *g);

/* Writes every output to DIR/<name>.npy, or none: all are written under temporary names first and
 * then renamed. Characters of a name other than letters, digits, '.', '_' and '-' become '_'. */
EML_MUST enum eml_err eml_cli_write_outputs(const char *dir, const struct eml_named_tensor *outputs,
                                            size_t n);

#endif
