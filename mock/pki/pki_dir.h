/* The development PKI as files: DIR/root.pem and DIR/root.key (mode 0600), and a TLS server
 * certificate for the development KMS: DIR/kms-ca.pem, DIR/kms.pem, DIR/kms.key (mode 0600).
 * Nothing is ever overwritten.
 */
#ifndef EML_PKI_PKI_DIR_H
#define EML_PKI_PKI_DIR_H

#include "pki/mint.h"

/* Makes the directory (mode 0700) if it is not there, and a root valid for ten years. */
EML_MUST enum eml_err eml_pki_dir_create(const char *dir, int64_t now_unix_s,
                                         struct eml_sha256 *root, struct eml_why *why);
EML_MUST enum eml_err eml_pki_dir_load(const char *dir, struct eml_minted *root,
                                       struct eml_why *why);
/* The server's names: localhost, 127.0.0.1 and the given ones (DNS names, or IPv4 addresses). */
EML_MUST enum eml_err eml_pki_dir_create_tls(const char *dir, int64_t now_unix_s,
                                             char *const *names, size_t n, struct eml_why *why);

/* PCR 0, 1 and 2 that the development NSM reports for a program: extend(0, SHA384(program)),
 * extend(0, SHA384("eml development kernel")) and
 * extend(0, SHA384(program || "eml development application")), extend as in nsm_mock.c. */
EML_MUST enum eml_err eml_pki_measure(const char *program, struct eml_sha384 pcr[3],
                                      struct eml_why *why);

#endif
