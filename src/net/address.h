/* Addresses as text, parsed: see net.h for the grammar. Trusts nothing; opens nothing. */
#ifndef EML_NET_ADDRESS_H
#define EML_NET_ADDRESS_H

#include "base/bytes.h"

enum eml_address_kind {
    EML_ADDRESS_TCP,
    EML_ADDRESS_UNIX,
    EML_ADDRESS_VSOCK,
    EML_ADDRESS_VSOCK_UNIX
};

#define EML_ADDRESS_HOST_MAX 255u
#define EML_ADDRESS_PATH_MAX 107u /* sun_path without its NUL */
#define EML_ADDRESS_CID_ANY UINT32_MAX

struct eml_address {
    enum eml_address_kind kind;
    char host[EML_ADDRESS_HOST_MAX + 1]; /* tcp: name or number, without brackets */
    char path[EML_ADDRESS_PATH_MAX + 1]; /* unix, vsock-unix */
    uint32_t cid;                        /* vsock */
    uint32_t port;                       /* all but unix; tcp: at most 65535 */
};

/* EML_E_USAGE with the rule that was broken; *out is then zero. */
EML_MUST enum eml_err eml_address_parse(const char *text, struct eml_address *out,
                                        struct eml_why *why);

#endif
