#include "testsupport/gen_model.h"

#include "model/strings.h"
#include "testsupport/gen_spec.h"
#include "testsupport/pb.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One node in the making. */
struct maker {
    struct eml_model_gen *m;
    struct eml_mg_node *n;
    enum eml_op op;
    const struct eml_mg_spec *spec;
    enum eml_dtype dtype;   /* of the operand that carries the data */
    struct eml_shape x;     /* its shape: rank 0 until it is there */
    struct eml_shape other; /* of the operand before this one */
    uint32_t spatial;       /* dims of a window's kernel */
    int64_t group, hidden;
    int64_t axis[EML_RANK_MAX]; /* chosen for operands that speak of some axes */
    uint32_t axes;
};

static int64_t pick(const struct maker *k, int64_t lo, int64_t hi)
{
    return eml_gen_range(k->m->g, lo, hi);
}

static bool chance(const struct maker *k, int64_t percent)
{
    return pick(k, 0, 99) < percent;
}

/* ---- data ---- */

/* A multiple of 1/4 between -2 and 2, which all float types have exactly. */
static void put_quarter(enum eml_dtype t, uint8_t *to, int64_t quarters)
{
    static const uint8_t e4m3[9] = {0, 0x28, 0x30, 0x34, 0x38, 0x3A, 0x3C, 0x3E, 0x40};
    static const uint8_t e5m2[9] = {0, 0x34, 0x38, 0x3A, 0x3C, 0x3D, 0x3E, 0x3F, 0x40};
    float f = (float)quarters / 4;
    double d = (double)f;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    int64_t size = quarters < 0 ? -quarters : quarters;
    uint16_t half = 0, brain = (uint16_t)(bits >> 16);
    if (size != 0)
        half = (uint16_t)((bits >> 16 & 0x8000) | (((bits >> 23 & 0xFF) - 112) << 10) |
                          (bits >> 13 & 0x3FF));
    uint8_t small = (t == EML_DT_F8E4M3FN || t == EML_DT_F8E4M3FNUZ ? e4m3 : e5m2)[size];
    if (quarters < 0)
        small |= 0x80;
    switch (t) {
    case EML_DT_F32:
        memcpy(to, &f, sizeof f);
        return;
    case EML_DT_F64:
        memcpy(to, &d, sizeof d);
        return;
    case EML_DT_F16:
        memcpy(to, &half, sizeof half);
        return;
    case EML_DT_BF16:
        memcpy(to, &brain, sizeof brain);
        return;
    default:
        *to = small;
    }
}

static bool is_float(enum eml_dtype t)
{
    return t == EML_DT_F32 || t == EML_DT_F64 || t == EML_DT_F16 || t == EML_DT_BF16 ||
           (t >= EML_DT_F8E4M3FN && t <= EML_DT_F8E5M2FNUZ);
}

static void put_element(const struct maker *k, enum eml_dtype t, uint8_t *to, int64_t lo,
                        int64_t hi)
{
    static const char *const words[] = {"a", "b", "A", "word", "", "one two"};
    int64_t v = pick(k, lo, hi);
    if (t == EML_DT_STRING)
        (void)eml_string_put(to, eml_bytes_of_str(words[pick(k, 0, 5)]));
    else if (is_float(t))
        put_quarter(t, to, v < -8 ? -8 : v > 8 ? 8 : v);
    else if (t == EML_DT_BOOL)
        *to = (uint8_t)(v & 1);
    else {
        if (v < 0 && (t == EML_DT_U8 || t == EML_DT_U16 || t == EML_DT_U32 || t == EML_DT_U64 ||
                      t == EML_DT_U4))
            v = -v;
        if (t == EML_DT_I4 && v > 7)
            v = 7;
        memcpy(to, &v, eml_dtype_bytes(t)); /* little-endian */
    }
}

static int64_t count_of(const struct eml_shape *s)
{
    int64_t n = 0;
    (void)eml_shape_count(s, &n);
    return n;
}

static uint32_t add_value(const struct maker *k, struct eml_mg_value v)
{
    struct eml_model_gen *m = k->m;
    EML_ASSERT(m->n_values < EML_MG_VALUES);
    (void)snprintf(v.name, sizeof v.name, "%c%u", "icv"[v.kind], m -> n_values);
    m->values[m->n_values] = v;
    return m->n_values++;
}

