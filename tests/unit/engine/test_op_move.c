/* Operators that move elements, each of which carries its own number, on random shapes. */
#include "op_plain.h"

enum { ROOM = 4096 };

static const enum eml_dtype BY_SIZE[] = {EML_DT_U8, EML_DT_F16, EML_DT_I32, EML_DT_I64};

static void number(void *x, enum eml_dtype t, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        memcpy((uint8_t *)x + (size_t)i * eml_dtype_bytes(t), &i, eml_dtype_bytes(t));
}

static uint64_t at(const struct eml_tensor *t, size_t i)
{
    uint64_t v = 0;
    memcpy(&v, (const uint8_t *)t->data + i * eml_dtype_bytes(t->dtype), eml_dtype_bytes(t->dtype));
    return v;
}

static uint64_t low(enum eml_dtype t, size_t i)
{
    return eml_dtype_bytes(t) == 8 ? i : i & (((uint64_t)1 << (8 * eml_dtype_bytes(t))) - 1);
}

static void transposes(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("transposes");
    static int64_t x[100000];
    for (int round = 0; round < 200; round++) {
        struct gb *b = gb_new();
        uint32_t rank = (uint32_t)eml_gen_range(&g, 1, 5);
        struct eml_shape s = random_shape(&g, rank, rank <= 3 ? 40 : 7);
        enum eml_dtype t = BY_SIZE[eml_gen_range(&g, 0, 3)];
        number(x, t, gb_count(s));
        struct gb_node n = {.op = EML_OP_TRANSPOSE, .n_attr = 1};
        n.in[0] = gb_input(b, t, s);
        n.in[1] = GB_END;
        n.attr[0].id = EML_ATTR_PERM;
        n.attr[0].n = rank;
        for (uint32_t i = 0; i < rank; i++) {
            int64_t j = eml_gen_range(&g, 0, i);
            n.attr[0].v[i] = n.attr[0].v[j];
            n.attr[0].v[j] = (int64_t)i;
        }
        gb_output(b, gb_add(b, n));
        struct gb_result r = gb_run_ok(b, (const void *[]){x});
        for (size_t i = 0; i < (size_t)gb_count(s); i++) {
            int64_t c[8], from[8];
            coords(&r.out[0].shape, i, c);
            for (uint32_t d = 0; d < rank; d++)
                from[n.attr[0].v[d]] = c[d];
            assert_int_equal(at(&r.out[0], i), low(t, index_of(&s, from)));
        }
        gb_free(b);
    }
}

static void slices(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("slices");
    static int64_t x[ROOM];
    for (int round = 0; round < 300; round++) {
        struct gb *b = gb_new();
        uint32_t rank = (uint32_t)eml_gen_range(&g, 1, 4);
        struct eml_shape s = random_shape(&g, rank, 7);
        enum eml_dtype t = BY_SIZE[eml_gen_range(&g, 0, 3)];
        number(x, t, gb_count(s));
        int64_t start[4], end[4], axes[4], step[4], count[4];
        for (uint32_t i = 0; i < rank; i++) {
            axes[i] = (int64_t)i - (eml_gen_bool(&g) ? (int64_t)rank : 0);
            step[i] = eml_gen_range(&g, 1, 3) * (eml_gen_bool(&g) ? 1 : -1);
            int64_t first = eml_gen_range(&g, 0, s.dim[i] - 1);
            int64_t room = step[i] > 0 ? s.dim[i] - first : first + 1;
            int64_t by = step[i] > 0 ? step[i] : -step[i];
            count[i] = eml_gen_range(&g, 0, (room - 1) / by + 1);
            start[i] = eml_gen_bool(&g) ? first : first - s.dim[i];
            int64_t stop = first + count[i] * step[i]; /* exclusive; below 0 is "before all" */
            end[i] = stop < 0 ? -INT64_MAX : stop;
        }
        uint32_t v = gb_input(b, t, s);
        gb_output(b, NODE(b, SLICE,
                          OF(v, gb_ints(b, rank, start), gb_ints(b, rank, end),
                             gb_ints(b, rank, axes), gb_ints(b, rank, step))));
        struct gb_result r = gb_run_ok(b, (const void *[]){x});
        for (uint32_t i = 0; i < rank; i++)
            assert_int_equal(r.out[0].shape.dim[i], count[i]);
        for (size_t i = 0; i < (size_t)gb_count(r.out[0].shape); i++) {
            int64_t c[8];
            coords(&r.out[0].shape, i, c);
            for (uint32_t d = 0; d < rank; d++)
                c[d] = (start[d] < 0 ? start[d] + s.dim[d] : start[d]) + c[d] * step[d];
            assert_int_equal(at(&r.out[0], i), low(t, index_of(&s, c)));
        }
        gb_free(b);
    }
}

