/* The two listeners: a thread for each connection, within a limit, until told to stop. */
#ifndef EML_HOST_SERVER_H
#define EML_HOST_SERVER_H

#include "host/serve.h"

struct eml_server {
    struct eml_host *host;
    int client_fd, service_fd; /* listening */
    int stop_fd;               /* readable: stop (a signalfd or an eventfd) */
    unsigned connections;      /* limit on each port */
    int64_t grace_ms;          /* what running connections get at the end */
};

/* Accepts until stop_fd is readable, then waits for connections to end, at most grace_ms. EML_OK if
 * all ended; EML_E_NET if some were left (their threads go on until the process ends). */
EML_MUST enum eml_err eml_server_run(const struct eml_server *s);

#endif
