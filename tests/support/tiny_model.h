/* The smallest model there is, z = x + w, for fuzz targets that are not about models. */
#ifndef EML_TESTSUPPORT_TINY_MODEL_H
#define EML_TESTSUPPORT_TINY_MODEL_H

#include "blob/blob.h"
#include "topology/topology.h"

#include <string.h>

enum { EML_TINY_N = 4 };

struct eml_tiny_model {
    struct eml_buf topology, sealed;
    uint8_t digest[32]; /* of the sealed weights */
    float x[EML_TINY_N], w[EML_TINY_N];
};

static inline void eml_tiny_model_make(struct eml_tiny_model *m)
{
    static const uint32_t in[] = {0, 1}, out[] = {2};
    struct eml_value values[] = {
        {.kind = EML_VALUE_INPUT, .dtype = EML_DT_F32, .shape = {1, {EML_TINY_N}}},
        {.kind = EML_VALUE_SLOT,
         .dtype = EML_DT_F32,
         .shape = {1, {EML_TINY_N}},
         .bytes = sizeof m->w},
        {.kind = EML_VALUE_NODE, .dtype = EML_DT_F32, .shape = {1, {EML_TINY_N}}}};
    struct eml_node node = {
        .op = EML_OP_ADD, .n_in = 2, .n_out = 1, .in = in, .out = out, .params = EML_ABSENT};
    struct eml_name input = {EML_LIT("x"), 0}, output = {EML_LIT("z"), 2};
    struct eml_topology t = {.min_version = 1, .blob = {.version = 1}};
    t.graph = (struct eml_graph){.n_values = 3,
                                 .n_nodes = 1,
                                 .n_inputs = 1,
                                 .n_outputs = 1,
                                 .values = values,
                                 .nodes = &node,
                                 .inputs = &input,
                                 .outputs = &output};
    for (int i = 0; i < EML_TINY_N; i++) {
        m->x[i] = (float)i;
        m->w[i] = (float)(2 * i + 1);
    }
    EML_ASSERT(eml_blob_seal(eml_bytes(m->w, sizeof m->w), &t.blob, &m->sealed) == EML_OK);
    memcpy(m->digest, t.blob.digest, sizeof m->digest);
    EML_ASSERT(eml_topology_encode(&t, &m->topology) == EML_OK);
}

#endif
