/* Operators on strings (model/strings.h). Letters are those of ASCII: where another's case would
 * matter the kernel says that it cannot. */
#include "engine/regex.h"
#include "engine/walk.h"
#include "model/limits.h"
#include "model/strings.h"

static const uint8_t *record_at(const struct eml_view *v, int64_t i)
{
    return (const uint8_t *)v->data + (size_t)i * EML_STRING_BYTES;
}

static struct eml_bytes text_at(const struct eml_view *v, int64_t i)
{
    return eml_string_get(record_at(v, i));
}

static uint8_t *out_at(const struct eml_view *v, int64_t i)
{
    return (uint8_t *)v->data + (size_t)i * EML_STRING_BYTES;
}

static const struct eml_view *given(const struct eml_op_ctx *c, uint32_t i)
{
    return i < c->n_in && c->in[i].dtype != EML_DT_NONE ? &c->in[i] : NULL;
}

/* ---- Equal, StringConcat: element by element, with broadcasting ---- */

struct pairs {
    const struct eml_op_ctx *c;
    int64_t sa, sb;
    bool too_long;
};

static void equal_row(void *arg, const int64_t *at, int64_t n)
{
    const struct pairs *p = arg;
    uint8_t *y = (uint8_t *)p->c->out[0].data + at[0];
    for (int64_t i = 0; i < n; i++)
        y[i] = eml_bytes_equal(text_at(&p->c->in[0], at[1] + i * p->sa),
                               text_at(&p->c->in[1], at[2] + i * p->sb));
}

static void concat_row(void *arg, const int64_t *at, int64_t n)
{
    struct pairs *p = arg;
    for (int64_t i = 0; i < n; i++) {
        struct eml_bytes a = text_at(&p->c->in[0], at[1] + i * p->sa);
        struct eml_bytes b = text_at(&p->c->in[1], at[2] + i * p->sb);
        uint8_t both[2 * EML_STRING_MAX];
        memcpy(both, a.ptr, a.len);
        memcpy(both + a.len, b.ptr, b.len);
        if (!eml_string_put(out_at(&p->c->out[0], at[0] + i), eml_bytes(both, a.len + b.len)))
            p->too_long = true;
    }
}

static bool run_pairs(const struct eml_op_ctx *c, eml_walk_fn *f)
{
    const struct eml_shape *in[2] = {&c->in[0].shape, &c->in[1].shape};
    struct eml_walk w = eml_walk_broadcast(&c->out[0].shape, 2, in);
    struct pairs p = {.c = c, .sa = w.stride[1][w.rank - 1], .sb = w.stride[2][w.rank - 1]};
    eml_walk_run(&w, NULL, f, &p);
    return !p.too_long;
}

void eml_strings_equal(const struct eml_op_ctx *c)
{
    (void)run_pairs(c, equal_row);
}

enum eml_err eml_op_string_concat(const struct eml_op_ctx *c)
{
    return run_pairs(c, concat_row)
               ? EML_OK
               : eml_fail(c->why, EML_E_INPUT, "string longer than 255 bytes", -1);
}

/* ---- StringNormalizer ---- */

enum { CASE_NONE, CASE_LOWER, CASE_UPPER };

static uint8_t turned(uint8_t b, int64_t how)
{
    if (how == CASE_LOWER && b >= 'A' && b <= 'Z')
        return (uint8_t)(b - 'A' + 'a');
    if (how == CASE_UPPER && b >= 'a' && b <= 'z')
        return (uint8_t)(b - 'a' + 'A');
    return b;
}

static bool same_text(struct eml_bytes a, struct eml_bytes b, bool sensitive)
{
    int64_t how = sensitive ? CASE_NONE : CASE_LOWER;
    bool same = a.len == b.len;
    for (size_t i = 0; same && i < a.len; i++)
        same = turned(a.ptr[i], how) == turned(b.ptr[i], how);
    return same;
}

static bool stops(const struct eml_op_ctx *c, struct eml_bytes text)
{
    const struct eml_view *words = given(c, 1);
    bool sensitive = eml_node_int(c->node, EML_ATTR_IS_CASE_SENSITIVE, 0) != 0;
    for (int64_t i = 0; words != NULL && i < words->count; i++)
        if (same_text(text, text_at(words, i), sensitive))
            return true;
    return false;
}

/* Without any string left there is one, which is empty. */
enum eml_err eml_size_string_normalizer(const struct eml_op_ctx *c, struct eml_shape *shape)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < c->in[0].count; i++)
        kept += !stops(c, text_at(&c->in[0], i));
    shape[0].dim[shape[0].rank - 1] = kept > 0 ? kept : 1;
    return EML_OK;
}

