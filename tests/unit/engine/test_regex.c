/* Regular expressions: what RE2's page of its syntax says, what is refused, and random patterns
 * against the C library's. */
#include "engine/regex.h"
#include "testsupport/support.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>

static struct eml_regex re;
static struct eml_regex_run scratch;

static enum eml_err compile(const char *pattern, struct eml_why *why)
{
    return eml_regex_compile(eml_bytes_of_str(pattern), &re, why);
}

static bool matches(const char *text)
{
    return eml_regex_matches(&re, eml_bytes_of_str(text), &scratch);
}

static void whole_texts_match(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *yes[6], *no[6]; /* NULL ends */
    } rows[] = {
        {"", {""}, {"a"}},
        {"abc", {"abc"}, {"", "ab", "abcd", "xabc"}},
        {"a|bc|", {"a", "bc", ""}, {"abc", "b"}},
        {"a*b+c?", {"b", "aabbc", "bc"}, {"a", "ac", "bcc"}},
        {"(ab)*?c", {"c", "ababc"}, {"abac", "ab"}},
        {"(?:a|b){2,3}", {"ab", "bba"}, {"a", "abab"}},
        {"a{3}", {"aaa"}, {"aa", "aaaa"}},
        {"a{2,}", {"aa", "aaaaa"}, {"a"}},
        {"a{0}b{0,1}", {"", "b"}, {"a", "bb"}},
        {"a{,3}x{", {"a{,3}x{"}, {"ax{"}}, /* no repetition: text */
        {"(a{2}){2}", {"aaaa"}, {"aa", "aaa"}},
        {"(|a)+b", {"b", "aab"}, {"a"}},
        {"[a-c-]+", {"ab-c"}, {"d", ""}},
        {"[]a]+", {"]a"}, {"b"}},
        {"[^]a]", {"b", "\n"}, {"]", "a", ""}},
        {"[^\\d\\s]", {"x"}, {"5", " "}},
        {"[[:alpha:][:^digit:]_]", {"x", "-"}, {"5"}},
        {"[[:punct:]]+", {"!/:@[`{~"}, {"a"}},
        {".", {"x", "\xc3\xa4", "\xf0\x9f\x98\x80"}, {"\n", "", "xy"}},
        {"\xc3\xa4+", {"\xc3\xa4\xc3\xa4"}, {"a", "\xc3"}},
        {"[\xc3\xa0-\xc3\xbf]", {"\xc3\xa4"}, {"a", "\xc3\x9f"}},
        {"\\x41\\x{1F600}", {"A\xf0\x9f\x98\x80"}, {"A"}},
        {"\\w+\\W\\d\\D\\s\\S", {"ab-1x y"}, {"ab_1x y", "ab-xx y"}},
        {"\\.\\*\\[\\t\\\\", {".*[\t\\"}, {"a"}},
        {"^a$", {"a"}, {"ab", ""}},
        {"a^b|c$d|^$", {""}, {"ab", "cd"}},
        {"\\Aa\\z", {"a"}, {"b"}},
        {"\\ba\\b.\\Bb*", {"a-"}, {"ab", "a-b"}},
        {"(\\W|^)[\\w.]{0,5}@(x|y)(\\W|$)", {"@x", " ab@y!"}, {"abcdef@x", "a@z"}},
        {"((a*)*)*", {"", "aaaa"}, {"b"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct eml_why why = {0};
        if (compile(rows[i].pattern, &why) != EML_OK)
            fail_msg("%s: %s", rows[i].pattern, why.rule);
        for (size_t k = 0; k < 6 && rows[i].yes[k] != NULL; k++)
            if (!matches(rows[i].yes[k]))
                fail_msg("%s does not match '%s'", rows[i].pattern, rows[i].yes[k]);
        for (size_t k = 0; k < 6 && rows[i].no[k] != NULL; k++)
            if (matches(rows[i].no[k]))
                fail_msg("%s matches '%s'", rows[i].pattern, rows[i].no[k]);
    }
}

static void what_is_no_pattern_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        enum eml_err e;
        const char *rule;
    } rows[] = {
        {"(a", EML_E_INPUT, "RegexFullMatch: a ( without its )"},
        {"a)", EML_E_INPUT, "RegexFullMatch: a ) without its ("},
        {"*a", EML_E_INPUT, "RegexFullMatch: nothing that could be repeated"},
        {"a|*", EML_E_INPUT, "RegexFullMatch: nothing that could be repeated"},
        {"(+)", EML_E_INPUT, "RegexFullMatch: nothing that could be repeated"},
        {"a**", EML_E_INPUT, "RegexFullMatch: nothing that could be repeated"},
        {"a{1}{2}", EML_E_INPUT, "RegexFullMatch: nothing that could be repeated"},
        {"a{1001}", EML_E_INPUT, "RegexFullMatch: malformed number of repetitions"},
        {"a{3,2}", EML_E_INPUT, "RegexFullMatch: malformed number of repetitions"},
        {"a{99999999999999999999}", EML_OK, NULL}, /* text: the number does not end in time */
        {"[a", EML_E_INPUT, "RegexFullMatch: brackets that do not end"},
        {"[", EML_E_INPUT, "RegexFullMatch: brackets that do not end"},
        {"[z-a]", EML_E_INPUT, "RegexFullMatch: a range that ends before it begins"},
        {"[[:nope:]]", EML_E_INPUT, "RegexFullMatch: unknown class in brackets"},
        {"\\", EML_E_INPUT, "RegexFullMatch: the pattern ends in a backslash"},
        {"\\x{110000}", EML_E_INPUT, "RegexFullMatch: malformed \\x"},
        {"\\x4", EML_E_INPUT, "RegexFullMatch: malformed \\x"},
        {"\xff", EML_E_INPUT, "RegexFullMatch: the pattern is not UTF-8"},
        {"\\pL", EML_E_UNSUPPORTED,
         "RegexFullMatch: this escape (\\p, \\C, \\Q, \\1 ...) is not supported"},
        {"(a)\\1", EML_E_UNSUPPORTED,
         "RegexFullMatch: this escape (\\p, \\C, \\Q, \\1 ...) is not supported"},
        {"(?i)a", EML_E_UNSUPPORTED,
         "RegexFullMatch: flags and named groups (?...) are not supported"},
        {"((((a{100}){100}){100}){100})", EML_E_UNSUPPORTED,
         "RegexFullMatch: the pattern is too large"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct eml_why why = {0};
        assert_int_equal(compile(rows[i].pattern, &why), rows[i].e);
        if (rows[i].rule != NULL)
            assert_string_equal(why.rule, rows[i].rule);
    }
    struct eml_why why = {0};
    char deep[66];
    memset(deep, '(', 65);
    deep[65] = '\0';
    assert_int_equal(compile(deep, &why), EML_E_UNSUPPORTED);
    assert_string_equal(why.rule, "RegexFullMatch: groups nested too deep");
}

