/* eml policy: makes the client's policy out of measurements and roots. */
#include "cli/commands.h"
#include "cli/say.h"

#include "attest/attest.h"
#include "base/text.h"
#include "base/wipe.h"
#include "eif/eif.h"
#include "file/file.h"
#include "wire/json.h"

#include <stdio.h>
#include <string.h>

enum { PCR_HEX = 96, FILE_MAX = 65536 };

static enum eml_err set_pcr(struct eml_measurement *m, unsigned index, const char *hex)
{
    if (!eml_hex_get(eml_bytes_of_str(hex), EML_ROOM(m->pcr[index].b))) {
        eml_say("PCR%u must be %d hexadecimal digits", index, PCR_HEX);
        return EML_E_INPUT;
    }
    if (eml_ct_is_zero(EML_BYTES(m->pcr[index].b))) {
        eml_say("PCR%u is all zero: that is unset, or an enclave in debug mode, and proves nothing",
                index);
        return EML_E_REFUSED;
    }
    m->required |= 1u << index;
    return EML_OK;
}

/* {"0": hex, "1": hex, "2": hex, ...}, as `eml-devpki --pcrs` prints it; "PCR0" as nitro-cli does.
 */
static enum eml_err read_measurements(const char *path, struct eml_measurement *m)
{
    struct eml_buf text = {0};
    struct eml_why why = {0};
    json_t *root = NULL;
    enum eml_err e = eml_file_read(path, FILE_MAX, &text, &why);
    if (e != EML_OK) {
        (void)eml_say_failed(path, e, &why, NULL);
        goto out;
    }
    if ((e = eml_json_parse(eml_buf_bytes(&text), FILE_MAX, &root, &why)) != EML_OK) {
        (void)eml_say_failed(path, e, &why, "it must be a JSON object of PCRs");
        goto out;
    }
    json_t *object = root;
    if (json_is_object(json_object_get(root, "Measurements")))
        object = json_object_get(root, "Measurements");
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const char *digits = strncmp(key, "PCR", 3) == 0 ? key + 3 : key;
        uint64_t index;
        if (strcmp(key, "HashAlgorithm") == 0)
            continue; /* nitro-cli writes it beside the PCRs */
        if (!eml_u64_get(digits, 0, EML_PCR_N - 1, &index) || !json_is_string(value)) {
            eml_say("%s has a member that is not a PCR", path);
            e = EML_E_INPUT;
        }
        if (e != EML_OK)
            break;
        e = set_pcr(m, (unsigned)index, json_string_value(value));
    }
out:
    json_decref(root);
    eml_buf_free(&text);
    return e;
}

/* What an image will measure as; PCR8 only if its signature holds. */
static enum eml_err measure_image(const char *path, struct eml_measurement *m)
{
    struct eml_bytes file = {0};
    struct eml_eif eif;
    struct eml_eif_pcrs pcrs = {0};
    struct eml_why why = {0};
    enum eml_err e = eml_file_map(path, EML_EIF_FILE_MAX, &file, &why);
    if (e == EML_OK)
        e = eml_eif_parse(file, &eif, &why);
    if (e == EML_OK)
        e = eml_eif_measure(&eif, &pcrs);
    if (e == EML_OK && eml_eif_find(&eif, EML_EIF_SIGNATURE).len != 0) {
        struct eml_sha384 pcr8;
        e = eml_eif_check_signature(&eif, &pcrs, &pcr8, &why);
        memcpy(m->pcr[8].b, pcr8.b, sizeof pcr8.b);
        m->required |= 1u << 8;
    }
    for (unsigned i = 0; e == EML_OK && i < 3; i++) {
        memcpy(m->pcr[i].b, pcrs.pcr[i].b, sizeof m->pcr[i].b);
        m->required |= 1u << i;
    }
    eml_file_unmap(file);
    if (e != EML_OK)
        (void)eml_say_failed(path, e, &why, NULL);
    return e;
}