static void split_undoes_concat(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("split_undoes_concat");
    static float x[3][ROOM];
    for (int round = 0; round < 100; round++) {
        struct gb *b = gb_new();
        uint32_t rank = (uint32_t)eml_gen_range(&g, 1, 4), in[3];
        uint32_t axis = (uint32_t)eml_gen_range(&g, 0, rank - 1);
        struct eml_shape s = random_shape(&g, rank, 5);
        int64_t parts[3];
        for (int i = 0; i < 3; i++) {
            s.dim[axis] = parts[i] = eml_gen_range(&g, 0, 4);
            fill_f32(&g, x[i], gb_count(s), -1, 1);
            in[i] = gb_input(b, EML_DT_F32, s);
        }
        uint32_t all = NODE(b, CONCAT, OF(in[0], in[1], in[2]), WITH1(AXIS, axis));
        uint32_t first =
            NODE(b, SPLIT, OF(all, gb_ints(b, 3, parts)), WITH1(AXIS, axis), .n_out = 3);
        for (uint32_t i = 0; i < 3; i++)
            gb_output(b, first + i);
        struct gb_result r = gb_run_ok(b, (const void *[]){x[0], x[1], x[2]});
        for (int i = 0; i < 3; i++) {
            assert_int_equal(r.out[i].shape.dim[axis], parts[i]);
            assert_memory_equal(r.out[i].data, x[i], r.out[i].bytes);
        }
        gb_free(b);
    }
}

static void expand_and_tile_repeat(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("expand_and_tile_repeat");
    static int64_t x[ROOM];
    for (int round = 0; round < 200; round++) {
        struct gb *b = gb_new();
        uint32_t rank = (uint32_t)eml_gen_range(&g, 1, 4);
        struct eml_shape to = random_shape(&g, rank, 5), from = shrink(&g, to);
        enum eml_dtype t = BY_SIZE[eml_gen_range(&g, 0, 3)];
        int64_t times[4];
        number(x, t, gb_count(to) + gb_count(from));
        for (uint32_t i = 0; i < rank; i++)
            times[i] = eml_gen_range(&g, 1, 3);
        uint32_t v = gb_input(b, t, from), w = gb_input(b, t, to);
        gb_output(b, NODE(b, EXPAND, OF(v, gb_ints(b, rank, to.dim))));
        gb_output(b, NODE(b, TILE, OF(w, gb_ints(b, rank, times))));
        struct gb_result r = gb_run_ok(b, (const void *[]){x, x});
        for (size_t i = 0; i < (size_t)gb_count(to); i++)
            assert_int_equal(at(&r.out[0], i), low(t, eml_broadcast_index(&from, &to, i)));
        for (size_t i = 0; i < (size_t)gb_count(r.out[1].shape); i++) {
            int64_t c[8];
            coords(&r.out[1].shape, i, c);
            for (uint32_t d = 0; d < rank; d++)
                c[d] %= to.dim[d];
            assert_int_equal(at(&r.out[1], i), low(t, index_of(&to, c)));
        }
        gb_free(b);
    }
}

static void pads(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const float x[3] = {1, 2, 3}, fill = 9;
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(3)), f = gb_slot(b, EML_DT_F32, SCALAR, &fill);
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, 2, 1), f)));
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, 2, 1)), WITH1(MODE, 1)));
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, 2, 1)), WITH1(MODE, 2)));
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, 2, 1)), WITH1(MODE, 3)));
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, -1, 2))));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    assert_memory_equal(r.out[0].data, ((float[]){9, 9, 1, 2, 3, 9}), 24);
    assert_memory_equal(r.out[1].data, ((float[]){3, 2, 1, 2, 3, 2}), 24);
    assert_memory_equal(r.out[2].data, ((float[]){1, 1, 1, 2, 3, 3}), 24);
    assert_memory_equal(r.out[3].data, ((float[]){2, 3, 1, 2, 3, 1}), 24);
    assert_memory_equal(r.out[4].data, ((float[]){2, 3, 0, 0}), 16);
    gb_free(b);
}

