/* The rules as a table: operator, attributes, operands, and what must come out.
 *
 * Operands and results are written as TYPE[dims] with ? for an unknown dim, TYPE[*] for an unknown
 * rank, TYPE{elements} for known integers of rank 1, TYPE<element> for a known scalar, and - for an
 * omitted operand. Attributes: NAME=1,2;NAME=3. A result of !rule is a refusal. */
#include "testsupport/support.h"

#include "engine/engine.h"
#include "engine/infer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum eml_dtype type_of(const char *s)
{
    for (int t = 1; t <= EML_DT_BF16; t++) {
        static const char *const short_names[] = {
            [EML_DT_F32] = "f32", [EML_DT_U8] = "u8",   [EML_DT_I8] = "i8",   [EML_DT_I32] = "i32",
            [EML_DT_I64] = "i64", [EML_DT_BOOL] = "b",  [EML_DT_F64] = "f64", [EML_DT_U64] = "u64",
            [EML_DT_F16] = "f16", [EML_DT_BF16] = NULL,
        };
        const char *n = short_names[t];
        if (n != NULL && strncmp(s, n, strlen(n)) == 0 && strchr("[{<", s[strlen(n)]) != NULL)
            return (enum eml_dtype)t;
    }
    fail_msg("test table: no type in %s", s);
    return EML_DT_NONE;
}

static struct eml_known parse(const char *s, struct eml_arena *arena)
{
    struct eml_known k = {.dtype = type_of(s), .has_rank = true};
    const char *p = strpbrk(s, "[{<");
    char open = *p++;
    if (*p == '*') {
        k.has_rank = false;
        return k;
    }
    int64_t v[64];
    uint32_t n = 0;
    while (*p != ']' && *p != '}' && *p != '>') {
        if (*p == '?') {
            v[n++] = open == '[' ? EML_DIM_UNKNOWN : EML_INT_UNKNOWN;
            p++;
        } else {
            char *end;
            v[n++] = strtoll(p, &end, 10);
            p = end;
        }
        p += *p == ',';
    }
    if (open == '[') {
        k.shape.rank = n;
        memcpy(k.shape.dim, v, n * sizeof v[0]);
        return k;
    }
    k.shape.rank = open == '{';
    k.shape.dim[0] = n;
    k.has_ints = true;
    k.n_ints = n;
    k.ints = eml_arena_array(arena, n, sizeof *k.ints);
    memcpy(k.ints, v, n * sizeof v[0]);
    return k;
}

static void print(const struct eml_known *k, char *out, size_t room)
{
    static const char *const names[] = {
        [EML_DT_F32] = "f32", [EML_DT_U8] = "u8",   [EML_DT_I8] = "i8",
        [EML_DT_I32] = "i32", [EML_DT_I64] = "i64", [EML_DT_BOOL] = "b",
        [EML_DT_F64] = "f64", [EML_DT_U64] = "u64", [EML_DT_F16] = "f16"};
    size_t at = (size_t)snprintf(out, room, "%s", names[k->dtype]);
    bool ints = k->has_ints && k->shape.rank <= 1;
    const char *marks = !ints ? "[]" : k->shape.rank == 0 ? "<>" : "{}";
    if (!k->has_rank) {
        (void)snprintf(out + at, room - at, "[*]");
        return;
    }
    uint32_t n = ints ? k->n_ints : k->shape.rank;
    out[at++] = marks[0];
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = ints ? k->ints[i] : k->shape.dim[i];
        bool unknown = ints ? v == EML_INT_UNKNOWN : v == EML_DIM_UNKNOWN;
        if (unknown)
            at += (size_t)snprintf(out + at, room - at, "%s?", i > 0 ? "," : "");
        else
            at += (size_t)snprintf(out + at, room - at, "%s%lld", i > 0 ? "," : "", (long long)v);
    }
    (void)snprintf(out + at, room - at, "%c", marks[1]);
}

#define ATTR(id, name) [EML_ATTR_##id] = #id,
static const char *const ATTR_NAMES[EML_ATTR_N] = {
#include "model/attrs.def"
};
#undef ATTR

struct attrs {
    struct eml_attr a[8];
    int64_t v[64];
    uint32_t n;
};

static void parse_attrs(const char *s, struct attrs *out)
{
    out->n = 0;
    uint32_t used = 0;
    while (*s != '\0') {
        size_t len = strcspn(s, "=");
        int id = 0;
        while (id < EML_ATTR_N &&
               (strlen(ATTR_NAMES[id]) != len || strncmp(s, ATTR_NAMES[id], len) != 0))
            id++;
        assert_true(id < EML_ATTR_N);
        struct eml_attr *a = &out->a[out->n++];
        *a = (struct eml_attr){.id = (enum eml_attr_id)id, .v = &out->v[used]};
        s += len + 1;
        while (*s != '\0' && *s != ';') {
            char *end;
            out->v[used++] = strtoll(s, &end, 10);
            a->n++;
            s = end + (*end == ',');
        }
        s += *s == ';';
    }
}

struct row {
    enum eml_op op;
    const char *attrs;
    const char *in[6];
    const char *out[4];
};

