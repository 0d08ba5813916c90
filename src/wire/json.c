#include "wire/json.h"

#include "base/cur.h"
#include "base/heap.h"

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
    json_set_alloc_funcs(eml_heap_alloc, eml_heap_free);
    json_object_seed(0);
}

enum eml_err eml_json_parse(struct eml_bytes text, size_t max_bytes, json_t **out,
                            struct eml_why *why)
{
    json_error_t error;
    *out = NULL;
    if (text.len > max_bytes)
        return eml_fail(why, EML_E_INPUT, "json: too long", -1);
    long deep = too_deep(text);
    if (deep >= 0)
        return eml_fail(why, EML_E_INPUT, "json: nested too deeply", deep);
    const char *start = text.len != 0 ? (const char *)text.ptr : ""; /* not NULL */
    eml_heap_watch();
    json_t *v = json_loadb(start, text.len, JSON_REJECT_DUPLICATES, &error);
    if (v == NULL)
        return eml_heap_verdict(eml_fail(why, EML_E_INPUT, rule_of(&error), error.position), why);
    /* Without memory jansson may give a value that lacks a part. */
    if (!json_is_object(v) || eml_heap_verdict(EML_E_INPUT, NULL) == EML_E_SYSTEM) {
        json_decref(v);
        return eml_heap_verdict(eml_fail(why, EML_E_INPUT, "json: not an object", -1), why);
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
