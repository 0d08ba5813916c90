/* eml attest: gets an enclave's document through a host and verifies it. */
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/report.h"
#include "cli/say.h"

#include "file/file.h"
#include "net/net.h"
#include "remote/remote.h"

#include <stdio.h>
#include <time.h>

static int run(const struct eml_command *self, int argc, char **argv)
{
    struct eml_values host = {0}, policy_path = {0}, timeout = {0}, json = {0}, output = {0},
                      positional;
    const struct eml_option options[] = {
        {"host", "ADDR", "the host, e.g. tcp:HOST:PORT", 1, true, &host},
        {"policy", "FILE", "what the document must show", 1, true, &policy_path},
        {"output", "FILE", "keep the verified document", 1, false, &output},
        {"timeout", "SECONDS", "for the whole exchange (30)", 1, false, &timeout},
        {"json", NULL, "report as JSON", 1, false, &json},
    };
    bool helped;
    uint64_t seconds = 0;
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &positional, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    struct eml_policy policy;
    struct eml_why why = {0};
    if ((e = eml_arg_u64("timeout", eml_arg(&timeout, "30"), 1, 3600, &seconds)) != EML_OK ||
        (e = eml_cli_read_policy(policy_path.v[0], &policy)) != EML_OK)
        return eml_err_exit(e);
    struct eml_remote r;
    e = eml_remote_attest(&r, host.v[0], &policy, (int64_t)time(NULL) * 1000, NULL,
                          eml_net_now_ms() + (int64_t)seconds * 1000, &why);
    if (e != EML_OK)
        (void)eml_say_failed(host.v[0], e, &why, NULL);
    if (json.n != 0) {
        enum eml_err printed =
            eml_report_print_json(eml_report_json(&r.report, e == EML_OK ? &r.attested : NULL));
        e = e != EML_OK ? e : printed;
    } else {
        eml_report_checks(&r.report);
    }
    if (e == EML_OK && output.n != 0 &&
        (e = eml_file_write_atomic(output.v[0], 0644, r.document, &why)) != EML_OK)
        (void)eml_say_failed(output.v[0], e, &why, NULL);
    eml_remote_close(&r);
    return eml_err_exit(e);
}

const struct eml_command eml_cmd_attest = {
    "attest", "", 0, "ask an enclave for its attestation document and verify it", run};
