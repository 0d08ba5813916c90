#include "session/request.h"

#include "base/checked.h"
#include "model/limits.h"
#include "wire/cbor.h"

enum { KEY_MODE = 1, KEY_TOPOLOGY = 2, KEY_INPUTS = 3, KEY_KMS = 4, KEY_SALT = 5 };
enum { KEY_ARN = 1, KEY_BLOB = 2, KEY_SEALED = 3 };
enum {
    KEY_OUTPUTS = 1,
    KEY_WEIGHTS_US = 2,
    RESULT_NUMBERS = 6,
    KEY_KERNELS = 8,
    KEY_RESULT_SALT = 9
};
/* The frame on the wire cannot be longer than a message (channel.h), nor can a part of it. */
#define SEALED_BYTES_MAX ((size_t)1 << 30)

enum eml_err eml_part_to_buf(void *ctx, struct eml_bytes part)
{
    struct eml_buf *b = ctx;
    eml_buf_put(b, part);
    return eml_buf_ok(b);
}

/* --- encoding: small items gather in `head`, large strings go to the sink from where they lie ---
 */

struct writer {
    struct eml_part_sink sink;
    struct eml_buf head;
    enum eml_err err;
};

static void flush(struct writer *w)
{
    if (w->err == EML_OK)
        w->err = eml_buf_ok(&w->head);
    if (w->err == EML_OK && w->head.len != 0)
        w->err = w->sink.put(w->sink.ctx, eml_buf_bytes(&w->head));
    eml_buf_free(&w->head);
}

static enum eml_err finish(struct writer *w)
{
    flush(w);
    return w->err;
}

/* A byte string's header is that of the integer with another major type (RFC 8949 section 3.1). */
static void put_length(struct eml_buf *b, size_t n)
{
    size_t at = b->len;
    eml_cbor_put_uint(b, n);
    if (eml_buf_ok(b) == EML_OK)
        b->ptr[at] |= 2u << 5;
}

/* Its header is in `head` already. */
static void put_data(struct writer *w, struct eml_bytes v)
{
    flush(w);
    if (w->err == EML_OK && v.len != 0)
        w->err = w->sink.put(w->sink.ctx, v);
}

static void put_large(struct writer *w, struct eml_bytes v)
{
    put_length(&w->head, v.len);
    put_data(w, v);
}

void eml_tensor_put_head(struct eml_buf *out, const struct eml_named_tensor *t)
{
    const struct eml_shape *s = &t->tensor.shape;
    eml_cbor_put_array(out, 4);
    eml_cbor_put_text(out, t->name);
    eml_cbor_put_uint(out, t->tensor.dtype);
    eml_cbor_put_array(out, s->rank);
    for (uint32_t d = 0; d < s->rank; d++)
        eml_cbor_put_uint(out, (uint64_t)s->dim[d]);
    put_length(out, t->tensor.bytes);
}

static void put_tensors(struct writer *w, const struct eml_named_tensor *t, size_t n)
{
    eml_cbor_put_array(&w->head, n);
    for (size_t i = 0; i < n; i++) {
        eml_tensor_put_head(&w->head, &t[i]);
        put_data(w, eml_bytes(t[i].tensor.data, t[i].tensor.bytes));
    }
}

enum eml_err eml_request_encode(const struct eml_request *r, struct eml_part_sink sink)
{
    struct writer w = {.sink = sink};
    bool topology = !r->has_kms && r->topology.ptr != NULL;
    eml_cbor_put_map(&w.head, (r->has_kms ? 2u : 3u) + topology);
    eml_cbor_put_uint(&w.head, KEY_MODE);
    eml_cbor_put_uint(&w.head, r->mode);
    if (topology) {
        eml_cbor_put_uint(&w.head, KEY_TOPOLOGY);
        put_large(&w, r->topology);
    }
    eml_cbor_put_uint(&w.head, r->has_kms ? KEY_KMS : KEY_INPUTS);
    if (!r->has_kms) {
        put_tensors(&w, r->inputs, r->n_inputs);
        eml_cbor_put_uint(&w.head, KEY_SALT);
        eml_cbor_put_bytes(&w.head, r->salt);
        return finish(&w);
    }
    eml_cbor_put_map(&w.head, 3);
    eml_cbor_put_uint(&w.head, KEY_ARN);
    eml_cbor_put_text(&w.head, r->kms.key_arn);
    eml_cbor_put_uint(&w.head, KEY_BLOB);
    put_large(&w, r->kms.ciphertext_blob);
    eml_cbor_put_uint(&w.head, KEY_SEALED);
    put_large(&w, r->kms.sealed);
    return finish(&w);
}

