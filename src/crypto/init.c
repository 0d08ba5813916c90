#include "crypto/crypto.h"

#include "base/heap.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <pthread.h>

/* OpenSSL keeps keys, key schedules and plaintext in heap blocks and clears only some of them
 * before it frees them. */
static void *wiping_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return eml_heap_alloc(n);
}

static void *wiping_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return eml_heap_resize(p, n);
}

static void wiping_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    eml_heap_free(p);
}

/* OpenSSL makes its tables of algorithms when the first is used, and follows a null pointer if
 * there is no memory then: better now, when nothing has been read yet. */
static bool has_tables(void)
{
    struct eml_sha256 h;
    return eml_sha256(NULL, 0, &h) == EML_OK;
}

static bool is_ready; /* written once */

static void init_once(void)
{
    /* Refused once OpenSSL has allocated anything: then secrets could stay on the heap. */
    if (CRYPTO_set_mem_functions(wiping_malloc, wiping_realloc, wiping_free) != 1)
        EML_BUG();
    /* No configuration file, no environment: what the program does is what it was built to do. */
    is_ready = OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1 && has_tables();
}

enum eml_err eml_crypto_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (pthread_once(&once, init_once) != 0)
        EML_BUG();
    return is_ready ? EML_OK : EML_E_SYSTEM;
}

void eml_crypto_init(void)
{
    EML_ASSERT(eml_crypto_start() == EML_OK);
}
