/* eml-eif build: kernel, command line and ramdisks become an image, the same bytes every time. */
#include "eiftool/commands.h"

#include "file/file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum { CMDLINE_MAX = 4096, PEM_MAX = 65536 };
#define DEFAULT_MEMORY ((uint64_t)1 << 30)
#define DEFAULT_CPUS 2u

static const char *text_or(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

/* Unmeasured, for people and for nitro-cli, which wants all five members. The time is that of
 * SOURCE_DATE_EPOCH, or the epoch: two builds of one input are one file. */
static enum eml_err put_metadata(const struct eml_eif_build *b, struct eml_buf *out)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    time_t t = epoch != NULL ? (time_t)strtoll(epoch, NULL, 10) : 0;
    struct tm tm = {0};
    char when[64];
    if (gmtime_r(&t, &tm) == NULL ||
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S+00:00", &tm) == 0)
        return EML_E_INPUT;
    json_t *m = json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s}, s:{}, s:n}", "ImageName",
        text_or(b->name, "ephemeralml"), "ImageVersion", text_or(b->image_version, EML_VERSION),
        "BuildMetadata", "BuildTime", when, "BuildTool", "eml-eif", "BuildToolVersion", EML_VERSION,
        "OperatingSystem", "Linux", "KernelVersion", "", "DockerInfo", "CustomMetadata");
    char *text = m != NULL ? json_dumps(m, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(m);
    if (text == NULL)
        return EML_E_SYSTEM;
    eml_buf_put(out, eml_bytes_of_str(text));
    free(text);
    return eml_buf_ok(out);
}

/* Text without the white space at its end: nitro-cli measures it so. */
static struct eml_bytes trimmed(struct eml_bytes text)
{
    while (text.len != 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r' ||
                             text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

struct parts {
    struct eml_bytes kernel, ramdisk[EML_EIF_SECTIONS_MAX]; /* mapped */
    struct eml_buf packed[EML_EIF_SECTIONS_MAX];            /* of ramdisks that are folders */
    struct eml_buf cmdline, metadata, signature, key, certificate;
    const char *path; /* the one that a failure is about */
};

static void put_section(struct eml_eif *e, enum eml_eif_type type, struct eml_bytes data)
{
    e->section[e->n++] = (struct eml_eif_section){type, data};
}

static enum eml_err map(struct parts *p, const char *path, struct eml_bytes *out,
                        struct eml_why *why)
{
    p->path = path;
    EML_TRY(eml_file_map(path, EML_EIF_FILE_MAX, out, why));
    return out->len != 0 ? EML_OK : eml_fail(why, EML_E_INPUT, "the file is empty", -1);
}

/* A ramdisk is a file, taken as it is, or a folder to be packed. */
static enum eml_err get_ramdisk(struct parts *p, const char *path, size_t i, struct eml_bytes *out,
                                struct eml_why *why)
{
    struct stat st;
    p->path = path;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        EML_TRY(eml_eif_pack_tree(path, &p->packed[i], why));
        *out = eml_buf_bytes(&p->packed[i]);
        return EML_OK;
    }
    EML_TRY(map(p, path, &p->ramdisk[i], why));
    *out = p->ramdisk[i];
    return EML_OK;
}

static enum eml_err gather(const struct eml_eif_build *b, struct parts *p, struct eml_eif *e,
                           struct eml_why *why)
{
    EML_TRY(map(p, b->kernel, &p->kernel, why));
    p->path = text_or(b->cmdline_file, "--cmdline");
    if (b->cmdline_file != NULL)
        EML_TRY(eml_file_read(b->cmdline_file, CMDLINE_MAX, &p->cmdline, why));
    else
        eml_buf_put(&p->cmdline, eml_bytes_of_str(b->cmdline));
    EML_TRY(put_metadata(b, &p->metadata));
    put_section(e, EML_EIF_KERNEL, p->kernel);
    put_section(e, EML_EIF_CMDLINE, trimmed(eml_buf_bytes(&p->cmdline)));
    put_section(e, EML_EIF_METADATA, eml_buf_bytes(&p->metadata));
    for (size_t i = 0; i < b->n_ramdisks; i++) {
        struct eml_bytes data;
        EML_TRY(get_ramdisk(p, b->ramdisk[i], i, &data, why));
        put_section(e, EML_EIF_RAMDISK, data);
    }
    return EML_OK;
}

static enum eml_err sign(const struct eml_eif_build *b, struct parts *p, struct eml_eif *e,
                         struct eml_why *why)
{
    struct eml_eif_pcrs pcrs;
    p->path = b->key;
    EML_TRY(eml_file_read(b->key, PEM_MAX, &p->key, why));
    p->path = b->certificate;
    EML_TRY(eml_file_read(b->certificate, PEM_MAX, &p->certificate, why));
    EML_TRY(eml_eif_measure(e, &pcrs));
    if (eml_eif_sign(&pcrs, eml_buf_bytes(&p->key), eml_buf_bytes(&p->certificate),
                     &p->signature) != EML_OK)
        return eml_fail(why, EML_E_INPUT, "the key is not a P-384 key in DER", -1);
    put_section(e, EML_EIF_SIGNATURE, eml_buf_bytes(&p->signature));
    struct eml_sha384 pcr8;
    return eml_eif_check_signature(e, &pcrs, &pcr8, why); /* key and certificate belong together */
}

int eml_eif_cmd_build(const struct eml_eif_build *b)
{
    struct parts p = {.path = b->output};
    struct eml_eif e = {.version = EML_EIF_VERSION,
                        .flags = b->aarch64 ? 1 : 0,
                        .default_memory = DEFAULT_MEMORY,
                        .default_cpus = DEFAULT_CPUS};
    struct eml_buf file = {0};
    struct eml_why why = {0};
    enum eml_err err = gather(b, &p, &e, &why);
    if (err == EML_OK && b->key != NULL)
        err = sign(b, &p, &e, &why);
    if (err == EML_OK) {
        p.path = b->output;
        err = eml_eif_write(&e, &file, &why);
    }
    if (err == EML_OK)
        err = eml_file_write_atomic(b->output, 0644, eml_buf_bytes(&file), &why);
    eml_buf_free(&file);
    eml_file_unmap(p.kernel);
    for (size_t i = 0; i < b->n_ramdisks; i++) {
        eml_file_unmap(p.ramdisk[i]);
        eml_buf_free(&p.packed[i]);
    }
    eml_buf_free(&p.cmdline);
    eml_buf_free(&p.metadata);
    eml_buf_free(&p.signature);
    eml_buf_free(&p.key);
    eml_buf_free(&p.certificate);
    return err != EML_OK ? eml_eif_failed(p.path, err, &why) : eml_eif_cmd_describe(b->output);
}
