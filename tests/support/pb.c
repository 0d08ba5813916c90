#include "testsupport/pb.h"

#include <string.h>

void eml_pb_varint(struct eml_buf *b, uint64_t v)
{
    for (; v > 0x7f; v >>= 7)
        eml_buf_put_u8(b, (uint8_t)(v | 0x80));
    eml_buf_put_u8(b, (uint8_t)v);
}

void eml_pb_key(struct eml_buf *b, uint32_t field, unsigned wire)
{
    eml_pb_varint(b, (uint64_t)field << 3 | wire);
}

void eml_pb_int(struct eml_buf *b, uint32_t field, int64_t v)
{
    eml_pb_key(b, field, 0);
    eml_pb_varint(b, (uint64_t)v);
}

void eml_pb_f32(struct eml_buf *b, uint32_t field, float v)
{
    uint8_t raw[4];
    memcpy(raw, &v, sizeof raw);
    eml_pb_key(b, field, 5);
    eml_buf_put(b, EML_BYTES(raw));
}

void eml_pb_bytes(struct eml_buf *b, uint32_t field, struct eml_bytes v)
{
    eml_pb_key(b, field, 2);
    eml_pb_varint(b, v.len);
    eml_buf_put(b, v);
}

void eml_pb_str(struct eml_buf *b, uint32_t field, const char *s)
{
    eml_pb_bytes(b, field, eml_bytes_of_str(s));
}

void eml_pb_msg(struct eml_buf *b, uint32_t field, struct eml_buf *inner)
{
    eml_pb_bytes(b, field, eml_buf_bytes(inner));
    eml_buf_free(inner);
}

void eml_pb_value(struct eml_buf *graph, uint32_t field, const char *name, int dtype,
                  const int64_t *dims, size_t n)
{
    struct eml_buf value = {0}, type = {0}, tensor = {0}, shape = {0};
    for (size_t i = 0; i < n; i++) {
        struct eml_buf dim = {0};
        if (dims[i] >= 0)
            eml_pb_int(&dim, 1, dims[i]);
        else
            eml_pb_str(&dim, 2, "n");
        eml_pb_msg(&shape, 1, &dim);
    }
    eml_pb_int(&tensor, 1, dtype);
    eml_pb_msg(&tensor, 2, &shape);
    eml_pb_msg(&type, 1, &tensor);
    eml_pb_str(&value, 1, name);
    eml_pb_msg(&value, 2, &type);
    eml_pb_msg(graph, field, &value);
}

void eml_pb_tensor(struct eml_buf *b, uint32_t field, const char *name, int dtype,
                   const int64_t *dims, size_t n, struct eml_bytes raw)
{
    struct eml_buf t = {0};
    for (size_t i = 0; i < n; i++)
        eml_pb_int(&t, 1, dims[i]);
    eml_pb_int(&t, 2, dtype);
    eml_pb_str(&t, 8, name);
    eml_pb_bytes(&t, 9, raw);
    eml_pb_msg(b, field, &t);
}

void eml_pb_node(struct eml_buf *graph, const char *domain, const char *op, const char *const *in,
                 const char *const *out, struct eml_buf *attrs)
{
    struct eml_buf node = {0};
    for (; *in != NULL; in++)
        eml_pb_str(&node, 1, *in);
    for (; *out != NULL; out++)
        eml_pb_str(&node, 2, *out);
    eml_pb_str(&node, 3, "a node");
    eml_pb_str(&node, 4, op);
    if (domain[0] != '\0')
        eml_pb_str(&node, 7, domain);
    if (attrs != NULL) {
        eml_buf_put(&node, eml_buf_bytes(attrs));
        eml_buf_free(attrs);
    }
    eml_pb_msg(graph, 1, &node);
}

void eml_pb_attr_int(struct eml_buf *attrs, const char *name, int64_t v)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, name);
    eml_pb_int(&a, 3, v);
    eml_pb_int(&a, 20, 2);
    eml_pb_msg(attrs, 5, &a);
}

void eml_pb_attr_ints(struct eml_buf *attrs, const char *name, const int64_t *v, size_t n)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, name);
    for (size_t i = 0; i < n; i++)
        eml_pb_int(&a, 8, v[i]);
    eml_pb_int(&a, 20, 7);
    eml_pb_msg(attrs, 5, &a);
}

void eml_pb_attr_f32(struct eml_buf *attrs, const char *name, float v)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, name);
    eml_pb_f32(&a, 2, v);
    eml_pb_int(&a, 20, 1);
    eml_pb_msg(attrs, 5, &a);
}

void eml_pb_attr_str(struct eml_buf *attrs, const char *name, const char *v)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, name);
    eml_pb_str(&a, 4, v);
    eml_pb_int(&a, 20, 3);
    eml_pb_msg(attrs, 5, &a);
}

void eml_pb_model(struct eml_buf *model, int64_t ir, struct eml_buf *graph, int64_t opset)
{
    struct eml_buf set = {0};
    eml_pb_int(model, 1, ir);
    eml_pb_msg(model, 7, graph);
    eml_pb_str(&set, 1, "");
    eml_pb_int(&set, 2, opset);
    eml_pb_msg(model, 8, &set);
}
