#include "onnx/wire.h"

#include "base/cur.h"
#include "onnx/onnx.h"

struct level {
    const ProtobufCMessageDescriptor *type;
    size_t end;    /* position after the message */
    uint64_t seen; /* singular sub-messages that occurred, by field number */
};

struct walk {
    struct eml_cur cur;
    struct level stack[EML_ONNX_NESTING_MAX];
    size_t depth;
    uint32_t messages;
    const char *rule; /* set once a rule is broken */
};

static uint64_t varint(struct eml_cur *c)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t b = eml_cur_u8(c);
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if ((b & 0x80) == 0)
            return v;
    }
    eml_cur_fail(c);
    return 0;
}

/* Length of the sequence at s[0..n) if it is well-formed (RFC 3629 section 4), else 0. */
static size_t utf8_sequence(const uint8_t *s, size_t n)
{
    uint8_t a = s[0];
    if (a < 0x80)
        return a != 0 ? 1 : 0;
    size_t len = a >= 0xc2 && a < 0xe0   ? 2
                 : a >= 0xe0 && a < 0xf0 ? 3
                 : a >= 0xf0 && a < 0xf5 ? 4
                                         : 0;
    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (a == 0xe0 && s[1] < 0xa0) || (a == 0xf0 && s[1] < 0x90);
    bool beyond = (a == 0xed && s[1] > 0x9f) || (a == 0xf4 && s[1] > 0x8f);
    return overlong || beyond ? 0 : len;
}

bool eml_onnx_utf8(struct eml_bytes s)
{
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_sequence(s.ptr + i, s.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static void enter(struct walk *w, const ProtobufCFieldDescriptor *f, size_t len)
{
    struct level *top = &w->stack[w->depth - 1];
    if (f->label != PROTOBUF_C_LABEL_REPEATED && f->id < 64) {
        if ((top->seen >> f->id & 1) != 0)
            w->rule = "onnx: a singular field occurs twice";
        top->seen |= (uint64_t)1 << f->id;
    }
    if (w->depth == EML_ONNX_NESTING_MAX) {
        w->rule = "onnx: nested too deeply";
        return;
    }
    w->stack[w->depth++] = (struct level){.type = f->descriptor, .end = w->cur.pos + len};
}

static void delimited(struct walk *w, const ProtobufCFieldDescriptor *f)
{
    uint64_t len = varint(&w->cur);
    size_t end = w->stack[w->depth - 1].end;
    if (!eml_cur_ok(&w->cur) || w->cur.pos > end || len > end - w->cur.pos) {
        w->rule = "onnx: a field is longer than what holds it (truncated file?)";
        return;
    }
    bool message = f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE;
    bool string = f != NULL && f->type == PROTOBUF_C_TYPE_STRING;
    if ((message || string) && ++w->messages > EML_ONNX_MESSAGES_MAX) {
        w->rule = "onnx: too many messages";
        return;
    }
    if (message) {
        enter(w, f, (size_t)len);
        return;
    }
    struct eml_bytes value = eml_cur_take(&w->cur, (size_t)len);
    if (string && !eml_onnx_utf8(value))
        w->rule = "onnx: a string is not UTF-8, or has a NUL byte";
}

static void field(struct walk *w)
{
    uint64_t key = varint(&w->cur), number = key >> 3;
    if (!eml_cur_ok(&w->cur) || number == 0 || number >= (uint64_t)1 << 29) {
        w->rule = "onnx: not protobuf (bad field key)";
        return;
    }
    switch (key & 7) {
    case 0:
        (void)varint(&w->cur);
        break;
    case 1:
        (void)eml_cur_take(&w->cur, 8);
        break;
    case 2:
        delimited(w, protobuf_c_message_descriptor_get_field(w->stack[w->depth - 1].type,
                                                             (unsigned)number));
        break;
    case 5:
        (void)eml_cur_take(&w->cur, 4);
        break;
    default:
        w->rule = "onnx: not protobuf (bad wire type)";
        break;
    }
}

enum eml_err eml_onnx_wire_check(struct eml_bytes file, const ProtobufCMessageDescriptor *root,
                                 struct eml_why *why)
{
    struct walk w = {.cur = eml_cur(file), .depth = 1};
    w.stack[0] = (struct level){.type = root, .end = file.len};
    while (w.depth > 0 && w.rule == NULL) {
        struct level *top = &w.stack[w.depth - 1];
        if (w.cur.pos == top->end) {
            w.depth--;
            continue;
        }
        size_t end = top->end;
        field(&w);
        if (w.rule == NULL && (!eml_cur_ok(&w.cur) || w.cur.pos > end))
            w.rule = "onnx: a field is longer than what holds it (truncated file?)";
    }
    if (w.rule != NULL)
        return eml_fail(why, EML_E_INPUT, w.rule, (long)w.cur.pos);
    return EML_OK;
}
