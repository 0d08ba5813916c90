/* What the two halves of regex.h share: regex.c makes the graph of a pattern, regex_match.c walks
 * it. */
#ifndef EML_ENGINE_REGEX_PARTS_H
#define EML_ENGINE_REGEX_PARTS_H

#include "engine/regex.h"

#define EML_REGEX_NO_NODE UINT16_MAX
#define EML_REGEX_NOTHING UINT32_MAX /* beside the text */
#define EML_REGEX_CODE_MAX 0x10ffffu

/* Of nodes: a character of a set, an assertion, one of two ways, the end. */
enum eml_regex_kind {
    EML_REGEX_EMPTY,
    EML_REGEX_SET,
    EML_REGEX_ASSERT,
    EML_REGEX_SPLIT,
    EML_REGEX_ACCEPT
};
enum eml_regex_assertion {
    EML_REGEX_BEGIN,
    EML_REGEX_END,
    EML_REGEX_BOUNDARY,
    EML_REGEX_NO_BOUNDARY
};

/* The code point at *at, which moves on; EML_REGEX_NOTHING at the end and where there is no UTF-8
 * (then *at stays before the end). */
uint32_t eml_regex_code(struct eml_bytes t, size_t *at);

#endif
