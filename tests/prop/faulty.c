/* Allocators, and an NSM, that fail on command, for whole programs (prop_11_programs.py): linked
 * into eml-enclaved-faulty, and as libfaulty.so loaded before the C library into eml-hostd and eml.
 *
 * The tester and all processes map one page: it says whose n-th allocation fails, alone or with all
 * after it, and counts. All of a process is meant: the program's, its libraries' and the C
 * library's. A block that is freed is searched for the tester's markers first, and one that grows
 * always moves. Where the page is: in the environment (EML_FAULTS), or beside the enclave's socket,
 * which the broker's children are told too. Without a page nothing fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum who { NOBODY, CLIENT, HOST, BROKER, WAITED, STARTED, FETCHER, CONNECTOR, NSM, WHO_N };
enum { MARKERS_MAX = 64, MARKER_BYTES = 16, RECORDS_MAX = 65536, FRAMES_MAX = 64 };

/* As prop_11_programs.py has it. */
struct page {
    _Atomic uint64_t turn;            /* of the tester; one more for each fault */
    _Atomic int64_t n;                /* which fails, from 0; -1: none */
    _Atomic uint64_t who, how;        /* how: 1, all after it too; of the NSM, what it answers */
    _Atomic uint64_t made[WHO_N];     /* allocations in this turn */
    _Atomic int64_t live[WHO_N];      /* blocks; since the last process of this sort began */
    _Atomic uint64_t failed, secrets; /* in this turn */
    uint64_t secret_who, secret_marker, secret_bytes;
    _Atomic uint64_t stack; /* the call stack of the first that failed in this turn */
    uint64_t n_markers;
    uint8_t marker[MARKERS_MAX][MARKER_BYTES];
    uint8_t begins[65536];    /* not zero: a marker begins with these two bytes */
    _Atomic uint64_t records; /* if not zero: of `who`, the call stack of each allocation */
    uint64_t record[RECORDS_MAX], own[RECORDS_MAX];
};

static struct page *page;
static uintptr_t resolver, resolver_bytes; /* the C library's getaddrinfo */
static enum who role;
static atomic_bool waits; /* a worker: its start is over, it waits for a session or has one */

struct offset {
    uintptr_t address, base;
    bool in_seccomp, in_program;
};

static int find_base(struct dl_phdr_info *info, size_t size, void *ctx)
{
    struct offset *o = ctx;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const uintptr_t from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && o->address >= from &&
            o->address - from < info->dlpi_phdr[i].p_memsz) {
            o->base = info->dlpi_addr;
            o->in_seccomp = strstr(info->dlpi_name, "libseccomp") != NULL;
            o->in_program = info->dlpi_name[0] == '\0';
            return 1;
        }
    }
    return 0;
}

