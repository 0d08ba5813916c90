/* A ramdisk as Linux reads it (Documentation/driver-api/early-userspace/buffer-format.rst): a cpio
 * archive of the "newc" kind, uncompressed. Writing only.
 *
 * The same names, kinds and contents give the same bytes: owner is root, times are zero, inode
 * numbers count from 0, modes are 0755 or 0644. An archive takes a multiple of four bytes, so that
 * ramdisks can follow each other.
 */
#ifndef EML_EIF_CPIO_H
#define EML_EIF_CPIO_H

#include "base/bytes.h"

enum eml_cpio_kind { EML_CPIO_DIRECTORY, EML_CPIO_FILE, EML_CPIO_PROGRAM /* a file with 0755 */ };

struct eml_cpio_entry {
    const char *name; /* relative path without "." and ".." */
    enum eml_cpio_kind kind;
    struct eml_bytes data; /* empty for a directory; borrowed */
};

/* Appends an archive. Names must ascend bytewise, so that a folder comes before what is in it and
 * none comes twice. EML_E_USAGE for names that do not, and for data over 4 GiB; why->index is the
 * entry. */
EML_MUST enum eml_err eml_cpio_write(const struct eml_cpio_entry *entry, size_t n,
                                     struct eml_buf *out, struct eml_why *why);

#endif
