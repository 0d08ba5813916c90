#include "host/server.h"

#include "base/log.h"
#include "net/net.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

enum { STACK = 256 * 1024, TIRED_MS = 50 };

/* Freed by whoever is last: the server, or a connection that outlives it. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned open[2]; /* connections, by port */
    bool left;        /* the server does not wait any more */
};

struct connection {
    struct eml_host *host;
    struct gate *gate;
    enum eml_host_port port;
    int fd;
};

static void gate_free(struct gate *g)
{
    (void)pthread_cond_destroy(&g->changed);
    (void)pthread_mutex_destroy(&g->lock);
    free(g);
}

static bool gate_enter(struct gate *g, enum eml_host_port port, unsigned limit)
{
    (void)pthread_mutex_lock(&g->lock);
    bool ok = g->open[port] < limit;
    if (ok)
        g->open[port]++;
    (void)pthread_mutex_unlock(&g->lock);
    return ok;
}

/* Of the server itself, which is in: the gate stays. */
static void gate_turn_back(struct gate *g, enum eml_host_port port)
{
    (void)pthread_mutex_lock(&g->lock);
    g->open[port]--;
    (void)pthread_mutex_unlock(&g->lock);
}

static void gate_leave(struct gate *g, enum eml_host_port port)
{
    (void)pthread_mutex_lock(&g->lock);
    g->open[port]--;
    bool last = g->left && g->open[0] + g->open[1] == 0;
    (void)pthread_cond_signal(&g->changed);
    (void)pthread_mutex_unlock(&g->lock);
    if (last)
        gate_free(g);
}

static void *connection_main(void *arg)
{
    struct connection c = *(struct connection *)arg;
    free(arg);
    eml_host_serve(c.host, c.port, c.fd);
    c.host->metrics->active--;
    eml_net_close(&c.fd);
    gate_leave(c.gate, c.port);
    return NULL;
}

static bool start(const struct eml_server *s, struct gate *g, enum eml_host_port port, int fd)
{
    pthread_attr_t attr;
    pthread_t thread;
    struct connection *c = malloc(sizeof *c);
    if (c == NULL)
        return false;
    *c = (struct connection){s->host, g, port, fd};
    s->host->metrics->active++; /* before it runs: main asks who still uses what it frees */
    bool ok = pthread_attr_init(&attr) == 0;
    if (ok) {
        ok = pthread_attr_setstacksize(&attr, STACK) == 0 &&
             pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0 &&
             pthread_create(&thread, &attr, connection_main, c) == 0;
        (void)pthread_attr_destroy(&attr);
    }
    if (!ok) {
        s->host->metrics->active--;
        free(c);
    }
    return ok;
}

static void welcome(const struct eml_server *s, struct gate *g, enum eml_host_port port)
{
    int fd = -1;
    int listener = port == EML_HOST_PORT_CLIENT ? s->client_fd : s->service_fd;
    enum eml_err err = eml_net_accept(listener, eml_net_now_ms(), &fd);
    if (err == EML_E_SYSTEM) {
        /* Out of descriptors: the listener stays readable; wait for some connection to end. */
        (void)poll(NULL, 0, TIRED_MS);
        return;
    }
    if (err != EML_OK)
        return;
    if (port == EML_HOST_PORT_SERVICE && !eml_net_is_from(fd, s->host->enclave)) {
        eml_net_close(&fd);
        return;
    }
    bool entered = gate_enter(g, port, s->connections);
    if (entered && start(s, g, port, fd))
        return;
    if (entered)
        gate_turn_back(g, port);
    eml_host_refuse(s->host, fd);
    eml_net_close(&fd);
}

static enum eml_err drain(struct gate *g, int64_t grace_ms)
{
    struct timespec until = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += grace_ms / 1000;
    (void)pthread_mutex_lock(&g->lock);
    int r = 0;
    while (r == 0 && g->open[0] + g->open[1] > 0)
        r = pthread_cond_timedwait(&g->changed, &g->lock, &until);
    bool empty = g->open[0] + g->open[1] == 0;
    g->left = true;
    (void)pthread_mutex_unlock(&g->lock);
    if (empty)
        gate_free(g);
    return empty ? EML_OK : EML_E_NET;
}

static struct gate *gate_new(void)
{
    struct gate *g = calloc(1, sizeof *g);
    pthread_condattr_t attr;
    if (g == NULL || pthread_condattr_init(&attr) != 0) {
        free(g);
        return NULL;
    }
    bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&g->changed, &attr) == 0 && pthread_mutex_init(&g->lock, NULL) == 0;
    (void)pthread_condattr_destroy(&attr);
    if (!ok) {
        free(g);
        return NULL;
    }
    return g;
}

enum eml_err eml_server_run(const struct eml_server *s)
{
    struct gate *g = gate_new();
    if (g == NULL)
        return EML_E_SYSTEM;
    for (;;) {
        struct pollfd p[3] = {{.fd = s->client_fd, .events = POLLIN},
                              {.fd = s->service_fd, .events = POLLIN},
                              {.fd = s->stop_fd, .events = POLLIN}};
        if (poll(p, 3, -1) < 0 && errno != EINTR)
            break;
        if (p[2].revents != 0)
            break;
        if (p[0].revents != 0)
            welcome(s, g, EML_HOST_PORT_CLIENT);
        if (p[1].revents != 0)
            welcome(s, g, EML_HOST_PORT_SERVICE);
    }
    return drain(g, s->grace_ms);
}
