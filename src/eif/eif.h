/* Enclave Image Format, version 4 (aws/aws-nitro-enclaves-image-format): reading, measuring,
 * writing.
 *
 * Big-endian header of 548 bytes with a table of sections, then the sections, each with a header of
 * its own. Readers of AWS and QEMU find sections in different ways (in sequence, or by the table):
 * an image in which the two disagree means two things at once and is refused, as is anything that
 * does not add up to the file's last byte. The CRC-32 only detects damage. What is measured is the
 * data of kernel, command line and ramdisks; header, metadata and signature are not.
 */
#ifndef EML_EIF_EIF_H
#define EML_EIF_EIF_H

#include "crypto/crypto.h"

#define EML_EIF_VERSION 4u
#define EML_EIF_SECTIONS_MAX 32u
#define EML_EIF_SIGNATURE_MAX 32768u
#define EML_EIF_FILE_MAX ((uint64_t)4 << 30)

enum eml_eif_type {
    EML_EIF_KERNEL = 1,
    EML_EIF_CMDLINE = 2,
    EML_EIF_RAMDISK = 3,
    EML_EIF_SIGNATURE = 4,
    EML_EIF_METADATA = 5,
};

struct eml_eif_section {
    enum eml_eif_type type;
    struct eml_bytes data; /* borrowed */
};

struct eml_eif {
    uint16_t version;        /* 2 to 4 */
    uint16_t flags;          /* bit 0: aarch64 */
    uint64_t default_memory; /* bytes; informative */
    uint64_t default_cpus;
    uint32_t crc;
    size_t n;
    struct eml_eif_section section[EML_EIF_SECTIONS_MAX]; /* in file order */
};

/* Reads a whole image; views point into `file`. EML_E_INPUT names the rule; why->index is the
 * section. *out is zero then. A wrong CRC is such a rule. */
EML_MUST enum eml_err eml_eif_parse(struct eml_bytes file, struct eml_eif *out,
                                    struct eml_why *why);

/* The first section of a type, empty if there is none. */
struct eml_bytes eml_eif_find(const struct eml_eif *e, enum eml_eif_type type);

/* PCRn = SHA-384(48 zero bytes || SHA-384(content)): 0 kernel, command line and all ramdisks in
 * file order, 1 the same up to the first ramdisk, 2 the other ramdisks. */
struct eml_eif_pcrs {
    struct eml_sha384 pcr[3];
};
EML_MUST enum eml_err eml_eif_measure(const struct eml_eif *e, struct eml_eif_pcrs *out);

/* PCR of any content, and PCR8 of a signing certificate in PEM (of its DER). */
EML_MUST enum eml_err eml_eif_pcr(const struct eml_bytes *parts, size_t n, struct eml_sha384 *out);
EML_MUST enum eml_err eml_eif_pcr8(struct eml_bytes certificate_pem, struct eml_sha384 *out);

/* The signature section: checks that it signs this image's PCR0 with the certificate that it
 * carries (ES384; others are EML_E_UNSUPPORTED). *pcr8 is what the enclave's PCR8 will be. Whether
 * the certificate is trusted is for the caller to decide by PCR8. EML_E_AUTH: it signs something
 * else. Images without one: EML_E_USAGE. */
EML_MUST enum eml_err eml_eif_check_signature(const struct eml_eif *e,
                                              const struct eml_eif_pcrs *pcrs,
                                              struct eml_sha384 *pcr8, struct eml_why *why);

/* Signs PCR0; appends the data of a signature section. key: PKCS#8 or SEC1 DER (secret), P-384. */
EML_MUST enum eml_err eml_eif_sign(const struct eml_eif_pcrs *pcrs, struct eml_bytes key,
                                   struct eml_bytes certificate_pem, struct eml_buf *out);

/* Appends an image with these sections in this order; version, flags and defaults are taken from e,
 * the CRC is computed. The rules of eml_eif_parse hold: what is written can be read. */
EML_MUST enum eml_err eml_eif_write(const struct eml_eif *e, struct eml_buf *out,
                                    struct eml_why *why);

#endif
