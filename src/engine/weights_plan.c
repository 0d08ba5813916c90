#include "engine/plan.h"
#include "engine/weights.h"

#include <stdlib.h>
#include <string.h>

/* What lies in the window: the runs of blocks that the last steps needed, one behind the other. A
 * step adds what is missing at the end. If that does not fit, everything is given up and the window
 * is filled from its start again; a block at the seam is copied, not opened twice. */

enum {
    HELD_MAX = 64, /* runs that are remembered */
    /* Shared ones. Few: they stay in the cache, and are wiped after each run. But what one thread
     * opens where another has read last travels between their cores: more, that are used once. */
    LEAST_BLOCKS = 2,
    LEAST_SHARED_BLOCKS = 16,
    OWN_BLOCKS = 12, /* of a thread, unless a piece needs more */
    AHEAD_BLOCKS = 4 /* small slots of the next steps are opened together, on all threads */
};

struct run {
    uint64_t first, end; /* blocks of the stream */
    size_t at;           /* in the window */
};

struct layout {
    struct eml_plan *p;
    struct eml_weights_plan *w;
    struct run held[HELD_MAX];
    uint32_t n_held;
    size_t top;       /* blocks in use */
    struct run *runs; /* of one step */
    uint32_t n_runs;
    bool *fresh; /* per step: the window is filled from its start */
};

uint64_t eml_plan_slot_bytes(const struct eml_plan *p, uint32_t id)
{
    const struct eml_value *v = &p->g->values[id];
    struct eml_view view;
    if (v->kind == EML_VALUE_SLOT)
        return v->bytes;
    eml_plan_view(p, id, &view);
    return (uint64_t)view.count * eml_dtype_bytes(view.dtype);
}

/* Value of operand i of a step, the params being the last; EML_ABSENT unless it has bytes in the
 * weights. */
static uint32_t slot_of(const struct eml_plan *p, const struct eml_node *n, uint32_t i)
{
    uint32_t id = i < n->n_in ? n->in[i] : n->params;
    if (id == EML_ABSENT || p->place[id].kind != EML_PLACE_WEIGHTS ||
        eml_plan_slot_bytes(p, id) == 0)
        return EML_ABSENT;
    return id;
}

static struct run blocks_of(const struct eml_plan *p, uint32_t id)
{
    uint64_t first = p->place[id].offset, end = first + eml_plan_slot_bytes(p, id);
    return (struct run){first / EML_WEIGHTS_BLOCK, (end - 1) / EML_WEIGHTS_BLOCK + 1, 0};
}

/* ---- how each operand is used ---- */

/* A thread's part: a block in which a piece begins, one in which it ends, and as many more as spare
 * it from starting over, which copies, too often. */
static size_t own_blocks(uint64_t bytes, size_t piece)
{
    size_t least = piece / EML_WEIGHTS_BLOCK + 2, all = (size_t)(bytes / EML_WEIGHTS_BLOCK) + 2;
    size_t wanted = all < OWN_BLOCKS ? all : OWN_BLOCKS;
    return least > wanted ? least : wanted;
}

static void choose_uses(const struct layout *l, struct eml_view *views, const struct eml_step *step)
{
    const struct eml_plan *p = l->p;
    const struct eml_node *n = &p->g->nodes[step->node];
    eml_use_fn *use = eml_op_use(n->op);
    struct eml_op_ctx c = {.node = n,
                           .in = views,
                           .out = views + n->n_in,
                           .n_in = n->n_in,
                           .n_out = n->n_out,
                           .threads = p->threads,
                           .kernels = p->kernels};
    if (use == NULL)
        return;
    for (uint32_t i = 0; i < n->n_in + n->n_out; i++)
        eml_plan_view(p, i < n->n_in ? n->in[i] : n->out[i - n->n_in], &views[i]);
    for (uint32_t i = 0; i < n->n_in; i++) {
        struct eml_weights_operand *o = &l->w->operands[step->operands + i];
        uint32_t id = slot_of(p, n, i);
        size_t piece = 0;
        if (id == EML_ABSENT)
            continue;
        o->use = use(&c, i, eml_plan_slot_bytes(p, id), &piece);
        size_t blocks =
            o->use == EML_WEIGHTS_OWN ? own_blocks(eml_plan_slot_bytes(p, id), piece) : 0;
        l->w->own_blocks = blocks > l->w->own_blocks ? blocks : l->w->own_blocks;
    }
}