/* A new operand with elements between lo and hi (quarters, if floats): an input or a constant. */
static uint32_t fresh(const struct maker *k, enum eml_dtype t, struct eml_shape s, int64_t lo,
                      int64_t hi, int64_t percent_input)
{
    size_t width = eml_dtype_bytes(t), n = (size_t)count_of(&s);
    uint8_t *data = eml_arena_alloc(k->m->arena, n * width + 1, 64);
    EML_ASSERT(data != NULL);
    for (size_t i = 0; i < n; i++)
        put_element(k, t, data + i * width, lo, hi);
    bool packed = t == EML_DT_U4 || t == EML_DT_I4 || t == EML_DT_STRING; /* not so in files */
    struct eml_mg_value v = {.kind = EML_MG_CONSTANT, .dtype = t, .has_rank = true, .shape = s};
    v.data = data;
    v.bytes = n * width;
    v.stated = s;
    if (packed || chance(k, percent_input)) {
        v.kind = EML_MG_INPUT;
        for (uint32_t i = 0; i < s.rank; i++)
            if (chance(k, 20))
                v.stated.dim[i] = EML_DIM_UNKNOWN;
    }
    return add_value(k, v);
}

/* Given integers as an operand that steers. */
static uint32_t steer(const struct maker *k, const int64_t *v, uint32_t n, bool scalar)
{
    struct eml_shape s = {.rank = scalar ? 0 : 1, .dim = {scalar ? 0 : n}};
    uint32_t id = fresh(k, EML_DT_I64, s, 0, 0, 15);
    if (n > 0)
        memcpy((void *)(uintptr_t)k->m->values[id].data, v, n * sizeof *v);
    k->m->values[id].stated = s; /* how many they are is known */
    return id;
}

/* ---- operands ---- */

static struct eml_shape some_shape(const struct maker *k, uint32_t lo, uint32_t hi, int64_t most)
{
    struct eml_shape s = {.rank = (uint32_t)pick(k, lo, hi)};
    for (uint32_t i = 0; i < s.rank; i++)
        s.dim[i] = chance(k, 3) ? 0 : pick(k, 1, most);
    return s;
}

static enum eml_dtype some_type(const struct maker *k, uint32_t set)
{
    enum eml_dtype t = EML_DT_F32;
    if (eml_types_has(set, t) && chance(k, 40))
        return t;
    for (int i = 0; i < 200; i++) {
        t = (enum eml_dtype)pick(k, 1, EML_DT_LAST);
        if (eml_dtype_bytes(t) != 0 && (eml_types_has(set, t) || chance(k, 2)))
            return t;
    }
    return t;
}

/* A value there is, of the type and rank. Where rounding could tip a result over, an exact one. */
static uint32_t existing(const struct maker *k, enum eml_dtype t)
{
    const struct eml_model_gen *m = k->m;
    uint32_t start = (uint32_t)pick(k, 0, EML_MG_VALUES);
    for (uint32_t i = 0; i < m->n_values; i++) {
        uint32_t id = (start + i) % m->n_values;
        const struct eml_mg_value *v = &m->values[id];
        int64_t n;
        bool sized = v->has_rank && eml_shape_count(&v->shape, &n);
        if (v->dtype == t && v->kind != EML_MG_CONSTANT && sized && n <= 4096 &&
            v->shape.rank >= k->spec->lo && v->shape.rank <= k->spec->hi &&
            (v->slack == 0 || (k->spec->smooth && v->slack < 0.05F)))
            return id;
    }
    return EML_ABSENT;
}

static uint32_t main_operand(struct maker *k)
{
    uint32_t id = chance(k, 75) ? existing(k, k->dtype) : EML_ABSENT;
    if (id == EML_ABSENT) {
        struct eml_shape s = some_shape(k, k->spec->lo, k->spec->hi, k->spec->lo > 2 ? 6 : 4);
        if (k->spec->square)
            s.dim[s.rank - 1] = s.dim[s.rank - 2];
        id = fresh(k, k->dtype, s, -8, 8, 90);
    }
    k->x = k->m->values[id].shape;
    return id;
}

/* A shape that broadcasts with x. */
static struct eml_shape beside(const struct maker *k)
{
    struct eml_shape s = k->x;
    uint32_t cut = chance(k, 30) ? (uint32_t)pick(k, 0, s.rank) : 0;
    for (uint32_t i = cut; i < s.rank; i++)
        s.dim[i - cut] = chance(k, 25) ? 1 : k->x.dim[i];
    s.rank -= cut;
    return s;
}

static void choose_axes(struct maker *k, uint32_t rank)
{
    k->axes = 0;
    for (uint32_t i = 0; i < rank; i++)
        if (chance(k, 50))
            k->axis[k->axes++] = chance(k, 50) ? (int64_t)i : (int64_t)i - (int64_t)rank;
}

static uint32_t chosen_axes(struct maker *k, bool choose, uint32_t rank)
{
    if (choose)
        choose_axes(k, rank);
    return steer(k, k->axis, k->axes, false);
}

static uint32_t ones_as_axes(const struct maker *k)
{
    int64_t v[EML_RANK_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < k->x.rank; i++)
        if (k->x.dim[i] == 1 && chance(k, 70))
            v[n++] = i;
    return n == 0 && chance(k, 60) ? EML_ABSENT : steer(k, v, n, false);
}