enum eml_err eml_op_string_normalizer(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    int64_t how = eml_node_int(c->node, EML_ATTR_CASE_CHANGE_ACTION, CASE_NONE), at = 0;
    bool folds = given(c, 1) != NULL && eml_node_int(c->node, EML_ATTR_IS_CASE_SENSITIVE, 0) == 0;
    memset(y->data, 0, (size_t)y->count * EML_STRING_BYTES);
    for (int64_t i = 0; i < x->count; i++) {
        struct eml_bytes text = text_at(x, i);
        for (size_t k = 0; (how != CASE_NONE || folds) && k < text.len; k++)
            if (text.ptr[k] >= 0x80)
                return eml_fail(c->why, EML_E_UNSUPPORTED, "case of letters beyond ASCII", -1);
        if (stops(c, text))
            continue;
        EML_ASSERT(at < y->count);
        uint8_t *to = out_at(y, at++);
        (void)eml_string_put(to, text);
        for (size_t k = 1; k <= to[0]; k++)
            to[k] = turned(to[k], how);
    }
    return EML_OK;
}

/* ---- StringSplit ---- */

struct pieces {
    struct eml_bytes rest, delimiter; /* empty: any run of spaces */
    int64_t splits;                   /* still to be made; negative: no bound */
    bool done;
};

static bool is_space(uint8_t b)
{
    return b == ' ' || (b >= '\t' && b <= '\r');
}

static void drop(struct eml_bytes *b, size_t n)
{
    b->ptr += n;
    b->len -= n;
}

/* Length of the delimiter that stands at `at`; 0: none does. */
static size_t delimiter_at(const struct pieces *p, size_t at)
{
    if (p->delimiter.len == 0)
        return is_space(p->rest.ptr[at]) ? 1 : 0;
    return p->rest.len - at >= p->delimiter.len &&
                   memcmp(p->rest.ptr + at, p->delimiter.ptr, p->delimiter.len) == 0
               ? p->delimiter.len
               : 0;
}

static bool next_piece(struct pieces *p, struct eml_bytes *piece)
{
    size_t n = 0;
    while (p->delimiter.len == 0 && p->rest.len > 0 && is_space(p->rest.ptr[0]))
        drop(&p->rest, 1);
    if (p->done || (p->delimiter.len == 0 && p->rest.len == 0))
        return false;
    while (p->splits != 0 && n < p->rest.len && delimiter_at(p, n) == 0)
        n++;
    p->done = p->splits == 0 || n == p->rest.len;
    *piece = eml_bytes(p->rest.ptr, p->splits == 0 ? p->rest.len : n);
    if (!p->done)
        drop(&p->rest, n + delimiter_at(p, n));
    p->splits -= p->splits > 0;
    return true;
}

static struct pieces pieces_of(const struct eml_op_ctx *c, int64_t i)
{
    const struct eml_view *d = given(c, 1);
    return (struct pieces){.rest = text_at(&c->in[0], i),
                           .delimiter = d != NULL ? text_at(d, 0) : eml_bytes(NULL, 0),
                           .splits = eml_node_int(c->node, EML_ATTR_MAXSPLIT, -1)};
}

enum eml_err eml_size_string_split(const struct eml_op_ctx *c, struct eml_shape *shape)
{
    int64_t most = 0;
    for (int64_t i = 0; i < c->in[0].count; i++) {
        struct pieces p = pieces_of(c, i);
        struct eml_bytes piece;
        int64_t n = 0;
        while (next_piece(&p, &piece))
            n++;
        most = n > most ? n : most;
    }
    shape[0].dim[shape[0].rank - 1] = most;
    return EML_OK;
}

enum eml_err eml_op_string_split(const struct eml_op_ctx *c)
{
    const struct eml_view *y = &c->out[0];
    int64_t width = y->shape.dim[y->shape.rank - 1];
    int64_t *counts = c->n_out > 1 && c->out[1].dtype != EML_DT_NONE ? c->out[1].data : NULL;
    if (y->count > 0)
        memset(y->data, 0, (size_t)y->count * EML_STRING_BYTES);
    for (int64_t i = 0; i < c->in[0].count; i++) {
        struct pieces p = pieces_of(c, i);
        struct eml_bytes piece;
        int64_t n = 0;
        for (; next_piece(&p, &piece); n++) {
            EML_ASSERT(n < width);
            (void)eml_string_put(out_at(y, i * width + n), piece);
        }
        if (counts != NULL)
            counts[i] = n;
    }
    return EML_OK;
}

/* ---- RegexFullMatch ---- */

struct regex_scratch {
    struct eml_regex regex;
    struct eml_regex_run run;
};

bool eml_scratch_regex_full_match(const struct eml_op_ctx *c, size_t *bytes)
{
    (void)c;
    *bytes = sizeof(struct regex_scratch);
    return true;
}

enum eml_err eml_op_regex_full_match(const struct eml_op_ctx *c)
{
    const struct eml_attr *a = eml_node_attr(c->node, EML_ATTR_PATTERN);
    struct regex_scratch *s = (struct regex_scratch *)(void *)c->scratch.ptr;
    uint8_t pattern[EML_ATTR_INTS_MAX];
    const size_t n = a != NULL ? a->n : 0;
    for (size_t i = 0; i < n; i++)
        pattern[i] = (uint8_t)a->v[i];
    EML_TRY(eml_regex_compile(eml_bytes(pattern, n), &s->regex, c->why));
    for (int64_t i = 0; i < c->in[0].count; i++)
        ((uint8_t *)c->out[0].data)[i] =
            eml_regex_matches(&s->regex, text_at(&c->in[0], i), &s->run);
    return EML_OK;
}
