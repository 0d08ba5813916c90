/* The commands, one per file cmd_<name>.c. */
#ifndef EML_CLI_COMMANDS_H
#define EML_CLI_COMMANDS_H

#include "cli/args.h"

extern const struct eml_command eml_cmd_check;
extern const struct eml_command eml_cmd_decompose;
extern const struct eml_command eml_cmd_run;
extern const struct eml_command eml_cmd_push;
extern const struct eml_command eml_cmd_policy;
extern const struct eml_command eml_cmd_attest;
extern const struct eml_command eml_cmd_infer;
extern const struct eml_command eml_cmd_receipt;
extern const struct eml_command eml_cmd_audit;
extern const struct eml_command eml_cmd_kms;

#endif
