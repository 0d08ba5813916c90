#include "wire/json.h"

#include "base/cur.h"
#include "base/heap.h"

#include <setjmp.h>
#include <stdint.h>

/* --- jansson's memory --- */

/* Its reader (2.14) goes on when an allocation fails: it copies a string to the quote that it could
 * not keep, over the ends of two buffers, or leaves out a part of the value. So a reader that gets
 * no memory does not return: what it made is freed and the text refused. */
struct block {
    struct block *next, **at; /* of those that were made while reading; at NULL: of no reader */
};

static _Thread_local struct {
    bool active;
    jmp_buf out;
    struct block *made;
} reading;

static void *take(size_t n)
{
    struct block *b = n <= SIZE_MAX - sizeof *b ? eml_heap_alloc(sizeof *b + n) : NULL;
    if (b == NULL && reading.active)
        longjmp(reading.out, 1);
    if (b == NULL)
        return NULL;
    *b = (struct block){NULL, NULL};
    if (reading.active) {
        *b = (struct block){reading.made, &reading.made};
        if (b->next != NULL)
            b->next->at = &b->next;
        reading.made = b;
    }
    return b + 1;
}

static void give(void *p)
{
    if (p == NULL)
        return;
    struct block *b = (struct block *)p - 1;
    if (b->at != NULL)
        *b->at = b->next;
    if (b->at != NULL && b->next != NULL)
        b->next->at = b->at;
    eml_heap_free(b);
}

/* NULL: *error tells why, or no_memory. */
static json_t *read_value(struct eml_bytes text, json_error_t *error, bool *no_memory)
{
    const char *start = text.len != 0 ? (const char *)text.ptr : ""; /* not NULL */
    reading.made = NULL;
    *no_memory = false;
    if (setjmp(reading.out) != 0) {
        reading.active = false;
        while (reading.made != NULL)
            give(reading.made + 1);
        *no_memory = true;
        return NULL;
    }
    reading.active = true;
    json_t *v = json_loadb(start, text.len, JSON_REJECT_DUPLICATES, error);
    reading.active = false;
    while (reading.made != NULL) { /* they are the value's now */
        reading.made->at = NULL;
        reading.made = reading.made->next;
    }
    return v;
}

/* Depth by counting brackets outside strings. Text that is not JSON may be miscounted; jansson
 * refuses it then. Returns the position of the bracket that is too deep, or -1. */
static long too_deep(struct eml_bytes text)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '[')) {
            if (++depth > EML_JSON_DEPTH_MAX)
                return (long)i;
        } else if (!in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return -1;
}

static const char *rule_of(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_duplicate_key:
        return "json: a member name appears twice";
    case json_error_invalid_utf8:
        return "json: not UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "json: NUL in a string";
    case json_error_end_of_input_expected:
        return "json: bytes after the value";
    case json_error_premature_end_of_input:
        return "json: ends too early";
    case json_error_numeric_overflow:
        return "json: number out of range";
    default:
        return "json: syntax";
    }
}

void eml_json_init(void)
{
    json_set_alloc_funcs(take, give);
    json_object_seed(0);
}

enum eml_err eml_json_parse(struct eml_bytes text, size_t max_bytes, json_t **out,
                            struct eml_why *why)
{
    json_error_t error;
    bool no_memory;
    *out = NULL;
    if (text.len > max_bytes)
        return eml_fail(why, EML_E_INPUT, "json: too long", -1);
    long deep = too_deep(text);
    if (deep >= 0)
        return eml_fail(why, EML_E_INPUT, "json: nested too deeply", deep);
    json_t *v = read_value(text, &error, &no_memory);
    if (no_memory)
        return eml_fail(why, EML_E_SYSTEM, "out of memory", -1);
    if (v == NULL)
        return eml_fail(why, EML_E_INPUT, rule_of(&error), error.position);
    if (!json_is_object(v)) {
        json_decref(v);
        return eml_fail(why, EML_E_INPUT, "json: not an object", -1);
    }
    *out = v;
    return EML_OK;
}

struct eml_bytes eml_json_text(const json_t *obj, const char *name)
{
    const json_t *v = json_object_get(obj, name);
    return json_is_string(v) ? eml_bytes(json_string_value(v), json_string_length(v))
                             : (struct eml_bytes){NULL, 0};
}

static int put(const char *text, size_t n, void *out)
{
    eml_buf_put(out, eml_bytes(text, n));
    return 0;
}

enum eml_err eml_json_print(const json_t *v, struct eml_buf *out)
{
    if (json_dump_callback(v, put, out, JSON_COMPACT | JSON_SORT_KEYS) != 0)
        return EML_E_SYSTEM;
    return eml_buf_ok(out);
}