/* Text that is no UTF-8 is matched by nothing, not even by what excludes it. */
static void broken_text_matches_nothing(void **state)
{
    (void)state;
    static const char *const broken[] = {"\x80",
                                         "a\xff",
                                         "\xc3",
                                         "\xc0\x80",
                                         "\xed\xa0\x80",
                                         "\xf4\x90\x80\x80",
                                         "\xe0\x80\x80",
                                         "\xf8\x88\x80\x80",
                                         "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"};
    struct eml_why why = {0};
    assert_int_equal(compile("[^z]*|.*|a$", &why), EML_OK);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_false(matches(broken[i]));
}

/* Patterns that take backtracking matchers exponential time. */
static void time_is_bounded(void **state)
{
    (void)state;
    char text[251];
    struct eml_why why = {0};
    memset(text, 'a', 250);
    text[250] = '\0';
    assert_int_equal(compile("(a*)*(a|aa)+(a?){50}b", &why), EML_OK);
    assert_false(matches(text));
    text[249] = 'b';
    assert_true(matches(text));
}

static void append(char *out, size_t room, const char *text)
{
    const size_t n = strlen(out);
    (void)snprintf(out + n, room - n, "%s", text);
}

/* Appends a random pattern that means the same to POSIX. */
static void some_pattern(struct eml_gen *g, char *out, size_t room, int depth)
{
    static const char *const atoms[] = {"a", "b", ".", "[ab]", "[^a]", "c"};
    static const char *const repeats[] = {"",  "",    "",      "*",     "+",
                                          "?", "{2}", "{1,2}", "{0,3}", "{2,}"};
    const int64_t n = eml_gen_range(g, 1, 3);
    for (int64_t i = 0; i < n && strlen(out) + 40 < room; i++) {
        if (i > 0 && eml_gen_range(g, 0, 3) == 0)
            append(out, room, "|");
        if (depth > 0 && eml_gen_range(g, 0, 2) == 0) {
            append(out, room, "(");
            some_pattern(g, out, room - 8, depth - 1);
            append(out, room, ")");
        } else {
            append(out, room, atoms[eml_gen_range(g, 0, 5)]);
        }
        append(out, room, repeats[eml_gen_range(g, 0, 9)]);
    }
}