static void check_row(const struct row *r, struct eml_arena *arena)
{
    struct eml_known in[6], out[4];
    const struct eml_known *pin[6];
    struct attrs attrs;
    uint32_t ids[6] = {0, 1, 2, 3, 4, 5};
    struct eml_node n = {.op = r->op, .in = ids, .out = ids};
    parse_attrs(r->attrs, &attrs);
    n.attr = attrs.a;
    n.n_attr = attrs.n;
    for (; n.n_in < 6 && r->in[n.n_in] != NULL; n.n_in++) {
        const char *s = r->in[n.n_in];
        pin[n.n_in] = NULL;
        if (strcmp(s, "-") == 0)
            continue;
        in[n.n_in] = parse(s, arena);
        pin[n.n_in] = &in[n.n_in];
    }
    while (n.n_out < 4 && r->out[n.n_out] != NULL)
        n.n_out++;
    struct eml_why why = {0};
    enum eml_err e = eml_infer_node(&n, pin, out, arena, &why);
    const char *name = eml_op_info(r->op)->name;
    if (r->out[0][0] == '!') {
        if (e == EML_OK || strcmp(why.rule, r->out[0] + 1) != 0)
            fail_msg("%s(%s, ..): got %s, wanted the refusal %s", name, r->in[0],
                     e == EML_OK ? "a result" : why.rule, r->out[0] + 1);
        return;
    }
    if (e != EML_OK)
        fail_msg("%s(%s, %s, ..) refused: %s", name, r->in[0], r->in[1] ? r->in[1] : "", why.rule);
    for (uint32_t i = 0; i < n.n_out; i++) {
        char got[512];
        print(&out[i], got, sizeof got);
        if (strcmp(got, r->out[i]) != 0)
            fail_msg("%s(%s, %s, ..): output %u is %s, wanted %s", name, r->in[0],
                     r->in[1] ? r->in[1] : "", i, got, r->out[i]);
    }
}

