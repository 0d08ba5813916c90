/* Wiping of secrets, and comparison in constant time. */
#ifndef EML_BASE_WIPE_H
#define EML_BASE_WIPE_H

#include "base/bytes.h"

/* Sets n bytes to zero; never optimised away. */
void eml_wipe(void *p, size_t n);

/* True iff equal. Time depends on the lengths only. */
bool eml_ct_equal(struct eml_bytes a, struct eml_bytes b);

/* True iff all n bytes are zero. Time depends on the length only. */
bool eml_ct_is_zero(struct eml_bytes a);

#endif
