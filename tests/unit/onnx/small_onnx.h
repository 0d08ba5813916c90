/* A small ONNX model, to be read, and to put mistakes into. */
#ifndef EML_TESTS_SMALL_ONNX_H
#define EML_TESTS_SMALL_ONNX_H

#include "testsupport/pb.h"
#include "testsupport/support.h"

#include "onnx/onnx.h"

#include <stdlib.h>
#include <string.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { F32 = 1, U8 = 2, I64 = 7 };
static const int64_t two[] = {2};
static const uint8_t raw8[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static enum eml_err parse(struct eml_buf *file, struct eml_onnx_model **m,
                          struct eml_onnx_diag *diag)
{
    enum eml_err err = eml_onnx_parse(eml_buf_bytes(file), NULL, m, diag);
    eml_buf_free(file);
    return err;
}

/* y = Add(x, w); z = Relu(y); x is the input, z the output. */
static struct eml_buf small_graph(void)
{
    struct eml_buf g = {0};
    eml_pb_value(&g, 11, "x", F32, two, 1);
    eml_pb_tensor(&g, 5, "w", F32, two, 1, EML_BYTES(raw8));
    eml_pb_node(&g, "", "Add", NAMES("x", "w"), NAMES("y"), NULL);
    eml_pb_node(&g, "ai.onnx", "Relu", NAMES("y", ""), NAMES("z", ""), NULL);
    eml_pb_value(&g, 12, "z", F32, NULL, 0);
    return g;
}

#endif