/* clang-format off: it takes minutes and gigabytes to align a table of this length */
static const struct row ROWS[] = {
#define R(op, attrs, ...) {EML_OP_##op, attrs, __VA_ARGS__},
#define IN(...)                                                                                    \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
    /* clang-format off */
    /* elementwise */
    R(ADD, "", IN("f32[2,1,4]", "f32[3,1]"), {"f32[2,3,4]"})
    R(ADD, "", IN("f32[?,1]", "f32[1,5]"), {"f32[?,5]"})
    R(ADD, "", IN("f32[?]", "f32[5]"), {"f32[5]"})
    R(ADD, "", IN("f32[0]", "f32[1]"), {"f32[0]"})
    R(ADD, "", IN("f32[]", "f32[*]"), {"f32[*]"})
    R(ADD, "", IN("f32[2]", "f32[3]"), {"!shapes do not broadcast"})
    R(ADD, "", IN("f32[2]", "i64[2]"), {"!operands differ in type"})
    R(ADD, "", IN("b[2]", "b[2]"), {"!bool is not supported by this operator"})
    R(ADD, "", IN("i64{1,?,3}", "i64<10>"), {"i64{11,?,13}"})
    R(ADD, "", IN("i64{9223372036854775807}", "i64<1>"), {"i64{?}"})
    R(ADD, "", IN("i32{2147483647}", "i32<1>"), {"i32{?}"})
    R(SUB, "", IN("i64<3>", "i64{1,5}"), {"i64{2,-2}"})
    R(MUL, "", IN("i64{4,5}", "i64{2,?}"), {"i64{8,?}"})
    R(DIV, "", IN("i64{-7,7}", "i64{2,0}"), {"i64{-3,?}"})
    R(MOD, "", IN("i64{-7,7,-7}", "i64{3,-3,-3}"), {"i64{2,-2,-1}"})
    R(MOD, "FMOD=1", IN("i64{-7,7}", "i64{3,-3}"), {"i64{-1,1}"})
    R(MOD, "", IN("f32[2]", "f32[2]"), {"!float32 is not supported by this operator"})
    R(POW, "", IN("f32[2]", "i64[]"), {"f32[2]"})
    R(MIN, "", IN("i64{4,5}", "i64{2,?}"), {"i64{2,?}"})
    R(MAX, "", IN("i64{4,5}", "i64{2,9}", "i64<6>"), {"i64{6,9}"})
    R(MAX, "", IN("f32[3,1]", "f32[1,4]", "f32[2,1,1]"), {"f32[2,3,4]"})
    R(EQUAL, "", IN("i64{4,5,?}", "i64{4,6,1}"), {"b{1,0,?}"})
    R(LESS, "", IN("f32[4]", "f32[]"), {"b[4]"})
    R(AND, "", IN("b{1,0}", "b{1,1}"), {"b{1,0}"})
    R(AND, "", IN("f32[1]", "f32[1]"), {"!float32 is not supported by this operator"})
    R(NOT, "", IN("b{1,0}"), {"b{0,1}"})
    R(NEG, "", IN("i64{1,?}"), {"i64{-1,?}"})
    R(WHERE, "", IN("b{1,0,?}", "i64{1,2,3}", "i64{7,8,9}"), {"i64{1,8,?}"})
    R(WHERE, "", IN("f32[1]", "f32[1]", "f32[1]"), {"!the condition is not bool"})
    R(WHERE, "", IN("b[2,1]", "f32[3]", "f32[]"), {"f32[2,3]"})
    R(CAST, "TO=6", IN("i64{5,4294967296}"), {"i32{5,?}"})
    R(CAST, "TO=9", IN("i64{5,0}"), {"b{1,0}"})
    R(CAST, "TO=1", IN("i64{5}"), {"f32[1]"})
    R(CAST, "TO=14", IN("i64{5}"), {"!Cast to an unknown type"})
    R(CAST, "TO=99", IN("i64{5}"), {"!Cast to an unknown type"})
    R(CAST, "", IN("i64{5}"), {"!Cast to an unknown type"})
    R(CLIP, "", IN("f32[3]", "-", "f32[]"), {"f32[3]"})
    R(CLIP, "", IN("f32[3]", "f32[2]"), {"!operand is not one element"})
    R(PRELU, "", IN("f32[2,3]", "f32[3]"), {"f32[2,3]"})
    R(PRELU, "", IN("f32[3]", "f32[2,3]"), {"!PRelu: the slope is larger than the input"})
    R(ACTIVATE, "ACT=11", IN("f32[2,3]", "f32[3]"), {"f32[2,3]"})
    R(ACTIVATE, "ACT=11", IN("f32[2,3]"), {"!a slope without PReLU, or PReLU without its slope"})
    R(ACTIVATE, "ACT=12", IN("f32[2,3]"), {"!activation out of range"})
    R(ADD, "ACT=1", IN("f32[3]", "f32[3]"), {"!operator takes no fused activation"})
    R(ADD, "", IN("f32[3]"), {"!too few operands"})
    R(ADD, "", IN("f32[3]", "-"), {"!required operand omitted"})
    /* shapes */
    R(SHAPE, "", IN("f32[2,?,4]"), {"i64{2,?,4}"})
    R(SHAPE, "START=-2;END=-1", IN("f32[2,?,4]"), {"i64{?}"})
    R(SHAPE, "START=9", IN("f32[2]"), {"i64{}"})
    R(SHAPE, "", IN("f32[*]"), {"i64[?]"})
    R(SIZE, "", IN("f32[2,3]"), {"i64<6>"})
    R(SIZE, "", IN("f32[2,?]"), {"i64<?>"})
    R(RESHAPE, "", IN("f32[2,3,4]", "i64{0,-1}"), {"f32[2,12]"})
    R(RESHAPE, "", IN("f32[?,3,4]", "i64{0,-1}"), {"f32[?,12]"})
    R(RESHAPE, "", IN("f32[?,3,4]", "i64{?,12}"), {"f32[?,12]"})
    R(RESHAPE, "", IN("f32[?,3,4]", "i64[2]"), {"f32[?,?]"})
    R(RESHAPE, "", IN("f32[2,3]", "i64[?]"), {"f32[*]"})
    R(RESHAPE, "", IN("f32[2,3]", "i64{}"), {"!Reshape: the elements do not fill the shape"})
    R(RESHAPE, "", IN("f32[1,1]", "i64{}"), {"f32[]"})
    R(RESHAPE, "", IN("f32[2,3]", "i64{4,-1}"), {"!Reshape: the elements do not fill the shape"})
    R(RESHAPE, "", IN("f32[2,3]", "i64{-1,-1}"), {"!Reshape: two open dimensions"})
    R(RESHAPE, "", IN("f32[2,3]", "i64{-2}"), {"!Reshape: negative dimension"})
    R(RESHAPE, "", IN("f32[6]", "i64{6,0}"), {"!Reshape: no dimension to copy"})
    R(RESHAPE, "ALLOWZERO=1", IN("f32[0,3]", "i64{3,0}"), {"f32[3,0]"})
    R(RESHAPE, "", IN("f32[0,3]", "i64{0,-1}"), {"!Reshape: the elements do not fill the shape"})
    R(RESHAPE, "", IN("i64{1,2}", "i64{2,1}"), {"i64[2,1]"})
    R(RESHAPE, "", IN("f32[2]", "f32[1]"), {"!operand that steers shapes is not int32 or int64"})
    R(FLATTEN, "", IN("f32[2,3,4]"), {"f32[2,12]"})
    R(FLATTEN, "AXIS=0", IN("f32[2,?,4]"), {"f32[1,?]"})
    R(FLATTEN, "AXIS=-1", IN("f32[2,3,4]"), {"f32[6,4]"})
    R(FLATTEN, "AXIS=4", IN("f32[2,3,4]"), {"!axis out of range"})
    R(SQUEEZE, "", IN("f32[1,3,1]"), {"f32[3]"})
    R(SQUEEZE, "", IN("f32[1,?,1]"), {"f32[*]"})
    R(SQUEEZE, "", IN("f32[1,3,1]", "i64{-1}"), {"f32[1,3]"})
    R(SQUEEZE, "", IN("f32[1,3,1]", "i64{1}"), {"!Squeeze: the dimension is not 1"})
    R(SQUEEZE, "", IN("i64{7}", "i64{0}"), {"i64<7>"})
    R(UNSQUEEZE, "", IN("f32[3]", "i64{0,-1}"), {"f32[1,3,1]"})
    R(UNSQUEEZE, "", IN("i64<7>", "i64{0}"), {"i64{7}"})
    R(UNSQUEEZE, "", IN("f32[3]", "i64{0,0}"), {"!axis named twice"})
    R(UNSQUEEZE, "", IN("f32[1,1,1,1,1,1,1,1]", "i64{0}"), {"!rank above the limit"})
    R(TRANSPOSE, "", IN("f32[2,3,?]"), {"f32[?,3,2]"})
    R(TRANSPOSE, "PERM=1,2,0", IN("f32[2,3,4]"), {"f32[3,4,2]"})
    R(TRANSPOSE, "PERM=1,1,0", IN("f32[2,3,4]"), {"!axis named twice"})
    R(TRANSPOSE, "PERM=1,0", IN("f32[2,3,4]"), {"!Transpose: perm has a wrong length"})
    R(EXPAND, "", IN("f32[3,1]", "i64{2,1,4}"), {"f32[2,3,4]"})
    R(EXPAND, "", IN("f32[3]", "i64{1}"), {"f32[3]"})
    R(EXPAND, "", IN("f32[3]", "i64{?,3}"), {"f32[?,3]"})
    R(EXPAND, "", IN("f32[3]", "i64{-1}"), {"!negative dimension"})
    R(TILE, "", IN("f32[2,3]", "i64{2,0}"), {"f32[4,0]"})
    R(TILE, "", IN("f32[2,3]", "i64{2}"), {"!Tile: wrong number of repeats"})
    R(TILE, "", IN("i64{1,2}", "i64{2}"), {"i64{1,2,1,2}"})
    R(TILE, "", IN("f32[4000000000]", "i64{4000000000}"), {"!tensor above the size limit"})
    R(CONSTANT_OF_SHAPE, "", IN("i64{2,?}"), {"f32[2,?]"})
    R(CONSTANT_OF_SHAPE, "", IN("i64{3}", "i64{5}"), {"i64{5,5,5}"})
    R(CONSTANT_OF_SHAPE, "", IN("i64{2}", "b[1]"), {"b[2]"})
    R(CONSTANT_OF_SHAPE, "", IN("i64{4294967296,4294967296}"), {"!tensor above the size limit"})
    R(RANGE, "", IN("i64<0>", "i64<5>", "i64<2>"), {"i64{0,2,4}"})
    R(RANGE, "", IN("i64<5>", "i64<0>", "i64<-2>"), {"i64{5,3,1}"})
    R(RANGE, "", IN("i64<5>", "i64<0>", "i64<1>"), {"i64{}"})
    R(RANGE, "", IN("i64<0>", "i64<?>", "i64<1>"), {"i64[?]"})
    R(RANGE, "", IN("i64<0>", "i64<5>", "i64<0>"), {"!Range: the step is 0"})
    R(RANGE, "", IN("i64<0>", "i64<100000>", "i64<1>"), {"i64[100000]"})
    /* taking apart, putting together */
    R(CONCAT, "AXIS=1", IN("f32[2,3]", "f32[2,?]"), {"f32[2,?]"})
    R(CONCAT, "AXIS=-1", IN("f32[2,3]", "f32[?,4]"), {"f32[2,7]"})
    R(CONCAT, "AXIS=0", IN("i64{1}", "i64[2]", "i64{?,4}"), {"i64{1,?,?,?,4}"})
    R(CONCAT, "AXIS=0", IN("f32[2,3]", "f32[2,4]"), {"!Concat: shapes differ"})
    R(CONCAT, "", IN("f32[2]", "f32[2]"), {"!axis out of range"})
    R(SPLIT, "AXIS=1", IN("f32[2,7]"), {"f32[2,3]", "f32[2,3]", "f32[2,1]"})
    R(SPLIT, "AXIS=1", IN("f32[2,7]", "i64{2,5}"), {"f32[2,2]", "f32[2,5]"})
    R(SPLIT, "AXIS=1", IN("f32[2,7]", "i64{2,4}"),
      {"!Split: the parts do not fill the dimension", ""})
    R(SPLIT, "AXIS=1", IN("f32[2,7]", "i64{2,9}"), {"!Split: the parts exceed the dimension", ""})
    R(SPLIT, "", IN("i64{1,2,3}", "i64{1,2}"), {"i64{1}", "i64{2,3}"})
    R(SPLIT, "NUM_OUTPUTS=3", IN("f32[6]"),
      {"!Split: num_outputs is not the number of outputs", ""})
    R(SLICE, "", IN("f32[10,5]", "i64{2}", "i64{-1}"), {"f32[7,5]"})
    R(SLICE, "", IN("f32[10]", "i64{-1}", "i64{-9223372036854775807}", "i64{0}", "i64{-3}"),
      {"f32[4]"})
    R(SLICE, "", IN("f32[0]", "i64{-5}", "i64{-9}", "i64{0}", "i64{-1}"), {"f32[0]"})
    R(SLICE, "", IN("f32[10]", "i64{9223372036854775807}", "i64{0}"), {"f32[0]"})
    R(SLICE, "", IN("f32[10,?]", "i64{1}", "i64{9223372036854775807}", "i64{1}"), {"f32[10,?]"})
    R(SLICE, "", IN("f32[10,4]", "i64[1]", "i64{3}", "i64{0}"), {"f32[?,?]"})
    R(SLICE, "", IN("f32[10,4]", "i64{?}", "i64{3}", "i64{0}"), {"f32[?,4]"})
    R(SLICE, "", IN("i64{1,2,3,4}", "i64{3}", "i64{0}", "i64{0}", "i64{-2}"), {"i64{4,2}"})
    R(SLICE, "", IN("f32[10]", "i64{0}", "i64{1}", "i64{0}", "i64{0}"),
      {"!Slice: bad axis or step 0"})
    R(SLICE, "", IN("f32[10]", "i64{0,0}", "i64{1}"), {"!Slice: lists differ in length"})
    R(SLICE, "", IN("f32[10]", "i64{0}", "i64{1}", "i64{1}"), {"!Slice: bad axis or step 0"})
    R(GATHER, "AXIS=1", IN("f32[2,9,4]", "i64[3,5]"), {"f32[2,3,5,4]"})
    R(GATHER, "", IN("i64{4,?,6}", "i64<-1>"), {"i64<6>"})
    R(GATHER, "", IN("i64{4,?,6}", "i64{1,0}"), {"i64{?,4}"})
    R(GATHER, "", IN("f32[3]", "i64<3>"), {"!Gather: index out of range"})
    R(GATHER, "", IN("f32[3]", "f32[1]"), {"!indices are not int32 or int64"})
    R(GATHER_ELEMENTS, "AXIS=1", IN("f32[2,3]", "i64[2,7]"), {"f32[2,7]"})
    R(GATHER_ELEMENTS, "AXIS=0", IN("f32[2,3]", "i64[2,7]"),
      {"!GatherElements: indices exceed the data"})
    R(PAD, "", IN("f32[2,3]", "i64{0,1,0,2}"), {"f32[2,6]"})
    R(PAD, "", IN("f32[2,3]", "i64{1,-1}", "-", "i64{-1}"), {"f32[2,3]"})
    R(PAD, "MODE=1", IN("f32[3]", "i64{3,0}"), {"f32[6]"})
    R(PAD, "", IN("f32[3]", "i64{-4,0}"), {"!Pad: cuts away more than there is"})
    R(PAD, "MODE=2", IN("f32[0]", "i64{1,0}"), {"!Pad: nothing to repeat"})
    R(PAD, "", IN("f32[3]", "i64{1}"), {"!Pad: pads or axes do not fit the rank"})
    R(MATMUL, "", IN("u64[2,3]", "u64[3,4]"), {"u64[2,4]"})
    R(MATMUL, "", IN("u8[2,3]", "u8[3,4]"), {"!uint8 is not supported by this operator"})
    R(MATMUL, "ACT=1", IN("i32[2,3]", "i32[3,4]"),
      {"!fused into a product of another type than float32"})
    R(MATMUL, "", IN("i32[2,3]", "i32[3,4]", "i32[4]"),
      {"!fused into a product of another type than float32"})
    R(RESIZE, "", IN("f32[1,5,7,3]", "-", "i64{1,1,2,1,1,2,1,1}"), {"f32[1,10,3,3]"})
    R(RESIZE, "", IN("f32[1,?,7,3]", "-", "-", "i64{1,10,?,3}"), {"f32[1,10,?,3]"})
    R(RESIZE, "AXES=1,2", IN("f32[1,?,7,3]", "-", "-", "i64{4,5}"), {"f32[1,4,5,3]"})
    R(RESIZE, "AXES=1,2;KEEP_ASPECT_RATIO_POLICY=1", IN("f32[1,4,8,3]", "-", "-", "i64{8,8}"),
      {"f32[1,4,8,3]"})
    R(FRACTIONS, "", IN("f32[4]"), {"i64[8]"})
    R(FRACTIONS, "", IN("f32[?]"), {"i64[?]"})
    R(FRACTIONS, "", IN("f32[2,2]"), {"!scales are not a list"})
    R(FRACTIONS, "", IN("i64[4]"), {"!int64 is not supported by this operator"})
    R(RESIZE, "", IN("f32[1,5,7,3]", "-", "i64[8]"), {"f32[?,?,?,?]"})
    R(RESIZE, "", IN("f32[1]", "-", "i64{0,1}"), {"!Resize: scale is not positive"})
    R(RESIZE, "", IN("f32[1]", "-", "-", "-"), {"!Resize: needs either scales or sizes"})
    R(RESIZE, "", IN("f32[1]", "-", "i64{4611686018427387904,1}"),
      {"!tensor above the size limit"})
    R(SPACE_TO_DEPTH, "BLOCKSIZE=2", IN("f32[1,4,6,3]"), {"f32[1,2,3,12]"})
    R(SPACE_TO_DEPTH, "BLOCKSIZE=2", IN("f32[1,5,6,3]"), {"!blocksize does not divide the input"})
    R(SPACE_TO_DEPTH, "", IN("f32[1,5,6,3]"), {"!blocksize out of range"})
    R(DEPTH_TO_SPACE, "BLOCKSIZE=2", IN("f32[?,2,3,12]"), {"f32[?,4,6,3]"})
    /* reductions */
    R(REDUCE_SUM, "", IN("f32[2,3,4]", "i64{1}"), {"f32[2,1,4]"})
    R(REDUCE_SUM, "KEEPDIMS=0", IN("f32[2,3,4]", "i64{1,-1}"), {"f32[2]"})
    R(REDUCE_SUM, "KEEPDIMS=0", IN("f32[2,3,4]"), {"f32[]"})
    R(REDUCE_SUM, "NOOP_WITH_EMPTY_AXES=1", IN("f32[2,3]", "i64{}"), {"f32[2,3]"})
    R(REDUCE_SUM, "", IN("f32[2,3]", "i64{2}"), {"!axis out of range"})
    R(REDUCE_SUM, "", IN("f32[2,3]", "i64[1]"), {"f32[?,?]"})
    R(REDUCE_SUM, "", IN("f32[]", "i64[1]"), {"f32[*]"})
    R(REDUCE_PROD, "KEEPDIMS=0", IN("i64{2,3,4}"), {"i64<24>"})
    R(REDUCE_PROD, "KEEPDIMS=0", IN("i64{2,?,4}"), {"i64<?>"})
    R(REDUCE_MAX, "", IN("i64{2,9,4}"), {"i64{9}"})
    R(ARG_MAX, "AXIS=1;KEEPDIMS=0", IN("f32[2,3,4]"), {"i64[2,4]"})
    R(ARG_MAX, "AXIS=1", IN("f32[2,0]"), {"!ArgMax or ArgMin over nothing"})
    R(SOFTMAX, "AXIS=2", IN("f32[2,3]"), {"!axis out of range"})
    R(LAYER_NORMALIZATION, "AXIS=1", IN("f32[2,3,4]", "f32[3,4]", "f32[12]"), {"f32[2,3,4]"})
    R(LAYER_NORMALIZATION, "", IN("f32[2,3,4]", "f32[3]"),
      {"!scale, bias or statistics do not fit the normalised dimensions"})
    R(BATCH_NORMALIZATION, "", IN("f32[2,5,4]", "f32[4]", "f32[4]", "f32[4]", "f32[4]"),
      {"f32[2,5,4]"})
    R(BATCH_NORMALIZATION, "", IN("f32[2,5,4]", "f32[4]", "f32[4]", "f32[5]", "f32[4]"),
      {"!scale, bias or statistics do not fit the normalised dimensions"})
    /* products and windows */
    R(MATMUL, "", IN("f32[2,1,3,4]", "f32[5,4,6]"), {"f32[2,5,3,6]"})
    R(MATMUL, "", IN("f32[4]", "f32[5,4,6]"), {"f32[5,6]"})
    R(MATMUL, "", IN("f32[3,4]", "f32[4]"), {"f32[3]"})
    R(MATMUL, "", IN("f32[4]", "f32[4]"), {"f32[]"})
    R(MATMUL, "", IN("f32[?,?,4]", "f32[4,6]", "f32[6]"), {"f32[?,?,6]"})
    R(MATMUL, "", IN("f32[3,4]", "f32[5,6]"), {"!MatMul: inner dimensions differ"})
    R(MATMUL, "", IN("f32[3,4]", "f32[4,6]", "f32[5]"),
      {"!the bias does not fit the output channels"})
    R(MATMUL, "", IN("f32[3,4]", "f32[4,6]", "-", "f32[3,5]"),
      {"!the residual has another shape than the output"})
    R(GEMM, "TRANS_A=1;TRANS_B=1", IN("f32[4,3]", "f32[6,4]", "f32[6]"), {"f32[3,6]"})
    R(GEMM, "", IN("f32[3,4]", "f32[4,6]", "f32[2,6]"), {"!shapes do not broadcast"})
    R(GEMM, "", IN("f32[1,4]", "f32[4,6]", "f32[2,6]"),
      {"!Gemm: C does not broadcast to the product"})
    R(CONV, "PADS=1,1,1,1", IN("f32[1,8,9,3]", "f32[16,3,3,3]", "f32[16]"), {"f32[1,8,9,16]"})
    R(CONV, "STRIDES=2,2", IN("f32[?,?,9,3]", "f32[16,3,3,3]"), {"f32[?,?,4,16]"})
    R(CONV, "AUTO_PAD=1;STRIDES=2", IN("f32[1,9,4]", "f32[8,2,3]"),
      {"!channels do not fit weight and group"})
    R(CONV, "AUTO_PAD=1;STRIDES=2;GROUP=2", IN("f32[1,9,4]", "f32[8,2,3]"), {"f32[1,5,8]"})
    R(CONV, "DILATIONS=4,4", IN("f32[1,8,9,3]", "f32[16,3,3,3]"),
      {"!the window is larger than the padded input"})
    R(CONV, "STRIDES=0,1", IN("f32[1,8,9,3]", "f32[16,3,3,3]"), {"!window attribute out of range"})
    R(CONV, "PADS=1,1", IN("f32[1,8,9,3]", "f32[16,3,3,3]"),
      {"!window attribute has a wrong length"})
    R(CONV, "KERNEL_SHAPE=3,5", IN("f32[1,8,9,3]", "f32[16,3,3,3]"),
      {"!kernel_shape is not the weight's"})
    R(CONV, "ACT=11", IN("f32[1,8,8,3]", "f32[16,3,1,1]", "-", "-", "f32[16]"), {"f32[1,8,8,16]"})
    R(CONV, "", IN("f32[3,3]", "f32[3,3]"), {"!input is not [N, spatial (1 to 3), C]"})
    R(CONV_TRANSPOSE, "STRIDES=2,2", IN("f32[1,3,3,4]", "f32[4,2,3,3]"), {"f32[1,7,7,2]"})
    R(CONV_TRANSPOSE, "STRIDES=2,2;PADS=1,1,1,1;OUTPUT_PADDING=1,1",
      IN("f32[1,3,3,4]", "f32[4,2,3,3]"), {"f32[1,6,6,2]"})
    R(CONV_TRANSPOSE, "STRIDES=3,2;OUTPUT_SHAPE=10,8", IN("f32[1,3,3,4]", "f32[4,2,3,3]"),
      {"f32[1,10,8,2]"})
    R(CONV_TRANSPOSE, "AUTO_PAD=1;STRIDES=2,2", IN("f32[1,3,3,4]", "f32[4,2,3,3]"),
      {"f32[1,6,6,2]"})
    R(CONV_TRANSPOSE, "PADS=9,9,9,9", IN("f32[1,3,3,4]", "f32[4,2,3,3]"),
      {"!the padding cuts away all of the output"})
    R(MAX_POOL, "KERNEL_SHAPE=3,3;STRIDES=2,2", IN("f32[1,8,8,3]"), {"f32[1,3,3,3]"})
    R(MAX_POOL, "KERNEL_SHAPE=3,3;STRIDES=2,2;CEIL_MODE=1", IN("f32[1,8,8,3]"), {"f32[1,4,4,3]"})
    R(MAX_POOL, "KERNEL_SHAPE=1,1;STRIDES=3,3;CEIL_MODE=1", IN("f32[1,2,4,3]"), {"f32[1,1,2,3]"})
    R(MAX_POOL, "KERNEL_SHAPE=2,2;PADS=2,0,0,0", IN("f32[1,8,8,3]"),
      {"!pooling: the padding is as large as the window"})
    R(MAX_POOL, "", IN("f32[1,8,8,3]"), {"!pooling without kernel_shape"})
    R(GLOBAL_AVERAGE_POOL, "", IN("f32[?,8,?,3]"), {"f32[?,1,1,3]"})
    R(GLOBAL_AVERAGE_POOL, "", IN("f32[1,0,8,3]"), {"!pooling over nothing"})
    R(ATTENTION, "NUM_HEADS=2", IN("f32[?,7,16]", "f32[3,?,16]", "f32[3,9,32]"), {"f32[?,7,32]"})
    R(ATTENTION, "NUM_HEADS=2", IN("f32[3,7,16]", "f32[3,9,16]", "f32[3,9,32]", "f32[3,1,1,9]"),
      {"f32[3,7,32]"})
    R(ATTENTION, "NUM_HEADS=2", IN("f32[3,7,16]", "f32[3,9,16]", "f32[3,9,32]", "f32[3,1,1,1]"),
      {"!Attention: the mask does not fit"})
    R(ATTENTION, "NUM_HEADS=2", IN("f32[3,7,16]", "f32[3,9,16]", "f32[3,9,32]", "f32[2,1,7,9]"),
      {"!Attention: the mask does not fit"})
    R(ATTENTION, "NUM_HEADS=0", IN("f32[3,7,16]", "f32[3,9,16]", "f32[3,9,32]"),
      {"!Attention: columns do not fit the heads"})
    R(ATTENTION, "NUM_HEADS=4", IN("f32[3,7,16]", "f32[3,9,16]", "f32[3,9,32]"),
      {"!Attention: columns do not fit the heads"})
    R(ATTENTION, "NUM_HEADS=2", IN("f32[3,7,16]", "f32[3,9,14]", "f32[3,9,32]"),
      {"!Attention: columns do not fit the heads"})
    R(ATTENTION, "NUM_HEADS=2", IN("f32[3,7,16]", "f32[3,9,16]", "f32[3,8,32]"),
      {"!Attention: operands differ in batch or keys"})
    R(ATTENTION, "NUM_HEADS=2", IN("f32[7,16]", "f32[3,9,16]", "f32[3,9,32]"),
      {"!Attention: operands are not of rank 3"})
/* clang-format on */
#undef R
#undef IN
};
/* clang-format on */