enum eml_err eml_result_encode(const struct eml_result *r, struct eml_part_sink sink)
{
    struct writer w = {.sink = sink};
    const uint64_t number[RESULT_NUMBERS] = {r->weights_us, r->assemble_us, r->run_us,
                                             r->wipe_us,    r->exposure_us, r->wiped_bytes};
    eml_cbor_put_map(&w.head, KEY_RESULT_SALT);
    eml_cbor_put_uint(&w.head, KEY_OUTPUTS);
    put_tensors(&w, r->outputs, r->n_outputs);
    for (unsigned i = 0; i < RESULT_NUMBERS; i++) {
        eml_cbor_put_uint(&w.head, KEY_WEIGHTS_US + i);
        eml_cbor_put_uint(&w.head, number[i]);
    }
    eml_cbor_put_uint(&w.head, KEY_KERNELS);
    eml_cbor_put_text(&w.head, r->kernels);
    eml_cbor_put_uint(&w.head, KEY_RESULT_SALT);
    eml_cbor_put_bytes(&w.head, r->salt);
    return finish(&w);
}

static enum eml_err count(void *ctx, struct eml_bytes part)
{
    *(uint64_t *)ctx += part.len;
    return EML_OK;
}

uint64_t eml_result_bytes(const struct eml_result *r)
{
    uint64_t n = 0;
    return eml_result_encode(r, (struct eml_part_sink){count, &n}) == EML_OK ? n : 0;
}

/* --- decoding --- */

static bool key(struct eml_cur *c, uint64_t expected)
{
    return eml_cbor_uint(c) == expected && eml_cur_ok(c);
}

static bool get_shape(struct eml_cur *c, struct eml_shape *s)
{
    size_t rank = eml_cbor_array(c, EML_RANK_MAX);
    s->rank = (uint32_t)rank;
    for (size_t d = 0; d < rank; d++) {
        uint64_t dim = eml_cbor_uint(c);
        if (dim > INT64_MAX)
            return false;
        s->dim[d] = (int64_t)dim;
    }
    return eml_cur_ok(c);
}

static const char *get_tensor(struct eml_cur *c, struct eml_named_tensor *t)
{
    if (eml_cbor_array(c, 4) != 4)
        return "tensor: an array of name, type, dims and data";
    t->name = eml_cbor_text(c, EML_NAME_BYTES_MAX);
    if (t->name.len == 0)
        return "tensor: name of 1 to 512 bytes of UTF-8";
    uint64_t dtype = eml_cbor_uint(c);
    if (!eml_cur_ok(c) || dtype > EML_DT_LAST || eml_dtype_bytes((enum eml_dtype)dtype) == 0)
        return "tensor: unknown element type";
    t->tensor.dtype = (enum eml_dtype)dtype;
    if (!get_shape(c, &t->tensor.shape))
        return "tensor: at most 8 dims, each a non-negative 63-bit number";
    struct eml_bytes data = eml_cbor_bytes(c, SIZE_MAX);
    int64_t n, bytes;
    if (!eml_cur_ok(c) || !eml_shape_count(&t->tensor.shape, &n) ||
        !eml_mul_i64(n, (int64_t)eml_dtype_bytes(t->tensor.dtype), &bytes) ||
        (uint64_t)bytes != data.len)
        return "tensor: data as long as type and dims say";
    t->tensor.data = data.ptr;
    t->tensor.bytes = data.len;
    return NULL;
}

static enum eml_err get_tensors(struct eml_cur *c, struct eml_arena *arena,
                                struct eml_named_tensor **out, size_t *n, struct eml_why *why)
{
    size_t count_n = eml_cbor_array(c, EML_GRAPH_IO_MAX);
    if (count_n == 0)
        return eml_fail(why, EML_E_INPUT, "message: 1 to 256 tensors", -1);
    struct eml_named_tensor *t = eml_arena_array(arena, count_n, sizeof *t);
    if (t == NULL)
        return eml_fail(why, EML_E_SYSTEM, "message: the arena is full", -1);
    for (size_t i = 0; i < count_n; i++) {
        const char *rule = get_tensor(c, &t[i]);
        for (size_t j = 0; rule == NULL && j < i; j++)
            if (eml_bytes_equal(t[i].name, t[j].name))
                rule = "message: the names of tensors are unique";
        if (rule != NULL)
            return eml_fail(why, EML_E_INPUT, rule, (long)i);
    }
    *out = t;
    *n = count_n;
    return EML_OK;
}

static enum eml_err get_kms(struct eml_cur *c, struct eml_request *r, struct eml_why *why)
{
    const char *rule = "request: kms is a map of ARN, blob and sealed request";
    if (eml_cbor_map(c, 3) != 3 || !key(c, KEY_ARN))
        return eml_fail(why, EML_E_INPUT, rule, -1);
    r->kms.key_arn = eml_cbor_text(c, EML_KEY_ARN_BYTES_MAX);
    if (!key(c, KEY_BLOB))
        return eml_fail(why, EML_E_INPUT, rule, -1);
    r->kms.ciphertext_blob = eml_cbor_bytes(c, EML_CIPHERTEXT_BLOB_BYTES_MAX);
    if (!key(c, KEY_SEALED))
        return eml_fail(why, EML_E_INPUT, rule, -1);
    r->kms.sealed = eml_cbor_bytes(c, SEALED_BYTES_MAX);
    if (!eml_cur_ok(c) || r->kms.key_arn.len == 0 || r->kms.ciphertext_blob.len == 0 ||
        r->kms.sealed.len == 0)
        return eml_fail(why, EML_E_INPUT, "request: ARN, blob and sealed request are not empty",
                        -1);
    r->has_kms = true;
    return EML_OK;
}

