/* Attention as nodes: what the operators that contain one have in common. eml_fuse_attention makes
 * one operator of these nodes where it can. Letters: B batch, S queries, T keys, N heads, D and E
 * columns of a head of keys and of values. */
#ifndef EML_DECOMPOSE_ATTENTION_H
#define EML_DECOMPOSE_ATTENTION_H

#include "decompose/make.h"

struct eml_attention {
    struct eml_ir_value *q, *k, *v; /* [B, q_heads, S, D], [B, heads, T, D], [B, heads, T, E] */
    int64_t q_heads, heads, d, e;   /* d, e: -1 if not known */
    float scale, cap;               /* of the scores; cap 0: none */
    struct eml_ir_value *mask;      /* added to the scores [B, q_heads, S, T]; or NULL */
    struct eml_ir_value *at[4];     /* scores: plain, capped, with the mask, as weights */
};

/* softmax(q k^T * scale + mask) v, heads first. mask_rank, mask_heads: of a->mask. */
EML_MUST enum eml_err eml_attention_make(const struct eml_maker *m, struct eml_attention *a,
                                         uint32_t mask_rank, int64_t mask_heads,
                                         struct eml_ir_value **y);

/* [B, S, N, D] to [B, N, S, D] and back. */
static const int64_t EML_ATTENTION_SWAP[4] = {0, 2, 1, 3};
/* [B, S, N*D] to [B, S, N, D]; [B, N, S, E] to [B, S, N*E]. */
struct eml_ir_value *eml_attention_cut(const struct eml_maker *m, struct eml_ir_value *x,
                                       int64_t heads);
struct eml_ir_value *eml_attention_join(const struct eml_maker *m, struct eml_ir_value *y);
/* 0 where it holds, `otherwise` elsewhere. */
struct eml_ir_value *eml_attention_penalty(const struct eml_maker *m, struct eml_ir_value *holds,
                                           float otherwise);
/* 0, 1, ... as many as dim `axis` of x. */
struct eml_ir_value *eml_attention_places(const struct eml_maker *m, struct eml_ir_value *x,
                                          int64_t axis);
/* The sum; either may be NULL. */
struct eml_ir_value *eml_attention_added(const struct eml_maker *m, struct eml_ir_value *a,
                                         struct eml_ir_value *b);

struct eml_rotation {
    struct eml_ir_value *cos, *sin; /* [B or 1, S, r / 2] */
    int64_t d, r;                   /* the first r of d columns turn */
    bool interleaved;               /* pairs are neighbours, not halves */
    int64_t heads_axis;             /* of what is turned: 1 or 2 of 4 */
};

/* x [B, S, N, D] or [B, N, S, D] with its columns turned. rotary.c */
struct eml_ir_value *eml_rotation_make(const struct eml_maker *m, const struct eml_rotation *r,
                                       struct eml_ir_value *x);

#endif