static void rules_say_what_the_table_says(void **state)
{
    (void)state;
    struct eml_arena arena;
    assert_int_equal(eml_arena_create(&arena, 1 << 22), EML_OK);
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        check_row(&ROWS[i], &arena);
        (void)eml_arena_reset(&arena, 0);
    }
    (void)eml_arena_destroy(&arena);
}

/* Whatever the operands and attributes are, a rule answers or refuses: it neither overflows nor
 * reads beyond its operands (which the sanitizers see), and never says more dims than there are. */
static void rules_survive_anything(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("rules_survive_anything");
    struct eml_arena arena;
    assert_int_equal(eml_arena_create(&arena, 1 << 22), EML_OK);
    size_t answers = 0;
    for (int round = 0; round < 60000; round++) {
        static const int64_t odd[] = {EML_INT_UNKNOWN, -INT64_MAX, INT64_MAX, INT32_MAX,
                                      INT32_MIN,       1LL << 40,  65536,     -1};
        struct eml_known in[9], out[4];
        const struct eml_known *pin[9];
        uint32_t ids[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
        struct eml_attr attrs[3];
        int64_t values[3][6];
        struct eml_node n = {.op = (enum eml_op)eml_gen_range(&g, 0, EML_OP_N - 1),
                             .in = ids,
                             .out = ids,
                             .attr = attrs,
                             .n_attr = 3};
        const struct eml_op_info *info = eml_op_info(n.op);
        n.n_in = (uint32_t)eml_gen_range(&g, info->in_min, info->in_max < 9 ? info->in_max : 9);
        n.n_out = (uint32_t)eml_gen_range(&g, 1, info->out_max < 4 ? info->out_max : 4);
        for (uint32_t i = 0; i < 3; i++) {
            attrs[i] = (struct eml_attr){(enum eml_attr_id)eml_gen_range(&g, 0, EML_ATTR_N - 1),
                                         (uint32_t)eml_gen_range(&g, 0, 6), values[i]};
            for (int j = 0; j < 6; j++)
                values[i][j] = eml_gen_range(&g, 0, 9) == 0 ? odd[eml_gen_range(&g, 0, 7)]
                                                            : eml_gen_range(&g, -2, 5);
        }
        enum eml_dtype common = eml_gen_bool(&g) ? EML_DT_I64 : EML_DT_F32;
        for (uint32_t i = 0; i < n.n_in; i++) {
            pin[i] = eml_gen_range(&g, 0, 9) == 0 ? NULL : &in[i];
            in[i] = (struct eml_known){.dtype = eml_gen_bool(&g) ? common : EML_DT_I64};
            in[i].has_rank = eml_gen_range(&g, 0, 9) != 0;
            in[i].shape.rank = in[i].has_rank ? (uint32_t)eml_gen_range(&g, 0, 8) : 0;
            in[i].has_ints = in[i].has_rank && in[i].dtype == EML_DT_I64 && eml_gen_bool(&g);
            if (in[i].has_ints)
                in[i].shape.rank = eml_gen_range(&g, 0, 4) != 0;
            for (uint32_t d = 0; d < in[i].shape.rank; d++)
                in[i].shape.dim[d] = eml_gen_range(&g, 0, 19) == 0 && !in[i].has_ints
                                         ? INT64_MAX >> eml_gen_range(&g, 0, 40)
                                         : eml_gen_range(&g, in[i].has_ints ? 0 : -1, 6);
            int64_t count;
            if (!in[i].has_ints || !eml_shape_count(&in[i].shape, &count))
                continue;
            in[i].n_ints = (uint32_t)count;
            in[i].ints = eml_arena_array(&arena, in[i].n_ints, sizeof(int64_t));
            for (uint32_t j = 0; j < in[i].n_ints; j++)
                in[i].ints[j] = eml_gen_range(&g, 0, 9) == 0 ? odd[eml_gen_range(&g, 0, 7)]
                                                             : eml_gen_range(&g, -3, 8);
        }
        struct eml_why why = {0};
        if (eml_infer_node(&n, pin, out, &arena, &why) == EML_OK) {
            answers++;
            for (uint32_t i = 0; i < n.n_out; i++) {
                assert_true(out[i].dtype != EML_DT_NONE && out[i].shape.rank <= EML_RANK_MAX);
                for (uint32_t d = 0; d < out[i].shape.rank; d++)
                    assert_true(out[i].shape.dim[d] >= EML_DIM_UNKNOWN);
                int64_t count;
                if (out[i].has_ints) {
                    assert_true(eml_shape_count(&out[i].shape, &count));
                    assert_int_equal(count, out[i].n_ints);
                }
            }
        } else {
            assert_non_null(why.rule);
        }
        (void)eml_arena_reset(&arena, 0);
    }
    assert_true(answers > 1000);
    (void)eml_arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_say_what_the_table_says),
        cmocka_unit_test(rules_survive_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
