#include "testsupport/gen_maker.h"

#include <string.h>

static uint32_t main_operand(struct eml_mg_maker *k)
{
    uint32_t id = eml_mg_chance(k, 75) ? eml_mg_existing(k, k->dtype) : EML_ABSENT;
    if (id == EML_ABSENT) {
        struct eml_shape s =
            eml_mg_some_shape(k, k->spec->lo, k->spec->hi, k->spec->lo > 2 ? 6 : 4);
        if (k->spec->square)
            s.dim[s.rank - 1] = s.dim[s.rank - 2];
        id = eml_mg_fresh(k, k->dtype, s, -8, 8, 90);
    }
    k->x = k->m->values[id].shape;
    return id;
}

/* A shape that broadcasts with x. */
static struct eml_shape beside(const struct eml_mg_maker *k)
{
    struct eml_shape s = k->x;
    uint32_t cut = eml_mg_chance(k, 30) ? (uint32_t)eml_mg_pick(k, 0, s.rank) : 0;
    for (uint32_t i = cut; i < s.rank; i++)
        s.dim[i - cut] = eml_mg_chance(k, 25) ? 1 : k->x.dim[i];
    s.rank -= cut;
    return s;
}

static void choose_axes(struct eml_mg_maker *k, uint32_t rank)
{
    k->axes = 0;
    for (uint32_t i = 0; i < rank; i++)
        if (eml_mg_chance(k, 50))
            k->axis[k->axes++] = eml_mg_chance(k, 50) ? (int64_t)i : (int64_t)i - (int64_t)rank;
}

static uint32_t chosen_axes(struct eml_mg_maker *k, bool choose, uint32_t rank)
{
    if (choose)
        choose_axes(k, rank);
    return eml_mg_steer(k, k->axis, k->axes, false);
}

static uint32_t ones_as_axes(const struct eml_mg_maker *k)
{
    int64_t v[EML_RANK_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < k->x.rank; i++)
        if (k->x.dim[i] == 1 && eml_mg_chance(k, 70))
            v[n++] = i;
    return n == 0 && eml_mg_chance(k, 60) ? EML_ABSENT : eml_mg_steer(k, v, n, false);
}

/* The dims of x in another order or joined, one of them maybe left to be told. */
static uint32_t new_shape(const struct eml_mg_maker *k)
{
    int64_t v[EML_RANK_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < k->x.rank; i++) {
        if (n > 0 && eml_mg_chance(k, 40))
            v[n - 1] *= k->x.dim[i];
        else
            v[n++] = k->x.dim[i];
    }
    if (n > 0 && eml_mg_count(&k->x) > 0 && eml_mg_chance(k, 50))
        v[eml_mg_pick(k, 0, n - 1)] = -1;
    if (n < EML_RANK_MAX && eml_mg_chance(k, 20))
        v[n++] = 1;
    return eml_mg_steer(k, v, n, false);
}

/* n integers, each by a rule of its own. */
static uint32_t each_dim(const struct eml_mg_maker *k, char kind)
{
    int64_t v[2 * EML_RANK_MAX];
    uint32_t n = kind == 'D' ? 2 * k->x.rank : strchr("SEB", kind) != NULL ? k->axes : k->x.rank;
    for (uint32_t i = 0; i < n; i++)
        switch (kind) {
        case 'X':
            v[i] = k->x.dim[i] == 1 ? eml_mg_pick(k, 1, 3) : k->x.dim[i];
            break;
        case 'K':
            v[i] = eml_mg_pick(k, 1, 2);
            break;
        case 'D':
            v[i] = eml_mg_chance(k, 50) ? 0 : eml_mg_pick(k, eml_mg_chance(k, 10) ? -1 : 0, 2);
            break;
        case 'S':
            v[i] = eml_mg_pick(k, -2, 1);
            break;
        case 'B':
            v[i] = eml_mg_chance(k, 70) ? 1 : eml_mg_pick(k, -2, 2);
            break;
        case 'E':
            v[i] = eml_mg_chance(k, 30) ? INT64_MAX : eml_mg_pick(k, -1, 4);
            break;
        default: /* sizes of a Resize or a crop: channels stay */
            v[i] = i < 2 ? k->x.dim[i] : eml_mg_pick(k, 1, 6);
        }
    return eml_mg_steer(k, v, n, false);
}

