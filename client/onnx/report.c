#include "onnx/check.h"

#include "base/checked.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[EML_CHECK_KINDS] = {
    [EML_CHECK_OPSET] = "opset",     [EML_CHECK_OPERATOR] = "operator",
    [EML_CHECK_VERSION] = "version", [EML_CHECK_ATTRIBUTE] = "attribute",
    [EML_CHECK_ARITY] = "arity",     [EML_CHECK_TYPE] = "type",
    [EML_CHECK_SHAPE] = "shape",     [EML_CHECK_OTHER] = "other",
};

const char *eml_check_kind_name(enum eml_check_kind k)
{
    return k < EML_CHECK_KINDS ? kinds[k] : "other";
}

static struct eml_check_problem *next(struct eml_check_report *r)
{
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 16 : 2 * r->cap, bytes = 0;
        struct eml_check_problem *list =
            eml_mul_size(cap, sizeof *list, &bytes) ? realloc(r->list, bytes) : NULL;
        if (list == NULL)
            return NULL;
        r->list = list;
        r->cap = cap;
    }
    return &r->list[r->n];
}

static void free_problem(struct eml_check_problem *p)
{
    free(p->node_name);
    free(p->domain);
    free(p->op);
    free(p->reason);
}

__attribute__((format(printf, 1, 0))) static char *formatted(const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *s = n >= 0 ? malloc((size_t)n + 1) : NULL;
    if (s != NULL)
        (void)vsnprintf(s, (size_t)n + 1, format, again);
    va_end(again);
    return s;
}

void eml_check_add(struct eml_check_report *r, const struct eml_onnx_model *m, uint32_t node,
                   enum eml_check_kind kind, const char *format, ...)
{
    const struct eml_onnx_node *n = node != EML_CHECK_NO_NODE ? &m->nodes[node] : NULL;
    struct eml_check_problem *p = next(r);
    if (p == NULL) {
        r->failed = true;
        return;
    }
    va_list args;
    va_start(args, format);
    *p = (struct eml_check_problem){
        .node = node,
        .node_name = strdup(n != NULL ? n->name : ""),
        .domain = strdup(n != NULL ? n->domain : ""),
        .op = strdup(n != NULL ? n->op_type : ""),
        .opset = n != NULL ? n->opset : eml_onnx_opset(m, ""),
        .kind = kind,
        .reason = formatted(format, args),
    };
    va_end(args);
    if (p->node_name == NULL || p->domain == NULL || p->op == NULL || p->reason == NULL) {
        free_problem(p);
        r->failed = true;
        return;
    }
    r->n++;
}

/* Names come out of the file: no control characters on the terminal. */
static void put_text(const char *s, FILE *out)
{
    for (; *s != '\0'; s++)
        (void)fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, out);
}

static void put_problem(const struct eml_check_problem *p, FILE *out)
{
    if (p->node == EML_CHECK_NO_NODE) {
        (void)fputs("  model: ", out);
    } else {
        (void)fprintf(out, "  node %u '", (unsigned)p->node);
        put_text(p->node_name, out);
        (void)fputs("': ", out);
        if (p->domain[0] != '\0') {
            put_text(p->domain, out);
            (void)fputc('.', out);
        }
        put_text(p->op, out);
        (void)fprintf(out, " (opset %lld): ", (long long)p->opset);
    }
    put_text(p->reason, out);
    (void)fprintf(out, " [%s]\n", eml_check_kind_name(p->kind));
}

static enum eml_err written(const struct eml_check_report *r, FILE *out)
{
    return r->failed || fflush(out) != 0 || ferror(out) != 0 ? EML_E_SYSTEM : EML_OK;
}

enum eml_err eml_check_print(const struct eml_check_report *r, const char *path, FILE *out)
{
    put_text(path, out);
    if (r->n == 0 && !r->failed)
        (void)fputs(": supported\n", out);
    else
        (void)fprintf(out, ": not supported, %zu problem%s\n", r->n, r->n == 1 ? "" : "s");
    for (size_t i = 0; i < r->n; i++)
        put_problem(&r->list[i], out);
    if (r->failed)
        (void)fputs("  the list is incomplete: out of memory\n", out);
    return written(r, out);
}

static json_t *problem_json(const struct eml_check_problem *p)
{
    json_t *node = p->node == EML_CHECK_NO_NODE ? json_null() : json_integer((json_int_t)p->node);
    return json_pack("{s:o, s:s, s:s, s:s, s:I, s:s, s:s}", "node", node, "name", p->node_name,
                     "domain", p->domain, "op", p->op, "opset", (json_int_t)p->opset, "kind",
                     eml_check_kind_name(p->kind), "reason", p->reason);
}

enum eml_err eml_check_print_json(const struct eml_check_report *r, const char *path, FILE *out)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < r->n; i++)
        ok = json_array_append_new(list, problem_json(&r->list[i])) == 0;
    /* a path need not be UTF-8; then it is left out */
    json_t *name = json_string(path);
    json_t *all = json_pack("{s:o, s:b, s:o}", "model", name != NULL ? name : json_null(),
                            "supported", r->n == 0 && !r->failed, "problems", list);
    ok = ok && all != NULL && json_dumpf(all, out, JSON_INDENT(2)) == 0 && fputc('\n', out) != EOF;
    json_decref(all);
    return ok ? written(r, out) : EML_E_SYSTEM;
}

void eml_check_free(struct eml_check_report *r)
{
    for (size_t i = 0; i < r->n; i++)
        free_problem(&r->list[i]);
    free(r->list);
    *r = (struct eml_check_report){0};
}
