#include "engine/winograd.h"

#include "engine/gemm.h"
#include "engine/pack.h"

#include <string.h>

enum {
    F = 36, /* products of one tile: 6 x 6 */
    TILE = 4,
    WINDOW = 6,
    MR_MAX = 8,
    CHANNELS_MIN = 8,
    CHANNELS_MAX = 2048,       /* one range of K */
    U_FLOATS_MAX = 4 << 20,    /* transformed weights stay in the last-level cache */
    CHUNK_FLOATS = 192 * 1024, /* of v and m: about the second-level cache */
    SHARE_FLOATS = 160 * 1024, /* of u, by columns: the same */
    FEW_TILES = 64,
    FEW_V_FLOATS = 1 << 20,
    WEIGHTS_PER_TASK = 1 << 9 /* vectors of 16 weights: about 15 microseconds */
};

static size_t div_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t panels(const struct eml_winograd *w)
{
    return div_up(w->co, EML_PANEL);
}

/* Floats from one of the 36 rows of a tile to the next: whole cache lines, an odd number of them,
 * so that the rows do not meet in the same sets of the first-level cache. */
static size_t spread(size_t channels)
{
    return (div_up(channels, EML_PANEL) | 1) * EML_PANEL;
}

static bool fits(const struct eml_kernels *kn, const struct eml_spatial *s, size_t co)
{
    bool two_dims = s->kernel[0] == 1 && s->in[0] == 1 && s->out[0] == 1 && s->pad[0] == 0;
    return kn->winograd_input != NULL && two_dims && s->kernel[1] == 3 && s->kernel[2] == 3 &&
           s->stride[1] == 1 && s->stride[2] == 1 && s->dilation[1] == 1 && s->dilation[2] == 1 &&
           s->c >= CHANNELS_MIN && s->c <= CHANNELS_MAX && co >= CHANNELS_MIN &&
           co <= CHANNELS_MAX && s->pixels > 0;
}

/* In operations on vectors of 16 floats, of which a core does about one a cycle: the transforms
 * take about 200 per tile and vector of channels, 130 per vector of weights. */
static bool pays(const struct eml_winograd *w)
{
    uint64_t ci = w->ci, co_v = panels(w), ci_v = div_up(w->ci, EML_PANEL), tiles = w->tiles;
    uint64_t direct = (uint64_t)w->s.pixels * 9 * ci * co_v;
    uint64_t fast = F * tiles * ci * co_v + 200 * tiles * (ci_v + co_v) + 130 * ci * co_v;
    return F * ci * co_v * EML_PANEL <= U_FLOATS_MAX && fast + fast / 4 < direct;
}

static void cut_columns(struct eml_winograd *w, const struct eml_kernels *kn, unsigned threads)
{
    w->by_columns = w->tiles <= FEW_TILES && F * w->tiles * w->ci <= FEW_V_FLOATS &&
                    panels(w) >= threads && panels(w) > 1;
    if (!w->by_columns)
        return;
    size_t most = min_size(kn->nr / EML_PANEL, div_up(panels(w), threads));
    w->share = max_size(min_size(SHARE_FLOATS / (F * w->ci * EML_PANEL), most), 1);
    w->chunk = w->tiles;
    w->chunks = 1;
}

bool eml_winograd_plan(const struct eml_kernels *kn, const struct eml_spatial *s, size_t co,
                       unsigned threads, struct eml_winograd *w)
{
    if (!fits(kn, s, co))
        return false;
    *w = (struct eml_winograd){.s = *s, .ci = (size_t)s->c, .co = co};
    w->tiles_y = div_up((size_t)s->out[1], TILE);
    w->tiles_x = div_up((size_t)s->out[2], TILE);
    w->tiles = (size_t)s->batch * w->tiles_y * w->tiles_x;
    if (!pays(w))
        return false;
    /* large weights are read once per chunk: then fewer, larger chunks */
    size_t floats = max_size(CHUNK_FLOATS, F * w->ci * co / 8);
    size_t chunk = max_size(floats / (F * (w->ci + co)) / MR_MAX * MR_MAX, MR_MAX);
    w->chunks = div_up(div_up(w->tiles, chunk), threads) * threads;
    w->chunk = div_up(w->tiles, w->chunks);
    w->chunks = div_up(w->tiles, w->chunk);
    cut_columns(w, kn, threads);
    return true;
}