static bool get_salt(struct eml_cur *c, uint64_t expected, struct eml_bytes *out)
{
    if (!key(c, expected))
        return false;
    *out = eml_cbor_bytes(c, EML_SALT_BYTES);
    return out->len == EML_SALT_BYTES;
}

static enum eml_err decode_request(struct eml_cur *c, struct eml_arena *arena,
                                   struct eml_request *r, struct eml_why *why)
{
    size_t pairs = eml_cbor_map(c, 4);
    if (pairs < 2 || !key(c, KEY_MODE))
        return eml_fail(why, EML_E_INPUT, "request: a map that begins with the mode", -1);
    uint64_t mode = eml_cbor_uint(c);
    if (!eml_cur_ok(c) || mode > EML_MODE_SESSION)
        return eml_fail(why, EML_E_INPUT, "request: mode is request or session", -1);
    r->mode = (enum eml_mode)mode;
    uint64_t next = eml_cbor_uint(c);
    if (next == KEY_TOPOLOGY && pairs == 4) {
        r->topology = eml_cbor_bytes(c, EML_TOPOLOGY_BYTES_MAX);
        if (r->topology.len == 0)
            return eml_fail(why, EML_E_INPUT, "request: topology of 1 byte to 64 MiB", -1);
        next = eml_cbor_uint(c);
        pairs--;
    }
    bool kms = next == KEY_KMS;
    if (!eml_cur_ok(c) || pairs != (kms ? 2 : 3) || (!kms && next != KEY_INPUTS) ||
        (kms && r->topology.len != 0))
        return eml_fail(why, EML_E_INPUT, "request: inputs and salt, or kms alone", -1);
    if (kms)
        EML_TRY(get_kms(c, r, why));
    else
        EML_TRY(get_tensors(c, arena, &r->inputs, &r->n_inputs, why));
    if (!kms && !get_salt(c, KEY_SALT, &r->salt))
        return eml_fail(why, EML_E_INPUT, "request: a salt of 32 bytes follows the inputs", -1);
    return eml_cur_done(c) ? EML_OK : eml_fail(why, EML_E_INPUT, "request: nothing follows it", -1);
}

static enum eml_err decode_result(struct eml_cur *c, struct eml_arena *arena, struct eml_result *r,
                                  struct eml_why *why)
{
    uint64_t *const number[RESULT_NUMBERS] = {&r->weights_us, &r->assemble_us, &r->run_us,
                                              &r->wipe_us,    &r->exposure_us, &r->wiped_bytes};
    if (eml_cbor_map(c, KEY_RESULT_SALT) != KEY_RESULT_SALT || !key(c, KEY_OUTPUTS))
        return eml_fail(why, EML_E_INPUT, "result: a map of 9 pairs that begins with outputs", -1);
    EML_TRY(get_tensors(c, arena, &r->outputs, &r->n_outputs, why));
    for (unsigned i = 0; i < RESULT_NUMBERS; i++) {
        if (!key(c, KEY_WEIGHTS_US + i))
            return eml_fail(why, EML_E_INPUT, "result: six numbers", (long)i);
        *number[i] = eml_cbor_uint(c);
    }
    if (!key(c, KEY_KERNELS))
        return eml_fail(why, EML_E_INPUT, "result: the kernel set follows them", -1);
    r->kernels = eml_cbor_text(c, EML_KERNELS_BYTES_MAX);
    if (!get_salt(c, KEY_RESULT_SALT, &r->salt))
        return eml_fail(why, EML_E_INPUT, "result: a salt of 32 bytes follows the kernel set", -1);
    return eml_cur_done(c) ? EML_OK : eml_fail(why, EML_E_INPUT, "result: nothing follows it", -1);
}

enum eml_err eml_request_decode(struct eml_bytes encoded, struct eml_arena *arena,
                                struct eml_request *out, struct eml_why *why)
{
    struct eml_cur c = eml_cur(encoded);
    struct eml_request r = {0};
    enum eml_err err = decode_request(&c, arena, &r, why);
    *out = err == EML_OK ? r : (struct eml_request){0};
    return err;
}

enum eml_err eml_result_decode(struct eml_bytes encoded, struct eml_arena *arena,
                               struct eml_result *out, struct eml_why *why)
{
    struct eml_cur c = eml_cur(encoded);
    struct eml_result r = {0};
    enum eml_err err = decode_result(&c, arena, &r, why);
    *out = err == EML_OK ? r : (struct eml_result){0};
    return err;
}
