/* Hard limits of the model formats. Budgets in a topology key can only be tighter. */
#ifndef EML_MODEL_LIMITS_H
#define EML_MODEL_LIMITS_H

#include <stdint.h>

#define EML_GRAPH_VALUES_MAX 400000u
#define EML_GRAPH_NODES_MAX 100000u
#define EML_GRAPH_IO_MAX 256u /* inputs, and outputs, of a graph */
#define EML_NODE_IN_MAX 1024u /* Concat of DenseNet-like graphs */
#define EML_NODE_OUT_MAX 256u
#define EML_NODE_ATTR_MAX 32u
#define EML_ATTR_INTS_MAX 1024u
#define EML_INTS_MAX 4096u           /* elements of one EML_VALUE_INTS */
#define EML_GRAPH_BODIES_MAX 4096u   /* bodies of If, Loop, Scan, SequenceMap, all together */
#define EML_GRAPH_DEPTH_MAX 8u       /* bodies within bodies */
#define EML_ITERATIONS_MAX 10000000u /* of all loops in one run, together */
#define EML_NAME_BYTES_MAX 512u
#define EML_TOPOLOGY_BYTES_MAX (64u << 20)
#define EML_WEIGHT_BYTES_MAX ((uint64_t)16 << 30)
#define EML_TENSOR_BYTES_MAX ((uint64_t)8 << 30)

#endif