struct eml_winograd_pieces eml_winograd_take(struct eml_scratch *scratch,
                                             const struct eml_winograd *w, unsigned threads)
{
    size_t columns = w->by_columns ? w->share * EML_PANEL : w->co;
    struct eml_winograd_pieces p = {.v_step = spread(w->ci), .m_step = spread(columns)};
    /* by columns, one cache line more, for the same reason */
    p.u_step = eml_pack_panel16_floats(w->ci, columns) + (w->by_columns ? EML_PANEL : 0);
    p.u_stride = w->by_columns ? F * p.u_step : 0;
    p.v_stride = w->by_columns ? 0 : F * w->chunk * p.v_step;
    p.m_stride = F * w->chunk * p.m_step;
    p.u = eml_scratch_take(scratch, (w->by_columns ? threads : 1) * F * p.u_step, sizeof(float));
    p.v = eml_scratch_take(scratch, (w->by_columns ? 1 : threads) * F * w->chunk * p.v_step,
                           sizeof(float));
    p.m = eml_scratch_take(scratch, threads * p.m_stride, sizeof(float));
    p.zeros = eml_scratch_take(scratch, w->ci, sizeof(float));
    return p;
}

struct job {
    const struct eml_winograd *w;
    const struct eml_winograd_pieces *p;
    const struct eml_kernels *kn;
    float *y;
    const float *x, *weights;
    const struct eml_epilogue *epilogue;
    struct eml_weights_window *window;
};

/* Of a panel of 16 output channels. False: its weights could not be opened. */
static bool transform_panel(const struct job *j, float *u, size_t i)
{
    size_t panel = j->w->ci * EML_PANEL;
    const float *from = j->weights + i * panel * 9;
    if (!eml_weights_open(j->window, from, panel * 9 * sizeof(float)))
        return false;
    j->kn->winograd_weights(u, j->p->u_step, from, panel, panel);
    return true;
}

/* Items: panels. */
static void transform_weights(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    (void)thread;
    for (size_t i = (size_t)begin; i < (size_t)end; i++)
        if (!transform_panel(j, j->p->u + i * j->w->ci * EML_PANEL, i))
            return;
}

struct place {
    size_t image, y, x; /* of the first output pixel */
};

static struct place place_of(const struct eml_winograd *w, size_t tile)
{
    size_t per_image = w->tiles_y * w->tiles_x, in_image = tile % per_image;
    return (struct place){tile / per_image, in_image / w->tiles_x * TILE,
                          in_image % w->tiles_x * TILE};
}

static void transform_input(const struct job *j, float *v, size_t tile)
{
    const struct eml_spatial *s = &j->w->s;
    const float *x[F];
    struct place at = place_of(j->w, tile);
    int64_t y0 = (int64_t)at.y - s->pad[1], x0 = (int64_t)at.x - s->pad[2];
    for (int64_t r = 0; r < WINDOW; r++) {
        const float *row = eml_spatial_inside(s, 1, y0 + r)
                               ? j->x + eml_spatial_offset(s, (int64_t)at.image, 0, y0 + r, 0)
                               : NULL;
        for (int64_t i = 0; i < WINDOW; i++)
            x[r * WINDOW + i] = row != NULL && eml_spatial_inside(s, 2, x0 + i)
                                    ? row + (x0 + i) * s->c
                                    : j->p->zeros;
    }
    j->kn->winograd_input(v, j->p->v_step, x, j->w->ci);
}

/* m[f] = v[f] * u[f] for n tiles and some columns. Rows are cut evenly: no tile of the product has
 * few. */
