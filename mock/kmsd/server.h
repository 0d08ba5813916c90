/* HTTPS around the API: libmicrohttpd with GnuTLS, TLS 1.2 and 1.3 only, one thread, POST / only.
 */
#ifndef EML_KMSD_SERVER_H
#define EML_KMSD_SERVER_H

#include "kmsd/api.h"
#include "kmsd/auth.h"

struct eml_kmsd_server;

struct eml_kmsd_options {
    const char *listen;             /* HOST:PORT; port 0: any */
    const char *cert_pem, *key_pem; /* NUL-terminated contents, borrowed while the server runs */
    struct eml_kmsd_auth auth;
    struct eml_kmsd_api api;
};

/* Listens and serves until stopped. *options is borrowed. */
EML_MUST enum eml_err eml_kmsd_server_start(struct eml_kmsd_options *options,
                                            struct eml_kmsd_server **out, struct eml_why *why);
uint16_t eml_kmsd_server_port(const struct eml_kmsd_server *s);
void eml_kmsd_server_stop(struct eml_kmsd_server *s); /* NULL is allowed */

#endif
