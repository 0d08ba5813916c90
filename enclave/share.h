/* How many threads each running request may use: one number that the broker writes and every worker
 * reads, without a question, whenever a step of its run begins.
 */
#ifndef EML_ENCLAVE_SHARE_H
#define EML_ENCLAVE_SHARE_H

#include "base/bytes.h"

#include <stdint.h>

struct eml_share {
    int fd; /* of the page, for workers: sealed, they can only read it */
    _Atomic uint32_t *threads;
};

/* The broker's; *s is {-1, NULL} on failure. */
EML_MUST enum eml_err eml_share_make(uint32_t threads, struct eml_share *s);
void eml_share_free(struct eml_share *s);

/* A worker's, for the life of its process; NULL on failure. */
const _Atomic uint32_t *eml_share_map(int fd);

#endif