static void products(const struct job *j, float *m, const float *v, size_t n, const float *u_all,
                     size_t columns)
{
    const struct eml_winograd *w = j->w;
    size_t blocks = div_up(n, j->kn->mr), panel = w->ci * EML_PANEL;
    for (size_t f = 0; f < F; f++) {
        const float *u = u_all + f * j->p->u_step;
        for (size_t column = 0; column < columns; column += j->kn->nr) {
            for (size_t b = 0; b < blocks; b++) {
                size_t row = b * n / blocks, end = (b + 1) * n / blocks;
                const float *rows[MR_MAX];
                for (size_t r = row; r < end; r++)
                    rows[r - row] = v + (r * F + f) * j->p->v_step;
                struct eml_tile t = {.c = m + (row * F + f) * j->p->m_step + column,
                                     .ldc = F * j->p->m_step,
                                     .m = end - row,
                                     .n = min_size(columns - column, j->kn->nr),
                                     .rows = rows,
                                     .n_blocks = 1,
                                     .block = w->ci,
                                     .b = u + column * w->ci,
                                     .b_row = EML_PANEL,
                                     .b_panel = panel};
                j->kn->gemm_tile(&t);
            }
        }
    }
}

/* Columns [column, column + columns) of a tile. */
static void transform_output(const struct job *j, const float *m, size_t tile, size_t column,
                             size_t columns)
{
    const struct eml_winograd *w = j->w;
    struct place at = place_of(w, tile);
    size_t height = (size_t)w->s.out[1], width = (size_t)w->s.out[2];
    size_t pixel = (at.image * height + at.y) * width + at.x, offset = pixel * w->co + column;
    struct eml_epilogue e = eml_epilogue_at(j->epilogue, pixel, column);
    struct eml_winograd_tile t = {.y = j->y + offset,
                                  .y_row = width * w->co,
                                  .y_pixel = w->co,
                                  .rows = height - at.y < TILE ? height - at.y : TILE,
                                  .columns = width - at.x < TILE ? width - at.x : TILE,
                                  .c = columns,
                                  .m = m,
                                  .m_step = j->p->m_step,
                                  .epilogue = &e};
    j->kn->winograd_output(&t);
}

static void chunks(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct eml_winograd *w = j->w;
    float *v = j->p->v + thread * j->p->v_stride, *m = j->p->m + thread * j->p->m_stride;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        size_t first = i * w->chunk;
        size_t n = w->tiles - first < w->chunk ? w->tiles - first : w->chunk;
        for (size_t t = 0; t < n; t++)
            transform_input(j, v + t * F * j->p->v_step, first + t);
        products(j, m, v, n, j->p->u, w->co);
        for (size_t t = 0; t < n; t++)
            transform_output(j, m + t * F * j->p->m_step, first + t, 0, w->co);
    }
}

/* By columns. Items: tiles, then shares of panels. */
static void inputs(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    (void)thread;
    for (size_t t = (size_t)begin; t < (size_t)end; t++)
        transform_input(j, j->p->v + t * F * j->p->v_step, t);
}

static void shares(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct eml_winograd *w = j->w;
    float *u = j->p->u + thread * j->p->u_stride, *m = j->p->m + thread * j->p->m_stride;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        size_t first = i * w->share, last = min_size(first + w->share, panels(w));
        size_t column = first * EML_PANEL, columns = min_size(last * EML_PANEL, w->co) - column;
        for (size_t panel = first; panel < last; panel++)
            if (!transform_panel(j, u + (panel - first) * w->ci * EML_PANEL, panel))
                return;
        products(j, m, j->p->v, w->tiles, u, columns);
        for (size_t t = 0; t < w->tiles; t++)
            transform_output(j, m + t * F * j->p->m_step, t, column, columns);
    }
}

void eml_winograd_run(const struct eml_winograd *w, const struct eml_winograd_pieces *p,
                      const struct eml_kernels *kn, struct eml_pool *pool, float *y, const float *x,
                      const float *weights, struct eml_weights_window *window,
                      const struct eml_epilogue *e)
{
    struct job j = {w, p, kn, y, x, weights, e, window};
    memset(p->zeros, 0, w->ci * sizeof(float));
    if (w->by_columns) {
        eml_pool_for(pool, (int64_t)w->tiles, 1, inputs, &j);
        eml_pool_for(pool, (int64_t)div_up(panels(w), w->share), 1, shares, &j);
        return;
    }
    eml_pool_for(pool, (int64_t)panels(w), (int64_t)(WEIGHTS_PER_TASK / w->ci + 1),
                 transform_weights, &j);
    eml_pool_for(pool, (int64_t)w->chunks, 1, chunks, &j);
}
