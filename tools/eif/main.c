/* eml-eif: builds, describes and verifies enclave images. */
#include "eiftool/commands.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: eml-eif build --kernel FILE --cmdline TEXT|--cmdline-file FILE --ramdisk FILE|DIR...\n"
    "                     [--name NAME] [--image-version V] [--arch x86_64|aarch64]\n"
    "                     [--key KEY.der --certificate CERT.pem] --output IMAGE.eif\n"
    "       eml-eif describe IMAGE.eif\n"
    "       eml-eif verify IMAGE.eif [--measurements FILE]\n"
    "       eml-eif pcr FILE | --certificate CERT.pem\n";

static int bad_usage(void)
{
    (void)fputs(usage, stderr);
    return eml_err_exit(EML_E_USAGE);
}

static int build(int argc, char **argv)
{
    struct eml_eif_build b = {0};
    const char *arch = "x86_64", *ramdisk = NULL;
    const char **const to[] = {&b.kernel,      &b.cmdline,       &b.cmdline_file, &ramdisk,
                               &b.name,        &b.image_version, &arch,           &b.key,
                               &b.certificate, &b.output};
    enum { RAMDISK = 3 };
    static const struct option options[] = {
        {"kernel", 1, NULL, 0},  {"cmdline", 1, NULL, 1}, {"cmdline-file", 1, NULL, 2},
        {"ramdisk", 1, NULL, 3}, {"name", 1, NULL, 4},    {"image-version", 1, NULL, 5},
        {"arch", 1, NULL, 6},    {"key", 1, NULL, 7},     {"certificate", 1, NULL, 8},
        {"output", 1, NULL, 9},  {NULL, 0, NULL, 0},
    };
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (k < 0 || k > 9)
            return bad_usage();
        *to[k] = optarg;
        /* Kernel, command line, metadata and signature take four of the sections. */
        if (k == RAMDISK && b.n_ramdisks == EML_EIF_SECTIONS_MAX - 4)
            return bad_usage();
        if (k == RAMDISK)
            b.ramdisk[b.n_ramdisks++] = optarg;
    }
    b.aarch64 = strcmp(arch, "aarch64") == 0;
    if (optind != argc || b.kernel == NULL || b.output == NULL || b.n_ramdisks == 0 ||
        (b.cmdline == NULL) == (b.cmdline_file == NULL) ||
        (b.key == NULL) != (b.certificate == NULL) || (!b.aarch64 && strcmp(arch, "x86_64") != 0))
        return bad_usage();
    return eml_eif_cmd_build(&b);
}

int main(int argc, char **argv)
{
    eml_crypto_init();
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "--help") == 0)
        return fputs(usage, stdout) < 0;
    if (strcmp(command, "build") == 0)
        return build(argc - 1, argv + 1);
    if (strcmp(command, "describe") == 0 && argc == 3)
        return eml_eif_cmd_describe(argv[2]);
    if (strcmp(command, "verify") == 0 && argc == 3)
        return eml_eif_cmd_verify(argv[2], NULL);
    if (strcmp(command, "verify") == 0 && argc == 5 && strcmp(argv[3], "--measurements") == 0)
        return eml_eif_cmd_verify(argv[2], argv[4]);
    if (strcmp(command, "pcr") == 0 && argc == 3)
        return eml_eif_cmd_pcr(argv[2], false);
    if (strcmp(command, "pcr") == 0 && argc == 4 && strcmp(argv[2], "--certificate") == 0)
        return eml_eif_cmd_pcr(argv[3], true);
    return bad_usage();
}
