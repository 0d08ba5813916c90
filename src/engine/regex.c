#include "engine/regex_parts.h"

#include <string.h>

enum { TOKENS = 2048, DEPTH = 64 };

enum op { STAR = 8, PLUS, MAYBE, CAT, ALT }; /* of tokens only */

struct token {
    uint8_t kind;
    uint16_t set;
};

/* The pattern in reverse Polish form: operands first. */
struct parser {
    struct eml_bytes text;
    size_t at;
    struct eml_regex *r;
    struct token token[TOKENS];
    size_t n;
    struct {
        uint16_t alternatives, atoms;
    } open[DEPTH], now; /* of the groups around, and of this one */
    size_t depth;
    bool repeatable; /* the last thing read may be repeated */
    enum eml_err e;
    struct eml_why *why;
};

static bool fail(struct parser *p, enum eml_err e, const char *rule)
{
    if (p->e == EML_OK)
        p->e = eml_fail(p->why, e, rule, -1);
    return false;
}

static bool too_large(struct parser *p)
{
    return fail(p, EML_E_UNSUPPORTED, "RegexFullMatch: the pattern is too large");
}

/* ---- characters ---- */

static int peek(const struct parser *p)
{
    return p->at < p->text.len ? p->text.ptr[p->at] : -1;
}

static bool eat(struct parser *p, const char *literal)
{
    const size_t n = strlen(literal);
    if (p->text.len - p->at < n || memcmp(p->text.ptr + p->at, literal, n) != 0)
        return false;
    p->at += n;
    return true;
}

static bool add_range(struct parser *p, uint32_t lo, uint32_t hi)
{
    struct eml_regex *r = p->r;
    if (r->n_ranges == EML_REGEX_RANGES)
        return too_large(p);
    r->range[r->n_ranges].lo = lo;
    r->range[r->n_ranges++].hi = hi;
    return true;
}

/* Pairs of ends. Complemented: what lies between them. */
static bool add_ranges(struct parser *p, const char *ends, bool complement)
{
    uint32_t from = 0;
    bool ok = true;
    for (; *ends != '\0' && ok; ends += 2) {
        const uint32_t lo = (uint8_t)ends[0], hi = (uint8_t)ends[1];
        if (!complement)
            ok = add_range(p, lo, hi);
        else if (lo > from)
            ok = add_range(p, from, lo - 1);
        from = hi + 1;
    }
    return ok && (!complement || add_range(p, from, EML_REGEX_CODE_MAX));
}

/* \d and the like, ends ascending; false if c names no class. */
static bool class_of(int c, const char **ends, bool *complement)
{
    static const char *const all[3][2] = {{"dD", "09"}, {"sS", "\t\n\f\r  "}, {"wW", "09AZ__az"}};
    for (size_t i = 0; i < 3; i++)
        if (c == all[i][0][0] || c == all[i][0][1]) {
            *ends = all[i][1];
            *complement = c == all[i][0][1];
            return true;
        }
    return false;
}