static enum eml_err add_root(struct eml_policy *p, const char *root)
{
    if (p->n_roots == EML_POLICY_ROOTS_MAX) {
        eml_say("at most %u roots", EML_POLICY_ROOTS_MAX);
        return EML_E_USAGE;
    }
    if (strcmp(root, "aws") == 0) {
        p->roots[p->n_roots++] = eml_attest_aws_root;
        return EML_OK;
    }
    struct eml_buf pem = {0};
    struct eml_why why = {0};
    enum eml_err e = eml_file_read(root, FILE_MAX, &pem, &why);
    if (e != EML_OK)
        (void)eml_say_failed(root, e, &why, NULL);
    else if ((e = eml_x509_pem_digest(eml_buf_bytes(&pem), &p->roots[p->n_roots])) != EML_OK)
        eml_say("%s is not one certificate in PEM", root);
    else
        p->n_roots++;
    eml_buf_free(&pem);
    return e;
}

struct arguments {
    struct eml_values pcr[EML_PCR_N], measurements, eif, root, serial, image_version, age, output;
};

static enum eml_err build(const struct arguments *a, struct eml_policy *p)
{
    struct eml_measurement *m = &p->accept[0];
    if (a->measurements.n != 0)
        EML_TRY(read_measurements(a->measurements.v[0], m));
    if (a->eif.n != 0)
        EML_TRY(measure_image(a->eif.v[0], m));
    for (unsigned i = 0; i < EML_PCR_N; i++)
        if (a->pcr[i].n != 0)
            EML_TRY(set_pcr(m, i, a->pcr[i].v[0]));
    if ((m->required & 7) != 7) {
        eml_say("PCR0, PCR1 and PCR2 are all needed: less does not identify an enclave");
        return EML_E_USAGE;
    }
    p->n_accept = 1;
    for (size_t i = 0; i < a->root.n; i++)
        EML_TRY(add_root(p, a->root.v[i]));
    uint64_t seconds;
    EML_TRY(eml_arg_u64("serial", eml_arg(&a->serial, "0"), 0, INT64_MAX, &p->serial));
    EML_TRY(
        eml_arg_u64("image-version", eml_arg(&a->image_version, "0"), 0, INT64_MAX, &m->version));
    EML_TRY(eml_arg_u64("max-age", eml_arg(&a->age, "300"), 1, 10800, &seconds));
    p->max_age_ms = seconds * 1000;
    p->max_skew_ms = 300000;
    return EML_OK;
}

static int run(const struct eml_command *self, int argc, char **argv)
{
    struct arguments a = {0};
    const struct eml_option options[] = {
        {"pcr0", "HEX", "the image", 1, false, &a.pcr[0]},
        {"pcr1", "HEX", "kernel, command line, first ramdisk", 1, false, &a.pcr[1]},
        {"pcr2", "HEX", "the application", 1, false, &a.pcr[2]},
        {"pcr3", "HEX", "the host's IAM role", 1, false, &a.pcr[3]},
        {"pcr4", "HEX", "the host's instance id", 1, false, &a.pcr[4]},
        {"pcr8", "HEX", "the signing certificate", 1, false, &a.pcr[8]},
        {"measurements", "FILE", "JSON with PCRs, instead of the options above", 1, false,
         &a.measurements},
        {"from-eif", "IMAGE", "measure this enclave image, instead of the options above", 1, false,
         &a.eif},
        {"root", "aws|PEM", "trusted root certificate", EML_POLICY_ROOTS_MAX, true, &a.root},
        {"serial", "N", "of this policy: more than that of the one it replaces (0)", 1, false,
         &a.serial},
        {"image-version", "N", "of the image: more than that of an older one (0)", 1, false,
         &a.image_version},
        {"max-age", "SECONDS", "age of a document that is still accepted (300)", 1, false, &a.age},
        {"output", "FILE", "policy file to write", 1, true, &a.output},
    };
    struct eml_values positional;
    bool helped;
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &positional, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    struct eml_policy policy = {0};
    struct eml_buf json = {0};
    struct eml_why why = {0};
    e = build(&a, &policy);
    if (e == EML_OK && (e = eml_policy_print(&policy, &json)) != EML_OK)
        eml_say("out of memory");
    if (e == EML_OK &&
        (e = eml_file_write_atomic(a.output.v[0], 0644, eml_buf_bytes(&json), &why)) != EML_OK)
        (void)eml_say_failed(a.output.v[0], e, &why, NULL);
    eml_buf_free(&json);
    return eml_err_exit(e);
}

const struct eml_command eml_cmd_policy = {
    "policy", "", 0, "make a policy from measurements and trusted roots", run};
