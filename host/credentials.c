#include "host/credentials.h"

#include "host/limits.h"

#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

static enum eml_err read_file(const char *path, struct eml_buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return EML_E_SYSTEM;
    ssize_t n;
    do {
        size_t at = out->len;
        uint8_t *p = eml_buf_grow(out, 4096);
        n = p != NULL ? read(fd, p, 4096) : -1;
        if (p != NULL)
            out->len = at + (n > 0 ? (size_t)n : 0);
    } while (n > 0);
    (void)close(fd);
    return n == 0 ? EML_OK : EML_E_SYSTEM;
}

static struct eml_bytes member(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return eml_bytes(json_string_value(v), json_string_length(v));
}

enum eml_err eml_credentials_answer(const char *path, struct eml_buf *out)
{
    struct eml_buf file = {.max = EML_HOST_CREDENTIALS_FILE_MAX};
    enum eml_err err = read_file(path, &file);
    json_t *o = NULL;
    if (err == EML_OK) {
        o = json_loadb((const char *)file.ptr, file.len, JSON_REJECT_DUPLICATES, NULL);
        struct eml_host_credentials c = {member(o, "AccessKeyId"), member(o, "SecretAccessKey"),
                                         member(o, "SessionToken"), member(o, "Region")};
        if (c.session_token.len == 0)
            c.session_token = member(o, "Token");
        err = eml_host_credentials_encode(&c, out);
    }
    json_decref(o);
    eml_buf_free(&file);
    return err;
}
