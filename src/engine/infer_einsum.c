/* Einsum: the equation and the rule. */
#include "engine/einsum.h"
#include "engine/infer.h"

#include <string.h>

enum {
    LETTERS = 52,
    ELLIPSIS = LETTERS /* the first of its slots; the rightmost dim is the last */
};

/* A label's slot: its letter, or ELLIPSIS + a place. */
struct reader {
    const int64_t *at, *end; /* characters */
    struct eml_why *why;
    int64_t dim[EML_EINSUM_LOOPS];
    uint32_t seen[EML_EINSUM_LOOPS];                 /* in the terms of operands */
    uint8_t slot[EML_EINSUM_OPERANDS][EML_RANK_MAX]; /* of each dim of each operand */
    bool ellipsis;
};

static enum eml_err wrong(const struct reader *r, const char *rule)
{
    return eml_fail(r->why, EML_E_INPUT, rule, -1);
}

static int64_t peek(struct reader *r)
{
    while (r->at < r->end && *r->at == ' ')
        r->at++;
    return r->at < r->end ? *r->at : 0;
}

static bool take_dots(struct reader *r)
{
    if (r->end - r->at < 3 || r->at[0] != '.' || r->at[1] != '.' || r->at[2] != '.')
        return false;
    r->at += 3;
    return true;
}

/* Slot of a letter, in the order of ASCII; -1 if it is none. */
static int slot_of(int64_t ch)
{
    if (ch >= 'A' && ch <= 'Z')
        return (int)(ch - 'A');
    if (ch >= 'a' && ch <= 'z')
        return (int)(ch - 'a') + 26;
    return -1;
}

struct term {
    uint32_t n, dots_at; /* letters; letters before the ellipsis */
    bool dots;
    uint8_t letter[LETTERS];
};

/* Letters and at most one ellipsis, up to ',' or '-' or the end. */
static enum eml_err read_term(struct reader *r, struct term *t)
{
    *t = (struct term){0};
    for (int64_t ch = peek(r); ch != 0 && ch != ',' && ch != '-'; ch = peek(r)) {
        if (ch == '.') {
            if (t->dots || !take_dots(r))
                return wrong(r, "Einsum: misplaced dot");
            t->dots = true;
            t->dots_at = t->n;
            continue;
        }
        int slot = slot_of(ch);
        if (slot < 0)
            return wrong(r, "Einsum: character that is no label");
        if (t->n == LETTERS)
            return wrong(r, "Einsum: term too long");
        t->letter[t->n++] = (uint8_t)slot;
        r->at++;
    }
    return EML_OK;
}

static enum eml_err merge(const struct reader *r, int64_t *a, int64_t b)
{
    if (*a == 1 || (!eml_dim_known(*a) && b != 1))
        *a = b;
    return b == 1 || eml_dim_agrees(*a, b) ? EML_OK
                                           : wrong(r, "Einsum: a label has different sizes");
}

static enum eml_err read_operand(struct reader *r, uint32_t k, const struct eml_shape *s)
{
    struct term t;
    EML_TRY(read_term(r, &t));
    if (t.dots ? t.n > s->rank : t.n != s->rank)
        return wrong(r, "Einsum: term and rank do not fit");
    r->ellipsis = r->ellipsis || t.dots;
    uint32_t hidden = s->rank - t.n;
    for (uint32_t d = 0, letter = 0; d < s->rank; d++) {
        bool in_dots = t.dots && d >= t.dots_at && d < t.dots_at + hidden;
        uint32_t slot =
            in_dots ? ELLIPSIS + EML_RANK_MAX - hidden + (d - t.dots_at) : t.letter[letter++];
        r->slot[k][d] = (uint8_t)slot;
        if (r->seen[slot]++ == 0)
            r->dim[slot] = s->dim[d];
        else
            EML_TRY(merge(r, &r->dim[slot], s->dim[d]));
    }
    return EML_OK;
}