static int hex(int c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* After \x: two digits, or any number in braces. */
static bool hex_code(struct parser *p, uint32_t *code)
{
    const bool braces = eat(p, "{");
    size_t digits = 0;
    *code = 0;
    for (; hex(peek(p)) >= 0 && *code <= EML_REGEX_CODE_MAX && (braces || digits < 2);
         digits++, p->at++)
        *code = *code << 4 | (uint32_t)hex(peek(p));
    if (digits == 0 || *code > EML_REGEX_CODE_MAX || (braces ? !eat(p, "}") : digits != 2))
        return fail(p, EML_E_INPUT, "RegexFullMatch: malformed \\x");
    return true;
}

/* The character that an escape stands for; the backslash is eaten. */
static bool escaped(struct parser *p, uint32_t *code)
{
    static const char letters[] = "afnrtv", codes[] = "\a\f\n\r\t\v";
    const int c = peek(p);
    const char *letter = c > 0 ? strchr(letters, c) : NULL;
    if (c < 0)
        return fail(p, EML_E_INPUT, "RegexFullMatch: the pattern ends in a backslash");
    if (eat(p, "x"))
        return hex_code(p, code);
    const bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (letter == NULL && (word || c >= 0x80))
        return fail(p, EML_E_UNSUPPORTED,
                    "RegexFullMatch: this escape (\\p, \\C, \\Q, \\1 ...) is not supported");
    *code = letter != NULL ? (uint32_t)codes[letter - letters] : (uint32_t)c;
    p->at++;
    return true;
}

/* ---- sets ---- */

static bool end_set(struct parser *p, uint16_t first, bool negated, uint16_t *set)
{
    struct eml_regex *r = p->r;
    if (r->n_sets == EML_REGEX_SETS)
        return too_large(p);
    r->set[r->n_sets].first = first;
    r->set[r->n_sets].n = (uint16_t)(r->n_ranges - first);
    r->set[r->n_sets].negated = negated;
    *set = r->n_sets++;
    return true;
}

/* [:alpha:] and the like, within brackets. */
static bool named_class(struct parser *p, bool *found)
{
    static const char *const names[][2] = {
        {"alnum:]", "09AZaz"}, {"alpha:]", "AZaz"}, {"blank:]", "\t\t  "},  {"digit:]", "09"},
        {"graph:]", "!~"},     {"lower:]", "az"},   {"print:]", " ~"},      {"punct:]", "!/:@[`{~"},
        {"space:]", "\t\r  "}, {"upper:]", "AZ"},   {"word:]", "09AZ__az"}, {"xdigit:]", "09AFaf"},
    };
    *found = false;
    if (!eat(p, "[:"))
        return true;
    const bool complement = eat(p, "^");
    *found = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (eat(p, names[i][0]))
            return add_ranges(p, names[i][1], complement);
    return fail(p, EML_E_INPUT, "RegexFullMatch: unknown class in brackets");
}

/* One end of a range. */
static bool set_character(struct parser *p, uint32_t *code)
{
    if (eat(p, "\\"))
        return escaped(p, code);
    *code = eml_regex_code(p->text, &p->at);
    return *code != EML_REGEX_NOTHING ||
           fail(p, EML_E_INPUT, "RegexFullMatch: brackets that do not end");
}

static bool set_item(struct parser *p)
{
    const char *ends;
    bool complement, found;
    uint32_t lo, hi;
    if (!named_class(p, &found) || found)
        return found && p->e == EML_OK;
    if (peek(p) == '\\' && p->at + 1 < p->text.len &&
        class_of(p->text.ptr[p->at + 1], &ends, &complement)) {
        p->at += 2;
        return add_ranges(p, ends, complement);
    }
    if (!set_character(p, &lo))
        return false;
    hi = lo;
    if (peek(p) == '-' && p->at + 1 < p->text.len && p->text.ptr[p->at + 1] != ']') {
        p->at++;
        if (!set_character(p, &hi))
            return false;
    }
    return lo <= hi ? add_range(p, lo, hi)
                    : fail(p, EML_E_INPUT, "RegexFullMatch: a range that ends before it begins");
}

/* After the opening bracket; a closing one that comes first is a character. */
static bool brackets(struct parser *p, uint16_t *set)
{
    const uint16_t first = p->r->n_ranges;
    const bool negated = eat(p, "^");
    for (bool more = true; more; more = !eat(p, "]"))
        if (!set_item(p))
            return false;
    return end_set(p, first, negated, set);
}

/* ---- the pattern ---- */

static bool emit(struct parser *p, int kind, uint16_t set)
{
    if (p->n == TOKENS)
        return too_large(p);
    p->token[p->n++] = (struct token){(uint8_t)kind, set};
    return true;
}

/* Joins the last two atoms, so that there is room for another. */
static bool make_room(struct parser *p)
{
    if (p->now.atoms < 2)
        return true;
    p->now.atoms--;
    return emit(p, CAT, 0);
}

static bool atom(struct parser *p, int kind, uint16_t set)
{
    bool ok = make_room(p) && emit(p, kind, set);
    p->now.atoms++;
    p->repeatable = true;
    return ok;
}

/* The atoms since the last | become one. */
static bool end_alternative(struct parser *p)
{
    if (p->now.atoms == 0)
        return emit(p, EML_REGEX_EMPTY, 0);
    if (!make_room(p))
        return false;
    p->now.atoms = 0;
    return true;
}

static bool end_group(struct parser *p)
{
    bool ok = end_alternative(p);
    for (; ok && p->now.alternatives > 0; p->now.alternatives--)
        ok = emit(p, ALT, 0);
    return ok;
}

static bool open_group(struct parser *p)
{
    if (eat(p, "?") && !eat(p, ":"))
        return fail(p, EML_E_UNSUPPORTED,
                    "RegexFullMatch: flags and named groups (?...) are not supported");
    if (!make_room(p))
        return false;
    if (p->depth == DEPTH)
        return fail(p, EML_E_UNSUPPORTED, "RegexFullMatch: groups nested too deep");
    p->open[p->depth].alternatives = p->now.alternatives;
    p->open[p->depth++].atoms = p->now.atoms;
    p->now.alternatives = p->now.atoms = 0;
    p->repeatable = false;
    return true;
}

static bool close_group(struct parser *p)
{
    if (p->depth == 0)
        return fail(p, EML_E_INPUT, "RegexFullMatch: a ) without its (");
    if (!end_group(p))
        return false;
    p->now.alternatives = p->open[--p->depth].alternatives;
    p->now.atoms = (uint16_t)(p->open[p->depth].atoms + 1);
    p->repeatable = true;
    return true;
}

/* First token of the operand that ends before `end`. */
static size_t operand_start(const struct parser *p, size_t end)
{
    for (size_t missing = 1; missing > 0 && end > 0;) {
        const uint8_t kind = p->token[--end].kind;
        missing += kind >= CAT ? 1 : kind >= STAR ? 0 : (size_t)-1;
    }
    return end;
}

/* The last operand lo to hi times; hi < 0: without end. Made of copies. */
static bool repeat(struct parser *p, long lo, long hi)
{
    const size_t from = operand_start(p, p->n), n = p->n - from;
    const long times = hi < 0 ? lo + 1 : hi;
    if (times == 0) {
        p->n = from;
        return emit(p, EML_REGEX_EMPTY, 0);
    }
    if (n * (size_t)times > TOKENS)
        return too_large(p);
    for (long i = 0; i < times; i++) {
        for (size_t k = 0; i > 0 && k < n; k++)
            if (!emit(p, p->token[from + k].kind, p->token[from + k].set))
                return false;
        if (i >= lo && !emit(p, hi < 0 ? STAR : MAYBE, 0))
            return false;
        if (i > 0 && !emit(p, CAT, 0))
            return false;
    }
    return true;
}

static bool count(struct parser *p, long *v)
{
    *v = -1;
    for (; peek(p) >= '0' && peek(p) <= '9' && *v <= EML_REGEX_REPEAT_MAX; p->at++)
        *v = (*v < 0 ? 0 : *v) * 10 + (peek(p) - '0');
    return *v >= 0;
}

/* {n}, {n,} or {n,m}; anything else in braces is text, as in RE2. */
static bool counted(struct parser *p, bool *is)
{
    const size_t begin = p->at++;
    long lo, hi;
    *is = count(p, &lo);
    hi = lo;
    if (*is && eat(p, ",") && !count(p, &hi))
        hi = -1;
    *is = *is && eat(p, "}");
    if (!*is) {
        p->at = begin;
        return true;
    }
    if (lo > EML_REGEX_REPEAT_MAX || hi > EML_REGEX_REPEAT_MAX || (hi >= 0 && hi < lo))
        return fail(p, EML_E_INPUT, "RegexFullMatch: malformed number of repetitions");
    if (!p->repeatable)
        return fail(p, EML_E_INPUT, "RegexFullMatch: nothing that could be repeated");
    return repeat(p, lo, hi);
}

static bool repetition(struct parser *p, bool *is)
{
    const int c = peek(p);
    *is = c == '*' || c == '+' || c == '?';
    if (c == '{' && !counted(p, is))
        return false;
    if (!*is)
        return true;
    if (c != '{') {
        p->at++;
        if (!p->repeatable)
            return fail(p, EML_E_INPUT, "RegexFullMatch: nothing that could be repeated");
        if (!emit(p, c == '*' ? STAR : c == '+' ? PLUS : MAYBE, 0))
            return false;
    }
    (void)eat(p, "?"); /* lazy: of a whole text it makes no difference */
    p->repeatable = false;
    return true;
}

/* After a backslash, outside of brackets. */
static bool escape(struct parser *p)
{
    static const char assertions[] = "AzbB";
    const int c = peek(p);
    const char *which = c > 0 ? strchr(assertions, c) : NULL, *ends;
    const uint16_t first = p->r->n_ranges;
    bool complement;
    uint32_t code;
    uint16_t set;
    if (which != NULL) {
        p->at++;
        return atom(p, EML_REGEX_ASSERT, (uint16_t)(which - assertions));
    }
    if (class_of(c, &ends, &complement)) {
        p->at++;
        return add_ranges(p, ends, complement) && end_set(p, first, false, &set) &&
               atom(p, EML_REGEX_SET, set);
    }
    return escaped(p, &code) && add_range(p, code, code) && end_set(p, first, false, &set) &&
           atom(p, EML_REGEX_SET, set);
}

static bool character(struct parser *p)
{
    const uint16_t first = p->r->n_ranges;
    uint16_t set;
    if (eat(p, "["))
        return brackets(p, &set) && atom(p, EML_REGEX_SET, set);
    if (eat(p, ".")) /* all but the end of a line */
        return add_range(p, '\n', '\n') && end_set(p, first, true, &set) &&
               atom(p, EML_REGEX_SET, set);
    const uint32_t code = eml_regex_code(p->text, &p->at);
    if (code == EML_REGEX_NOTHING)
        return fail(p, EML_E_INPUT, "RegexFullMatch: the pattern is not UTF-8");
    return add_range(p, code, code) && end_set(p, first, false, &set) &&
           atom(p, EML_REGEX_SET, set);
}

static bool step(struct parser *p)
{
    bool repeats;
    if (!repetition(p, &repeats) || repeats)
        return p->e == EML_OK;
    if (eat(p, "("))
        return open_group(p);
    if (eat(p, ")"))
        return close_group(p);
    if (eat(p, "|")) {
        p->repeatable = false;
        p->now.alternatives++;
        return end_alternative(p);
    }
    if (eat(p, "\\"))
        return escape(p);
    if (eat(p, "^"))
        return atom(p, EML_REGEX_ASSERT, EML_REGEX_BEGIN);
    if (eat(p, "$"))
        return atom(p, EML_REGEX_ASSERT, EML_REGEX_END);
    return character(p);
}

/* ---- reverse Polish form to nodes (Thompson) ---- */

struct piece {
    uint16_t start, end; /* end: an EMPTY node that leads nowhere yet */
};

/* Room was counted by the caller. */
static uint16_t node(struct eml_regex *r, enum eml_regex_kind kind, uint16_t set, uint16_t a,
                     uint16_t b)
{
    r->node[r->n_nodes] = (struct eml_regex_node){(uint8_t)kind, set, {a, b}};
    return r->n_nodes++;
}

static struct piece single(struct eml_regex *r, const struct token *t)
{
    const uint16_t end = node(r, EML_REGEX_EMPTY, 0, EML_REGEX_NO_NODE, EML_REGEX_NO_NODE);
    return (struct piece){node(r, (enum eml_regex_kind)t->kind, t->set, end, EML_REGEX_NO_NODE),
                          end};
}

static struct piece repeated(struct eml_regex *r, int kind, struct piece x)
{
    const uint16_t end = node(r, EML_REGEX_EMPTY, 0, EML_REGEX_NO_NODE, EML_REGEX_NO_NODE);
    const uint16_t fork = node(r, EML_REGEX_SPLIT, 0, x.start, end);
    r->node[x.end].out[0] = kind == MAYBE ? end : fork;
    return (struct piece){kind == PLUS ? x.start : fork, end};
}

static struct piece either(struct eml_regex *r, struct piece a, struct piece b)
{
    const uint16_t end = node(r, EML_REGEX_EMPTY, 0, EML_REGEX_NO_NODE, EML_REGEX_NO_NODE);
    r->node[a.end].out[0] = r->node[b.end].out[0] = end;
    return (struct piece){node(r, EML_REGEX_SPLIT, 0, a.start, b.start), end};
}

static enum eml_err link(struct parser *p)
{
    struct piece stack[TOKENS];
    size_t n = 0;
    _Static_assert(2 * TOKENS <= EML_REGEX_NODES, "two nodes per token at most");
    for (size_t i = 0; i < p->n; i++) {
        const struct token *t = &p->token[i];
        EML_ASSERT(n >= (t->kind >= CAT ? 2U : t->kind >= STAR ? 1U : 0U));
        if (t->kind == CAT) {
            p->r->node[stack[n - 2].end].out[0] = stack[n - 1].start;
            stack[n - 2].end = stack[n - 1].end;
            n--;
        } else if (t->kind == ALT) {
            stack[n - 2] = either(p->r, stack[n - 2], stack[n - 1]);
            n--;
        } else if (t->kind >= STAR) {
            stack[n - 1] = repeated(p->r, t->kind, stack[n - 1]);
        } else {
            stack[n++] = single(p->r, t);
        }
    }
    EML_ASSERT(n == 1);
    /* cppcheck-suppress uninitvar ; n is 1, so stack[0] was set */
    p->r->start = stack[0].start;
    p->r->accept = stack[0].end;
    p->r->node[p->r->accept].kind = EML_REGEX_ACCEPT;
    return EML_OK;
}

enum eml_err eml_regex_compile(struct eml_bytes pattern, struct eml_regex *out, struct eml_why *why)
{
    struct parser p = {.text = pattern, .r = out, .why = why};
    memset(out, 0, sizeof *out);
    while (p.at < pattern.len)
        if (!step(&p))
            return p.e;
    if (p.depth != 0)
        (void)fail(&p, EML_E_INPUT, "RegexFullMatch: a ( without its )");
    else
        (void)end_group(&p);
    return p.e != EML_OK ? p.e : link(&p);
}