/* ---- what a step needs ---- */

static int by_start(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static void merge(struct layout *l)
{
    uint32_t n = 0, sorted = 1; /* mostly all of it: slots are numbered as nodes read them */
    while (sorted < l->n_runs && by_start(&l->runs[sorted - 1], &l->runs[sorted]) <= 0)
        sorted++;
    if (sorted < l->n_runs)
        qsort(l->runs, l->n_runs, sizeof *l->runs, by_start);
    for (uint32_t i = 0; i < l->n_runs; i++) {
        if (n > 0 && l->runs[i].first <= l->runs[n - 1].end) {
            if (l->runs[i].end > l->runs[n - 1].end)
                l->runs[n - 1].end = l->runs[i].end;
        } else {
            l->runs[n++] = l->runs[i];
        }
    }
    l->n_runs = n;
}

/* Fills runs; returns their blocks. */
static size_t collect(struct layout *l, const struct eml_step *step)
{
    const struct eml_node *n = &l->p->g->nodes[step->node];
    l->n_runs = 0;
    for (uint32_t i = 0; i <= n->n_in; i++) {
        const struct eml_weights_operand *o = &l->w->operands[step->operands + i];
        uint32_t id = slot_of(l->p, n, i);
        if (id != EML_ABSENT && o->use != EML_WEIGHTS_OWN)
            l->runs[l->n_runs++] = blocks_of(l->p, id);
    }
    merge(l);
    size_t all = 0;
    for (uint32_t i = 0; i < l->n_runs; i++)
        all += (size_t)(l->runs[i].end - l->runs[i].first);
    return all;
}

/* ---- where it lies ---- */

static void map(struct layout *l, size_t at, uint64_t stream, size_t n)
{
    l->w->maps[l->w->n_maps++] = (struct eml_weights_map){at, n, stream};
}

static bool place(struct layout *l, struct run *r)
{
    for (uint32_t i = 0; i < l->n_held; i++) {
        const struct run *h = &l->held[i];
        if (r->first >= h->first && r->end <= h->end) {
            r->at = h->at + (size_t)(r->first - h->first);
            return true;
        }
    }
    struct run *last = l->n_held > 0 ? &l->held[l->n_held - 1] : NULL;
    bool extends = last != NULL && r->first >= last->first && r->first <= last->end &&
                   last->at + (size_t)(last->end - last->first) == l->top;
    uint64_t from = extends ? last->end : r->first;
    if (r->end - from > l->w->n_blocks - l->top)
        return false;
    r->at = extends ? last->at + (size_t)(r->first - last->first) : l->top;
    map(l, l->top, from, (size_t)(r->end - from));
    l->top += (size_t)(r->end - from);
    if (extends)
        last->end = r->end;
    else if (l->n_held < HELD_MAX)
        l->held[l->n_held++] = *r;
    return true;
}

static bool place_runs(struct layout *l)
{
    for (uint32_t i = 0; i < l->n_runs; i++)
        if (!place(l, &l->runs[i]))
            return false;
    return true;
}

static size_t address(const struct layout *l, uint32_t id)
{
    struct run b = blocks_of(l->p, id);
    uint32_t i = 0;
    while (b.first >= l->runs[i].end)
        i++;
    size_t block = l->runs[i].at + (size_t)(b.first - l->runs[i].first);
    return block * EML_WEIGHTS_BLOCK + (size_t)(l->p->place[id].offset % EML_WEIGHTS_BLOCK);
}

static void place_step(struct layout *l, uint32_t at)
{
    struct eml_step *step = &l->p->steps[at];
    const struct eml_node *n = &l->p->g->nodes[step->node];
    uint32_t n_maps = l->w->n_maps;
    (void)collect(l, step);
    if (!place_runs(l)) {
        l->w->n_maps = n_maps;
        l->n_held = 0;
        l->top = 0;
        l->fresh[at] = true;
        if (!place_runs(l))
            EML_BUG(); /* n_blocks is the most that any step needs */
    }
    for (uint32_t i = 0; i <= n->n_in; i++) {
        struct eml_weights_operand *o = &l->w->operands[step->operands + i];
        uint32_t id = slot_of(l->p, n, i);
        if (id == EML_ABSENT || o->use == EML_WEIGHTS_OWN)
            continue;
        o->at = address(l, id);
        if (o->use == EML_WEIGHTS_WHOLE)
            l->w->opens[l->w->n_opens++] =
                (struct eml_weights_range){o->at, (size_t)eml_plan_slot_bytes(l->p, id)};
    }
    step->maps_end = l->w->n_maps;
    step->opens_end = l->w->n_opens;
}

/* A step that maps few blocks does so for the next ones, too. Not beyond one that fills the window
 * anew. */
static void look_ahead(struct layout *l)
{
    struct eml_plan *p = l->p;
    uint32_t done = 0;
    for (uint32_t i = 0; i < p->n_steps; i++) {
        struct eml_step *step = &p->steps[i];
        size_t blocks = 0;
        for (uint32_t m = done; m < step->maps_end; m++)
            blocks += l->w->maps[m].n;
        uint32_t end = step->maps_end;
        bool stop = blocks == 0;
        uint32_t j = i + 1;
        for (; !stop && j < p->n_steps && !l->fresh[j]; j++) {
            for (; end < p->steps[j].maps_end; end++)
                blocks += l->w->maps[end].n;
            if (blocks > AHEAD_BLOCKS)
                break;
            step->maps_end = p->steps[j].maps_end;
            step->opens_end = p->steps[j].opens_end;
        }
        if (!stop && j > i + 1)
            i = j - 1;
        done = p->steps[i].maps_end;
    }
}

bool eml_weights_plan(struct eml_plan *p, struct eml_arena *arena)
{
    struct eml_weights_plan *w = &p->window;
    struct layout l = {.p = p, .w = w};
    uint32_t operands = 0;
    for (uint32_t i = 0; i < p->n_steps; i++) {
        p->steps[i].operands = operands;
        operands += p->g->nodes[p->steps[i].node].n_in + 1;
    }
    w->operands = eml_arena_array(arena, operands, sizeof *w->operands);
    w->maps = eml_arena_array(arena, operands, sizeof *w->maps);
    w->opens = eml_arena_array(arena, operands, sizeof *w->opens);
    l.runs = eml_arena_array(arena, (size_t)p->max_operands + 1, sizeof *l.runs);
    l.fresh = eml_arena_array(arena, p->n_steps, sizeof *l.fresh);
    struct eml_view *views = eml_arena_array(arena, p->max_operands, sizeof *views);
    if (w->operands == NULL || w->maps == NULL || w->opens == NULL || l.runs == NULL ||
        l.fresh == NULL || views == NULL)
        return false;
    uint64_t all = (p->weight_bytes + EML_WEIGHTS_BLOCK - 1) / EML_WEIGHTS_BLOCK;
    const unsigned threads = eml_plan_threads(p);
    const size_t least = threads > 1 ? LEAST_SHARED_BLOCKS : LEAST_BLOCKS;
    w->n_blocks = all < least ? (size_t)all : least;
    for (uint32_t i = 0; i < p->n_steps; i++) {
        choose_uses(&l, views, &p->steps[i]);
        size_t blocks = collect(&l, &p->steps[i]);
        w->n_blocks = blocks > w->n_blocks ? blocks : w->n_blocks;
    }
    for (uint32_t i = 0; i < p->n_steps; i++)
        place_step(&l, i);
    look_ahead(&l);
    if (!eml_weights_bytes(w->n_blocks, threads, w->own_blocks, &w->bytes))
        w->bytes = SIZE_MAX;
    return true;
}
