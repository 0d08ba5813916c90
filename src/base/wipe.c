#include "base/wipe.h"

#include <string.h>

void eml_wipe(void *p, size_t n)
{
    if (n == 0)
        return;
    memset(p, 0, n);
    /* The memory is an input of the asm, so the store before it must happen. */
    __asm__ __volatile__("" : : "r"(p) : "memory");
}

/* Twice the deepest that a session was seen to get. */
enum { STACK_BYTES = 256 * 1024 };

__attribute__((noinline)) void eml_wipe_stack(void)
{
    uint8_t below[STACK_BYTES];
    eml_wipe(below, sizeof below);
}

bool eml_ct_equal(struct eml_bytes a, struct eml_bytes b)
{
    if (a.len != b.len)
        return false;
    volatile uint8_t diff = 0;
    for (size_t i = 0; i < a.len; i++)
        diff = (uint8_t)(diff | (a.ptr[i] ^ b.ptr[i]));
    return diff == 0;
}

bool eml_ct_is_zero(struct eml_bytes a)
{
    volatile uint8_t acc = 0;
    for (size_t i = 0; i < a.len; i++)
        acc = (uint8_t)(acc | a.ptr[i]);
    return acc == 0;
}
