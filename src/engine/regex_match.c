#include "engine/regex_parts.h"

#include <string.h>

uint32_t eml_regex_code(struct eml_bytes t, size_t *at)
{
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    if (*at >= t.len)
        return EML_REGEX_NOTHING;
    const uint8_t b = t.ptr[*at];
    const size_t more = b < 0x80   ? 0
                        : b < 0xc0 ? 9
                        : b < 0xe0 ? 1
                        : b < 0xf0 ? 2
                        : b < 0xf8 ? 3
                                   : 9;
    if (more >= sizeof least / sizeof least[0] || more > t.len - *at - 1)
        return EML_REGEX_NOTHING;
    uint32_t v = more == 0 ? b : b & (0x3fU >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((t.ptr[*at + i] & 0xc0) != 0x80)
            return EML_REGEX_NOTHING;
        v = v << 6 | (t.ptr[*at + i] & 0x3fU);
    }
    if (v < least[more] || v > EML_REGEX_CODE_MAX || (v >= 0xd800 && v < 0xe000))
        return EML_REGEX_NOTHING;
    *at += more + 1;
    return v;
}

static bool is_word(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool holds(uint16_t assertion, uint32_t before, uint32_t after)
{
    switch (assertion) {
    case EML_REGEX_BEGIN:
        return before == EML_REGEX_NOTHING;
    case EML_REGEX_END:
        return after == EML_REGEX_NOTHING;
    case EML_REGEX_BOUNDARY:
        return is_word(before) != is_word(after);
    default:
        return is_word(before) == is_word(after);
    }
}

static bool in_set(const struct eml_regex *r, uint16_t set, uint32_t c)
{
    for (uint16_t i = 0; i < r->set[set].n; i++)
        if (c >= r->range[r->set[set].first + i].lo && c <= r->range[r->set[set].first + i].hi)
            return !r->set[set].negated;
    return r->set[set].negated;
}

/* What can be reached from `from` between the characters, each node once per round. */
static size_t reach(const struct eml_regex *r, struct eml_regex_run *run, uint16_t *list, size_t n,
                    uint16_t from, uint32_t round, uint32_t before, uint32_t after)
{
    size_t depth = 0;
    if (run->mark[from] != round) {
        run->mark[from] = round;
        run->stack[depth++] = from;
    }
    while (depth > 0) {
        const uint16_t at = run->stack[--depth];
        const struct eml_regex_node *x = &r->node[at];
        if (x->kind == EML_REGEX_SET || x->kind == EML_REGEX_ACCEPT)
            list[n++] = at;
        if (x->kind == EML_REGEX_SET || x->kind == EML_REGEX_ACCEPT ||
            (x->kind == EML_REGEX_ASSERT && !holds(x->set, before, after)))
            continue;
        for (size_t i = 0; i < 2; i++)
            if (x->out[i] != EML_REGEX_NO_NODE && run->mark[x->out[i]] != round) {
                run->mark[x->out[i]] = round;
                run->stack[depth++] = x->out[i];
            }
    }
    return n;
}

bool eml_regex_matches(const struct eml_regex *r, struct eml_bytes text, struct eml_regex_run *run)
{
    uint16_t *now = run->list[0], *then = run->list[1];
    uint32_t round = 1;
    size_t at = 0;
    memset(run->mark, 0, r->n_nodes * sizeof run->mark[0]);
    uint32_t next = eml_regex_code(text, &at);
    size_t n = reach(r, run, now, 0, r->start, round, EML_REGEX_NOTHING, next);
    while (next != EML_REGEX_NOTHING && n > 0) {
        const uint32_t c = next;
        size_t m = 0;
        next = eml_regex_code(text, &at);
        round++;
        for (size_t i = 0; i < n; i++)
            if (r->node[now[i]].kind == EML_REGEX_SET && in_set(r, r->node[now[i]].set, c))
                m = reach(r, run, then, m, r->node[now[i]].out[0], round, c, next);
        uint16_t *swapped = now;
        now = then;
        then = swapped;
        n = m;
    }
    for (size_t i = 0; i < n && at == text.len; i++)
        if (now[i] == r->accept)
            return true;
    return false;
}
