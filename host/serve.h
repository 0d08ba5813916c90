/* One connection of either port, from its first frame to its end (docs/formats/host.md). */
#ifndef EML_HOST_SERVE_H
#define EML_HOST_SERVE_H

#include "host/metrics.h"
#include "host/relay.h"
#include "host/sink.h"
#include "host/store.h"

struct eml_host {
    const char *enclave;      /* address */
    const char *kms_endpoint; /* address, or NULL: no egress */
    const char *credentials;  /* path, or NULL: none */
    struct eml_relay_limits limits;
    struct eml_store *store;
    struct eml_sink *sink;
    int stop_fd; /* readable: the host is about to stop; ends what would stay for good */
    struct eml_metrics *metrics;
};

enum eml_host_port { EML_HOST_PORT_CLIENT, EML_HOST_PORT_SERVICE };

/* Blocks until the connection is over; the caller closes fd. Logs numbers and classes only. */
void eml_host_serve(struct eml_host *h, enum eml_host_port port, int fd);

/* Tells a connection over the limit that the host is busy; does not wait. */
void eml_host_refuse(struct eml_host *h, int fd);

#endif
