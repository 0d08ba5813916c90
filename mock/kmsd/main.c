/* eml-kmsd: a KMS for development. It speaks AWS KMS's JSON API over TLS and decides by key
 * policies as KMS does, but keeps its keys in files: nothing for secrets that matter. */
#include "kmsd/server.h"

#include "base/log.h"
#include "base/wipe.h"
#include "wire/json.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEM_BYTES_MAX 65536u
#define DEFAULT_REGION "us-east-1"
#define DEFAULT_CALLER "arn:aws:iam::" EML_KMSD_ACCOUNT ":root"

static const char usage[] =
    "usage: eml-kmsd --listen HOST:PORT --store DIR --tls-cert FILE --tls-key FILE\n"
    "                --root FILE.pem|aws ... --access-key ID=SECRET[,ARN] ...\n"
    "                [--region REGION]\n"
    "A KMS for development: AWS KMS's JSON API over TLS, keys in files of DIR.\n"
    "  --root        root of attestation documents to trust; may be given four times\n"
    "  --access-key  a caller; ARN is who that is to key policies\n"
    "                (default " DEFAULT_CALLER ")\n"
    "  --region      of the keys' ARNs and of signatures (default " DEFAULT_REGION ")\n"
    "Prints \"listening HOST:PORT\" when it serves; ends on SIGINT or SIGTERM.\n";

struct program {
    struct eml_kmsd_options options;
    const char *store_dir, *cert_file, *key_file, *region;
    struct eml_buf cert, key; /* key: secret */
};

static int report(enum eml_err e, const char *what, const struct eml_why *why)
{
    (void)fprintf(stderr, "eml-kmsd: %s: %s\n", what,
                  why->rule != NULL ? why->rule : eml_err_name(e));
    return eml_err_exit(e);
}

/* A whole small file; `out` has a NUL behind it that is not counted. */
static enum eml_err read_pem(const char *path, struct eml_buf *out, struct eml_why *why)
{
    uint8_t chunk[4096];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return eml_fail(why, EML_E_SYSTEM, "cannot open the file", -1);
    out->max = PEM_BYTES_MAX;
    while ((n = read(fd, chunk, sizeof chunk)) > 0)
        eml_buf_put(out, eml_bytes(chunk, (size_t)n));
    eml_wipe(chunk, sizeof chunk);
    (void)close(fd);
    eml_buf_put_u8(out, 0);
    if (n < 0 || out->failed)
        return eml_fail(why, EML_E_SYSTEM, "cannot read the file, or it is too long", -1);
    out->len--;
    return EML_OK;
}

static enum eml_err add_root(struct eml_kmsd_trust *t, const char *value, struct eml_why *why)
{
    struct eml_buf pem = {0};
    if (t->n_roots == EML_KMSD_ROOTS_MAX)
        return eml_fail(why, EML_E_USAGE, "--root given too often", -1);
    if (strcmp(value, "aws") == 0) {
        t->root[t->n_roots++] = eml_attest_aws_root;
        return EML_OK;
    }
    enum eml_err e = read_pem(value, &pem, why);
    if (e == EML_OK && eml_x509_pem_digest(eml_buf_bytes(&pem), &t->root[t->n_roots]) != EML_OK)
        e = eml_fail(why, EML_E_INPUT, "not one certificate in PEM", -1);
    if (e == EML_OK)
        t->n_roots++;
    eml_buf_free(&pem);
    return e;
}

static enum eml_err add_caller(struct eml_kmsd_auth *a, const char *value, struct eml_why *why)
{
    const char *equals = strchr(value, '='), *comma = strchr(value, ',');
    if (a->n_callers == EML_KMSD_CALLERS_MAX)
        return eml_fail(why, EML_E_USAGE, "--access-key given too often", -1);
    if (equals == NULL || equals == value || (comma != NULL && comma <= equals + 1) ||
        equals[1] == '\0')
        return eml_fail(why, EML_E_USAGE, "not ID=SECRET or ID=SECRET,ARN", -1);
    size_t secret = comma != NULL ? (size_t)(comma - equals - 1) : strlen(equals + 1);
    a->caller[a->n_callers++] = (struct eml_kmsd_caller){
        eml_bytes(value, (size_t)(equals - value)), eml_bytes(equals + 1, secret),
        comma != NULL ? comma + 1 : DEFAULT_CALLER};
    return EML_OK;
}

