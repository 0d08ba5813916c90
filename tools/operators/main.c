/* usage: eml-operators: prints docs/operators.md out of model/ops.def.
 * A test compares the two. */
#include "model/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    enum eml_dtype type;
    const char *name;
} types[] = {
    {EML_DT_F32, "f32"},     {EML_DT_F64, "f64"}, {EML_DT_F16, "f16"},   {EML_DT_BF16, "bf16"},
    {EML_DT_F8E4M3FN, "f8"}, /* all four or none */
    {EML_DT_I4, "i4"},       {EML_DT_I8, "i8"},   {EML_DT_I16, "i16"},   {EML_DT_I32, "i32"},
    {EML_DT_I64, "i64"},     {EML_DT_U4, "u4"},   {EML_DT_U8, "u8"},     {EML_DT_U16, "u16"},
    {EML_DT_U32, "u32"},     {EML_DT_U64, "u64"}, {EML_DT_BOOL, "bool"}, {EML_DT_STRING, "str"},
};
enum { TYPES = sizeof types / sizeof types[0] };

static int by_name(const void *a, const void *b)
{
    const struct eml_op_info *x = eml_op_info(*(const enum eml_op *)a),
                             *y = eml_op_info(*(const enum eml_op *)b);
    return strcmp(x->name, y->name);
}

static void print_types(uint32_t set)
{
    size_t taken = 0, shown = 0;
    for (size_t i = 0; i < TYPES; i++)
        taken += eml_types_has(set, types[i].type);
    if (taken == TYPES)
        (void)printf("all");
    for (size_t i = 0; i < TYPES && taken != TYPES; i++)
        if (eml_types_has(set, types[i].type))
            (void)printf("%s%s", shown++ != 0 ? " " : "", types[i].name);
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

/* Attributes by name only: the grammar tells of the graph's, which these do not reach. */
static void print_names(const char *attrs)
{
    for (size_t shown = 0; *attrs != '\0'; attrs += strspn(attrs, " ")) {
        (void)printf("%s%.*s", shown++ != 0 ? ", " : "", (int)strcspn(attrs, "="), attrs);
        attrs += strcspn(attrs, " ");
    }
}

static const char *count(uint8_t most, char text[8])
{
    (void)snprintf(text, 8, most == 255 ? "n" : "%u", most);
    return text;
}

/* What decomposition spells in those. */
static void print_imports(void)
{
    static const struct {
        const char *name, *since;
        uint8_t in_max, out_max;
        const char *attrs;
    } imports[] = {
#define IMPORT(...) {__VA_ARGS__},
#include "onnx/import.def"
#undef IMPORT
    };
    (void)printf(
        "\nOperators that decomposition replaces by those above, or by constants:\n\n"
        "| operator | versions | inputs | outputs | attributes |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof imports / sizeof imports[0]; i++) {
        char most[8];
        (void)printf("| %s | %s | ..%s | %u | ", imports[i].name, imports[i].since,
                     count(imports[i].in_max, most), imports[i].out_max);
        print_names(imports[i].attrs);
        (void)printf(" |\n");
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
        "Made by `eml-operators` from `src/model/ops.def`; a test compares. %zu operators. "
        "*Versions*\n"
        "are the ONNX operator versions whose semantics are implemented. *Types* are those of the\n"
        "operand with the data that the engine computes with; f16 and bf16, where they are "
        "missing\n"
        "beside f32, are computed in f32 and rounded. Attributes: `=i` integer, `=is` integers, "
        "`=e`\n"
        "choice (the first is the default), `=pK:` float with its default, `>K` an attribute that\n"
        "became input K in later versions, `=x` accepted and without effect in inference.\n\n"
        "| operator | versions | inputs | outputs | types | attributes |\n"
        "|---|---|---|---|---|---|\n",
        n);
    for (size_t i = 0; i < n; i++) {
        const struct eml_op_info *o = eml_op_info(list[i]);
        char most[8];
        (void)printf("| %s | %s | %u..%s | %u | ", o->name, o->since, o->in_min,
                     count(o->in_max, most), o->out_max);
        print_types(o->types);
        (void)printf(" | ");
        print_attributes(o->attrs);
        (void)printf(" |\n");
    }
    print_imports();
    return 0;
}
