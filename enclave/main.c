/* eml-enclaved: the measured program. PID 1 in the image, which starts the broker; the broker's
 * children are the same program in another role. eml-enclaved-dev differs in the object that
 * answers for the NSM. */
#include "base/log.h"
#include "crypto/crypto.h"
#include "enclave/broker.h"
#include "enclave/fetch.h"
#include "enclave/init.h"
#include "enclave/worker.h"
#include "wire/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int broker(const struct eml_options *o, char **argv)
{
    struct eml_program program;
    struct eml_why why = {.rule = "this machine cannot"};
    eml_log_program("eml-enclaved");
    enum eml_err err = eml_program_open(&program, argv);
    if (err == EML_OK)
        err = eml_broker_run(o, &program, &why);
    if (err != EML_OK)
        (void)fprintf(stderr, "eml-enclaved: %s: %s\n", eml_err_name(err), why.rule);
    return eml_err_exit(err);
}

/* What libraries would otherwise open a file for, at a time when a sandbox forbids it: the time
 * zone (certificate dates), and the random device (jansson's hash seed). */
static enum eml_err prepare_libraries(void)
{
    EML_TRY(eml_crypto_start());
    eml_json_init();
    if (setenv("TZ", "UTC0", 1) != 0)
        return EML_E_SYSTEM;
    tzset();
    return EML_OK;
}

int main(int argc, char **argv)
{
    struct eml_options o;
    const char *argument;
    int skip;
    if (eml_init_is(argv[0]))
        eml_init_run();
    enum eml_role role = eml_role_of(argc, argv, &argument, &skip);
    if (prepare_libraries() != EML_OK) {
        (void)fputs("eml-enclaved: out of memory\n", stderr);
        return role == EML_ROLE_BROKER ? eml_err_exit(EML_E_SYSTEM) : EML_E_SYSTEM;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(eml_options_usage, stdout) < 0;
    if (eml_options_parse(argc, argv, skip, &o) != EML_OK) {
        (void)fputs(eml_options_usage, stderr);
        return eml_err_exit(EML_E_USAGE);
    }
    /* A child's exit status is a class, for the broker; no handler of the libraries runs after it.
     */
    switch (role) {
    case EML_ROLE_WORKER:
        _exit((int)eml_worker_run(&o));
    case EML_ROLE_FETCHER:
        _exit((int)eml_fetcher_run(&o, argument));
    case EML_ROLE_CONNECTOR:
        _exit((int)eml_connector_run(&o));
    case EML_ROLE_BROKER:
        break;
    }
    return broker(&o, argv);
}
