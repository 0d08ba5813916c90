/* The words of the type column of ops.def: sets of element types, bit t for enum eml_dtype t. Only
 * for the files that expand that column or narrow its sets. */
#ifndef EML_MODEL_TYPE_SETS_H
#define EML_MODEL_TYPE_SETS_H

#include "model/graph.h"

#define T(t) (UINT32_C(1) << EML_DT_##t)
#define FLOATS (T(F32) | T(F64))
#define SIGNED (T(I8) | T(I16) | T(I32) | T(I64))
#define UNSIGNED (T(U8) | T(U16) | T(U32) | T(U64))
#define INTS (SIGNED | UNSIGNED)
#define NUMBERS (FLOATS | INTS)
#define SUMMABLE (FLOATS | T(I32) | T(I64) | T(U32) | T(U64))
#define FLOAT8 (T(F8E4M3FN) | T(F8E4M3FNUZ) | T(F8E5M2) | T(F8E5M2FNUZ))
#define MOVABLE (NUMBERS | T(BOOL) | T(F16) | T(BF16) | FLOAT8 | T(U4) | T(I4))
#define ANYTHING (MOVABLE | T(STRING))
#define EVERY UINT32_MAX /* lists too */

#endif
