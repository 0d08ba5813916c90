/* Where a log's bytes stand (C2SP tlog-tiles): names and widths. No file is touched here.
 *
 * Tile (level, n) holds the hashes of 256 complete subtrees of height 8 * level, one after another;
 * an entry bundle holds 256 entries, each be16 length || bytes. The last tile of a level and the
 * last bundle are partial unless the size is a multiple: their name ends in ".p/WIDTH".
 */
#ifndef EML_TILE_TILE_H
#define EML_TILE_TILE_H

#include "base/cur.h"

#define EML_TILE_WIDTH 256u
#define EML_TILE_HASH 32u
#define EML_TILE_LEVELS 8u /* of a tree of up to 2^56 leaves */
#define EML_TILE_PATH_MAX 64u
#define EML_TILE_ENTRIES EML_TILE_LEVELS /* as `level`: the bundles */

/* Hashes (or entries) that stand at a level in a tree of this size. */
uint64_t eml_tile_count(uint64_t size, unsigned level);
/* How many of them in tile n; 0: there is none. */
unsigned eml_tile_width(uint64_t size, unsigned level, uint64_t n);
/* "tile/0/x001/234", "tile/entries/000.p/7". width: 1..256. */
void eml_tile_path(unsigned level, uint64_t n, unsigned width, char out[EML_TILE_PATH_MAX]);

/* The next entry of a bundle; the cursor fails if there is none. */
struct eml_bytes eml_tile_entry(struct eml_cur *bundle);

#endif
