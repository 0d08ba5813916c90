/* Values of a dynamic run: tensors, lists of tensors, and nothing (an empty optional), counted by
 * how many hold them. */
#ifndef EML_ENGINE_ITEM_H
#define EML_ENGINE_ITEM_H

#include "engine/exec.h"
#include "engine/heap.h"

struct eml_item {
    /* dtype NONE: an empty optional; SEQUENCE: a list; else a tensor. The data may be borrowed. */
    struct eml_view view;
    size_t own_bytes;      /* of the block at view.data; 0: borrowed, or of base */
    struct eml_item *base; /* the tensor whose data this one views, or NULL */
    struct eml_item **list;
    uint32_t n_list, cap_list;
    uint32_t refs;
};

/* All yield NULL beyond the heap's limit, else an item that the caller holds. */
struct eml_item *eml_item_none(struct eml_heap *h);
/* A tensor with memory of its own: garbage. */
struct eml_item *eml_item_tensor(struct eml_heap *h, enum eml_dtype t, const struct eml_shape *s);
/* A tensor over memory that outlives the run. */
struct eml_item *eml_item_borrow(struct eml_heap *h, enum eml_dtype t, const struct eml_shape *s,
                                 const void *data);
/* The elements of x under another shape, which has as many. */
struct eml_item *eml_item_view(struct eml_heap *h, struct eml_item *x, const struct eml_shape *s);
/* An empty list, and the list that holds another's items [begin, end). */
struct eml_item *eml_item_list(struct eml_heap *h);
struct eml_item *eml_item_sublist(struct eml_heap *h, const struct eml_item *list, uint32_t begin,
                                  uint32_t end);
/* Appends a tensor, held by the list from now on. False beyond the heap's limit. */
EML_MUST bool eml_item_append(struct eml_heap *h, struct eml_item *list, struct eml_item *x);

struct eml_item *eml_item_hold(struct eml_item *x);
void eml_item_drop(struct eml_heap *h, struct eml_item *x); /* NULL does nothing */
size_t eml_item_bytes(const struct eml_item *x);

#endif