/* The dims of x in another order or joined, one of them maybe left to be told. */
static uint32_t new_shape(const struct maker *k)
{
    int64_t v[EML_RANK_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < k->x.rank; i++) {
        if (n > 0 && chance(k, 40))
            v[n - 1] *= k->x.dim[i];
        else
            v[n++] = k->x.dim[i];
    }
    if (n > 0 && count_of(&k->x) > 0 && chance(k, 50))
        v[pick(k, 0, n - 1)] = -1;
    if (n < EML_RANK_MAX && chance(k, 20))
        v[n++] = 1;
    return steer(k, v, n, false);
}

/* n integers, each by a rule of its own. */
static uint32_t each_dim(const struct maker *k, char kind)
{
    int64_t v[2 * EML_RANK_MAX];
    uint32_t n = kind == 'D' ? 2 * k->x.rank : strchr("SEB", kind) != NULL ? k->axes : k->x.rank;
    for (uint32_t i = 0; i < n; i++)
        switch (kind) {
        case 'X':
            v[i] = k->x.dim[i] == 1 ? pick(k, 1, 3) : k->x.dim[i];
            break;
        case 'K':
            v[i] = pick(k, 1, 2);
            break;
        case 'D':
            v[i] = chance(k, 50) ? 0 : pick(k, chance(k, 10) ? -1 : 0, 2);
            break;
        case 'S':
            v[i] = pick(k, -2, 1);
            break;
        case 'B':
            v[i] = chance(k, 70) ? 1 : pick(k, -2, 2);
            break;
        case 'E':
            v[i] = chance(k, 30) ? INT64_MAX : pick(k, -1, 4);
            break;
        default: /* sizes of a Resize or a crop: channels stay */
            v[i] = i < 2 ? k->x.dim[i] : pick(k, 1, 6);
        }
    return steer(k, v, n, false);
}

static uint32_t spatial_weights(struct maker *k, bool transposed)
{
    struct eml_shape s = {.rank = k->x.rank};
    int64_t c = k->x.dim[1];
    k->spatial = s.rank - 2;
    k->group = chance(k, 30) ? c : 1;
    if (k->group < 1)
        k->group = 1;
    s.dim[transposed ? 1 : 0] = pick(k, 1, 3) * (transposed ? 1 : k->group);
    s.dim[transposed ? 0 : 1] = transposed ? c : c / k->group;
    for (uint32_t i = 2; i < s.rank; i++)
        s.dim[i] = pick(k, 1, 3);
    k->other = s;
    return fresh(k, k->dtype == EML_DT_U8 ? EML_DT_I8 : k->dtype, s, -4, 4, 20);
}

static struct eml_shape shape_of(uint32_t rank, int64_t a, int64_t b, int64_t c)
{
    return (struct eml_shape){rank, {a, b, c}};
}

