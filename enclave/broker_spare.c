#define _GNU_SOURCE
#include "base/log.h"
#include "enclave/broker_state.h"
#include "enclave/ipc.h"
#include "net/net.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

static enum eml_err start(struct eml_broker *b, struct eml_spare *s)
{
    int pair[2] = {-1, -1};
    *s = (struct eml_spare){.sock = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return EML_E_SYSTEM;
    enum eml_err err = eml_spawn(b->program, EML_ROLE_WORKER, pair[1], b->share.fd, NULL, &s->pid);
    eml_net_close(&pair[1]);
    if (err == EML_OK)
        s->sock = pair[0];
    else {
        s->pid = 0;
        eml_net_close(&pair[0]);
    }
    return err;
}

void eml_spare_fill(struct eml_broker *b)
{
    for (size_t i = 0; i < EML_SPARE_WORKERS && !b->stopping; i++)
        if (b->spare[i].pid == 0 && start(b, &b->spare[i]) != EML_OK)
            eml_log_event("spare.none", EML_E_SYSTEM, {"spare", (int64_t)i});
}

/* The child has not been waited for, so the number is still its own. */
static void end(struct eml_spare *s)
{
    (void)kill(s->pid, SIGKILL);
    eml_net_close(&s->sock);
}

static enum eml_err hand_over(struct eml_spare *s, int client)
{
    const uint8_t none[1] = {0};
    enum eml_err err = eml_ipc_send(s->sock, EML_BYTES(none), client);
    if (err != EML_OK)
        end(s);
    return err;
}

enum eml_err eml_spare_serve(struct eml_broker *b, int client, pid_t *pid, int *sock)
{
    struct eml_spare taken = {.sock = -1};
    enum eml_err err = EML_E_NET;
    /* One that died is found out by its socket, before its end is. */
    for (size_t i = 0; i < EML_SPARE_WORKERS && err != EML_OK; i++) {
        if (b->spare[i].pid == 0)
            continue;
        taken = b->spare[i];
        b->spare[i] = (struct eml_spare){.sock = -1};
        err = hand_over(&taken, client);
    }
    if (err != EML_OK) {
        err = start(b, &taken);
        if (err == EML_OK)
            err = hand_over(&taken, client);
    }
    *pid = err == EML_OK ? taken.pid : -1;
    *sock = err == EML_OK ? taken.sock : -1;
    return err;
}

bool eml_spare_ended(struct eml_broker *b, pid_t pid)
{
    for (size_t i = 0; i < EML_SPARE_WORKERS; i++) {
        if (b->spare[i].pid != pid)
            continue;
        eml_net_close(&b->spare[i].sock);
        b->spare[i] = (struct eml_spare){.sock = -1};
        return true;
    }
    return false;
}

void eml_spare_stop(struct eml_broker *b)
{
    for (size_t i = 0; i < EML_SPARE_WORKERS; i++) {
        if (b->spare[i].pid == 0)
            continue;
        end(&b->spare[i]);
        (void)waitpid(b->spare[i].pid, NULL, 0);
        b->spare[i] = (struct eml_spare){.sock = -1};
    }
}
