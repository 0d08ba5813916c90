#include "crypto/crypto.h"

#include "base/wipe.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* OpenSSL keeps keys, key schedules and plaintext in heap blocks and clears only some of them
 * before it frees them. These allocators put the size in front of each block and clear all of it.
 */
enum { HEADER = 16 }; /* keeps malloc's alignment */

static void *wiping_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    if (n == 0 || n > SIZE_MAX - HEADER)
        return NULL;
    uint8_t *block = malloc(n + HEADER);
    if (block == NULL)
        return NULL;
    memcpy(block, &n, sizeof n);
    return block + HEADER;
}

static size_t block_size(const uint8_t *p)
{
    size_t n;
    memcpy(&n, p - HEADER, sizeof n);
    return n;
}

static void wiping_free(void *ptr, const char *file, int line)
{
    (void)file;
    (void)line;
    uint8_t *p = ptr;
    if (p == NULL)
        return;
    eml_wipe(p, block_size(p));
    free(p - HEADER);
}

static void *wiping_realloc(void *ptr, size_t n, const char *file, int line)
{
    if (ptr == NULL)
        return wiping_malloc(n, file, line);
    if (n == 0) {
        wiping_free(ptr, file, line);
        return NULL;
    }
    void *grown = wiping_malloc(n, file, line);
    if (grown == NULL)
        return NULL;
    size_t old = block_size(ptr);
    memcpy(grown, ptr, old < n ? old : n);
    wiping_free(ptr, file, line);
    return grown;
}

static void init_once(void)
{
    /* Refused once OpenSSL has allocated anything: then secrets could stay on the heap. */
    if (CRYPTO_set_mem_functions(wiping_malloc, wiping_realloc, wiping_free) != 1)
        EML_BUG();
    /* No configuration file, no environment: what the program does is what it was built to do. */
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        EML_BUG();
}

void eml_crypto_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (pthread_once(&once, init_once) != 0)
        EML_BUG();
}