/* The operand that a letter of the spec stands for: gen_spec.h. */
static uint32_t operand(struct maker *k, char kind)
{
    const struct eml_shape scalar = {0};
    int64_t last = k->x.rank > 0 ? k->x.dim[k->x.rank - 1] : 1;
    int64_t one = pick(k, 1, 2), axis = k->x.rank > 0 ? pick(k, 0, k->x.rank - 1) : 0;
    struct eml_shape s = k->x;
    switch (kind) {
    case '_':
        return EML_ABSENT;
    case 'x':
        return main_operand(k);
    case 'b':
        return fresh(k, k->dtype, beside(k), -8, 8, 50);
    case '?':
        return fresh(k, EML_DT_BOOL, beside(k), 0, 1, 50);
    case 's':
        return fresh(k, k->dtype, s, -8, 8, 50);
    case '0':
        return fresh(k, k->dtype, scalar, -2, 6, 30);
    case 'p':
        return fresh(k, EML_DT_F32, scalar, 1, 4, 30);
    case 'z':
        return fresh(k, k->dtype == EML_DT_F32 ? EML_DT_U8 : k->dtype, scalar, 0, 3, 30);
    case 'c':
        return fresh(k, k->dtype, shape_of(1, s.rank > 1 ? s.dim[1] : 1, 0, 0), 1, 8, 30);
    case 'l':
        return fresh(k, k->dtype, shape_of(1, last, 0, 0), 1, 8, 30);
    case 'A':
        return chance(k, 25) ? EML_ABSENT : chosen_axes(k, true, s.rank);
    case 'T':
        return chosen_axes(k, false, s.rank);
    case 'U':
        return chosen_axes(k, true, s.rank < 6 ? s.rank + 1 : s.rank);
    case 'Q':
        return ones_as_axes(k);
    case 'R':
        return new_shape(k);
    case 'S':
        choose_axes(k, s.rank);
        return each_dim(k, kind);
    case 'X':
    case 'K':
    case 'D':
    case 'E':
    case 'B':
    case 'Z':
        return each_dim(k, kind);
    case 'F':
        s = shape_of(1, k->x.rank, 0, 0);
        return fresh(k, EML_DT_F32, s, 4, 4, 0); /* ones */
    case 'V':
        return steer(k, (int64_t[]){pick(k, 1, 3), one, pick(k, 1, 3)}, (uint32_t)pick(k, 0, 3),
                     false);
    case 'I':
        return fresh(k, chance(k, 70) ? EML_DT_I64 : EML_DT_I32, some_shape(k, 0, 2, 3), -1, 0, 50);
    case 'J':
        for (uint32_t i = 0; i < s.rank; i++)
            s.dim[i] = s.dim[i] > 1 ? pick(k, 1, s.dim[i]) : s.dim[i];
        k->other = s;
        return fresh(k, EML_DT_I64, s, -1, 0, 50);
    case 'u':
        return fresh(k, k->dtype, k->other, -8, 8, 50);
    case 'N':
        k->other = shape_of(2, one, s.rank > 0 ? pick(k, 1, s.rank) : 1, 0);
        return fresh(k, EML_DT_I64, k->other, -1, 0, 50);
    case 'n': {
        uint32_t depth = (uint32_t)k->other.dim[1];
        struct eml_shape u = {1, {k->other.dim[0]}};
        for (uint32_t i = depth; i < s.rank; i++)
            u.dim[u.rank++] = s.dim[i];
        return fresh(k, k->dtype, u, -8, 8, 50);
    }
    case 'M':
        return fresh(k, k->dtype == EML_DT_U8 ? EML_DT_I8 : k->dtype,
                     shape_of(2, last, pick(k, 1, 5), 0), -4, 4, 30);
    case 'W':
        return spatial_weights(k, false);
    case 'H':
        return spatial_weights(k, true);
    case 'w':
        s = shape_of(1, k->other.dim[0], 0, 0);
        return chance(k, 40) ? EML_ABSENT : fresh(k, k->dtype, s, -8, 8, 30);
    case 'q':
        return steer(k, &axis, 1, true);
    case '1':
        return steer(k, &one, 1, false);
    case 'i':
        return steer(k, &one, 1, true);
    case 'v':
        return fresh(k, EML_DT_F32, shape_of(1, 2, 0, 0), -8, 8, 30);
    case 'g':
        s = (struct eml_shape){4, {k->x.dim[0], 2, 3, 2}};
        return fresh(k, EML_DT_F32, s, -4, 4, 50);
    case 't':
        return fresh(k, some_type(k, UINT32_MAX), scalar, 0, 1, 50);
    case 'L':
        return fresh(k, EML_DT_I64, shape_of(1, s.rank > 1 ? s.dim[1] : 1, 0, 0), 1, 1, 50);
    case 'Y':
        for (uint32_t i = 1; i + 1 < s.rank; i++)
            s.dim[i] = s.dim[i + 1];
        s.rank--;
        return fresh(k, EML_DT_I64, s, 0, 0, 50);
    case 'k':
        return fresh(k, EML_DT_BOOL, shape_of(1, pick(k, 0, 4), 0, 0), 0, 1, 50);
    case '3': /* weights of a recurrent operator, by turns input, recurrence, bias */
    case '4':
    case '5': {
        int64_t gates = k->op == EML_OP_LSTM ? 4 : k->op == EML_OP_GRU ? 3 : 1;
        k->hidden = k->hidden == 0 ? pick(k, 1, 4) : k->hidden;
        s = shape_of(3, 1, gates * k->hidden, kind == '3' ? last : k->hidden);
        return kind == '5' ? fresh(k, k->dtype, shape_of(2, 1, 2 * gates * k->hidden, 0), -4, 4, 10)
                           : fresh(k, k->dtype, s, -4, 4, 10);
    }
    default: /* '[': a list that there is */
        for (uint32_t i = k->m->n_values; i-- > 0;)
            if (k->m->values[i].dtype == EML_DT_SEQUENCE && chance(k, 60))
                return i;
        return EML_ABSENT;
    }
}

/* ---- attributes ---- */

static void put_ints(const struct maker *k, struct eml_buf *a, const char *name, uint32_t n,
                     int64_t lo, int64_t hi)
{
    int64_t v[2 * EML_RANK_MAX];
    for (uint32_t i = 0; i < n; i++)
        v[i] = pick(k, lo, hi);
    eml_pb_attr_ints(a, name, v, n);
}

static void put_perm(const struct maker *k, struct eml_buf *a)
{
    int64_t v[EML_RANK_MAX];
    for (uint32_t i = 0; i < k->x.rank; i++) {
        uint32_t j = (uint32_t)pick(k, 0, i);
        v[i] = v[j];
        v[j] = i;
    }
    eml_pb_attr_ints(a, "perm", v, k->x.rank);
}