static uint64_t mixed(uint64_t hash, uint64_t x)
{
    hash = (hash ^ x) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

/* The same in every process: of where in which program or library each caller is; own: of those in
 * the program alone. 0: libseccomp or
 * getaddrinfo is among them. */
static uint64_t call_stack(uint64_t *own)
{
    void *frame[FRAMES_MAX];
    uint64_t hash = 0xcbf29ce484222325u;
    const int n = backtrace(frame, FRAMES_MAX);
    *own = hash;
    for (int i = 0; i < n; i++) {
        struct offset o = {.address = (uintptr_t)frame[i]};
        (void)dl_iterate_phdr(find_base, &o);
        if (o.in_seccomp || o.address - resolver < resolver_bytes)
            return 0;
        hash = mixed(hash, o.address - o.base);
        if (o.in_program)
            *own = mixed(*own, o.address - o.base);
    }
    return hash;
}

static enum who role_of(int argc, char *const *argv)
{
    static const char *const roles[] = {
        [WAITED] = "--role=worker", [FETCHER] = "--role=fetcher", [CONNECTOR] = "--role=connector"};
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : argc > 0 ? argv[0] : "";
    if (strncmp(name, "eml-enclaved", 12) == 0) {
        for (enum who w = WAITED; argc > 1 && w <= CONNECTOR; w++)
            if (roles[w] != NULL && strcmp(argv[1], roles[w]) == 0)
                return w;
        return BROKER;
    }
    return strcmp(name, "eml-hostd") == 0 ? HOST : strcmp(name, "eml") == 0 ? CLIENT : NOBODY;
}

static bool path_of(int argc, char *const *argv, char *out, size_t room)
{
    const char *given = getenv("EML_FAULTS");
    for (int i = 1; given == NULL && i + 1 < argc; i++)
        if (strcmp(argv[i], "--listen") == 0 && strncmp(argv[i + 1], "unix:", 5) == 0)
            return snprintf(out, room, "%s.faults", argv[i + 1] + 5) < (int)room;
    return given != NULL && snprintf(out, room, "%s", given) < (int)room;
}

/* glibc hands main's arguments to constructors too. */
__attribute__((constructor)) static void start(int argc, char **argv)
{
    char path[4096];
    role = role_of(argc, argv);
    int fd = role != NOBODY && path_of(argc, argv, path, sizeof path)
                 ? open(path, O_RDWR | O_CLOEXEC)
                 : -1;
    void *p =
        fd >= 0 ? mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        (void)close(fd);
    if (p == MAP_FAILED)
        return;
    Dl_info info;
    ElfW(Sym) * symbol;
    void *function = dlsym(RTLD_DEFAULT, "getaddrinfo");
    if (function != NULL && dladdr1(function, &info, (void **)&symbol, RTLD_DL_SYMENT) != 0) {
        resolver = (uintptr_t)function;
        resolver_bytes = symbol->st_size;
    }
    uint64_t own;
    (void)call_stack(&own); /* which loads a library once */
    page = p;
    page->live[role] = 0;
}

static enum who now(void)
{
    return role == WAITED && !waits ? STARTED : role;
}

static bool fails_as(enum who w)
{
    const int64_t i = (int64_t)page->made[w]++, n = page->n;
    if (page->who != w)
        return false;
    /* volatile: else the call below becomes two, and stacks do not compare */
    const volatile bool recorded = page->records != 0 && i < RECORDS_MAX;
    const volatile bool due = n >= 0 && (i == n || (i > n && page->how == 1 && w != NSM));
    if (!recorded && !due)
        return false;
    uint64_t own;
    const uint64_t stack = call_stack(&own);
    if (recorded) {
        page->record[i] = stack;
        page->own[i] = own;
    }
    /* Debian 12's libseccomp (2.5.4) and getaddrinfo (glibc 2.36) crash without memory. A worker
     * that is about to give up its rights has not read a byte yet. */
    if (!due || stack == 0)
        return false;
    if (page->failed++ == 0)
        page->stack = stack;
    return true;
}

static bool fails(void)
{
    if (page == NULL || !fails_as(now()))
        return false;
    errno = ENOMEM;
    return true;
}

/* --- the C library's allocators, and those of the program that are not of the heap --- */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

static void *counted(void *p)
{
    if (page != NULL && p != NULL)
        page->live[role]++;
    return p;
}

static void search(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i + MARKER_BYTES <= n; i++)
        for (uint64_t m = 0; page->begins[p[i] | p[i + 1] << 8] != 0 && m < page->n_markers; m++)
            if (memcmp(p + i, page->marker[m], MARKER_BYTES) == 0) {
                page->secret_who = now();
                page->secret_marker = m;
                page->secret_bytes = n;
                page->secrets++;
                return;
            }
}

void *malloc(size_t n)
{
    return fails() ? NULL : counted(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__libc_calloc(n, size));
}

void *memalign(size_t align, size_t n)
{
    return fails() ? NULL : counted(__libc_memalign(align, n));
}

void *aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    const int was = errno;
    void *p = memalign(align, n);
    errno = was;
    if (p == NULL)
        return ENOMEM;
    *out = p;
    return 0;
}

void free(void *p)
{
    const int was = errno;
    if (page != NULL && p != NULL) {
        search(p, malloc_usable_size(p));
        page->live[role]--;
    }
    __libc_free(p);
    errno = was;
}