static void random_patterns_match_what_the_c_library_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("random_patterns_match_what_the_c_library_matches");
    size_t matched = 0;
    for (int round = 0; round < 400; round++) {
        char pattern[200] = "", anchored[220];
        regex_t posix;
        struct eml_why why = {0};
        some_pattern(&g, pattern, sizeof pattern, 3);
        (void)snprintf(anchored, sizeof anchored, "^(%s)$", pattern);
        if (compile(pattern, &why) != EML_OK)
            fail_msg("%s: %s", pattern, why.rule);
        assert_int_equal(regcomp(&posix, anchored, REG_EXTENDED | REG_NOSUB), 0);
        for (int t = 0; t < 40; t++) {
            char text[12] = "";
            const int64_t n = eml_gen_range(&g, 0, 8);
            for (int64_t i = 0; i < n; i++)
                text[i] = "abc"[eml_gen_range(&g, 0, 2)];
            const bool want = regexec(&posix, text, 0, NULL, 0) == 0;
            if (matches(text) != want)
                fail_msg("%s on '%s': the C library says %d", pattern, text, want);
            matched += want;
        }
        regfree(&posix);
    }
    assert_true(matched > 500);
}

/* Any prefix of a pattern, and any flipped bit: made or refused, and what is made ends. */
static void damaged_patterns_do_no_harm(void **state)
{
    (void)state;
    static const char whole[] =
        "(\\W|^)[^\\w.\\-[:alpha:]\xc3\xa4-\xc3\xbf]{0,25}@(?:ya|g*?)\\x{41}+$";
    uint8_t pattern[sizeof whole];
    struct eml_why why = {0};
    for (size_t n = 0; n < sizeof whole - 1; n++)
        if (eml_regex_compile(eml_bytes(whole, n), &re, &why) == EML_OK)
            (void)matches("ab@ya A");
    for (size_t bit = 0; bit < 8 * (sizeof whole - 1); bit++) {
        memcpy(pattern, whole, sizeof whole);
        pattern[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (eml_regex_compile(eml_bytes(pattern, sizeof whole - 1), &re, &why) == EML_OK)
            (void)matches("ab@ya A");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_texts_match),
        cmocka_unit_test(what_is_no_pattern_is_refused_by_name),
        cmocka_unit_test(broken_text_matches_nothing),
        cmocka_unit_test(time_is_bounded),
        cmocka_unit_test(random_patterns_match_what_the_c_library_matches),
        cmocka_unit_test(damaged_patterns_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