/* One of the choices of a row: "a|b|c". */
static void put_choice(const struct maker *k, struct eml_buf *a, const char *name,
                       const char *choices)
{
    char text[64];
    size_t all = strcspn(choices, " ");
    int64_t n = 1;
    for (size_t i = 0; i < all; i++)
        n += choices[i] == '|';
    const char *at = choices;
    for (int64_t skip = pick(k, 0, n - 1); skip > 0; skip--)
        at += strcspn(at, "|") + 1;
    size_t len = strcspn(at, "| ");
    EML_ASSERT(len < sizeof text);
    memcpy(text, at, len);
    text[len] = '\0';
    eml_pb_attr_str(a, name, text);
}

/* Attributes whose numbers must fit something. False: by its type then. */
static bool fitting(const struct maker *k, struct eml_buf *a, const char *name)
{
    uint32_t spatial = k->x.rank > 2 ? k->x.rank - 2 : 1;
    int64_t rank = k->x.rank;
    if (strcmp(name, "axis") == 0) {
        if (chance(k, 80) || k->op == EML_OP_CONCAT || k->op == EML_OP_CONCAT_FROM_SEQUENCE)
            eml_pb_attr_int(a, name, chance(k, 3) ? 9 : rank > 0 ? pick(k, -rank, rank - 1) : 0);
    } else if (strcmp(name, "perm") == 0) {
        if (chance(k, 80))
            put_perm(k, a);
    } else if (strcmp(name, "to") == 0 || strcmp(name, "dtype") == 0) {
        eml_pb_attr_int(a, name, some_type(k, UINT32_MAX));
    } else if (strcmp(name, "kernel_shape") == 0) {
        if (k->spatial == 0)
            put_ints(k, a, name, spatial, 1, 3);
    } else if (strcmp(name, "strides") == 0 || strcmp(name, "dilations") == 0) {
        if (chance(k, 30))
            put_ints(k, a, name, spatial, 1, 2);
    } else if (strcmp(name, "pads") == 0) {
        if (chance(k, 40))
            put_ints(k, a, name, 2 * spatial, 0, 1);
    } else if (strcmp(name, "group") == 0) {
        eml_pb_attr_int(a, name, k->group);
    } else if (strcmp(name, "hidden_size") == 0) {
        eml_pb_attr_int(a, name, k->hidden);
    } else if (strcmp(name, "blocksize") == 0 || strcmp(name, "num_groups") == 0 ||
               strcmp(name, "size") == 0 || strcmp(name, "num_outputs") == 0) {
        eml_pb_attr_int(a, name, pick(k, 1, 2));
    } else if (strcmp(name, "equation") == 0) {
        static const char *const texts[] = {"ij,jk->ik", "ij,ij->ji", "ij,kj->i", "ij,jk"};
        eml_pb_attr_str(a, name, texts[pick(k, 0, 3)]);
    } else {
        return false;
    }
    return true;
}

static void put_attr(const struct maker *k, struct eml_buf *a, const char *name, const char *type)
{
    if (fitting(k, a, name) || !chance(k, 30))
        return;
    if (type[0] == 'i' && type[1] == ':')
        eml_pb_attr_int(a, name, chance(k, 5) ? pick(k, -3, 7) : pick(k, 0, 1));
    else if (type[0] == 'e' && type[1] == ':')
        put_choice(k, a, name, type + 2);
    else if (type[0] == 'p')
        eml_pb_attr_f32(a, name, (float)pick(k, 1, 8) / 8);
    else if (type[0] == 'i' && chance(k, 10))
        put_ints(k, a, name, (uint32_t)pick(k, 0, 4), -1, 3);
}

static void put_attrs(const struct maker *k, struct eml_buf *a)
{
    const char *w = eml_op_info(k->op)->attrs;
    for (; *w != '\0'; w += strspn(w, " ")) {
        char name[40];
        size_t word = strcspn(w, " "), len = strcspn(w, "=>");
        EML_ASSERT(len < sizeof name);
        memcpy(name, w, len);
        name[len] = '\0';
        if (len < word && w[len] == '=')
            put_attr(k, a, name, w + len + 1);
        w += word;
    }
}

/* ---- bodies ---- */

/* A graph whose nodes read `names` (of its own inputs, or captured) and which gives n_out of them
 * back, all of type t. Branches may hold branches. */
static void put_graph(const struct maker *k, struct eml_buf *out, const char *const *inputs,
                      uint32_t n_in, const char *const *read, uint32_t n_read,
                      const char *condition, enum eml_dtype t, uint32_t n_out, uint32_t depth);

static void put_graph_attr(struct eml_buf *attrs, const char *name, struct eml_buf *graph)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, name);
    eml_pb_msg(&a, 6, graph);
    eml_pb_int(&a, 20, 5);
    eml_pb_msg(attrs, 5, &a);
}

