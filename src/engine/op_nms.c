/* NonMaxSuppression: of boxes that overlap much, only the one with the best score. */
#include "engine/exec.h"
#include "engine/sort.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

struct box {
    float y1, x1, y2, x2;
};

struct job {
    const float *boxes, *scores; /* of one batch; of one batch and class */
    int64_t n, most;             /* boxes; most that a class may select */
    float overlap, least;
    bool limited, centred; /* limited: only scores above `least` */
};

static bool given(const struct eml_op_ctx *c, uint32_t i)
{
    return i < c->n_in && c->in[i].dtype != EML_DT_NONE;
}

/* A limit that may be omitted. */
static float limit(const struct eml_op_ctx *c, uint32_t i)
{
    return given(c, i) ? *(const float *)c->in[i].data : 0;
}

int64_t eml_nms_most(const struct eml_op_ctx *c)
{
    int64_t n = c->in[0].shape.dim[1];
    if (!given(c, 2))
        return 0;
    if (c->in[2].data == NULL) /* not running yet */
        return n;
    int64_t most = *(const int64_t *)c->in[2].data;
    return most < 0 ? 0 : most < n ? most : n;
}

/* What the size function leaves in scratch: how many are selected, and for each batch, class, box;
 * behind them room for an order of all boxes. */
bool eml_scratch_non_max_suppression(const struct eml_op_ctx *c, size_t *bytes)
{
    const int64_t *s = c->in[1].shape.dim;
    int64_t n;
    *bytes = 0;
    if (!eml_mul_i64(s[0], s[1], &n) || !eml_mul_i64(n, eml_nms_most(c), &n) ||
        !eml_mul_i64(n, 3, &n) || !eml_add_i64(n, s[2] + 1, &n) ||
        !eml_mul_i64(n, (int64_t)sizeof(int64_t), &n))
        return false;
    *bytes = (size_t)n;
    return true;
}

/* The better score comes first, of equals the first; NaN is the worst. */
static bool better(const void *what, int64_t i, int64_t j)
{
    const struct job *b = what;
    float p = b->scores[i], q = b->scores[j];
    bool p_nan = isnan(p), q_nan = isnan(q);
    if (p_nan != q_nan)
        return q_nan;
    if (p_nan || p == q)
        return i < j;
    return p > q;
}

static struct box box_at(const struct job *j, int64_t i)
{
    const float *p = j->boxes + i * 4;
    if (j->centred) /* x, y of the centre, width, height */
        return (struct box){p[1] - p[3] / 2, p[0] - p[2] / 2, p[1] + p[3] / 2, p[0] + p[2] / 2};
    return (struct box){fminf(p[0], p[2]), fminf(p[1], p[3]), fmaxf(p[0], p[2]), fmaxf(p[1], p[3])};
}

/* Intersection over union is above the limit. Boxes without area overlap nothing. */
static bool suppresses(const struct job *j, const struct box *a, const struct box *b)
{
    float h = fminf(a->y2, b->y2) - fmaxf(a->y1, b->y1);
    float w = fminf(a->x2, b->x2) - fmaxf(a->x1, b->x1);
    float area_a = (a->y2 - a->y1) * (a->x2 - a->x1), area_b = (b->y2 - b->y1) * (b->x2 - b->x1);
    if (!(h > 0 && w > 0 && area_a > 0 && area_b > 0))
        return false;
    return h * w / (area_a + area_b - h * w) > j->overlap;
}

/* Selects boxes of one class, writes triples; returns how many. */
static int64_t select_boxes(const struct job *j, int64_t batch, int64_t class, int64_t *order,
                            int64_t *triples)
{
    int64_t candidates = 0, selected = 0;
    for (int64_t i = 0; i < j->n; i++)
        if (!j->limited || j->scores[i] > j->least)
            order[candidates++] = i;
    eml_sort_indices(order, candidates, better, j);
    for (int64_t i = 0; i < candidates && selected < j->most; i++) {
        struct box b = box_at(j, order[i]);
        bool keep = true;
        for (int64_t k = 0; k < selected && keep; k++) {
            struct box other = box_at(j, triples[k * 3 + 2]);
            keep = !suppresses(j, &other, &b);
        }
        if (!keep)
            continue;
        memcpy(triples + selected++ * 3, (const int64_t[]){batch, class, order[i]},
               3 * sizeof *triples);
    }
    return selected;
}

enum eml_err eml_size_non_max_suppression(const struct eml_op_ctx *c, struct eml_shape *shape)
{
    const int64_t *s = c->in[1].shape.dim;
    int64_t *count = (int64_t *)(void *)c->scratch.ptr, *triples = count + 1;
    struct job j = {.n = s[2],
                    .most = eml_nms_most(c),
                    .overlap = limit(c, 3),
                    .least = limit(c, 4),
                    .limited = given(c, 4),
                    .centred = eml_node_int(c->node, EML_ATTR_CENTER_POINT_BOX, 0) != 0};
    int64_t *order = triples + s[0] * s[1] * j.most * 3;
    *count = 0;
    for (int64_t batch = 0; batch < s[0]; batch++) {
        j.boxes = (const float *)c->in[0].data + batch * s[2] * 4;
        for (int64_t class = 0; class < s[1]; class ++) {
            j.scores = (const float *)c->in[1].data + (batch * s[1] + class) * s[2];
            *count += select_boxes(&j, batch, class, order, triples + *count * 3);
        }
    }
    shape[0].dim[0] = *count;
    return EML_OK;
}

enum eml_err eml_op_non_max_suppression(const struct eml_op_ctx *c)
{
    const int64_t *found = (const int64_t *)(const void *)c->scratch.ptr;
    if (c->out[0].count > 0)
        memcpy(c->out[0].data, found + 1, (size_t)found[0] * 3 * sizeof *found);
    return EML_OK;
}
