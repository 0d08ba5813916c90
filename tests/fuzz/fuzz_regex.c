// link: engine
/* Any bytes as a pattern, and what follows the first zero byte as a text. */
#include "testsupport/support.h"

#include "engine/regex.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct eml_regex regex;
static struct eml_regex_run run;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_why why = {0};
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    const size_t n = zero != NULL ? (size_t)(zero - data) : size;
    struct eml_bytes text = eml_bytes(data + n, size - n);
    if (text.len > 255)
        text.len = 255;
    if (eml_regex_compile(eml_bytes(data, n), &regex, &why) != EML_OK) {
        EML_ASSERT(why.rule != NULL && strncmp(why.rule, "RegexFullMatch: ", 16) == 0);
        return 0;
    }
    EML_ASSERT(regex.n_nodes > 1 && regex.start < regex.n_nodes && regex.accept < regex.n_nodes);
    (void)eml_regex_matches(&regex, text, &run);
    return 0;
}