static void put_branches(const struct maker *k, struct eml_buf *attrs, const char *const *read,
                         uint32_t n_read, const char *condition, enum eml_dtype t, uint32_t n_out,
                         uint32_t depth)
{
    static const char *const names[] = {"then_branch", "else_branch"};
    for (int i = 0; i < 2; i++) {
        struct eml_buf graph = {0};
        put_graph(k, &graph, NULL, 0, read, n_read, condition, t, n_out, depth);
        put_graph_attr(attrs, names[i], &graph);
    }
}

static void put_graph(const struct maker *k, struct eml_buf *out, const char *const *inputs,
                      uint32_t n_in, const char *const *read, uint32_t n_read,
                      const char *condition, enum eml_dtype t, uint32_t n_out, uint32_t depth)
{
    static const char *const unary[] = {"Neg", "Abs", "Identity"};
    eml_pb_str(out, 2, "body");
    for (uint32_t i = 0; i < n_out; i++) {
        char mine[16];
        (void)snprintf(mine, sizeof mine, "b%u_%u_%u", depth, k->m->n_values, i);
        const char *a = read[pick(k, 0, n_read - 1)], *b = read[pick(k, 0, n_read - 1)];
        if (condition != NULL && depth < 3 && chance(k, 20)) {
            struct eml_buf attrs = {0};
            put_branches(k, &attrs, read, n_read, condition, t, 1, depth + 1);
            eml_pb_node(out, "", "If", (const char *const[]){condition, NULL},
                        (const char *const[]){mine, NULL}, &attrs);
        } else if (chance(k, 50)) {
            eml_pb_node(out, "", unary[pick(k, 0, 2)], (const char *const[]){a, NULL},
                        (const char *const[]){mine, NULL}, NULL);
        } else {
            eml_pb_node(out, "", chance(k, 50) ? "Max" : "Min", (const char *const[]){a, b, NULL},
                        (const char *const[]){mine, NULL}, NULL);
        }
    }
    for (uint32_t i = 0; i < n_in; i++) {
        struct eml_buf value = {0};
        eml_pb_str(&value, 1, inputs[i]);
        eml_pb_msg(out, 11, &value);
    }
    if (n_in >= 2 && condition != NULL) { /* a Loop's: whether to go on */
        struct eml_buf value = {0};
        eml_pb_node(out, "", chance(k, 90) ? "Identity" : "Not",
                    (const char *const[]){condition, NULL}, (const char *const[]){"go", NULL},
                    NULL);
        eml_pb_str(&value, 1, "go");
        eml_pb_msg(out, 12, &value);
    }
    for (uint32_t i = 0; i < n_out; i++) {
        char mine[16];
        (void)snprintf(mine, sizeof mine, "b%u_%u_%u", depth, k->m->n_values, i);
        eml_pb_value(out, 12, mine, (int)t, NULL, 0);
    }
}

static const char *name_of(const struct maker *k, uint32_t id)
{
    return k->m->values[id].name;
}

static void capture(const struct maker *k, uint32_t id)
{
    k->n->captured[k->n->n_captured++] = id;
    k->m->values[id].readers++;
}

/* If, Loop, Scan or SequenceMap with its operands; returns the number of results. */
static uint32_t propose_body(struct maker *k, struct eml_buf *attrs)
{
    struct eml_mg_node *n = k->n;
    const struct eml_shape scalar = {0};
    struct eml_shape s = some_shape(k, 1, 3, 3);
    uint32_t captured = existing(k, k->dtype);
    if (captured == EML_ABSENT)
        captured = fresh(k, k->dtype, s, -8, 8, 90);
    const char *outer = name_of(k, captured);
    struct eml_buf graph = {0};
    switch (k->op) {
    case EML_OP_IF: {
        n->in[n->n_in++] = fresh(k, EML_DT_BOOL, scalar, 0, 1, 80);
        uint32_t other = fresh(k, k->dtype, s, -8, 8, 60), n_out = (uint32_t)pick(k, 1, 2);
        put_branches(k, attrs, (const char *const[]){outer, name_of(k, other)}, 2,
                     name_of(k, n->in[0]), k->dtype, n_out, 1);
        capture(k, other);
        capture(k, captured);
        return n_out;
    }
    case EML_OP_LOOP: {
        int64_t trips = pick(k, 0, 4);
        n->in[n->n_in++] = steer(k, &trips, 1, true);
        n->in[n->n_in++] = chance(k, 50) ? EML_ABSENT : fresh(k, EML_DT_BOOL, scalar, 0, 1, 50);
        n->in[n->n_in++] = captured;
        put_graph(k, &graph, (const char *const[]){"at", "on", "state"}, 3,
                  (const char *const[]){"state", outer}, 2, "on", k->dtype, 2, 1);
        put_graph_attr(attrs, "body", &graph);
        capture(k, captured);
        return 2;
    }
    case EML_OP_SCAN: {
        uint32_t scanned = fresh(k, k->dtype, s, -8, 8, 90);
        struct eml_shape state = s;
        for (uint32_t i = 0; i + 1 < s.rank; i++)
            state.dim[i] = s.dim[i + 1];
        state.rank--;
        n->in[n->n_in++] = fresh(k, k->dtype, state, -8, 8, 50);
        n->in[n->n_in++] = scanned;
        put_graph(k, &graph, (const char *const[]){"state", "entry"}, 2,
                  (const char *const[]){"state", "entry"}, 2, NULL, k->dtype, 2, 1);
        put_graph_attr(attrs, "body", &graph);
        eml_pb_attr_int(attrs, "num_scan_inputs", 1);
        if (chance(k, 30))
            put_ints(k, attrs, "scan_input_directions", 1, 0, 1);
        if (chance(k, 30))
            put_ints(k, attrs, "scan_output_axes", 1, -1, 0);
        return 2;
    }
    default:
        n->in[n->n_in++] = operand(k, '[');
        put_graph(k, &graph, (const char *const[]){"one"}, 1, (const char *const[]){"one"}, 1, NULL,
                  k->dtype, 1, 1);
        put_graph_attr(attrs, "body", &graph);
        return 1;
    }
}

