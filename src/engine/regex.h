/* Regular expressions of RegexFullMatch: the part of RE2's syntax that has no flags and no Unicode
 * classes, matched by following all states at once, so that the time is the pattern's length times
 * the text's whatever the two hold.
 *
 * Has: characters, . [...] [^...] [[:alpha:]], \d \D \s \S \w \W, escapes of C and \x41 \x{1F600},
 * ^ $ \A \z \b \B, groups (capturing or not: nothing is captured), |, * + ? {n} {n,} {n,m} and
 * their lazy forms (which match the same texts). Everything else is refused by name. Characters are
 * code points; no text that is not UTF-8 matches. Source: RE2's documentation of its syntax.
 */
#ifndef EML_ENGINE_REGEX_H
#define EML_ENGINE_REGEX_H

#include "base/bytes.h"
#include "base/err.h"

enum {
    EML_REGEX_NODES = 4096,
    EML_REGEX_SETS = 512,
    EML_REGEX_RANGES = 1024,
    EML_REGEX_REPEAT_MAX = 1000 /* as RE2 */
};

/* A pattern, made by eml_regex_compile; holds no pointer. */
struct eml_regex {
    struct eml_regex_node {
        uint8_t kind;
        uint16_t set; /* or which assertion */
        uint16_t out[2];
    } node[EML_REGEX_NODES];
    struct {
        uint16_t first, n; /* ranges */
        bool negated;
    } set[EML_REGEX_SETS];
    struct {
        uint32_t lo, hi;
    } range[EML_REGEX_RANGES];
    uint16_t n_nodes, n_sets, n_ranges, start, accept;
};

/* What one match needs. */
struct eml_regex_run {
    uint16_t list[2][EML_REGEX_NODES], stack[EML_REGEX_NODES];
    uint32_t mark[EML_REGEX_NODES];
};

/* EML_E_INPUT: no regular expression. EML_E_UNSUPPORTED: one that is not done, or too large. */
EML_MUST enum eml_err eml_regex_compile(struct eml_bytes pattern, struct eml_regex *out,
                                        struct eml_why *why);
/* The whole text matches. */
bool eml_regex_matches(const struct eml_regex *r, struct eml_bytes text, struct eml_regex_run *run);

#endif
