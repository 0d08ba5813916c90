/* The newest checkpoint of an enclave's audit log that this client has seen, in a file: what lets
 * it notice that the host has put an older log in place of a newer, or another one.
 *
 * The file is the checkpoint as it was signed; `eml audit verify --remember` reads and writes the
 * same. Here only sizes can be compared: that the newer tree contains the older is shown by the log
 * itself, which the host has and eml audit verify reads.
 */
#ifndef EML_REMOTE_REMEMBER_H
#define EML_REMOTE_REMEMBER_H

#include "receipt/verify.h"

/* Compares what a verified receipt shows with what the file remembers, and remembers it if it is
 * newer. No file yet: begins one. Processes that use one file at a time take turns. EML_E_REFUSED:
 * an older tree, another tree of the same size, or another log. */
EML_MUST enum eml_err eml_remember(const char *path, const struct eml_receipt *receipt,
                                   struct eml_why *why);

/* The comparison alone: `seen` is authentic, `kept` is ours. *newer: seen is to be kept. */
EML_MUST enum eml_err eml_remember_compare(const struct eml_checkpoint *kept,
                                           const struct eml_checkpoint *seen, bool *newer,
                                           struct eml_why *why);

#endif
