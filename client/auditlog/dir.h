/* A log's directory as the host keeps it (C2SP tlog-tiles), read tile by tile. Trusts nothing: what
 * is read here is checked by who asks. One tile of each level and one bundle are kept in memory.
 */
#ifndef EML_AUDITLOG_DIR_H
#define EML_AUDITLOG_DIR_H

#include "audit/tree.h"
#include "tile/tile.h"

#define EML_LOG_PARTS (EML_TILE_LEVELS + 1u) /* levels of tiles, then the entries */

struct eml_log_dir {
    const char *path; /* borrowed */
    uint64_t size;    /* of the tree whose tiles are read */
    struct {
        struct eml_buf bytes;
        uint64_t n;
        bool loaded;
    } part[EML_LOG_PARTS];
};

/* A zeroed struct with path and size is open. */
void eml_log_dir_close(struct eml_log_dir *d);
/* A file below the directory, at most max bytes, in an empty *out. */
EML_MUST enum eml_err eml_log_dir_file(const struct eml_log_dir *d, const char *name, uint64_t max,
                                       struct eml_buf *out, struct eml_why *why);
/* The bytes of tile n, borrowed until the next tile of this part is asked for; whole: a wrong
 * length is EML_E_INPUT.
 */
EML_MUST enum eml_err eml_log_dir_tile(struct eml_log_dir *d, unsigned part, uint64_t n,
                                       struct eml_bytes *out, struct eml_why *why);
/* One entry; borrowed as a tile is. EML_E_USAGE: no such index. */
EML_MUST enum eml_err eml_log_dir_entry(struct eml_log_dir *d, uint64_t index,
                                        struct eml_bytes *out, struct eml_why *why);
/* Nodes for proofs, as the tiles claim them. The source borrows d. */
struct eml_tree_source eml_log_dir_source(struct eml_log_dir *d);

#endif
