/* eml check: can the engine run this model? Every reason why not. */
#include "cli/commands.h"
#include "cli/say.h"

#include "decompose/decompose.h"

#include <stdio.h>

static enum eml_err check(const char *path, bool json)
{
    struct eml_onnx_model *model = NULL;
    struct eml_check_report report = {0};
    struct eml_onnx_diag diag = {0};
    enum eml_err e = eml_onnx_load(path, &model, &diag);
    if (e != EML_OK) {
        (void)eml_say_failed(path, e, &diag.why, diag.subject[0] != '\0' ? diag.subject : NULL);
        return e;
    }
    e = eml_decompose_check(model, &report);
    enum eml_err printed =
        json ? eml_check_print_json(&report, path, stdout) : eml_check_print(&report, path, stdout);
    if (e == EML_OK)
        e = printed;
    if (e == EML_OK && report.n != 0)
        e = EML_E_UNSUPPORTED;
    eml_check_free(&report);
    eml_onnx_free(model);
    return e;
}

static int run(const struct eml_command *self, int argc, char **argv)
{
    struct eml_values json = {0}, positional;
    const struct eml_option options[] = {{"json", NULL, "report as JSON", 1, false, &json}};
    bool helped;
    enum eml_err e = eml_args_parse(self, options, 1, argc, argv, &positional, &helped);
    if (e == EML_OK && !helped)
        e = check(positional.v[0], json.n != 0);
    return eml_err_exit(e);
}

const struct eml_command eml_cmd_check = {"check", "MODEL.onnx", 1,
                                          "say whether the engine can run a model", run};
