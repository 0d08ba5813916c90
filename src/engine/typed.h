/* Loops over every element type: X(NAME, C type). */
#ifndef EML_ENGINE_TYPED_H
#define EML_ENGINE_TYPED_H

#include <stdint.h>

#define EML_SIGNED_TYPES(X) X(I8, int8_t) X(I16, int16_t) X(I32, int32_t) X(I64, int64_t)
#define EML_UNSIGNED_TYPES(X) X(U8, uint8_t) X(U16, uint16_t) X(U32, uint32_t) X(U64, uint64_t)
#define EML_INT_TYPES(X) EML_SIGNED_TYPES(X) EML_UNSIGNED_TYPES(X)
#define EML_FLOAT_TYPES(X) X(F32, float) X(F64, double)
#define EML_NUMBER_TYPES(X) EML_FLOAT_TYPES(X) EML_INT_TYPES(X)

#endif
