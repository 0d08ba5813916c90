/* The topology key: the graph and everything that opens the sealed weights. The client's secret.
 *
 * Canonical CBOR (RFC 8949 section 4.2.1; grammar in docs/formats/topology-key.cddl), without any
 * floating-point item. decode(x) ok implies encode(decode(x)) == x. All decoded memory lies in the
 * arena given. As a file: mode 0600.
 */
#ifndef EML_TOPOLOGY_TOPOLOGY_H
#define EML_TOPOLOGY_TOPOLOGY_H

#include "blob/blob.h"
#include "model/graph.h"

struct eml_topology {
    uint64_t min_version;          /* weights older than this are refused; <= blob.version */
    struct eml_blob_info blob;     /* model id, version, object id, chunks, sealing key: secret */
    uint64_t activation_bytes_max; /* budget, 0 = the enclave's own limit */
    uint64_t flops_max;            /* budget, 0 = the enclave's own limit */
    struct eml_graph graph;
};

/* Appends the canonical encoding. */
EML_MUST enum eml_err eml_topology_encode(const struct eml_topology *t, struct eml_buf *out);

/* Decodes and checks (eml_graph_check included). EML_E_INPUT names the rule in *why. */
EML_MUST enum eml_err eml_topology_decode(struct eml_bytes encoded, struct eml_arena *arena,
                                          struct eml_topology *out, struct eml_why *why);

#endif
