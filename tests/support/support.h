/* What every test program needs: cmocka with its prerequisites, files and hex of vectors, and
 * `gen`, the one source of generated values (a byte string is turned into typed values, so that
 * property tests and fuzz targets share generators; a seeded run prints its seed).
 */
#ifndef EML_TESTSUPPORT_SUPPORT_H
#define EML_TESTSUPPORT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"

/* Reads a whole file; aborts the test program with a message if it cannot. Free with eml_buf_free.
 */
struct eml_buf eml_test_read(const char *path);
/* Decodes hex (even length, either case); aborts on anything else. */
struct eml_buf eml_test_hex(const char *hex);

/* Makes a folder of its own for a test program, under /tmp, and says where. Aborts if it cannot. */
enum { EML_TEST_DIR = 64 };
void eml_test_dir_make(char dir[EML_TEST_DIR]);
/* Removes it with all that is in it. 0, or -1 if something is left: what a teardown returns. */
int eml_test_dir_drop(const char *dir);

/* Prints what a property test tried, once it has passed: a line of docs/assurance.md. */
void eml_assured(long cases, const char *what);

struct eml_gen {
    uint64_t state[4];       /* xoshiro256**: used when the byte string has run out */
    struct eml_bytes source; /* a fuzzer's input; empty in seeded runs */
    size_t pos;
    uint64_t seed;
};

/* Seed from EML_SEED if set, else always the same; printed, so that a failure can be repeated. */
struct eml_gen eml_gen_seeded(const char *test);
struct eml_gen eml_gen_from(struct eml_bytes source);
uint64_t eml_gen_u64(struct eml_gen *g);
/* Uniform in [lo, hi]. */
int64_t eml_gen_range(struct eml_gen *g, int64_t lo, int64_t hi);
bool eml_gen_bool(struct eml_gen *g);
/* Uniform in [lo, hi). */
float eml_gen_f32(struct eml_gen *g, float lo, float hi);
void eml_gen_fill(struct eml_gen *g, uint8_t *out, size_t n);

#endif
