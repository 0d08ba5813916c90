#include "attest/attest.h"

#include "base/text.h"
#include "base/wipe.h"
#include "wire/json.h"

#include <stdio.h>
#include <string.h>

/* docs/formats/policy.md. jansson gives the tree; every member is looked up, nothing is ignored. */

enum { POLICY_BYTES_MAX = 65536 };
#define DEFAULT_AGE_MS 300000u
#define LIMIT_MS 86400000u /* a day: longer than any leaf lives */

static enum eml_err bad(struct eml_why *why, const char *rule, long index)
{
    return eml_fail(why, EML_E_INPUT, rule, index);
}

/* A JSON string of exactly as many hex digits as fill the room, either case. */
static bool read_hex(const json_t *v, struct eml_room room)
{
    return json_is_string(v) &&
           eml_hex_get(eml_bytes(json_string_value(v), json_string_length(v)), room);
}

static enum eml_err read_roots(const json_t *v, struct eml_policy *p, struct eml_why *why)
{
    p->n_roots = json_array_size(v); /* 0 if it is no array */
    if (p->n_roots == 0 || p->n_roots > EML_POLICY_ROOTS_MAX)
        return bad(why, "policy: \"roots\" is not an array of 1 to 8 digests", -1);
    for (size_t i = 0; i < p->n_roots; i++)
        if (!read_hex(json_array_get(v, i), EML_ROOM(p->roots[i].b)))
            return bad(why, "policy: a root is not a SHA-256 in 64 hex digits", (long)i);
    return EML_OK;
}

/* Absent: 0. */
static bool read_order(const json_t *v, uint64_t *out)
{
    json_int_t n = v == NULL ? 0 : json_is_integer(v) ? json_integer_value(v) : -1;
    *out = n < 0 ? 0 : (uint64_t)n;
    return n >= 0;
}

/* "0" to "31" without leading zeros; EML_PCR_N otherwise. */
static uint32_t pcr_index(const char *s)
{
    size_t len = strlen(s);
    if (len == 0 || len > 2 || (len == 2 && s[0] == '0'))
        return EML_PCR_N;
    uint32_t v = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return EML_PCR_N;
        v = v * 10 + (uint32_t)(s[i] - '0');
    }
    return v < EML_PCR_N ? v : EML_PCR_N;
}

static enum eml_err read_measurement(json_t *v, struct eml_measurement *m, long index,
                                     struct eml_why *why)
{
    const char *key;
    json_t *value;
    if (!json_is_object(v))
        return bad(why, "policy: a measurement is not an object", index);
    if (!read_order(json_object_get(v, "version"), &m->version))
        return bad(why, "policy: the \"version\" of a measurement is not 0 to 2^63 - 1", index);
    json_object_foreach(v, key, value)
    {
        if (strcmp(key, "version") == 0)
            continue;
        uint32_t i = pcr_index(key);
        if (i == EML_PCR_N)
            return bad(why, "policy: a PCR is not named \"0\" to \"31\"", index);
        if (!read_hex(value, EML_ROOM(m->pcr[i].b)))
            return bad(why, "policy: a PCR is not 96 hex digits", (long)i);
        if (eml_ct_is_zero(EML_BYTES(m->pcr[i].b)))
            return bad(why, "policy: a PCR is all zero", (long)i);
        m->required |= 1u << i;
    }
    if ((m->required & 7u) != 7u)
        return bad(why, "policy: a measurement lacks PCR 0, 1 or 2", index);
    return EML_OK;
}

static enum eml_err read_measurements(const json_t *v, struct eml_policy *p, struct eml_why *why)
{
    p->n_accept = json_array_size(v);
    if (p->n_accept == 0 || p->n_accept > EML_POLICY_MEASUREMENTS_MAX)
        return bad(why, "policy: \"measurements\" is not an array of 1 to 16", -1);
    for (size_t i = 0; i < p->n_accept; i++)
        EML_TRY(read_measurement(json_array_get(v, i), &p->accept[i], (long)i, why));
    return EML_OK;
}

/* Absent: the default. */
static bool read_ms(const json_t *v, uint64_t least, uint64_t *out)
{
    *out = DEFAULT_AGE_MS;
    if (v == NULL)
        return true;
    json_int_t ms = json_is_integer(v) ? json_integer_value(v) : -1;
    if (ms < (json_int_t)least || ms > (json_int_t)LIMIT_MS)
        return false;
    *out = (uint64_t)ms;
    return true;
}