static void gathers_and_checks_indices(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    float x[12];
    for (int i = 0; i < 12; i++)
        x[i] = (float)i;
    int64_t k[4] = {2, -3, 0, -1};
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(4, 3)), i = gb_input(b, EML_DT_I64, SHAPE(4, 1));
    gb_output(b, NODE(b, GATHER, OF(v, i), WITH1(AXIS, 1)));
    gb_output(b, NODE(b, GATHER_ELEMENTS, OF(v, i), WITH1(AXIS, 1)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x, k});
    const int64_t at_k[4] = {2, 0, 0, 2};
    for (int row = 0; row < 4; row++) {
        for (int j = 0; j < 4; j++)
            assert_true(((const float *)r.out[0].data)[row * 4 + j] == x[row * 3 + at_k[j]]);
        assert_true(((const float *)r.out[1].data)[row] == x[row * 3 + at_k[row]]);
    }
    static const int64_t bad[] = {3, -4, INT64_MAX, INT64_MIN};
    for (int j = 0; j < 4; j++) {
        k[1] = bad[j];
        r = gb_run(b, (const void *[]){x, k}, EML_ISA_AUTO, 2, false, 0);
        assert_int_equal(r.e, EML_E_INPUT);
        assert_string_equal(r.why.rule, "index out of range");
        assert_null(r.out[0].data);
    }
    b->nodes[0].op = EML_OP_GATHER_ELEMENTS;
    r = gb_run(b, (const void *[]){x, k}, EML_ISA_AUTO, 2, false, 0);
    assert_int_equal(r.e, EML_E_INPUT);
    gb_free(b);
}

static void space_and_depth_are_inverse(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    int32_t x[2 * 4 * 6 * 3];
    number(x, EML_DT_I32, 144);
    uint32_t v = gb_input(b, EML_DT_I32, SHAPE(2, 4, 6, 3));
    uint32_t d = NODE(b, SPACE_TO_DEPTH, OF(v), WITH1(BLOCKSIZE, 2));
    gb_output(b, d);
    gb_output(b, NODE(b, DEPTH_TO_SPACE, OF(d), WITH1(BLOCKSIZE, 2)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    assert_memory_equal(r.out[1].data, x, sizeof x);
    /* first output pixel: the 2x2 block at the corner, channels fastest */
    const int32_t want[12] = {0, 1, 2, 3, 4, 5, 18, 19, 20, 21, 22, 23};
    assert_memory_equal(r.out[0].data, want, sizeof want);
    gb_free(b);
}

static void small_operators(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const int64_t k = 1, axis = -1;
    const int32_t seven = 7;
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(2, 3));
    uint32_t ks = gb_slot(b, EML_DT_I64, SCALAR, &k), as = gb_slot(b, EML_DT_I64, SCALAR, &axis);
    gb_output(b, NODE(b, TRILU, OF(v)));
    gb_output(b, NODE(b, TRILU, OF(v, ks), WITH1(UPPER, 0)));
    gb_output(b, NODE(b, CUM_SUM, OF(v, as)));
    gb_output(b, NODE(b, CUM_SUM, OF(v, as),
                      .attr = {{EML_ATTR_EXCLUSIVE, 1, {1}}, {EML_ATTR_REVERSE, 1, {1}}},
                      .n_attr = 2));
    gb_output(
        b, NODE(b, CONSTANT_OF_SHAPE, OF(INTS(b, 2, 2), gb_slot(b, EML_DT_I32, SHAPE(1), &seven))));
    gb_output(b, NODE(b, RANGE, OF(INTS(b, 5), INTS(b, 20000), INTS(b, 3))));
    gb_output(b, NODE(b, ARG_MAX, OF(v), WITH1(AXIS, 0)));
    gb_output(b, NODE(b, MEAN, OF(v, v, v)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    assert_memory_equal(r.out[0].data, ((float[]){1, 2, 3, 0, 5, 6}), 24);
    assert_memory_equal(r.out[1].data, ((float[]){1, 2, 0, 4, 5, 6}), 24);
    assert_memory_equal(r.out[2].data, ((float[]){1, 3, 6, 4, 9, 15}), 24);
    assert_memory_equal(r.out[3].data, ((float[]){5, 3, 0, 11, 6, 0}), 24);
    assert_memory_equal(r.out[4].data, ((int32_t[]){7, 7, 7, 7}), 16);
    assert_int_equal(r.out[5].shape.dim[0], 6665);
    assert_int_equal(((const int64_t *)r.out[5].data)[6664], 19997);
    assert_memory_equal(r.out[6].data, ((int64_t[]){1, 1, 1}), 24);
    assert_memory_equal(r.out[7].data, x, 24);
    gb_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transposes),
        cmocka_unit_test(slices),
        cmocka_unit_test(split_undoes_concat),
        cmocka_unit_test(expand_and_tile_repeat),
        cmocka_unit_test(pads),
        cmocka_unit_test(gathers_and_checks_indices),
        cmocka_unit_test(space_and_depth_are_inverse),
        cmocka_unit_test(small_operators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
