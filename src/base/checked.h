/* Arithmetic on numbers that came from outside: true on success, *out untouched on overflow. */
#ifndef EML_BASE_CHECKED_H
#define EML_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool eml_add_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool eml_mul_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool eml_add_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool eml_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* Rounds up to a multiple of a power of two. */
static inline bool eml_round_up(size_t v, size_t pow2, size_t *out)
{
    size_t r;
    if (!eml_add_size(v, pow2 - 1, &r))
        return false;
    *out = r & ~(pow2 - 1);
    return true;
}

#endif
