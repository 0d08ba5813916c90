/* eml-devpki: roots, TLS certificates and measurements for development without AWS. */
#include "pki/pki_dir.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: eml-devpki DIR                 make root.pem and root.key in DIR\n"
    "       eml-devpki --tls DIR [NAME...] make kms-ca.pem, kms.pem, kms.key\n"
    "       eml-devpki --pcrs PROGRAM      print what the development NSM\n"
    "                                      measures of PROGRAM\n";

static void print_hex(const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)printf("%02x", b[i]);
}

static int finish(enum eml_err e, const char *what, const struct eml_why *why)
{
    if (e == EML_OK && fflush(stdout) != 0)
        e = EML_E_SYSTEM;
    if (e != EML_OK)
        (void)fprintf(stderr, "eml-devpki: %s: %s\n", what,
                      why->rule != NULL ? why->rule : eml_err_name(e));
    return eml_err_exit(e);
}

static int make_root(const char *dir)
{
    struct eml_why why = {0};
    struct eml_sha256 root;
    enum eml_err e = eml_pki_dir_create(dir, (int64_t)time(NULL), &root, &why);
    if (e == EML_OK) {
        print_hex(root.b, sizeof root.b);
        (void)printf("\n");
    }
    return finish(e, dir, &why);
}

static int make_tls(const char *dir, char *const *names, size_t n)
{
    struct eml_why why = {0};
    return finish(eml_pki_dir_create_tls(dir, (int64_t)time(NULL), names, n, &why), dir, &why);
}

static int print_pcrs(const char *program)
{
    struct eml_why why = {0};
    struct eml_sha384 pcr[3];
    enum eml_err e = eml_pki_measure(program, pcr, &why);
    for (size_t i = 0; i < 3 && e == EML_OK; i++) {
        (void)printf("%s\"%zu\": \"", i == 0 ? "{" : ",\n ", i);
        print_hex(pcr[i].b, sizeof pcr[i].b);
        (void)printf("\"");
    }
    if (e == EML_OK)
        (void)printf("}\n");
    return finish(e, program, &why);
}

int main(int argc, char **argv)
{
    eml_crypto_init();
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(usage, stdout) < 0 ? 1 : 0;
    if (argc >= 3 && strcmp(argv[1], "--tls") == 0)
        return make_tls(argv[2], argv + 3, (size_t)argc - 3);
    if (argc == 3 && strcmp(argv[1], "--pcrs") == 0)
        return print_pcrs(argv[2]);
    if (argc == 2 && argv[1][0] != '-')
        return make_root(argv[1]);
    (void)fputs(usage, stderr);
    return eml_err_exit(EML_E_USAGE);
}
