/* MaxPool of other types than float32, or with its second output. */
#ifndef EML_ENGINE_POOL_INDEX_H
#define EML_ENGINE_POOL_INDEX_H

#include "engine/exec.h"

EML_MUST enum eml_err eml_max_pool_indexed(const struct eml_op_ctx *c);

#endif