/* ---- nodes ---- */

static enum eml_op some_op(const struct maker *k)
{
    for (;;) {
        enum eml_op op = (enum eml_op)pick(k, 0, EML_OP_N - 1);
        if (chance(k, 8)) /* lists need some to work on */
            op = chance(k, 50) ? EML_OP_SPLIT_TO_SEQUENCE : EML_OP_SEQUENCE_CONSTRUCT;
        if (eml_mg_spec_of(op)->operands != NULL)
            return op;
    }
}

static bool has_body(enum eml_op op)
{
    return op == EML_OP_IF || op == EML_OP_LOOP || op == EML_OP_SCAN || op == EML_OP_SEQUENCE_MAP;
}

static uint32_t propose_operands(struct maker *k)
{
    const struct eml_op_info *info = eml_op_info(k->op);
    struct eml_mg_node *n = k->n;
    for (const char *p = k->spec->operands; *p != '\0' && n->n_in < EML_MG_IN; p++) {
        if (*p == '*')
            for (int64_t more = pick(k, 0, 2); more > 0; more--)
                n->in[n->n_in++] = operand(k, p[-1]);
        else
            n->in[n->n_in++] = operand(k, *p);
    }
    if (n->n_in > info->in_min && chance(k, 30)) /* optional ones may stay away */
        n->n_in = (uint32_t)pick(k, info->in_min, n->n_in);
    uint32_t most = info->out_max > 3 ? 2 : info->out_max;
    return k->op == EML_OP_SPLIT ? 2 : most > 1 && chance(k, 60) ? (uint32_t)pick(k, 1, most) : 1;
}

static float slack_of(const struct maker *k)
{
    float slack = k->spec->exact ? 0 : 1e-3F;
    for (uint32_t i = 0; i < k->n->n_in; i++)
        if (k->n->in[i] != EML_ABSENT && k->m->values[k->n->in[i]].slack > slack)
            slack = k->m->values[k->n->in[i]].slack;
    for (uint32_t i = 0; i < k->n->n_captured; i++)
        if (k->m->values[k->n->captured[i]].slack > slack)
            slack = k->m->values[k->n->captured[i]].slack;
    if (!k->spec->exact && k->dtype == EML_DT_F16)
        slack += 4e-3F;
    if (!k->spec->exact && k->dtype == EML_DT_BF16)
        slack += 3e-2F;
    return k->spec->exact ? slack : slack * 1.5F;
}

static void encode_node(struct maker *k, struct eml_buf *attrs)
{
    struct eml_mg_node *n = k->n;
    const char *full = eml_op_info(k->op)->name;
    int at = snprintf(n->text, sizeof n->text, "%s(", full);
    for (uint32_t i = 0; i < n->n_in; i++) {
        const char *name = n->in[i] == EML_ABSENT ? "" : name_of(k, n->in[i]);
        eml_pb_str(&n->pb, 1, name);
        if (at > 0 && (size_t)at < sizeof n->text)
            at += snprintf(n->text + at, sizeof n->text - (size_t)at, " %s", name);
        if (n->in[i] != EML_ABSENT)
            k->m->values[n->in[i]].readers++;
    }
    if (at > 0 && (size_t)at < sizeof n->text)
        (void)snprintf(n->text + at, sizeof n->text - (size_t)at, " ) of %s, opset %d",
                       eml_dtype_name(k->dtype), (int)k->m->opset);
    for (uint32_t i = 0; i < n->n_out; i++)
        eml_pb_str(&n->pb, 2, name_of(k, n->first_out + i));
    eml_pb_str(&n->pb, 4, full);
    eml_buf_put(&n->pb, eml_buf_bytes(attrs));
}

