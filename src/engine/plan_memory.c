#include "engine/plan.h"

#include "base/checked.h"

#include <stdlib.h>

static int larger_first(const void *a, const void *b)
{
    const struct eml_buffer *x = *(struct eml_buffer *const *)a;
    const struct eml_buffer *y = *(struct eml_buffer *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x > y) - (x < y); /* the same plan on every machine */
}

static bool meet(const struct eml_buffer *a, const struct eml_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest offset at which b fits between those of `placed` (ascending offset) that it meets. */
static bool lowest_gap(const struct eml_buffer *b, struct eml_buffer *const *placed, uint32_t n,
                       size_t *offset)
{
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct eml_buffer *p = placed[i];
        if (!meet(b, p))
            continue;
        if (p->offset >= at && p->offset - at >= b->bytes)
            break;
        size_t end = p->offset + p->bytes; /* was checked when p was placed */
        at = end > at ? end : at;
    }
    size_t end;
    *offset = at;
    return eml_add_size(at, b->bytes, &end);
}

bool eml_buffers_place(struct eml_buffer *b, uint32_t n, bool no_reuse, struct eml_arena *arena,
                       size_t *end)
{
    *end = 0;
    struct eml_buffer **order = eml_arena_array(arena, n, sizeof(struct eml_buffer *));
    struct eml_buffer **placed = eml_arena_array(arena, n, sizeof(struct eml_buffer *));
    if (order == NULL || placed == NULL)
        return false;
    for (uint32_t i = 0; i < n; i++)
        order[i] = &b[i];
    qsort(order, n, sizeof *order, larger_first);
    for (uint32_t i = 0; i < n; i++) {
        struct eml_buffer *x = order[i];
        if (no_reuse)
            x->offset = *end;
        else if (!lowest_gap(x, placed, i, &x->offset))
            return false;
        size_t stop;
        if (!eml_add_size(x->offset, x->bytes, &stop))
            return false;
        *end = stop > *end ? stop : *end;
        uint32_t at = i;
        for (; at > 0 && placed[at - 1]->offset > x->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = x;
    }
    return true;
}
