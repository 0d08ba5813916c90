#include "testsupport/gen_maker.h"

#include "model/strings.h"
#include "testsupport/pb.h"

#include <stdio.h>
#include <string.h>

int64_t eml_mg_pick(const struct eml_mg_maker *k, int64_t lo, int64_t hi)
{
    return eml_gen_range(k->m->g, lo, hi);
}

bool eml_mg_chance(const struct eml_mg_maker *k, int64_t percent)
{
    return eml_mg_pick(k, 0, 99) < percent;
}

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

static void put_element(const struct eml_mg_maker *k, enum eml_dtype t, uint8_t *to, int64_t lo,
                        int64_t hi)
{
    static const char *const words[] = {"a", "b", "A", "word", "", "one two"};
    int64_t v = eml_mg_pick(k, lo, hi);
    if (t == EML_DT_STRING)
        (void)eml_string_put(to, eml_bytes_of_str(words[eml_mg_pick(k, 0, 5)]));
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

int64_t eml_mg_count(const struct eml_shape *s)
{
    int64_t n = 0;
    (void)eml_shape_count(s, &n);
    return n;
}

uint32_t eml_mg_add_value(const struct eml_mg_maker *k, struct eml_mg_value v)
{
    struct eml_model_gen *m = k->m;
    EML_ASSERT(m->n_values < EML_MG_VALUES);
    (void)snprintf(v.name, sizeof v.name, "%c%u", "icv"[v.kind], m -> n_values);
    m->values[m->n_values] = v;
    return m->n_values++;
}

uint32_t eml_mg_fresh(const struct eml_mg_maker *k, enum eml_dtype t, struct eml_shape s,
                      int64_t lo, int64_t hi, int64_t percent_input)
{
    size_t width = eml_dtype_bytes(t), n = (size_t)eml_mg_count(&s);
    uint8_t *data = eml_arena_alloc(k->m->arena, n * width + 1, 64);
    EML_ASSERT(data != NULL);
    for (size_t i = 0; i < n; i++)
        put_element(k, t, data + i * width, lo, hi);
    bool packed = t == EML_DT_U4 || t == EML_DT_I4 || t == EML_DT_STRING; /* not so in files */
    struct eml_mg_value v = {.kind = EML_MG_CONSTANT, .dtype = t, .has_rank = true, .shape = s};
    v.data = data;
    v.bytes = n * width;
    v.stated = s;
    if (packed || eml_mg_chance(k, percent_input)) {
        v.kind = EML_MG_INPUT;
        for (uint32_t i = 0; i < s.rank; i++)
            if (eml_mg_chance(k, 20))
                v.stated.dim[i] = EML_DIM_UNKNOWN;
    }
    return eml_mg_add_value(k, v);
}

uint32_t eml_mg_steer(const struct eml_mg_maker *k, const int64_t *v, uint32_t n, bool scalar)
{
    struct eml_shape s = {.rank = scalar ? 0 : 1, .dim = {scalar ? 0 : n}};
    uint32_t id = eml_mg_fresh(k, EML_DT_I64, s, 0, 0, 15);
    if (n > 0)
        memcpy((void *)(uintptr_t)k->m->values[id].data, v, n * sizeof *v);
    k->m->values[id].stated = s; /* how many they are is known */
    return id;
}

struct eml_shape eml_mg_some_shape(const struct eml_mg_maker *k, uint32_t lo, uint32_t hi,
                                   int64_t most)
{
    struct eml_shape s = {.rank = (uint32_t)eml_mg_pick(k, lo, hi)};
    for (uint32_t i = 0; i < s.rank; i++)
        s.dim[i] = eml_mg_chance(k, 3) ? 0 : eml_mg_pick(k, 1, most);
    return s;
}

enum eml_dtype eml_mg_some_type(const struct eml_mg_maker *k, uint32_t set)
{
    enum eml_dtype t = EML_DT_F32;
    if (eml_types_has(set, t) && eml_mg_chance(k, 40))
        return t;
    for (int i = 0; i < 200; i++) {
        t = (enum eml_dtype)eml_mg_pick(k, 1, EML_DT_LAST);
        if (eml_dtype_bytes(t) != 0 && (eml_types_has(set, t) || eml_mg_chance(k, 2)))
            return t;
    }
    return t;
}

uint32_t eml_mg_existing(const struct eml_mg_maker *k, enum eml_dtype t)
{
    const struct eml_model_gen *m = k->m;
    uint32_t start = (uint32_t)eml_mg_pick(k, 0, EML_MG_VALUES);
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

const char *eml_mg_name(const struct eml_mg_maker *k, uint32_t id)
{
    return k->m->values[id].name;
}

void eml_mg_put_ints(const struct eml_mg_maker *k, struct eml_buf *a, const char *name, uint32_t n,
                     int64_t lo, int64_t hi)
{
    int64_t v[2 * EML_RANK_MAX];
    for (uint32_t i = 0; i < n; i++)
        v[i] = eml_mg_pick(k, lo, hi);
    eml_pb_attr_ints(a, name, v, n);
}
