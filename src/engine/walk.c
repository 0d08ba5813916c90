#include "engine/walk.h"

#include <string.h>

enum { PIECE = 16384 }; /* elements that are worth handing to another thread */

void eml_strides(const struct eml_shape *s, int64_t stride[EML_RANK_MAX])
{
    uint64_t step = 1; /* may wrap if the tensor is empty, and then steers nothing */
    for (uint32_t i = s->rank; i-- > 0;) {
        stride[i] = (int64_t)step;
        step *= s->dim[i] > 0 ? (uint64_t)s->dim[i] : 1;
    }
}

struct eml_walk eml_walk_start(uint32_t n)
{
    return (struct eml_walk){.n = n};
}

void eml_walk_dim(struct eml_walk *w, int64_t dim, const int64_t *strides)
{
    EML_ASSERT(w->rank < EML_WALK_RANK);
    w->dim[w->rank] = dim;
    for (uint32_t k = 0; k < w->n; k++)
        w->stride[k][w->rank] = strides[k];
    w->rank++;
}

/* Dim `outer` continues where dim `inner` ends, in every operand. */
static bool continues(const struct eml_walk *w, uint32_t outer, uint32_t inner)
{
    for (uint32_t k = 0; k < w->n; k++)
        if (w->stride[k][outer] != w->stride[k][inner] * w->dim[inner])
            return false;
    return true;
}

static void move_dim(struct eml_walk *w, uint32_t to, uint32_t from)
{
    w->dim[to] = w->dim[from];
    for (uint32_t k = 0; k < w->n; k++)
        w->stride[k][to] = w->stride[k][from];
}

void eml_walk_finish(struct eml_walk *w)
{
    for (uint32_t i = 0; i < w->rank; i++) {
        if (w->dim[i] == 0) { /* nothing to do */
            w->rank = 1;
            w->dim[0] = 0;
            return;
        }
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->rank; i++) {
        if (w->dim[i] == 1)
            continue;
        if (kept > 0 && continues(w, kept - 1, i)) {
            int64_t dim = w->dim[kept - 1] * w->dim[i];
            move_dim(w, kept - 1, i);
            w->dim[kept - 1] = dim;
        } else {
            move_dim(w, kept++, i);
        }
    }
    w->rank = kept;
    const int64_t ones[EML_WALK_OPERANDS] = {1, 1, 1, 1};
    if (kept == 0)
        eml_walk_dim(w, 1, ones);
}

struct eml_walk eml_walk_broadcast(const struct eml_shape *out, uint32_t n,
                                   const struct eml_shape *const *in)
{
    struct eml_walk w = eml_walk_start(n + 1);
    int64_t so[EML_RANK_MAX], si[EML_WALK_OPERANDS][EML_RANK_MAX];
    eml_strides(out, so);
    for (uint32_t k = 0; k < n; k++)
        eml_strides(in[k], si[k]);
    for (uint32_t d = 0; d < out->rank; d++) {
        int64_t s[EML_WALK_OPERANDS] = {so[d]};
        for (uint32_t k = 0; k < n; k++) {
            uint32_t shift = out->rank - in[k]->rank;
            bool there = d >= shift && in[k]->dim[d - shift] != 1;
            s[k + 1] = there ? si[k][d - shift] : 0;
        }
        eml_walk_dim(&w, out->dim[d], s);
    }
    eml_walk_finish(&w);
    return w;
}

struct job {
    const struct eml_walk *w;
    eml_walk_fn *f;
    void *arg;
    int64_t inner, pieces; /* of one row */
};

/* Where a row is: its index along each dim but the innermost, and its offset in each operand. */
struct spot {
    int64_t index[EML_WALK_RANK], at[EML_WALK_OPERANDS];
};

static void seek(const struct eml_walk *w, int64_t row, struct spot *s)
{
    for (uint32_t k = 0; k < w->n; k++)
        s->at[k] = 0;
    for (uint32_t d = w->rank - 1; d-- > 0;) {
        s->index[d] = row % w->dim[d];
        row /= w->dim[d];
        for (uint32_t k = 0; k < w->n; k++)
            s->at[k] += s->index[d] * w->stride[k][d];
    }
}

