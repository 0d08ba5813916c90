/* usage: eml-operators: prints docs/operators.md out of model/ops.def and the engine's type table.
 * A test compares the two. */
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const enum eml_dtype types[] = {
    EML_DT_F32, EML_DT_F64, EML_DT_F16, EML_DT_BF16, EML_DT_I8,  EML_DT_I16, EML_DT_I32,
    EML_DT_I64, EML_DT_U8,  EML_DT_U16, EML_DT_U32,  EML_DT_U64, EML_DT_BOOL, EML_DT_STRING,
};
static const char *const type_names[] = {
    "f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool", "str",
};
enum { TYPES = sizeof types / sizeof types[0] };

static int by_name(const void *a, const void *b)
{
    const struct eml_op_info *x = eml_op_info(*(const enum eml_op *)a),
                             *y = eml_op_info(*(const enum eml_op *)b);
    return strcmp(x->name, y->name);
}

static void print_types(enum eml_op op)
{
    unsigned taken = 0;
    for (size_t i = 0; i < TYPES; i++)
        taken += eml_op_takes(op, types[i]) ? 1 : 0;
    if (taken == TYPES) {
        (void)printf("all");
        return;
    }
    for (size_t i = 0, shown = 0; i < TYPES; i++)
        if (eml_op_takes(op, types[i]))
            (void)printf("%s%s", shown++ != 0 ? " " : "", type_names[i]);
}

/* The attribute grammar of ops.def as a reader wants it: names, choices, defaults. */
static void print_attributes(const char *attrs)
{
    for (const char *p = attrs; *p != '\0'; p++) {
        if (*p == '|')
            (void)printf("\\|");
        else if (*p == ' ')
            (void)printf(", ");
        else
            (void)putchar(*p);
    }
}

int main(void)
{
    enum eml_op list[EML_OP_N];
    size_t n = 0;
    for (int op = 0; op < EML_OP_N; op++)
        if (eml_op_info((enum eml_op)op)->since[0] != '\0')
            list[n++] = (enum eml_op)op;
    qsort(list, n, sizeof list[0], by_name);
    (void)printf(
        "# Operators\n\n"
        "Made by `eml-operators` from `src/model/ops.def`; a test compares. %zu operators. *Versions*\n"
        "are the ONNX operator versions whose semantics are implemented. *Types* are those of the\n"
        "first operand that the engine computes with. Attributes: `=i` integer, `=is` integers, `=e`\n"
        "choice (the first is the default), `=pK:` float with its default, `>K` an attribute that\n"
        "became input K in later versions, `=x` accepted and without effect in inference.\n\n"
        "| operator | versions | inputs | outputs | types | attributes |\n"
        "|---|---|---|---|---|---|\n",
        n);
    for (size_t i = 0; i < n; i++) {
        const struct eml_op_info *o = eml_op_info(list[i]);
        char most[8];
        (void)snprintf(most, sizeof most, o->in_max == 255 ? "n" : "%u", o->in_max);
        (void)printf("| %s | %s | %u..%s | %u | ", o->name, o->since, o->in_min, most, o->out_max);
        print_types(list[i]);
        (void)printf(" | ");
        print_attributes(o->attrs);
        (void)printf(" |\n");
    }
    return 0;
}
