#include "pki/pki_dir.h"

#include "base/wipe.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, FILE_MAX = 65536, PROGRAM_MAX = 256 << 20, DAY = 86400 };

static bool join(char path[PATH_BYTES], const char *dir, const char *name)
{
    int n = snprintf(path, PATH_BYTES, "%s/%s", dir, name);
    return n > 0 && n < PATH_BYTES;
}

static enum eml_err make_dir(const char *dir, struct eml_why *why)
{
    if (mkdir(dir, 0700) == 0 || errno == EEXIST)
        return EML_OK;
    return eml_fail(why, EML_E_SYSTEM, "cannot make the directory", -1);
}

/* A new file with these bytes; a file that is there already is left as it is. */
static enum eml_err write_new(const char *dir, const char *name, mode_t mode,
                              struct eml_bytes bytes, struct eml_why *why)
{
    char path[PATH_BYTES];
    if (!join(path, dir, name))
        return eml_fail(why, EML_E_USAGE, "path too long", -1);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST)
        return eml_fail(why, EML_E_USAGE,
                        "a file of the PKI exists already; choose another directory", -1);
    if (fd < 0)
        return eml_fail(why, EML_E_SYSTEM, "cannot create a file in the directory", -1);
    size_t done = 0;
    while (done < bytes.len) {
        ssize_t n = write(fd, bytes.ptr + done, bytes.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    bool ok = done == bytes.len && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (ok)
        return EML_OK;
    (void)unlink(path);
    return eml_fail(why, EML_E_SYSTEM, "cannot write a file in the directory", -1);
}

static enum eml_err read_file(const char *path, size_t max, struct eml_buf *out,
                              struct eml_why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return eml_fail(why, EML_E_SYSTEM, "cannot open a file", -1);
    out->max = max;
    ssize_t n = 1;
    while (n > 0 && !out->failed) {
        uint8_t chunk[16384];
        n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            eml_buf_put(out, eml_bytes(chunk, (size_t)n));
        eml_wipe(chunk, sizeof chunk);
    }
    (void)close(fd);
    if (n == 0 && !out->failed)
        return EML_OK;
    eml_buf_free(out);
    return eml_fail(why, EML_E_SYSTEM, "cannot read a file, or it is too large", -1);
}

/* One object in PEM: a certificate or a PKCS#8 key. */
static enum eml_err write_pem(const char *dir, const char *name, mode_t mode, const char *label,
                              const struct eml_buf *der, struct eml_why *why)
{
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    enum eml_err e = EML_E_SYSTEM;
    if (bio != NULL && PEM_write_bio(bio, label, "", der->ptr, (long)der->len) > 0) {
        long n = BIO_get_mem_data(bio, &text);
        e = write_new(dir, name, mode, eml_bytes(text, (size_t)n), why);
    }
    BIO_free(bio);
    return e;
}

static enum eml_err write_pair(const char *dir, const char *cert, const char *key,
                               const struct eml_minted *m, struct eml_why *why)
{
    EML_TRY(write_pem(dir, key, 0600, PEM_STRING_PKCS8INF, &m->key, why));
    return write_pem(dir, cert, 0644, PEM_STRING_X509, &m->cert, why);
}

enum eml_err eml_pki_dir_create(const char *dir, int64_t now_unix_s, struct eml_sha256 *root,
                                struct eml_why *why)
{
    memset(root, 0, sizeof *root);
    struct eml_minted m;
    EML_TRY(make_dir(dir, why));
    if (eml_mint_root(now_unix_s, &m) != EML_OK)
        return eml_fail(why, EML_E_SYSTEM, "cannot mint a certificate", -1);
    enum eml_err e = write_pair(dir, "root.pem", "root.key", &m, why);
    struct eml_bytes der = eml_buf_bytes(&m.cert);
    if (e == EML_OK)
        e = eml_sha256(&der, 1, root);
    eml_minted_free(&m);
    return e;
}

static enum eml_err read_pem(const char *dir, const char *name, const char *label,
                             struct eml_buf *der, struct eml_why *why)
{
    char path[PATH_BYTES];
    struct eml_buf text = {0};
    if (!join(path, dir, name))
        return eml_fail(why, EML_E_USAGE, "path too long", -1);
    EML_TRY(read_file(path, FILE_MAX, &text, why));
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    unsigned char *bytes = NULL;
    long n = 0;
    char *found = NULL, *header = NULL;
    if (bio != NULL && PEM_read_bio(bio, &found, &header, &bytes, &n) == 1 &&
        strcmp(found, label) == 0)
        eml_buf_put(der, eml_bytes(bytes, (size_t)n));
    OPENSSL_clear_free(bytes, (size_t)n);
    OPENSSL_free(found);
    OPENSSL_free(header);
    BIO_free(bio);
    eml_buf_free(&text);
    ERR_clear_error();
    return der->len > 0 ? EML_OK : eml_fail(why, EML_E_INPUT, "not the expected PEM", -1);
}

enum eml_err eml_pki_dir_load(const char *dir, struct eml_minted *root, struct eml_why *why)
{
    memset(root, 0, sizeof *root);
    enum eml_err e = read_pem(dir, "root.pem", PEM_STRING_X509, &root->cert, why);
    if (e == EML_OK)
        e = read_pem(dir, "root.key", PEM_STRING_PKCS8INF, &root->key, why);
    if (e != EML_OK)
        eml_minted_free(root);
    return e;
}

/* "DNS:localhost,IP:127.0.0.1,..." */
static enum eml_err alternative_names(char *const *names, size_t n, struct eml_buf *out,
                                      struct eml_why *why)
{
    eml_buf_put(out, EML_LIT("DNS:localhost,IP:127.0.0.1"));
    for (size_t i = 0; i < n; i++) {
        struct in_addr address;
        if (names[i][0] == '\0' ||
            strspn(names[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") !=
                strlen(names[i]))
            return eml_fail(why, EML_E_USAGE, "not a DNS name or IPv4 address", (long)i);
        bool is_address = inet_pton(AF_INET, names[i], &address) == 1;
        eml_buf_put(out, is_address ? EML_LIT(",IP:") : EML_LIT(",DNS:"));
        eml_buf_put(out, eml_bytes_of_str(names[i]));
    }
    eml_buf_put_u8(out, 0);
    return eml_buf_ok(out);
}

enum eml_err eml_pki_dir_create_tls(const char *dir, int64_t now_unix_s, char *const *names,
                                    size_t n, struct eml_why *why)
{
    struct eml_buf alternatives = {0};
    struct eml_minted ca = {{0}, {0}}, server = {{0}, {0}};
    const struct eml_cert_spec ca_spec = {
        .common_name = "development KMS CA",
        .basic_constraints = "critical,CA:TRUE,pathlen:0",
        .key_usage = "critical,keyCertSign",
        .key_ids = true,
        .not_before_unix_s = now_unix_s - DAY,
        .not_after_unix_s = now_unix_s + 3652 * (int64_t)DAY,
    };
    struct eml_cert_spec server_spec = {
        .common_name = "development KMS",
        .basic_constraints = "critical,CA:FALSE",
        .key_usage = "critical,digitalSignature",
        .key_ids = true,
        .not_before_unix_s = now_unix_s - DAY,
        .not_after_unix_s = now_unix_s + 365 * DAY,
    };
    enum eml_err e = make_dir(dir, why);
    if (e == EML_OK)
        e = alternative_names(names, n, &alternatives, why);
    server_spec.subject_alt_name = (const char *)alternatives.ptr;
    if (e == EML_OK)
        e = eml_mint(&ca_spec, NULL, &ca);
    if (e == EML_OK)
        e = eml_mint(&server_spec, &ca, &server);
    if (e == EML_OK)
        e = write_pair(dir, "kms.pem", "kms.key", &server, why);
    if (e == EML_OK)
        e = write_pem(dir, "kms-ca.pem", 0644, PEM_STRING_X509, &ca.cert, why);
    eml_minted_free(&ca); /* its key is forgotten: it signs one certificate in its life */
    eml_minted_free(&server);
    eml_buf_free(&alternatives);
    return e;
}

static enum eml_err extend_zero(const struct eml_bytes *parts, size_t n, struct eml_sha384 *pcr)
{
    const struct eml_sha384 zero = {{0}};
    struct eml_sha384 digest;
    EML_TRY(eml_sha384(parts, n, &digest));
    const struct eml_bytes extension[] = {EML_BYTES(zero.b), EML_BYTES(digest.b)};
    return eml_sha384(extension, 2, pcr);
}

enum eml_err eml_pki_measure(const char *program, struct eml_sha384 pcr[3], struct eml_why *why)
{
    struct eml_buf contents = {0};
    memset(pcr, 0, 3 * sizeof *pcr);
    EML_TRY(read_file(program, PROGRAM_MAX, &contents, why));
    const struct eml_bytes application[] = {eml_buf_bytes(&contents),
                                            EML_LIT("eml development application")};
    const struct eml_bytes kernel = EML_LIT("eml development kernel");
    enum eml_err e = extend_zero(application, 1, &pcr[0]);
    if (e == EML_OK)
        e = extend_zero(&kernel, 1, &pcr[1]);
    if (e == EML_OK)
        e = extend_zero(application, 2, &pcr[2]);
    eml_buf_free(&contents);
    return e;
}