static uint32_t spatial_weights(struct eml_mg_maker *k, bool transposed)
{
    struct eml_shape s = {.rank = k->x.rank};
    int64_t c = k->x.dim[1];
    k->spatial = s.rank - 2;
    k->group = eml_mg_chance(k, 30) ? c : 1;
    if (k->group < 1)
        k->group = 1;
    s.dim[transposed ? 1 : 0] = eml_mg_pick(k, 1, 3) * (transposed ? 1 : k->group);
    s.dim[transposed ? 0 : 1] = transposed ? c : c / k->group;
    for (uint32_t i = 2; i < s.rank; i++)
        s.dim[i] = eml_mg_pick(k, 1, 3);
    k->other = s;
    return eml_mg_fresh(k, k->dtype == EML_DT_U8 ? EML_DT_I8 : k->dtype, s, -4, 4, 20);
}

static struct eml_shape shape_of(uint32_t rank, int64_t a, int64_t b, int64_t c)
{
    return (struct eml_shape){rank, {a, b, c}};
}

/* Axes, shapes and other integers that steer. */
static uint32_t steering(struct eml_mg_maker *k, char kind)
{
    const uint32_t rank = k->x.rank;
    int64_t one = eml_mg_pick(k, 1, 2), axis = rank > 0 ? eml_mg_pick(k, 0, rank - 1) : 0;
    switch (kind) {
    case 'A':
        return eml_mg_chance(k, 25) ? EML_ABSENT : chosen_axes(k, true, rank);
    case 'T':
        return chosen_axes(k, false, rank);
    case 'U':
        return chosen_axes(k, true, rank < 6 ? rank + 1 : rank);
    case 'Q':
        return ones_as_axes(k);
    case 'R':
        return new_shape(k);
    case 'S':
        choose_axes(k, rank);
        return each_dim(k, kind);
    case 'V':
        return eml_mg_steer(k, (int64_t[]){eml_mg_pick(k, 1, 3), one, eml_mg_pick(k, 1, 3)},
                            (uint32_t)eml_mg_pick(k, 0, 3), false);
    case 'q':
        return eml_mg_steer(k, &axis, 1, true);
    case '1':
        return eml_mg_steer(k, &one, 1, false);
    case 'i':
        return eml_mg_steer(k, &one, 1, true);
    default:
        return each_dim(k, kind);
    }
}

/* Indices into x, and the updates that follow them. */
static uint32_t indexing(struct eml_mg_maker *k, char kind)
{
    struct eml_shape s = k->x, updates = {1, {k->other.dim[0]}};
    switch (kind) {
    case 'I':
        return eml_mg_fresh(k, eml_mg_chance(k, 70) ? EML_DT_I64 : EML_DT_I32,
                            eml_mg_some_shape(k, 0, 2, 3), -1, 0, 50);
    case 'J':
        for (uint32_t i = 0; i < s.rank; i++)
            s.dim[i] = s.dim[i] > 1 ? eml_mg_pick(k, 1, s.dim[i]) : s.dim[i];
        k->other = s;
        return eml_mg_fresh(k, EML_DT_I64, s, -1, 0, 50);
    case 'u':
        return eml_mg_fresh(k, k->dtype, k->other, -8, 8, 50);
    case 'N':
        k->other = shape_of(2, eml_mg_pick(k, 1, 2), s.rank > 0 ? eml_mg_pick(k, 1, s.rank) : 1, 0);
        return eml_mg_fresh(k, EML_DT_I64, k->other, -1, 0, 50);
    default: /* 'n' */
        for (uint32_t i = (uint32_t)k->other.dim[1]; i < s.rank; i++)
            updates.dim[updates.rank++] = s.dim[i];
        return eml_mg_fresh(k, k->dtype, updates, -8, 8, 50);
    }
}

