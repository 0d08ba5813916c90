/* `eml`: the tool of the owner of models and data. Each command is a file cmd_<name>.c. */
#include "cli/commands.h"
#include "cli/say.h"

#include "crypto/crypto.h"
#include "wire/json.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const struct eml_command *const commands[] = {
    &eml_cmd_check,  &eml_cmd_decompose, &eml_cmd_run,     &eml_cmd_push,  &eml_cmd_policy,
    &eml_cmd_attest, &eml_cmd_infer,     &eml_cmd_receipt, &eml_cmd_audit, &eml_cmd_kms,
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *f)
{
    (void)fprintf(f, "usage: eml COMMAND [options]\n\ncommands:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        (void)fprintf(f, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    (void)fprintf(f, "\n`eml COMMAND --help` lists a command's options; the manual is eml(1).\n");
}

/* Keys and inputs pass through this process: no core dump may hold them. */
static void forbid_core_dumps(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return eml_err_exit(EML_E_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("eml %s\n", EML_VERSION);
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i]->name) != 0)
            continue;
        forbid_core_dumps();
        if (eml_crypto_start() != EML_OK) {
            eml_say("out of memory");
            return eml_err_exit(EML_E_SYSTEM);
        }
        eml_json_init();
        eml_say_command(commands[i]->name);
        int code = commands[i]->main(commands[i], argc - 1, argv + 1);
        if (fflush(stdout) != 0) {
            eml_say("cannot write to standard output");
            return eml_err_exit(EML_E_SYSTEM);
        }
        return code;
    }
    eml_say("there is no command %s (try eml --help)", argv[1]);
    return eml_err_exit(EML_E_USAGE);
}
