#include "audit/record.h"

#include "wire/cbor.h"

/* Keys of the map. */
enum { K_SEQUENCE = 1, K_EVENT, K_TIME, K_BOOT, K_SESSION, K_OUTCOME, K_NUMBERS, K_BYTES, K_END };

static const struct eml_event_row rows[EML_EVENT_N] = {
    [EML_EVENT_BOOT] = {"boot", .n_numbers = 6, .n_bytes = 4,
                        .number = {"sessions_max", "session_s", "request_s", "memory_bytes",
                                   "cache_bytes", "flops"},
                        .bytes = {{"log", 16, 16, false},
                                  {"key", 32, 32, false},
                                  {"document_sha256", 32, 32, false},
                                  {"previous_checkpoint", 1, 1024, true}}},
    [EML_EVENT_ATTESTATION] = {"attestation", .n_numbers = 1, .n_bytes = 1, .number = {"use"},
                               .bytes = {{"document_sha256", 32, 32, true}}},
    [EML_EVENT_SESSION_OPEN] = {"session-open", .n_numbers = 1, .number = {"sessions"}},
    [EML_EVENT_SESSION_CLOSE] = {"session-close", .n_numbers = 2,
                                 .number = {"duration_ms", "signal"}},
    [EML_EVENT_KMS] = {"kms", .n_numbers = 0},
    [EML_EVENT_ASSEMBLY] = {"assembly", .n_numbers = 2, .number = {"weights_us", "assemble_us"}},
    [EML_EVENT_INFERENCE] = {"inference", .n_numbers = 1, .n_bytes = 2, .number = {"run_us"},
                             .bytes = {{"receipt_sha256", 32, 32, true},
                                       {"model_sha256", 32, 32, true}}},
    [EML_EVENT_DESTRUCTION] = {"destruction", .n_numbers = 3,
                               .number = {"wiped_bytes", "wipe_us", "exposure_us"}},
    [EML_EVENT_VIOLATION] = {"violation", .n_numbers = 2, .number = {"kind", "signal"}},
    [EML_EVENT_BUDGET] = {"budget", .n_numbers = 1, .number = {"kind"}},
    [EML_EVENT_ERROR] = {"error", .n_numbers = 1, .number = {"place"}},
};

const struct eml_event_row *eml_event_row(uint64_t event)
{
    return event >= EML_EVENT_BOOT && event < EML_EVENT_N ? &rows[event] : NULL;
}

static bool fits(const struct eml_event_row *row, size_t i, size_t len)
{
    if (len == 0)
        return row->bytes[i].or_empty;
    return len >= row->bytes[i].min && len <= row->bytes[i].max;
}

static bool valid(const struct eml_record *r)
{
    const struct eml_event_row *row = eml_event_row((uint64_t)r->event);
    if (row == NULL || (unsigned)r->outcome > EML_E_SYSTEM)
        return false;
    for (size_t i = row->n_numbers; i < EML_RECORD_NUMBERS_MAX; i++)
        if (r->number[i] != 0)
            return false;
    for (size_t i = 0; i < EML_RECORD_BYTES_N_MAX; i++)
        if (i < row->n_bytes ? !fits(row, i, r->bytes[i].len) : r->bytes[i].len != 0)
            return false;
    return true;
}

static void put_pair(struct eml_buf *out, uint64_t key, uint64_t value)
{
    eml_cbor_put_uint(out, key);
    eml_cbor_put_uint(out, value);
}

enum eml_err eml_record_encode(const struct eml_record *r, struct eml_buf *out)
{
    if (!valid(r))
        return EML_E_USAGE;
    const struct eml_event_row *row = eml_event_row((uint64_t)r->event);
    eml_cbor_put_map(out, K_END - 1);
    put_pair(out, K_SEQUENCE, r->sequence);
    put_pair(out, K_EVENT, (uint64_t)r->event);
    put_pair(out, K_TIME, r->time_ms);
    put_pair(out, K_BOOT, r->boot);
    put_pair(out, K_SESSION, r->session);
    put_pair(out, K_OUTCOME, (uint64_t)r->outcome);
    eml_cbor_put_uint(out, K_NUMBERS);
    eml_cbor_put_array(out, row->n_numbers);
    for (size_t i = 0; i < row->n_numbers; i++)
        eml_cbor_put_uint(out, r->number[i]);
    eml_cbor_put_uint(out, K_BYTES);
    eml_cbor_put_array(out, row->n_bytes);
    for (size_t i = 0; i < row->n_bytes; i++)
        eml_cbor_put_bytes(out, r->bytes[i]);
    return eml_buf_ok(out);
}

static void key(struct eml_cur *c, uint64_t expected)
{
    if (eml_cbor_uint(c) != expected)
        eml_cur_fail(c);
}

static uint64_t pair(struct eml_cur *c, uint64_t expected)
{
    key(c, expected);
    return eml_cbor_uint(c);
}

static void get_lists(struct eml_cur *c, const struct eml_event_row *row, struct eml_record *r)
{
    key(c, K_NUMBERS);
    if (eml_cbor_array(c, EML_RECORD_NUMBERS_MAX) != row->n_numbers)
        eml_cur_fail(c);
    for (size_t i = 0; i < row->n_numbers; i++)
        r->number[i] = eml_cbor_uint(c);
    key(c, K_BYTES);
    if (eml_cbor_array(c, EML_RECORD_BYTES_N_MAX) != row->n_bytes)
        eml_cur_fail(c);
    for (size_t i = 0; i < row->n_bytes; i++)
        r->bytes[i] = eml_cbor_bytes(c, EML_RECORD_BYTES_MAX);
}

enum eml_err eml_record_decode(struct eml_bytes entry, struct eml_record *out, struct eml_why *why)
{
    struct eml_cur c = eml_cur(entry);
    struct eml_record r = {0};
    *out = r;
    if (entry.len > EML_RECORD_BYTES_MAX)
        return eml_fail(why, EML_E_INPUT, "record: too long", -1);
    if (eml_cbor_map(&c, K_END - 1) != K_END - 1)
        eml_cur_fail(&c);
    r.sequence = pair(&c, K_SEQUENCE);
    uint64_t event = pair(&c, K_EVENT);
    r.time_ms = pair(&c, K_TIME);
    r.boot = pair(&c, K_BOOT);
    r.session = pair(&c, K_SESSION);
    uint64_t outcome = pair(&c, K_OUTCOME);
    const struct eml_event_row *row = eml_event_row(event);
    if (!eml_cur_ok(&c))
        return eml_fail(why, EML_E_INPUT, "record: not the map that every record is", -1);
    if (row == NULL || outcome > EML_E_SYSTEM)
        return eml_fail(why, EML_E_INPUT, "record: unknown event or outcome", -1);
    r.event = (enum eml_event)event;
    r.outcome = (enum eml_err)outcome;
    get_lists(&c, row, &r);
    if (!eml_cur_done(&c) || !valid(&r))
        return eml_fail(why, EML_E_INPUT, "record: not the fields of its event", -1);
    *out = r;
    return EML_OK;
}
