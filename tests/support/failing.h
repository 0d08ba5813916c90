/* Allocators that fail on command, for whole paths in one process.
 *
 * Each path is run over and over, while its n-th allocation fails, for all n, until none is left to
 * fail: once only the n-th, once that and all after it. (Of the many thousands within OpenSSL's
 * arithmetic, behind the first thousand, every 23rd, or all if EML_EVERY is set.) Allocations are
 * those of the heap (ours, OpenSSL's and jansson's) and of the arena. Then either all went well and
 * the result is the right one, or there is no result, and the error is EML_E_SYSTEM (or
 * EML_E_REFUSED: the arena is a budget): who has no memory himself blames neither a peer nor a
 * file. Every block is freed; and no
 * block was freed, and no arena left, that still held a secret. The linker puts the allocators here
 * in the place of the real ones (--wrap). */
#ifndef EML_TESTSUPPORT_FAILING_H
#define EML_TESTSUPPORT_FAILING_H

#include "testsupport/support.h"

#include "base/arena.h"
#include "base/heap.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the allocators --- */

static const uint8_t marker[16] = {0xc3, 0x5a, 0x7e, 0x11, 0x9d, 0xe4, 0x02, 0x68,
                                   0xb7, 0x3f, 0xd5, 0x90, 0x4c, 0x21, 0xfa, 0x06};

static struct {
    bool on, all_after; /* fail the one at `left`, or that and all after it */
    bool foreign;       /* within OpenSSL's or jansson's allocator: they may keep what they have */
    long left, live;
    bool hit, leaked_secret;
} faults;

static bool fails(void)
{
    if (!faults.on || (faults.hit && !faults.all_after))
        return false;
    faults.hit = faults.hit || --faults.left < 0;
    return faults.hit;
}

static bool holds(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i + sizeof marker <= n; i++)
        if (p[i] == marker[0] && memcmp(p + i, marker, sizeof marker) == 0)
            return true;
    return false;
}

static void *counted(void *p)
{
    faults.live += faults.on && !faults.foreign && p != NULL;
    return p;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *p);
void *__real_eml_heap_alloc(size_t n);
void *__real_eml_heap_resize(void *p, size_t n);
void __real_eml_heap_free(void *p);
void *__real_eml_arena_alloc(struct eml_arena *a, size_t n, size_t align);
void *__real_eml_arena_array(struct eml_arena *a, size_t count, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);
void *__wrap_eml_heap_alloc(size_t n);
void *__wrap_eml_heap_resize(void *p, size_t n);
void __wrap_eml_heap_free(void *p);
void *__wrap_eml_arena_alloc(struct eml_arena *a, size_t n, size_t align);
void *__wrap_eml_arena_array(struct eml_arena *a, size_t count, size_t size);

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : counted(__real_aligned_alloc(align, n));
}

char *__wrap_strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *copy = __wrap_malloc(n);
    return copy != NULL ? memcpy(copy, s, n) : NULL;
}

/* Always moves, as it may. */
void *__wrap_realloc(void *p, size_t n)
{
    void *grown = __wrap_malloc(n);
    if (grown != NULL && p != NULL) {
        const size_t had = malloc_usable_size(p);
        memcpy(grown, p, had < n ? had : n);
        __wrap_free(p);
    }
    return grown;
}

void __wrap_free(void *p)
{
    if (faults.on && p != NULL) {
        faults.live -= !faults.foreign;
        faults.leaked_secret = faults.leaked_secret || holds(p, malloc_usable_size(p));
    }
    __real_free(p);
}

void *__wrap_eml_heap_alloc(size_t n)
{
    faults.foreign = true;
    void *p = __real_eml_heap_alloc(n);
    faults.foreign = false;
    return p;
}

void *__wrap_eml_heap_resize(void *p, size_t n)
{
    faults.foreign = true;
    void *grown = __real_eml_heap_resize(p, n);
    faults.foreign = false;
    return grown;
}

void __wrap_eml_heap_free(void *p)
{
    faults.foreign = true;
    __real_eml_heap_free(p);
    faults.foreign = false;
}

void *__wrap_eml_arena_alloc(struct eml_arena *a, size_t n, size_t align)
{
    return fails() ? NULL : __real_eml_arena_alloc(a, n, align);
}

void *__wrap_eml_arena_array(struct eml_arena *a, size_t count, size_t size)
{
    return fails() ? NULL : __real_eml_arena_array(a, count, size);
}

/* --- running a path --- */

/* What a path gives: a digest of it, taken without allocating. Zero if it gave nothing. */
struct outcome {
    uint64_t digest;
};

static void add(struct outcome *o, struct eml_bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        o->digest = (o->digest ^ b.ptr[i] ^ 0x100) * 0x100000001b3u;
}

typedef enum eml_err path(struct outcome *o);

static void try_one(path *run, const struct outcome *right, long n, bool all_after)
{
    struct outcome o = {0};
    faults.on = true;
    faults.all_after = all_after;
    faults.hit = faults.leaked_secret = false;
    faults.left = n;
    faults.live = 0;
    enum eml_err e = run(&o);
    faults.on = false;
    if (e == EML_OK ? o.digest != right->digest : o.digest != 0)
        fail_msg("allocation %ld%s: a wrong result (%s)", n, all_after ? " and all after it" : "",
                 eml_err_name(e));
    if (e != EML_OK && (!faults.hit || (e != EML_E_SYSTEM && e != EML_E_REFUSED)))
        fail_msg("allocation %ld%s: %s in place of lack of memory", n,
                 all_after ? " and all after it" : "", eml_err_name(e));
    if (faults.live != 0)
        fail_msg("allocation %ld: %ld blocks are left", n, faults.live);
    if (faults.leaked_secret)
        fail_msg("allocation %ld: a block was freed with a secret in it", n);
}

static void all_allocations(const char *name, path *run)
{
    struct outcome right = {0};
    long n[2] = {0, 0};
    const bool every = getenv("EML_EVERY") != NULL;
    for (int i = 0; i < 2; i++) /* what is made once per process is there from now on */
        assert_int_equal(run(memset(&right, 0, sizeof right)), EML_OK);
    assert_int_not_equal(right.digest, 0);
    for (int all_after = 0; all_after < 2; all_after++)
        do
            try_one(run, &right, n[all_after], all_after != 0);
        while (faults.hit && (n[all_after] += n[all_after] < 1000 || every ? 1 : 23) < 1000000);
    assert_true(n[0] > 0 && n[1] > 0);
    char what[128];
    (void)snprintf(what, sizeof what, "%s: each allocation fails, alone and with all after it",
                   name);
    eml_assured(n[0] + n[1], what);
}

#define PATH(name)                                                                                 \
    static void name##_fails_closed(void **state)                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        all_allocations(#name, name);                                                              \
    }

#endif
