/* The shape of a key policy: what must hold before anything is read out of it. */
#ifndef EML_KEYPOLICY_SHAPE_H
#define EML_KEYPOLICY_SHAPE_H

#include "keypolicy/read.h"

/* EML_E_INPUT with the rule and the statement's index. At most statements_max statements. */
EML_MUST enum eml_err eml_keypolicy_check_shape(const json_t *policy, size_t statements_max,
                                                struct eml_why *why);

#endif
