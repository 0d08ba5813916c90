/* Generated topologies: valid by the rules of docs/formats/topology-key.md, of every kind of value,
 * attribute type, layout and arity; not meant to be runnable (shapes are not made to agree). */
#ifndef EML_TESTSUPPORT_GEN_GRAPH_H
#define EML_TESTSUPPORT_GEN_GRAPH_H

#include "testsupport/support.h"

#include "base/arena.h"

struct eml_topology;

/* About `nodes` nodes (at least 1, at most 1000). All memory is from the arena; aborts if it is
 * full. */
void eml_gen_topology(struct eml_gen *g, struct eml_arena *arena, uint32_t nodes,
                      struct eml_topology *out);

#endif
