/* Bfloat16: the upper half of a float32. */
#ifndef EML_ENGINE_BF16_H
#define EML_ENGINE_BF16_H

#include <stdint.h>
#include <string.h>

/* The nearest to x, ties to even; NaN stays NaN. */
static inline uint16_t eml_bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t nearest = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16, nan = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7FFFFFFFu) > 0x7F800000u ? nan : nearest);
}

#endif