void eml_model_gen_propose(struct eml_model_gen *m)
{
    EML_ASSERT(m->n_nodes < EML_MG_NODES);
    struct maker k = {.m = m, .n = &m->nodes[m->n_nodes++], .group = 1};
    struct eml_buf attrs = {0};
    *k.n = (struct eml_mg_node){.first_value = m->n_values};
    k.op = some_op(&k);
    k.n->op = k.op;
    k.spec = eml_mg_spec_of(k.op);
    k.dtype = some_type(&k, eml_op_info(k.op)->types);
    uint32_t n_out;
    if (has_body(k.op)) {
        n_out = propose_body(&k, &attrs);
    } else {
        n_out = propose_operands(&k);
        put_attrs(&k, &attrs);
    }
    k.n->first_out = m->n_values;
    k.n->n_out = n_out;
    for (uint32_t i = 0; i < n_out; i++)
        (void)add_value(&k, (struct eml_mg_value){.kind = EML_MG_RESULT, .slack = slack_of(&k)});
    encode_node(&k, &attrs);
    eml_buf_free(&attrs);
}

static void unread(struct eml_model_gen *m, const struct eml_mg_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] != EML_ABSENT)
            m->values[n->in[i]].readers--;
    for (uint32_t i = 0; i < n->n_captured; i++)
        m->values[n->captured[i]].readers--;
}

void eml_model_gen_undo(struct eml_model_gen *m)
{
    struct eml_mg_node *n = &m->nodes[--m->n_nodes];
    unread(m, n);
    eml_buf_free(&n->pb);
    m->n_values = n->first_value;
}

bool eml_model_gen_drop(struct eml_model_gen *m, uint32_t node)
{
    struct eml_mg_node *n = &m->nodes[node];
    if (n->gone)
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (m->values[n->first_out + i].readers != 0)
            return false;
    unread(m, n);
    n->gone = true;
    for (uint32_t i = 0; i < n->n_out; i++)
        m->values[n->first_out + i].gone = true;
    return true;
}

/* ---- the model ---- */

void eml_model_gen_start(struct eml_model_gen *m, struct eml_gen *g, struct eml_arena *arena)
{
    static const int64_t opsets[] = {18, 20, 21, 22};
    *m = (struct eml_model_gen){.g = g, .arena = arena};
    m->opset = opsets[eml_gen_range(g, 0, 3)];
}

bool eml_mg_is_output(const struct eml_mg_value *v)
{
    return v->kind == EML_MG_RESULT && v->readers == 0 && !v->gone;
}

static void encode_list(struct eml_buf *graph, const struct eml_mg_value *v)
{
    struct eml_buf value = {0}, type = {0}, list = {0}, elem = {0}, tensor = {0};
    eml_pb_int(&tensor, 1, v->elem);
    eml_pb_msg(&elem, 1, &tensor);
    eml_pb_msg(&list, 1, &elem);
    eml_pb_msg(&type, 4, &list);
    eml_pb_str(&value, 1, v->name);
    eml_pb_msg(&value, 2, &type);
    eml_pb_msg(graph, 12, &value);
}

void eml_model_gen_encode(const struct eml_model_gen *m, struct eml_buf *out)
{
    struct eml_buf graph = {0}, set = {0};
    eml_pb_str(&graph, 2, "generated");
    for (uint32_t i = 0; i < m->n_nodes; i++)
        if (!m->nodes[i].gone)
            eml_pb_bytes(&graph, 1, eml_buf_bytes(&m->nodes[i].pb));
    for (uint32_t i = 0; i < m->n_values; i++) {
        const struct eml_mg_value *v = &m->values[i];
        if (v->kind == EML_MG_CONSTANT)
            eml_pb_tensor(&graph, 5, v->name, (int)v->dtype, v->shape.dim, v->shape.rank,
                          eml_bytes(v->data, v->bytes));
        else if (v->kind == EML_MG_INPUT)
            eml_pb_value(&graph, 11, v->name, (int)v->dtype, v->stated.dim, v->stated.rank);
        else if (eml_mg_is_output(v) && v->dtype == EML_DT_SEQUENCE)
            encode_list(&graph, v);
        else if (eml_mg_is_output(v))
            eml_pb_value(&graph, 12, v->name, (int)(v->dtype != 0 ? v->dtype : EML_DT_F32), NULL,
                         0);
    }
    eml_pb_int(out, 1, 9);
    eml_pb_msg(out, 7, &graph);
    eml_pb_str(&set, 1, "");
    eml_pb_int(&set, 2, m->opset);
    eml_pb_msg(out, 8, &set);
}

void eml_model_gen_free(struct eml_model_gen *m)
{
    for (uint32_t i = 0; i < m->n_nodes; i++)
        eml_buf_free(&m->nodes[i].pb);
    m->n_nodes = 0;
}
