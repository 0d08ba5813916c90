#include "engine/item.h"

#include <string.h>

static struct eml_item *item_new(struct eml_heap *h, enum eml_dtype t)
{
    struct eml_item *x = eml_heap_get(h, sizeof *x);
    if (x != NULL)
        *x = (struct eml_item){.view = {.dtype = t}, .refs = 1};
    return x;
}

struct eml_item *eml_item_none(struct eml_heap *h)
{
    return item_new(h, EML_DT_NONE);
}

size_t eml_item_bytes(const struct eml_item *x)
{
    return (size_t)x->view.count * eml_dtype_bytes(x->view.dtype);
}

struct eml_item *eml_item_borrow(struct eml_heap *h, enum eml_dtype t, const struct eml_shape *s,
                                 const void *data)
{
    struct eml_item *x = item_new(h, t);
    if (x == NULL)
        return NULL;
    x->view.shape = *s;
    (void)eml_shape_count(s, &x->view.count); /* callers have counted it */
    x->view.data = (void *)(uintptr_t)data;   /* kernels do not write to operands */
    return x;
}

struct eml_item *eml_item_tensor(struct eml_heap *h, enum eml_dtype t, const struct eml_shape *s)
{
    struct eml_item *x = eml_item_borrow(h, t, s, NULL);
    if (x == NULL)
        return NULL;
    size_t bytes = eml_item_bytes(x) > 0 ? eml_item_bytes(x) : 1;
    x->view.data = eml_heap_get(h, bytes);
    if (x->view.data == NULL) {
        eml_item_drop(h, x);
        return NULL;
    }
    x->own_bytes = bytes;
    return x;
}

struct eml_item *eml_item_view(struct eml_heap *h, struct eml_item *x, const struct eml_shape *s)
{
    struct eml_item *v = eml_item_borrow(h, x->view.dtype, s, x->view.data);
    if (v != NULL)
        v->base = eml_item_hold(x->base != NULL ? x->base : x);
    return v;
}

struct eml_item *eml_item_list(struct eml_heap *h)
{
    return item_new(h, EML_DT_SEQUENCE);
}

bool eml_item_append(struct eml_heap *h, struct eml_item *list, struct eml_item *x)
{
    if (list->n_list == list->cap_list) {
        uint32_t cap = list->cap_list == 0 ? 8 : 2 * list->cap_list;
        struct eml_item **bigger = cap > INT32_MAX ? NULL : eml_heap_get(h, cap * sizeof *bigger);
        if (bigger == NULL)
            return false;
        if (list->n_list > 0)
            memcpy(bigger, list->list, list->n_list * sizeof *bigger);
        eml_heap_put(h, list->list, list->cap_list * sizeof *bigger);
        list->list = bigger;
        list->cap_list = cap;
    }
    list->list[list->n_list++] = eml_item_hold(x);
    return true;
}

struct eml_item *eml_item_sublist(struct eml_heap *h, const struct eml_item *list, uint32_t begin,
                                  uint32_t end)
{
    struct eml_item *x = eml_item_list(h);
    for (uint32_t i = begin; x != NULL && i < end; i++)
        if (!eml_item_append(h, x, list->list[i])) {
            eml_item_drop(h, x);
            return NULL;
        }
    return x;
}

struct eml_item *eml_item_hold(struct eml_item *x)
{
    x->refs++;
    return x;
}

/* Lists hold tensors only and a base views nothing, so this does not nest. */
static void drop_tensor(struct eml_heap *h, struct eml_item *x)
{
    if (--x->refs > 0)
        return;
    struct eml_item *base = x->base;
    if (x->own_bytes > 0)
        eml_heap_put(h, x->view.data, x->own_bytes);
    eml_heap_put(h, x, sizeof *x);
    if (base != NULL && --base->refs == 0) {
        if (base->own_bytes > 0)
            eml_heap_put(h, base->view.data, base->own_bytes);
        eml_heap_put(h, base, sizeof *base);
    }
}

void eml_item_drop(struct eml_heap *h, struct eml_item *x)
{
    if (x == NULL)
        return;
    if (x->refs == 1 && x->list != NULL) {
        for (uint32_t i = 0; i < x->n_list; i++)
            drop_tensor(h, x->list[i]);
        eml_heap_put(h, x->list, x->cap_list * sizeof(struct eml_item *));
    }
    drop_tensor(h, x);
}
