#define _DEFAULT_SOURCE
#include "remote/remember.h"

#include "base/wipe.h"
#include "file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum eml_err eml_remember_compare(const struct eml_checkpoint *kept,
                                  const struct eml_checkpoint *seen, bool *newer,
                                  struct eml_why *why)
{
    *newer = false;
    if (!eml_bytes_equal(kept->origin, seen->origin))
        return eml_fail(why, EML_E_REFUSED, "audit log: not the log that is remembered", -1);
    if (seen->size < kept->size)
        return eml_fail(why, EML_E_REFUSED, "audit log: older than remembered (rolled back)", -1);
    if (seen->size == kept->size && !eml_ct_equal(EML_BYTES(seen->root.b), EML_BYTES(kept->root.b)))
        return eml_fail(why, EML_E_REFUSED, "audit log: another of the same size (forked)", -1);
    *newer = seen->size > kept->size;
    return EML_OK;
}

static enum eml_err compare_and_keep(const char *path, struct eml_bytes note, struct eml_why *why)
{
    struct eml_checkpoint seen, kept;
    struct eml_buf file = {0};
    bool newer = true;
    EML_TRY(eml_checkpoint_peek(note, &seen, why));
    enum eml_err e = EML_OK;
    if (access(path, F_OK) == 0) {
        e = eml_file_read(path, EML_NOTE_BYTES_MAX, &file, why);
        if (e == EML_OK)
            e = eml_checkpoint_peek(eml_buf_bytes(&file), &kept, why);
        if (e == EML_OK)
            e = eml_remember_compare(&kept, &seen, &newer, why);
    }
    eml_buf_free(&file);
    if (e == EML_OK && newer)
        e = eml_file_write_atomic(path, 0644, note, why);
    return e;
}

enum eml_err eml_remember(const char *path, const struct eml_receipt *receipt, struct eml_why *why)
{
    char lock[4096];
    struct eml_proof proof;
    int n = snprintf(lock, sizeof lock, "%s.lock", path);
    if (n < 0 || (size_t)n >= sizeof lock)
        return eml_fail(why, EML_E_USAGE, "the name is too long", -1);
    EML_TRY(eml_proof_parse(receipt->proof, &proof, why));
    int fd = open(lock, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return eml_fail(why, EML_E_USAGE, "no file can be made there", -1);
    int locked;
    do
        locked = flock(fd, LOCK_EX);
    while (locked != 0 && errno == EINTR);
    enum eml_err e = locked == 0 ? compare_and_keep(path, proof.checkpoint, why)
                                 : eml_fail(why, EML_E_SYSTEM, "the file cannot be locked", -1);
    (void)close(fd);
    return e;
}
