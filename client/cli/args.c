#include "cli/args.h"

#include "base/text.h"
#include "cli/say.h"

#include <stdio.h>
#include <string.h>

static const struct eml_option *find(const struct eml_option *options, size_t n, const char *name,
                                     size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

static void print_help(const struct eml_command *c, const struct eml_option *options, size_t n)
{
    (void)printf("usage: eml %s%s%s [options]\n%s\n\noptions:\n", c->name,
                 c->positional[0] != '\0' ? " " : "", c->positional, c->summary);
    for (size_t i = 0; i < n; i++) {
        char left[64];
        (void)snprintf(left, sizeof left, "--%s %s", options[i].name,
                       options[i].metavar != NULL ? options[i].metavar : "");
        (void)printf("  %-28s %s%s%s\n", left, options[i].help,
                     options[i].required ? " (required)" : "",
                     options[i].max > 1 ? " (may be repeated)" : "");
    }
}

static enum eml_err add(struct eml_values *values, size_t max, const char *v, const char *name)
{
    if (values->n >= max || values->n >= EML_ARG_VALUES_MAX) {
        eml_say("option --%s is given too often", name);
        return EML_E_USAGE;
    }
    values->v[values->n++] = v;
    return EML_OK;
}

/* argv[*i] is an option; takes its value from "=value" or the next argument. */
static enum eml_err take_option(const struct eml_option *options, size_t n, int argc, char **argv,
                                int *i)
{
    const char *text = argv[*i];
    if (strcmp(text, "-o") == 0)
        text = "--output";
    const char *name = text + 2, *eq = strchr(name, '=');
    const struct eml_option *o =
        strncmp(text, "--", 2) == 0
            ? find(options, n, name, eq != NULL ? (size_t)(eq - name) : strlen(name))
            : NULL;
    if (o == NULL) {
        eml_say("there is no option %s (try --help)", argv[*i]);
        return EML_E_USAGE;
    }
    if (o->metavar == NULL) {
        if (eq != NULL) {
            eml_say("option --%s takes no value", o->name);
            return EML_E_USAGE;
        }
        return add(o->out, o->max, "", o->name);
    }
    if (eq != NULL)
        return add(o->out, o->max, eq + 1, o->name);
    if (*i + 1 >= argc) {
        eml_say("option --%s needs a value: %s", o->name, o->metavar);
        return EML_E_USAGE;
    }
    return add(o->out, o->max, argv[++*i], o->name);
}

static enum eml_err check_complete(const struct eml_command *c, const struct eml_option *options,
                                   size_t n, const struct eml_values *positional)
{
    for (size_t i = 0; i < n; i++)
        if (options[i].required && options[i].out->n == 0) {
            eml_say("option --%s %s is missing (try --help)", options[i].name, options[i].metavar);
            return EML_E_USAGE;
        }
    if (positional->n != c->positional_n) {
        if (c->positional_n == 0)
            eml_say("unexpected argument %s (try --help)", positional->v[0]);
        else
            eml_say("expected: eml %s %s (try --help)", c->name, c->positional);
        return EML_E_USAGE;
    }
    return EML_OK;
}

enum eml_err eml_args_parse(const struct eml_command *command, const struct eml_option *options,
                            size_t n_options, int argc, char **argv, struct eml_values *positional,
                            bool *helped)
{
    *positional = (struct eml_values){.n = 0};
    *helped = false;
    bool only_positional = false;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (!only_positional && strcmp(a, "--") == 0) {
            only_positional = true;
        } else if (!only_positional && strcmp(a, "--help") == 0) {
            print_help(command, options, n_options);
            *helped = true;
            return EML_OK;
        } else if (!only_positional && a[0] == '-' && a[1] != '\0') {
            EML_TRY(take_option(options, n_options, argc, argv, &i));
        } else {
            EML_TRY(add(positional, EML_ARG_VALUES_MAX, a, "arguments"));
        }
    }
    return check_complete(command, options, n_options, positional);
}

const char *eml_arg(const struct eml_values *v, const char *otherwise)
{
    return v->n != 0 ? v->v[0] : otherwise;
}

enum eml_err eml_arg_u64(const char *option, const char *text, uint64_t min, uint64_t max,
                         uint64_t *out)
{
    if (eml_u64_get(text, min, max, out))
        return EML_OK;
    eml_say("--%s takes a number from %llu to %llu", option, (unsigned long long)min,
            (unsigned long long)max);
    return EML_E_USAGE;
}
