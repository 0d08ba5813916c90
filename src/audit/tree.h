/* The Merkle tree of RFC 6962 section 2.1, with SHA-256: grown leaf by leaf, proved, verified.
 *
 * leaf = H(00 || entry), node = H(01 || left || right), empty tree = H(""). A node (level, index)
 * is the root of the complete subtree over leaves [index << level, (index + 1) << level). A growing
 * tree keeps only its peaks, one for each bit of its size, so appending costs O(log n) and no
 * memory. Proofs are made from nodes that the caller finds (eml_tree_source); those of the newest
 * leaves need only the peaks before them and the leaves themselves (eml_tree_recent). Verification
 * is RFC 9162 section 2.1.3.2 and 2.1.4.2. Nothing here is secret.
 */
#ifndef EML_AUDIT_TREE_H
#define EML_AUDIT_TREE_H

#include "crypto/crypto.h"

#define EML_TREE_SIZE_MAX ((uint64_t)1 << 56)
#define EML_TREE_LEVELS 57u /* levels of nodes in a tree of that size */
#define EML_TREE_PROOF_MAX 64u

EML_MUST enum eml_err eml_tree_leaf(struct eml_bytes entry, struct eml_sha256 *out);
EML_MUST enum eml_err eml_tree_node(const struct eml_sha256 *left, const struct eml_sha256 *right,
                                    struct eml_sha256 *out);

/* A zeroed tree is empty. */
struct eml_tree {
    uint64_t size;
    struct eml_sha256 peak[EML_TREE_LEVELS]; /* [k]: valid if bit k of size is set */
};

/* EML_E_REFUSED: the tree is full. On failure the tree is as it was. */
EML_MUST enum eml_err eml_tree_append(struct eml_tree *t, const struct eml_sha256 *leaf);
EML_MUST enum eml_err eml_tree_root(const struct eml_tree *t, struct eml_sha256 *out);

/* --- proofs --- */
struct eml_tree_proof {
    size_t n;
    struct eml_sha256 hash[EML_TREE_PROOF_MAX];
};

/* Where nodes come from. node: only complete subtrees within the size that was named. */
struct eml_tree_source {
    enum eml_err (*node)(void *ctx, unsigned level, uint64_t index, struct eml_sha256 *out);
    void *ctx;
};

/* The root of the first `size` leaves; size 0 is the empty tree. */
EML_MUST enum eml_err eml_tree_source_root(const struct eml_tree_source *s, uint64_t size,
                                           struct eml_sha256 *root);
/* EML_E_USAGE: index >= size, or a size that no tree has. On failure *out is zero. */
EML_MUST enum eml_err eml_tree_prove_inclusion(const struct eml_tree_source *s, uint64_t index,
                                               uint64_t size, struct eml_tree_proof *out);
/* From size1 to size2, 0 < size1 <= size2. */
EML_MUST enum eml_err eml_tree_prove_consistency(const struct eml_tree_source *s, uint64_t size1,
                                                 uint64_t size2, struct eml_tree_proof *out);

/* The leaves after `base`. Good for proving their inclusion in any tree from their index + 1 to
 * base->size + n leaves, and for consistency from base->size on. */
struct eml_tree_recent {
    const struct eml_tree *base;
    const struct eml_sha256 *leaf; /* n of them */
    size_t n;
};
/* The source borrows r. */
struct eml_tree_source eml_tree_recent_source(const struct eml_tree_recent *r);

/* --- verification: EML_E_INPUT if the numbers or the proof's length make no sense, EML_E_AUTH if
 * the hashes do not lead to the root --- */
EML_MUST enum eml_err eml_tree_verify_inclusion(uint64_t index, uint64_t size,
                                                const struct eml_sha256 *leaf,
                                                const struct eml_tree_proof *proof,
                                                const struct eml_sha256 *root);
/* size1 = 0 has nothing to prove and is refused. */
EML_MUST enum eml_err eml_tree_verify_consistency(uint64_t size1, uint64_t size2,
                                                  const struct eml_tree_proof *proof,
                                                  const struct eml_sha256 *root1,
                                                  const struct eml_sha256 *root2);

#endif
