#include "base/wipe.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

void eml_wipe(void *p, size_t n)
{
    if (n == 0)
        return;
    memset(p, 0, n);
    /* The memory is an input of the asm, so the store before it must happen. */
    __asm__ __volatile__("" : : "r"(p) : "memory");
}

#if defined(__SSE2__)
enum { LINE = 64, LANE = 16 };

void eml_wipe_shared(void *p, size_t n)
{
    uint8_t *at = p;
    size_t head = (LINE - (uintptr_t)at % LINE) % LINE;
    head = head < n ? head : n;
    size_t lines = (n - head) / LINE, rest = (n - head) % LINE;
    const __m128i zero = _mm_setzero_si128();
    eml_wipe(at, head);
    at += head;
    for (size_t i = 0; i < lines; i++, at += LINE)
        for (size_t k = 0; k < LINE; k += LANE)
            _mm_stream_si128((__m128i *)(void *)(at + k), zero);
    _mm_sfence();
    __asm__ __volatile__("" : : "r"(p) : "memory");
    eml_wipe(at, rest);
}
#else
void eml_wipe_shared(void *p, size_t n)
{
    eml_wipe(p, n);
}
#endif

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
    uint64_t acc = 0, word;
    size_t i = 0;
    for (; a.len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, a.ptr + i, sizeof word);
        acc |= word;
        /* As far as the compiler knows, acc is any number now: no reason to stop early. */
        __asm__ __volatile__("" : "+r"(acc));
    }
    for (; i < a.len; i++) {
        acc |= a.ptr[i];
        __asm__ __volatile__("" : "+r"(acc));
    }
    return acc == 0;
}