/* The slots of the result, in order. */
static enum eml_err read_result(struct reader *r, uint8_t *slot, uint32_t *n)
{
    struct term t = {.dots = r->ellipsis};
    if (peek(r) == '-') {
        if (r->end - r->at < 2 || r->at[1] != '>')
            return wrong(r, "Einsum: character that is no label");
        r->at += 2;
        EML_TRY(read_term(r, &t));
        if (peek(r) != 0)
            return wrong(r, "Einsum: more than one result");
        if (r->ellipsis && !t.dots)
            return wrong(r, "Einsum: the result drops the ellipsis");
    } else {
        for (uint32_t s = 0; s < LETTERS; s++)
            if (r->seen[s] == 1)
                t.letter[t.n++] = (uint8_t)s;
    }
    bool used[LETTERS] = {false};
    *n = 0;
    for (uint32_t i = 0; i <= t.n; i++) {
        for (uint32_t s = ELLIPSIS; i == t.dots_at && s < EML_EINSUM_LOOPS; s++)
            if (r->seen[s] != 0)
                slot[(*n)++] = (uint8_t)s;
        if (i == t.n)
            break;
        if (r->seen[t.letter[i]] == 0 || used[t.letter[i]])
            return wrong(r, "Einsum: label of the result that is in no operand, or there twice");
        used[t.letter[i]] = true;
        slot[(*n)++] = t.letter[i];
    }
    return EML_OK;
}

/* Loops in the order of the result, then over what is summed. */
static void make_loops(const struct reader *r, const struct eml_node *node,
                       const struct eml_shape *const *shapes, const uint8_t *result,
                       struct eml_einsum *e)
{
    uint32_t loop_of[EML_EINSUM_LOOPS] = {0};
    bool placed[EML_EINSUM_LOOPS] = {false};
    for (uint32_t i = 0; i < e->n_out; i++) {
        placed[result[i]] = true;
        loop_of[result[i]] = i;
    }
    e->n = e->n_out;
    for (uint32_t s = 0; s < EML_EINSUM_LOOPS; s++)
        if (r->seen[s] != 0 && !placed[s])
            loop_of[s] = e->n++;
    for (uint32_t s = 0; s < EML_EINSUM_LOOPS; s++)
        if (r->seen[s] != 0)
            e->dim[loop_of[s]] = r->dim[s];
    for (uint32_t k = 0; k < node->n_in; k++) {
        int64_t stride = 1;
        for (uint32_t d = shapes[k]->rank; d-- > 0;) {
            int64_t dim = shapes[k]->dim[d];
            if (dim < 0) /* not known: the strides are not needed yet */
                break;
            if (dim != 1)
                e->stride[k][loop_of[r->slot[k][d]]] += stride;
            if (__builtin_mul_overflow(stride, dim, &stride))
                break; /* some other dim is 0 or not known */
        }
    }
}

enum eml_err eml_einsum_read(const struct eml_node *node, const struct eml_shape *const *shapes,
                             struct eml_einsum *out, struct eml_why *why)
{
    const struct eml_attr *a = eml_node_attr(node, EML_ATTR_EQUATION);
    uint8_t result[LETTERS + EML_RANK_MAX];
    memset(out, 0, sizeof *out);
    struct reader r = {.why = why};
    if (a == NULL)
        return wrong(&r, "Einsum without equation");
    if (node->n_in > EML_EINSUM_OPERANDS)
        return eml_fail(why, EML_E_UNSUPPORTED, "Einsum of more than 32 operands", -1);
    r.at = a->v;
    r.end = a->v + a->n;
    for (uint32_t k = 0; k < node->n_in; k++) {
        EML_TRY(read_operand(&r, k, shapes[k]));
        bool more = k + 1 < node->n_in;
        if (more != (peek(&r) == ','))
            return wrong(&r, "Einsum: as many terms as operands are needed");
        r.at += more;
    }
    EML_TRY(read_result(&r, result, &out->n_out));
    if (out->n_out > EML_RANK_MAX)
        return wrong(&r, "rank above the limit");
    make_loops(&r, node, shapes, result, out);
    return EML_OK;
}

enum eml_err eml_rule_einsum(const struct eml_rule_ctx *c)
{
    const struct eml_shape *shapes[EML_EINSUM_OPERANDS] = {NULL};
    bool known = true;
    for (uint32_t k = 0; k < c->node->n_in; k++) {
        EML_TRY(eml_rule_demand(c, c->in[k] != NULL, "required operand omitted"));
        EML_TRY(eml_rule_demand(c, c->in[k]->dtype == c->in[0]->dtype, "operands differ in type"));
        known = known && c->in[k]->has_rank;
        if (k < EML_EINSUM_OPERANDS)
            shapes[k] = &c->in[k]->shape;
    }
    eml_rule_out(c, 0, c->in[0]->dtype, NULL);
    if (!known)
        return EML_OK;
    struct eml_einsum e;
    EML_TRY(eml_einsum_read(c->node, shapes, &e, c->why));
    struct eml_shape s = {.rank = e.n_out};
    memcpy(s.dim, e.dim, e.n_out * sizeof *s.dim);
    eml_rule_out(c, 0, c->in[0]->dtype, &s);
    return EML_OK;
}
