/* The commands of eml-eif; each returns the exit code. */
#ifndef EML_EIFTOOL_COMMANDS_H
#define EML_EIFTOOL_COMMANDS_H

#include "eif/eif.h"

struct eml_eif_build {
    const char *kernel, *cmdline_file, *cmdline; /* one of the last two */
    const char *ramdisk[EML_EIF_SECTIONS_MAX];
    size_t n_ramdisks;
    const char *name, *image_version;
    const char *key, *certificate; /* both or neither */
    const char *output;
    bool aarch64;
};

int eml_eif_cmd_build(const struct eml_eif_build *b);
int eml_eif_cmd_describe(const char *path);
/* Checks structure, CRC and signature; if `measurements` is given, also that PCR0, 1 and 2 are
 * those of the JSON file. */
int eml_eif_cmd_verify(const char *path, const char *measurements);
int eml_eif_cmd_pcr(const char *path, bool is_certificate);

/* Appends the files and folders below `path` as a ramdisk, the same bytes wherever, whenever and by
 * whomever they were put there. EML_E_INPUT for anything that is neither file nor folder. */
EML_MUST enum eml_err eml_eif_pack_tree(const char *path, struct eml_buf *out, struct eml_why *why);

/* "eml-eif: path: class: rule"; returns the exit code. */
int eml_eif_failed(const char *path, enum eml_err e, const struct eml_why *why);
/* 96 digits and a NUL. */
void eml_eif_hex(const struct eml_sha384 *pcr, char out[97]);

#endif
