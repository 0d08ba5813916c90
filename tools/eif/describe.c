/* eml-eif describe, verify, pcr: what an image is and what it will measure as. */
#include "eiftool/commands.h"

#include "base/wipe.h"
#include "file/file.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

int eml_eif_failed(const char *path, enum eml_err e, const struct eml_why *why)
{
    const char *rule = why != NULL && why->rule != NULL ? why->rule : "";
    (void)fprintf(stderr, "eml-eif: %s: %s%s%s\n", path, eml_err_name(e),
                  rule[0] != '\0' ? ": " : "", rule);
    return eml_err_exit(e);
}

void eml_eif_hex(const struct eml_sha384 *pcr, char out[97])
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof pcr->b; i++) {
        out[2 * i] = digit[pcr->b[i] >> 4];
        out[2 * i + 1] = digit[pcr->b[i] & 15];
    }
    out[96] = '\0';
}

struct image {
    struct eml_bytes file;
    struct eml_eif eif;
    struct eml_eif_pcrs pcrs;
    struct eml_sha384 pcr8;
    enum eml_err signature; /* EML_E_USAGE: none */
    struct eml_why why;
};

static enum eml_err open_image(const char *path, struct image *im)
{
    *im = (struct image){0};
    EML_TRY(eml_file_map(path, EML_EIF_FILE_MAX, &im->file, &im->why));
    enum eml_err e = eml_eif_parse(im->file, &im->eif, &im->why);
    if (e == EML_OK)
        e = eml_eif_measure(&im->eif, &im->pcrs);
    if (e == EML_OK)
        im->signature = eml_eif_check_signature(&im->eif, &im->pcrs, &im->pcr8, &im->why);
    if (e != EML_OK)
        eml_file_unmap(im->file);
    return e;
}

static json_t *measurements_json(const struct image *im)
{
    char hex[97];
    json_t *m = json_pack("{s:s}", "HashAlgorithm", "Sha384 { ... }");
    for (unsigned i = 0; i < 3; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "PCR%u", i);
        eml_eif_hex(&im->pcrs.pcr[i], hex);
        (void)json_object_set_new(m, name, json_string(hex));
    }
    if (im->signature == EML_OK) {
        eml_eif_hex(&im->pcr8, hex);
        (void)json_object_set_new(m, "PCR8", json_string(hex));
    }
    return m;
}

/* The metadata section's members, where nitro-cli shows them; it is not measured, so not trusted.
 */
static void add_metadata(const struct image *im, json_t *out)
{
    struct eml_bytes text = eml_eif_find(&im->eif, EML_EIF_METADATA);
    json_t *m = text.len != 0
                    ? json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL)
                    : NULL;
    if (json_is_object(m)) {
        json_t *build = json_object_get(m, "BuildMetadata");
        (void)json_object_set(out, "ImageName", json_object_get(m, "ImageName"));
        (void)json_object_set(out, "ImageVersion", json_object_get(m, "ImageVersion"));
        (void)json_object_set(out, "Metadata", json_is_object(build) ? build : json_null());
    }
    json_decref(m);
}

int eml_eif_cmd_describe(const char *path)
{
    struct image im;
    enum eml_err e = open_image(path, &im);
    if (e != EML_OK)
        return eml_eif_failed(path, e, &im.why);
    bool is_signed = im.signature != EML_E_USAGE;
    json_t *out =
        json_pack("{s:i, s:o, s:b, s:b, s:o}", "EifVersion", (int)im.eif.version, "Measurements",
                  measurements_json(&im), "IsSigned", (int)is_signed, "CheckCRC", 1,
                  "SignatureCheck", is_signed ? json_boolean(im.signature == EML_OK) : json_null());
    add_metadata(&im, out);
    json_t *sections = json_array();
    static const char *const name[] = {"", "kernel", "cmdline", "ramdisk", "signature", "metadata"};
    for (size_t i = 0; i < im.eif.n; i++)
        (void)json_array_append_new(sections,
                                    json_pack("{s:s, s:I}", "type", name[im.eif.section[i].type],
                                              "size", (json_int_t)im.eif.section[i].data.len));
    (void)json_object_set_new(out, "Sections", sections);
    int failed = json_dumpf(out, stdout, JSON_INDENT(2)) != 0 || putchar('\n') < 0;
    json_decref(out);
    eml_file_unmap(im.file);
    return failed ? eml_err_exit(EML_E_SYSTEM) : 0;
}

/* Whether the file's PCR0, 1, 2 are the image's. Other members (HashAlgorithm, PCR8) are free. */
static enum eml_err compare(const struct image *im, const char *path, struct eml_why *why)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const json_t *m = json_object_get(root, "Measurements");
    if (m == NULL)
        m = root;
    enum eml_err e = EML_OK;
    for (unsigned i = 0; e == EML_OK && i < 3; i++) {
        char name[8], hex[97];
        (void)snprintf(name, sizeof name, "PCR%u", i);
        const char *want = json_string_value(json_object_get(m, name));
        if (want == NULL)
            want = json_string_value(json_object_get(m, name + 3));
        eml_eif_hex(&im->pcrs.pcr[i], hex);
        if (want == NULL)
            e = eml_fail(why, EML_E_INPUT, "measurements: a PCR is missing", (long)i);
        else if (!eml_bytes_equal(eml_bytes_of_str(want), eml_bytes_of_str(hex)))
            e = eml_fail(why, EML_E_REFUSED, "the image measures as something else", (long)i);
    }
    json_decref(root);
    return e;
}

int eml_eif_cmd_verify(const char *path, const char *measurements)
{
    struct image im;
    enum eml_err e = open_image(path, &im);
    if (e != EML_OK)
        return eml_eif_failed(path, e, &im.why);
    if (im.signature != EML_OK && im.signature != EML_E_USAGE)
        e = im.signature;
    if (e == EML_OK && measurements != NULL)
        e = compare(&im, measurements, &im.why);
    eml_file_unmap(im.file);
    if (e != EML_OK)
        return eml_eif_failed(path, e, &im.why);
    (void)printf("%s: whole, %s%s\n", path,
                 im.signature == EML_OK ? "signed over its own PCR0" : "not signed",
                 measurements != NULL ? ", measures as expected" : "");
    return 0;
}

int eml_eif_cmd_pcr(const char *path, bool is_certificate)
{
    struct eml_bytes file = {0};
    struct eml_sha384 pcr;
    struct eml_why why = {0};
    char hex[97];
    enum eml_err e = eml_file_map(path, EML_EIF_FILE_MAX, &file, &why);
    if (e == EML_OK)
        e = is_certificate ? eml_eif_pcr8(file, &pcr) : eml_eif_pcr(&file, 1, &pcr);
    eml_file_unmap(file);
    if (e != EML_OK)
        return eml_eif_failed(path, e, &why);
    eml_eif_hex(&pcr, hex);
    (void)printf("{\"PCR\": \"%s\"}\n", hex);
    return 0;
}