static enum eml_err set_option(struct program *p, const char *name, const char *value,
                               struct eml_why *why)
{
    const struct {
        const char *name;
        const char **value;
    } texts[] = {{"--listen", &p->options.listen},
                 {"--store", &p->store_dir},
                 {"--tls-cert", &p->cert_file},
                 {"--tls-key", &p->key_file},
                 {"--region", &p->region}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].value = value;
            return EML_OK;
        }
    if (strcmp(name, "--root") == 0)
        return add_root(&p->options.api.trust, value, why);
    if (strcmp(name, "--access-key") == 0)
        return add_caller(&p->options.auth, value, why);
    return eml_fail(why, EML_E_USAGE, "no such option", -1);
}

/* Returns -1 to go on, else the exit code. */
static int parse(struct program *p, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        struct eml_why why = {0};
        if (strcmp(argv[i], "--help") == 0)
            return fputs(usage, stdout) >= 0 ? 0 : 1;
        enum eml_err e = i + 1 < argc ? set_option(p, argv[i], argv[i + 1], &why)
                                      : eml_fail(&why, EML_E_USAGE, "needs a value", -1);
        if (e != EML_OK) { /* the value may be a secret: only the option's name is shown */
            int code = report(e, argv[i], &why);
            return code;
        }
    }
    if (p->options.listen == NULL || p->store_dir == NULL || p->cert_file == NULL ||
        p->key_file == NULL || p->options.api.trust.n_roots == 0 ||
        p->options.auth.n_callers == 0) {
        (void)fputs(usage, stderr);
        return 2;
    }
    p->options.api.region = p->region;
    p->options.auth.region = eml_bytes_of_str(p->region);
    return -1;
}

static int serve(struct program *p, const sigset_t *ending)
{
    struct eml_kmsd_server *server = NULL;
    struct eml_why why = {0};
    int signal_number = 0;
    enum eml_err e = eml_kmsd_server_start(&p->options, &server, &why);
    if (e != EML_OK)
        return report(e, p->options.listen, &why);
    const char *colon = strrchr(p->options.listen, ':');
    (void)printf("listening %.*s:%u\n", (int)(colon - p->options.listen), p->options.listen,
                 (unsigned)eml_kmsd_server_port(server));
    (void)fflush(stdout);
    (void)sigwait(ending, &signal_number);
    eml_kmsd_server_stop(server);
    return 0;
}

int main(int argc, char **argv)
{
    struct program p = {.region = DEFAULT_REGION};
    struct eml_why why = {0};
    sigset_t ending;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&ending);
    (void)sigaddset(&ending, SIGINT);
    (void)sigaddset(&ending, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &ending, NULL); /* before the server's thread is made */
    eml_log_program("eml-kmsd");
    eml_crypto_init();
    eml_json_init();
    int code = parse(&p, argc, argv);
    if (code >= 0)
        goto out;
    enum eml_err e = read_pem(p.cert_file, &p.cert, &why);
    const char *what = p.cert_file;
    if (e == EML_OK) {
        what = p.key_file;
        e = read_pem(p.key_file, &p.key, &why);
    }
    if (e == EML_OK) {
        what = p.store_dir;
        e = eml_kmsd_store_open(p.store_dir, &p.options.api.store, &why);
    }
    p.options.cert_pem = (const char *)p.cert.ptr;
    p.options.key_pem = (const char *)p.key.ptr;
    code = e == EML_OK ? serve(&p, &ending) : report(e, what, &why);
out:
    eml_kmsd_store_close(p.options.api.store);
    eml_buf_free(&p.cert);
    eml_buf_free(&p.key);
    return code;
}
