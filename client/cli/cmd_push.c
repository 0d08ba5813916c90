/* eml push: stores the sealed weights at a host. */
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/say.h"

#include "file/file.h"
#include "net/net.h"
#include "remote/remote.h"

#include <stdio.h>

static enum eml_err push(const char *dir, const char *host, int64_t deadline_ms)
{
    char topology_path[4096], weights_path[4096];
    (void)snprintf(topology_path, sizeof topology_path, "%s/%s", dir, EML_TOPOLOGY_FILE);
    (void)snprintf(weights_path, sizeof weights_path, "%s/%s", dir, EML_WEIGHTS_FILE);
    struct eml_buf encoded = {0};
    struct eml_arena arena = {0};
    struct eml_topology topology;
    struct eml_bytes sealed = {0};
    struct eml_why why = {0};
    enum eml_err e = eml_cli_reserve(&arena);
    if (e == EML_OK)
        e = eml_cli_read_topology(topology_path, &encoded);
    if (e == EML_OK)
        e = eml_cli_decode_topology(topology_path, eml_buf_bytes(&encoded), &arena, &topology);
    if (e != EML_OK)
        goto out;
    if ((e = eml_file_map(weights_path, UINT64_MAX, &sealed, &why)) != EML_OK) {
        (void)eml_say_failed(weights_path, e, &why, NULL);
        goto out;
    }
    if (sealed.len != eml_blob_sealed_bytes(topology.blob.chunks)) {
        e = EML_E_INPUT;
        eml_say("%s does not belong to %s: its size is wrong; decompose the model again",
                weights_path, topology_path);
        goto out;
    }
    e = eml_remote_push(host, topology.blob.object_id, sealed, deadline_ms, &why);
    if (e != EML_OK)
        (void)eml_say_failed(host, e, &why, NULL);
    else
        (void)printf("stored %zu bytes at %s\n", sealed.len, host);
out:
    eml_file_unmap(sealed);
    (void)eml_arena_destroy(&arena);
    eml_buf_free(&encoded);
    return e;
}

static int run(const struct eml_command *self, int argc, char **argv)
{
    struct eml_values host = {0}, timeout = {0}, positional;
    const struct eml_option options[] = {
        {"host", "ADDR", "the host, e.g. tcp:HOST:PORT", 1, true, &host},
        {"timeout", "SECONDS", "for the whole transfer (600)", 1, false, &timeout},
    };
    bool helped;
    uint64_t seconds = 0;
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &positional, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    e = eml_arg_u64("timeout", eml_arg(&timeout, "600"), 1, 86400, &seconds);
    if (e == EML_OK)
        e = push(positional.v[0], host.v[0], eml_net_now_ms() + (int64_t)seconds * 1000);
    return eml_err_exit(e);
}

const struct eml_command eml_cmd_push = {"push", "DIR", 1,
                                         "store the sealed weights of DIR at a host", run};