static void next_row(const struct eml_walk *w, struct spot *s)
{
    for (uint32_t d = w->rank - 1; d-- > 0;) {
        bool carry = ++s->index[d] == w->dim[d];
        for (uint32_t k = 0; k < w->n; k++)
            s->at[k] += w->stride[k][d] - (carry ? w->dim[d] * w->stride[k][d] : 0);
        if (!carry)
            return;
        s->index[d] = 0;
    }
}

static void run_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct job *j = arg;
    struct spot s;
    seek(j->w, begin, &s);
    for (int64_t i = begin; i < end; i++) {
        j->f(j->arg, s.at, j->inner);
        next_row(j->w, &s);
    }
}

/* Long rows are cut into pieces. */
static void run_pieces(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct job *j = arg;
    const struct eml_walk *w = j->w;
    for (int64_t i = begin; i < end; i++) {
        int64_t from = i % j->pieces * PIECE;
        int64_t n = j->inner - from < PIECE ? j->inner - from : PIECE;
        struct spot s;
        seek(w, i / j->pieces, &s);
        for (uint32_t k = 0; k < w->n; k++)
            s.at[k] += from * w->stride[k][w->rank - 1];
        j->f(j->arg, s.at, n);
    }
}

void eml_walk_run(const struct eml_walk *w, struct eml_pool *pool, eml_walk_fn *f, void *arg)
{
    struct job j = {.w = w, .f = f, .arg = arg, .inner = w->dim[w->rank - 1]};
    if (j.inner == 0)
        return;
    int64_t rows = 1;
    for (uint32_t d = 0; d + 1 < w->rank; d++)
        rows *= w->dim[d];
    j.pieces = (j.inner - 1) / PIECE + 1;
    if (j.pieces == 1)
        eml_pool_for(pool, rows, PIECE / j.inner, run_rows, &j);
    else
        eml_pool_for(pool, rows * j.pieces, 1, run_pieces, &j);
}

/* ---- copying ---- */

struct copy {
    uint8_t *y;
    const uint8_t *x;
    size_t bytes;
    int64_t sy, sx; /* strides of the innermost dim */
};

#define COPY_LOOP(name, type)                                                                      \
    static void name(type *y, int64_t sy, const type *x, int64_t sx, int64_t n)                    \
    {                                                                                              \
        if (sx == 0 && sy == 1) {                                                                  \
            type v = *x;                                                                           \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] = v;                                                                          \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i * sy] = x[i * sx];                                                                 \
    }
COPY_LOOP(copy_8, uint8_t)
COPY_LOOP(copy_16, uint16_t)
COPY_LOOP(copy_32, uint32_t)
COPY_LOOP(copy_64, uint64_t)

static void copy_row(void *arg, const int64_t *at, int64_t n)
{
    const struct copy *c = arg;
    uint8_t *y = c->y + at[0] * (int64_t)c->bytes;
    const uint8_t *x = c->x + at[1] * (int64_t)c->bytes;
    if (c->sy == 1 && c->sx == 1) {
        memcpy(y, x, (size_t)n * c->bytes);
        return;
    }
    switch (c->bytes) {
    case 1:
        copy_8(y, c->sy, x, c->sx, n);
        break;
    case 2:
        copy_16((uint16_t *)(void *)y, c->sy, (const uint16_t *)(const void *)x, c->sx, n);
        break;
    case 4:
        copy_32((uint32_t *)(void *)y, c->sy, (const uint32_t *)(const void *)x, c->sx, n);
        break;
    case 8:
        copy_64((uint64_t *)(void *)y, c->sy, (const uint64_t *)(const void *)x, c->sx, n);
        break;
    default:
        for (int64_t i = 0; i < n; i++)
            memcpy(y + i * c->sy * (int64_t)c->bytes, x + i * c->sx * (int64_t)c->bytes, c->bytes);
    }
}

/* A matrix turned: y's rows are x's columns. In blocks, so that cache lines are used whole. */
enum { BLOCK = 16, FEW_COLUMNS_BAND = 1024 };

struct turn {
    uint8_t *y;
    const uint8_t *x;
    size_t bytes;
    int64_t rows, cols; /* of y: rows walk x contiguously, cols of y are contiguous */
    int64_t sy, sx;     /* stride of y's rows; stride in x of y's columns */
    const struct eml_walk *outer;
    int64_t band, bands; /* rows of a band; bands in one matrix */
};

