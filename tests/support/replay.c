/* Runs a fuzz target without libFuzzer: every file of the corpus as it is, truncated at up to 64
 * places and with up to 256 random byte changes, fewer where there are many files, plus random
 * strings. Prints the count. */
#include "testsupport/support.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VARIATIONS = 16000, OF_ONE = 320 };

static size_t runs;

static void feed(const uint8_t *data, size_t size)
{
    (void)LLVMFuzzerTestOneInput(data, size);
    runs++;
}

/* In n ways: one in five is a truncation. */
static void vary(struct eml_gen *g, struct eml_buf *b, size_t n)
{
    feed(b->ptr, b->len);
    for (size_t i = 0; i < n / 5; i++)
        feed(b->ptr, b->len * i / (n / 5));
    for (size_t i = n / 5; i < n && b->len > 0; i++) {
        size_t at = (size_t)eml_gen_range(g, 0, (int64_t)b->len - 1);
        uint8_t old = b->ptr[at];
        b->ptr[at] = (uint8_t)eml_gen_u64(g);
        feed(b->ptr, b->len);
        b->ptr[at] = old;
    }
}

int main(int argc, char **argv)
{
    struct eml_gen g = eml_gen_seeded(argv[0]);
    DIR *d = argc > 1 ? opendir(argv[1]) : NULL;
    size_t files = 0;
    while (d != NULL && readdir(d) != NULL)
        files++;
    const size_t of_each = files * OF_ONE < VARIATIONS ? OF_ONE : VARIATIONS / files;
    if (d != NULL)
        rewinddir(d);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[1024];
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        struct eml_buf b = eml_test_read(path);
        vary(&g, &b, of_each);
        eml_buf_free(&b);
    }
    if (d != NULL)
        (void)closedir(d);
    for (size_t i = 0; i < 2000; i++) {
        uint8_t junk[512];
        size_t n = (size_t)eml_gen_range(&g, 0, sizeof junk);
        eml_gen_fill(&g, junk, n);
        feed(junk, n);
    }
    (void)printf("%zu inputs\n", runs);
    return 0;
}
