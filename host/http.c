#include "host/http.h"

#include "host/limits.h"
#include "net/net.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct eml_http {
    struct MHD_Daemon *daemon;
    struct eml_host *host;
    uint16_t port;
};

static enum MHD_Result reply(struct MHD_Connection *c, unsigned code, const char *type,
                             struct eml_bytes body)
{
    union {
        const uint8_t *in;
        void *out;
    } text = {body.ptr}; /* copied, not written to */
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body.len, text.out, MHD_RESPMEM_MUST_COPY);
    if (r == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(r, "Content-Type", type) == MHD_YES
                                 ? MHD_queue_response(c, code, r)
                                 : MHD_NO;
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result metrics(struct eml_http *s, struct MHD_Connection *c)
{
    struct eml_buf text = {0};
    uint64_t objects, bytes;
    eml_store_count(s->host->store, &objects, &bytes);
    eml_metrics_print(s->host->metrics, objects, bytes, &text);
    enum MHD_Result r = MHD_NO;
    if (eml_buf_ok(&text) == EML_OK)
        r = reply(c, MHD_HTTP_OK, "text/plain; version=0.0.4", eml_buf_bytes(&text));
    eml_buf_free(&text);
    return r;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **state)
{
    (void)version;
    (void)data;
    (void)data_size;
    (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
        return reply(c, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", EML_LIT("GET only\n"));
    if (strcmp(url, "/metrics") == 0)
        return metrics(ctx, c);
    if (strcmp(url, "/health") == 0)
        return reply(c, MHD_HTTP_OK, "text/plain", EML_LIT("ok\n"));
    return reply(c, MHD_HTTP_NOT_FOUND, "text/plain", EML_LIT("/metrics or /health\n"));
}

enum eml_err eml_http_start(const char *address, struct eml_host *h, struct eml_http **out,
                            struct eml_why *why)
{
    char text[300];
    int fd = -1;
    *out = NULL;
    int n = snprintf(text, sizeof text, "tcp:%s", address);
    if (n < 0 || (size_t)n >= sizeof text)
        return eml_fail(why, EML_E_USAGE, "address: HOST:PORT is too long", -1);
    EML_TRY(eml_net_listen(text, &fd, why));
    struct eml_http *s = calloc(1, sizeof *s);
    if (s != NULL) {
        s->host = h;
        s->port = eml_net_port(fd);
        s->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, s,
                                     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                                     EML_HOST_HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, 10u,
                                     MHD_OPTION_END);
    }
    if (s == NULL || s->daemon == NULL) {
        eml_net_close(&fd);
        free(s);
        return eml_fail(why, EML_E_SYSTEM, "http: cannot start", -1);
    }
    *out = s;
    return EML_OK;
}

uint16_t eml_http_port(const struct eml_http *s)
{
    return s->port;
}

void eml_http_stop(struct eml_http *s)
{
    if (s == NULL)
        return;
    MHD_stop_daemon(s->daemon);
    free(s);
}
