#include "kmsd/server.h"

#include "base/log.h"

#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define CONNECTIONS_MAX 64u
#define IDLE_SECONDS 30u
#define CONNECTION_MEMORY_BYTES 65536u
#define HEADERS_MAX 64u
#define TLS_VERSIONS "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct eml_kmsd_server {
    struct MHD_Daemon *daemon;
    struct eml_kmsd_options *options;
};

struct upload { /* one request on its way in */
    struct eml_buf body;
    bool too_long;
};

struct headers {
    struct eml_sigv4_header header[HEADERS_MAX];
    size_t n;
    bool too_many;
};

static enum MHD_Result add_header(void *to, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct headers *h = to;
    (void)kind;
    if (h->n == HEADERS_MAX) {
        h->too_many = true;
        return MHD_NO;
    }
    h->header[h->n++] = (struct eml_sigv4_header){eml_bytes_of_str(name),
                                                  eml_bytes_of_str(value != NULL ? value : "")};
    return MHD_YES;
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct eml_kmsd_reply *reply)
{
    char id[EML_KMSD_ID_BYTES + 1];
    struct MHD_Response *r =
        MHD_create_response_from_buffer(reply->body.len, reply->body.ptr, MHD_RESPMEM_MUST_COPY);
    if (r == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(r, "Content-Type", "application/x-amz-json-1.1");
    (void)MHD_add_response_header(r, "Cache-Control", "no-store");
    if (eml_kmsd_uuid(id) == EML_OK)
        (void)MHD_add_response_header(r, "x-amzn-RequestId", id);
    enum MHD_Result sent = MHD_queue_response(connection, reply->status, r);
    MHD_destroy_response(r);
    return sent;
}

static void answer(struct eml_kmsd_options *o, const struct eml_sigv4_request *request,
                   struct eml_kmsd_reply *reply)
{
    static const char service[] = "TrentService.";
    const struct eml_kmsd_caller *caller;
    int64_t now = (int64_t)time(NULL);
    const char *error = eml_kmsd_authenticate(&o->auth, request, now, &caller);
    struct eml_bytes target = eml_kmsd_header(request, "x-amz-target");
    if (error != NULL)
        eml_kmsd_api_error(error, "", reply);
    else if (target.len < sizeof service || memcmp(target.ptr, service, sizeof service - 1) != 0)
        eml_kmsd_api_error("UnknownOperationException", "", reply);
    else
        eml_kmsd_api_call(
            &o->api, eml_bytes(target.ptr + sizeof service - 1, target.len - (sizeof service - 1)),
            caller->arn, request->body, now, reply);
}

static enum MHD_Result finish(struct eml_kmsd_server *s, struct MHD_Connection *connection,
                              const char *method, const char *url, const struct upload *u)
{
    struct headers h = {.n = 0};
    struct eml_kmsd_reply reply = {0};
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, add_header, &h);
    const struct eml_sigv4_request request = {.method = eml_bytes_of_str(method),
                                              .path = eml_bytes_of_str(url),
                                              .header = h.header,
                                              .n_headers = h.n,
                                              .body = eml_buf_bytes(&u->body)};
    if (strcmp(method, "POST") != 0 || strcmp(url, "/") != 0)
        eml_kmsd_api_error("UnknownOperationException", "", &reply);
    else if (u->too_long || h.too_many) {
        eml_kmsd_api_error("RequestEntityTooLargeException", "", &reply);
        reply.status = 413;
    } else
        answer(s->options, &request, &reply);
    eml_log_event("request", reply.status == 200 ? EML_OK : EML_E_REFUSED,
                  {"status", (int64_t)reply.status}, {"bytes", (int64_t)u->body.len});
    enum MHD_Result sent = send_reply(connection, &reply);
    eml_kmsd_reply_free(&reply);
    return sent;
}

/* Called first with the headers, then with pieces of the body, then with nothing more to come. */
static enum MHD_Result handle(void *server, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_bytes, void **state)
{
    struct upload *u = *state;
    (void)version;
    if (u == NULL) {
        u = calloc(1, sizeof *u);
        if (u == NULL)
            return MHD_NO;
        u->body.max = EML_KMSD_BODY_BYTES_MAX;
        *state = u;
        return MHD_YES;
    }
    if (*data_bytes != 0) {
        if (!u->too_long)
            eml_buf_put(&u->body, eml_bytes(data, *data_bytes));
        u->too_long = u->body.failed;
        *data_bytes = 0;
        return MHD_YES;
    }
    return finish(server, connection, method, url, u);
}

static void completed(void *server, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode why)
{
    struct upload *u = *state;
    (void)server;
    (void)connection;
    (void)why;
    if (u != NULL)
        eml_buf_free(&u->body);
    free(u);
    *state = NULL;
}

/* HOST:PORT into an address, by the system's resolver. */
static enum eml_err resolve(const char *listen, struct sockaddr_storage *out, struct eml_why *why)
{
    char host[256];
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(listen, ':');
    size_t n = colon != NULL ? (size_t)(colon - listen) : 0;
    if (n == 0 || n >= sizeof host)
        return eml_fail(why, EML_E_USAGE, "listen: not HOST:PORT", -1);
    memcpy(host, listen, n);
    host[n] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0 || found == NULL)
        return eml_fail(why, EML_E_USAGE, "listen: no such host or port", -1);
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return EML_OK;
}

enum eml_err eml_kmsd_server_start(struct eml_kmsd_options *options, struct eml_kmsd_server **out,
                                   struct eml_why *why)
{
    struct sockaddr_storage address = {0};
    *out = NULL;
    EML_TRY(resolve(options->listen, &address, why));
    struct eml_kmsd_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return eml_fail(why, EML_E_SYSTEM, "no memory", -1);
    s->options = options;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_TLS;
    if (address.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, s, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
        MHD_OPTION_HTTPS_MEM_CERT, options->cert_pem, MHD_OPTION_HTTPS_MEM_KEY, options->key_pem,
        MHD_OPTION_HTTPS_PRIORITIES, TLS_VERSIONS, MHD_OPTION_NOTIFY_COMPLETED, completed, s,
        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (s->daemon == NULL) {
        free(s);
        return eml_fail(why, EML_E_SYSTEM,
                        "cannot listen: the port is taken, or the TLS key and certificate are not "
                        "a pair",
                        -1);
    }
    *out = s;
    return EML_OK;
}

uint16_t eml_kmsd_server_port(const struct eml_kmsd_server *s)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info != NULL ? info->port : 0;
}

void eml_kmsd_server_stop(struct eml_kmsd_server *s)
{
    if (s == NULL)
        return;
    MHD_stop_daemon(s->daemon);
    free(s);
}