#define TURN_BLOCK(name, type)                                                                     \
    static void name(type *restrict y, const type *restrict x, int64_t rows, int64_t cols,         \
                     int64_t sy, int64_t sx)                                                       \
    {                                                                                              \
        for (int64_t r = 0; cols == 3 && r < rows; r++) { /* pictures */                           \
            y[r * sy] = x[r];                                                                      \
            y[r * sy + 1] = x[sx + r];                                                             \
            y[r * sy + 2] = x[2 * sx + r];                                                         \
        }                                                                                          \
        for (int64_t c0 = cols == 3 ? 3 : 0; c0 < cols; c0 += BLOCK) {                             \
            int64_t end = cols - c0 < BLOCK ? cols : c0 + BLOCK;                                   \
            for (int64_t r = 0; r < rows; r++)                                                     \
                for (int64_t c = c0; c < end; c++)                                                 \
                    y[r * sy + c] = x[c * sx + r];                                                 \
        }                                                                                          \
    }
TURN_BLOCK(turn_8, uint8_t)
TURN_BLOCK(turn_16, uint16_t)
TURN_BLOCK(turn_32, uint32_t)
TURN_BLOCK(turn_64, uint64_t)

static void turn_bands(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct turn *t = arg;
    int64_t size = (int64_t)t->bytes;
    for (int64_t i = begin; i < end; i++) {
        int64_t r0 = i % t->bands * t->band;
        struct spot s;
        int64_t rows = t->rows - r0 < t->band ? t->rows - r0 : t->band;
        seek(t->outer, i / t->bands, &s);
        uint8_t *y = t->y + (s.at[0] + r0 * t->sy) * size;
        const uint8_t *x = t->x + (s.at[1] + r0) * size;
        switch (t->bytes) {
        case 1:
            turn_8(y, x, rows, t->cols, t->sy, t->sx);
            break;
        case 2:
            turn_16((uint16_t *)(void *)y, (const uint16_t *)(const void *)x, rows, t->cols, t->sy,
                    t->sx);
            break;
        case 4:
            turn_32((uint32_t *)(void *)y, (const uint32_t *)(const void *)x, rows, t->cols, t->sy,
                    t->sx);
            break;
        default:
            turn_64((uint64_t *)(void *)y, (const uint64_t *)(const void *)x, rows, t->cols, t->sy,
                    t->sx);
        }
    }
}

/* If x is contiguous along another dim than the innermost: turn matrices of those two dims. */
static bool try_turn(const struct eml_walk *w, struct eml_pool *pool, size_t bytes, void *y,
                     const void *x)
{
    uint32_t in = w->rank - 1, other = in;
    if (bytes > 8 || w->dim[in] == 0 || w->stride[0][in] != 1 || w->stride[1][in] <= 1)
        return false;
    for (uint32_t d = 0; d < in; d++)
        if (w->stride[1][d] == 1)
            other = d;
    if (other == in)
        return false;
    struct eml_walk outer = eml_walk_start(2);
    int64_t matrices = 1;
    for (uint32_t d = 0; d < in; d++) {
        const int64_t s[2] = {w->stride[0][d], w->stride[1][d]};
        if (d != other) {
            eml_walk_dim(&outer, w->dim[d], s);
            matrices *= w->dim[d];
        }
    }
    const int64_t none[2] = {0, 0};
    eml_walk_dim(&outer, 1, none); /* seek leaves out the innermost dim */
    struct turn t = {.y = y,
                     .x = x,
                     .bytes = bytes,
                     .rows = w->dim[other],
                     .cols = w->dim[in],
                     .sy = w->stride[0][other],
                     .sx = w->stride[1][in],
                     .outer = &outer};
    t.band = t.cols < BLOCK ? FEW_COLUMNS_BAND : BLOCK;
    t.bands = (t.rows - 1) / t.band + 1;
    int64_t work = t.band * t.cols, grain = work >= PIECE ? 1 : PIECE / work;
    eml_pool_for(pool, matrices * t.bands, grain, turn_bands, &t);
    return true;
}

void eml_walk_copy(const struct eml_walk *w, struct eml_pool *pool, size_t bytes, void *y,
                   const void *x)
{
    if (try_turn(w, pool, bytes, y, x))
        return;
    struct copy c = {.y = y,
                     .x = x,
                     .bytes = bytes,
                     .sy = w->stride[0][w->rank - 1],
                     .sx = w->stride[1][w->rank - 1]};
    eml_walk_run(w, pool, copy_row, &c);
}