static enum eml_err check_members(json_t *root, struct eml_why *why)
{
    static const char *const known[] = {"version",      "serial",     "roots",
                                        "measurements", "max_age_ms", "max_skew_ms"};
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof known[0] && strcmp(key, known[i]) != 0)
            i++;
        if (i == sizeof known / sizeof known[0])
            return bad(why, "policy: unknown member", -1);
    }
    return EML_OK;
}

static enum eml_err read_policy(json_t *root, struct eml_policy *p, struct eml_why *why)
{
    EML_TRY(check_members(root, why));
    const json_t *version = json_object_get(root, "version");
    if (!json_is_integer(version) || json_integer_value(version) != 1)
        return bad(why, "policy: \"version\" is not 1", -1);
    if (!read_order(json_object_get(root, "serial"), &p->serial))
        return bad(why, "policy: \"serial\" is not 0 to 2^63 - 1", -1);
    EML_TRY(read_roots(json_object_get(root, "roots"), p, why));
    EML_TRY(read_measurements(json_object_get(root, "measurements"), p, why));
    if (!read_ms(json_object_get(root, "max_age_ms"), 1, &p->max_age_ms))
        return bad(why, "policy: \"max_age_ms\" is not 1 to 86400000", -1);
    if (!read_ms(json_object_get(root, "max_skew_ms"), 0, &p->max_skew_ms))
        return bad(why, "policy: \"max_skew_ms\" is not 0 to 86400000", -1);
    return EML_OK;
}

enum eml_err eml_policy_parse(struct eml_bytes json, struct eml_policy *out, struct eml_why *why)
{
    memset(out, 0, sizeof *out);
    if (json.len == 0 || json.len > POLICY_BYTES_MAX)
        return bad(why, "policy: empty or larger than 64 KiB", -1);
    json_t *root = NULL;
    EML_TRY(eml_json_parse(json, POLICY_BYTES_MAX, &root, why));
    enum eml_err e = read_policy(root, out, why);
    json_decref(root);
    if (e != EML_OK)
        memset(out, 0, sizeof *out);
    return e;
}

static void put_str(struct eml_buf *b, const char *s)
{
    eml_buf_put(b, eml_bytes_of_str(s));
}

static void put_hex(struct eml_buf *b, struct eml_bytes v)
{
    eml_buf_put_u8(b, '"');
    eml_hex_append(v, b);
    eml_buf_put_u8(b, '"');
}

static void put_number(struct eml_buf *b, const char *before, uint64_t n)
{
    char line[64];
    (void)snprintf(line, sizeof line, "%s%llu", before, (unsigned long long)n);
    put_str(b, line);
}

static void put_measurement(struct eml_buf *b, const struct eml_measurement *m)
{
    put_number(b, "\n    {\n      \"version\": ", m->version);
    for (uint32_t i = 0; i < EML_PCR_N; i++) {
        if ((m->required & 1u << i) == 0)
            continue;
        char name[16];
        (void)snprintf(name, sizeof name, ",\n      \"%u\": ", i);
        put_str(b, name);
        put_hex(b, EML_BYTES(m->pcr[i].b));
    }
    put_str(b, "\n    }");
}

enum eml_err eml_policy_print(const struct eml_policy *p, struct eml_buf *json)
{
    put_number(json, "{\n  \"version\": 1,\n  \"serial\": ", p->serial);
    put_str(json, ",\n  \"roots\": [");
    for (size_t i = 0; i < p->n_roots; i++) {
        put_str(json, i == 0 ? "\n    " : ",\n    ");
        put_hex(json, EML_BYTES(p->roots[i].b));
    }
    put_str(json, "\n  ],\n  \"measurements\": [");
    for (size_t i = 0; i < p->n_accept; i++) {
        if (i > 0)
            put_str(json, ",");
        put_measurement(json, &p->accept[i]);
    }
    put_str(json, "\n  ]");
    put_number(json, ",\n  \"max_age_ms\": ", p->max_age_ms);
    put_number(json, ",\n  \"max_skew_ms\": ", p->max_skew_ms);
    put_str(json, "\n}\n");
    return eml_buf_ok(json);
}

enum eml_err eml_policy_digest(const struct eml_policy *p, struct eml_sha256 *out)
{
    struct eml_buf json = {0};
    memset(out, 0, sizeof *out);
    enum eml_err e = eml_policy_print(p, &json);
    const struct eml_bytes bytes = eml_buf_bytes(&json);
    if (e == EML_OK)
        e = eml_sha256(&bytes, 1, out);
    eml_buf_free(&json);
    return e;
}