void *realloc(void *p, size_t n)
{
    if (p != NULL && n == 0) {
        free(p);
        return NULL;
    }
    void *grown = malloc(n);
    if (grown != NULL && p != NULL) {
        const size_t had = malloc_usable_size(p);
        memcpy(grown, p, had < n ? had : n);
        free(p);
    }
    return grown;
}

#ifdef EML_FAULTY_ENCLAVE /* linked with --wrap for each of these */
#include "base/arena.h"
#include "enclave/sandbox.h"
#include "nsm/nsm.h"

void *__real_eml_arena_alloc(struct eml_arena *a, size_t n, size_t align);
void *__real_eml_arena_array(struct eml_arena *a, size_t count, size_t size);
enum eml_err __real_eml_nsm_exchange(struct eml_nsm *n, struct eml_bytes request,
                                     struct eml_room response, size_t *response_len);
void *__wrap_eml_arena_alloc(struct eml_arena *a, size_t n, size_t align);
void *__wrap_eml_arena_array(struct eml_arena *a, size_t count, size_t size);
enum eml_err __wrap_eml_nsm_exchange(struct eml_nsm *n, struct eml_bytes request,
                                     struct eml_room response, size_t *response_len);

enum eml_err __real_eml_sandbox_enter(enum eml_sandbox which, const struct eml_sandbox_limits *l);
enum eml_err __wrap_eml_sandbox_enter(enum eml_sandbox which, const struct eml_sandbox_limits *l);

enum eml_err __wrap_eml_sandbox_enter(enum eml_sandbox which, const struct eml_sandbox_limits *l)
{
    enum eml_err e = __real_eml_sandbox_enter(which, l);
    waits = e == EML_OK;
    return e;
}

void *__wrap_eml_arena_alloc(struct eml_arena *a, size_t n, size_t align)
{
    return fails() ? NULL : __real_eml_arena_alloc(a, n, align);
}

void *__wrap_eml_arena_array(struct eml_arena *a, size_t count, size_t size)
{
    return fails() ? NULL : __real_eml_arena_array(a, count, size);
}

/* From 6 on: all but the last byte, a flipped bit in the how-th of 64 parts. */
enum { NO_ANSWER, NOT_IN_TIME, NOTHING, ITS_ERROR, ANOTHER_CALL, GARBAGE, ONE_SHORT, FLIPPED };

static enum eml_err answer(enum eml_nsm_error error, struct eml_room response, size_t *n)
{
    uint8_t random[32] = {1};
    const struct eml_nsm_response r = {.call = EML_NSM_GET_RANDOM,
                                       .error = error,
                                       .random = error == EML_NSM_SUCCESS ? EML_BYTES(random)
                                                                          : (struct eml_bytes){0}};
    struct eml_buf b = {.max = response.len};
    enum eml_err e = eml_nsm_response_encode(&r, &b);
    if (e == EML_OK)
        memcpy(response.ptr, b.ptr, *n = b.len);
    eml_buf_free(&b);
    return e;
}

enum eml_err __wrap_eml_nsm_exchange(struct eml_nsm *n, struct eml_bytes request,
                                     struct eml_room response, size_t *response_len)
{
    const bool fault = page != NULL && fails_as(NSM);
    const uint64_t how = fault ? page->how : 0;
    *response_len = 0;
    if (fault && how <= NOT_IN_TIME)
        return how == NO_ANSWER ? EML_E_SYSTEM : EML_E_NET;
    enum eml_err e = __real_eml_nsm_exchange(n, request, response, response_len);
    if (!fault || e != EML_OK)
        return e;
    if (how == ITS_ERROR || how == ANOTHER_CALL)
        return answer(how == ITS_ERROR ? EML_NSM_INTERNAL_ERROR : EML_NSM_SUCCESS, response,
                      response_len);
    if (how == NOTHING)
        *response_len = 0;
    else if (how == GARBAGE)
        memset(response.ptr, 0x5f, *response_len);
    else if (how == ONE_SHORT)
        (*response_len)--;
    else
        response.ptr[*response_len * ((how - FLIPPED) % 64) / 64] ^= 1;
    return EML_OK;
}
#endif