static uint32_t weights(struct eml_mg_maker *k, char kind)
{
    int64_t last = k->x.rank > 0 ? k->x.dim[k->x.rank - 1] : 1;
    int64_t gates = k->op == EML_OP_LSTM ? 4 : k->op == EML_OP_GRU ? 3 : 1;
    struct eml_shape s;
    switch (kind) {
    case 'W':
        return spatial_weights(k, false);
    case 'H':
        return spatial_weights(k, true);
    case 'w':
        s = shape_of(1, k->other.dim[0], 0, 0);
        return eml_mg_chance(k, 40) ? EML_ABSENT : eml_mg_fresh(k, k->dtype, s, -8, 8, 30);
    case 'M':
        return eml_mg_fresh(k, k->dtype == EML_DT_U8 ? EML_DT_I8 : k->dtype,
                            shape_of(2, last, eml_mg_pick(k, 1, 5), 0), -4, 4, 30);
    default: /* of a recurrent operator, by turns input, recurrence, bias */
        k->hidden = k->hidden == 0 ? eml_mg_pick(k, 1, 4) : k->hidden;
        s = kind == '5' ? shape_of(2, 1, 2 * gates * k->hidden, 0)
                        : shape_of(3, 1, gates * k->hidden, kind == '3' ? last : k->hidden);
        return eml_mg_fresh(k, k->dtype, s, -4, 4, 10);
    }
}

static uint32_t some_list(const struct eml_mg_maker *k)
{
    for (uint32_t i = k->m->n_values; i-- > 0;)
        if (k->m->values[i].dtype == EML_DT_SEQUENCE && eml_mg_chance(k, 60))
            return i;
    return EML_ABSENT;
}

uint32_t eml_mg_operand(struct eml_mg_maker *k, char kind)
{
    const struct eml_shape scalar = {0};
    int64_t last = k->x.rank > 0 ? k->x.dim[k->x.rank - 1] : 1;
    struct eml_shape s = k->x;
    switch (kind) {
    case '_':
        return EML_ABSENT;
    case 'x':
        return main_operand(k);
    case 'b':
        return eml_mg_fresh(k, k->dtype, beside(k), -8, 8, 50);
    case '?':
        return eml_mg_fresh(k, EML_DT_BOOL, beside(k), 0, 1, 50);
    case 's':
        return eml_mg_fresh(k, k->dtype, s, -8, 8, 50);
    case '0':
        return eml_mg_fresh(k, k->dtype, scalar, -2, 6, 30);
    case 'p':
        return eml_mg_fresh(k, EML_DT_F32, scalar, 1, 4, 30);
    case 'z':
        return eml_mg_fresh(k, k->dtype == EML_DT_F32 ? EML_DT_U8 : k->dtype, scalar, 0, 3, 30);
    case 'c':
        return eml_mg_fresh(k, k->dtype, shape_of(1, s.rank > 1 ? s.dim[1] : 1, 0, 0), 1, 8, 30);
    case 'l':
        return eml_mg_fresh(k, k->dtype, shape_of(1, last, 0, 0), 1, 8, 30);
    case 'F':
        return eml_mg_fresh(k, EML_DT_F32, shape_of(1, k->x.rank, 0, 0), 4, 4, 0); /* ones */
    case 'v':
        return eml_mg_fresh(k, EML_DT_F32, shape_of(1, 2, 0, 0), -8, 8, 30);
    case 'g':
        s = (struct eml_shape){4, {k->x.dim[0], 2, 3, 2}};
        return eml_mg_fresh(k, EML_DT_F32, s, -4, 4, 50);
    case 't':
        return eml_mg_fresh(k, eml_mg_some_type(k, UINT32_MAX), scalar, 0, 1, 50);
    case 'L':
        return eml_mg_fresh(k, EML_DT_I64, shape_of(1, s.rank > 1 ? s.dim[1] : 1, 0, 0), 1, 1, 50);
    case 'Y':
        for (uint32_t i = 1; i + 1 < s.rank; i++)
            s.dim[i] = s.dim[i + 1];
        s.rank--;
        return eml_mg_fresh(k, EML_DT_I64, s, 0, 0, 50);
    case 'k':
        return eml_mg_fresh(k, EML_DT_BOOL, shape_of(1, eml_mg_pick(k, 0, 4), 0, 0), 0, 1, 50);
    case '[':
        return some_list(k);
    default:
        return strchr("IJNnu", kind) != NULL     ? indexing(k, kind)
               : strchr("WHwM345", kind) != NULL ? weights(k, kind)
                                                 : steering(k, kind);
    }
}
