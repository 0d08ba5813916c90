/* A folder as a ramdisk: what is in it, sorted; owners and times are not taken over. */
#define _GNU_SOURCE
#include "eiftool/commands.h"

#include "eif/cpio.h"
#include "file/file.h"

#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ENTRIES_MAX = 4096 };

struct tree {
    struct eml_cpio_entry entry[ENTRIES_MAX];
    size_t n;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct eml_cpio_entry *)a)->name,
                  ((const struct eml_cpio_entry *)b)->name);
}

/* Only what a ramdisk here can need: a link or a device would be left out of a review easily. */
static enum eml_err add(struct tree *t, const FTSENT *f, size_t root_len, struct eml_why *why)
{
    struct eml_cpio_entry *e = &t->entry[t->n];
    if (f->fts_info == FTS_DP || f->fts_level == FTS_ROOTLEVEL)
        return EML_OK;
    if (t->n == ENTRIES_MAX || (f->fts_info != FTS_D && f->fts_info != FTS_F))
        return eml_fail(why, EML_E_INPUT,
                        "a ramdisk's folder holds up to 4096 folders and regular files, no more",
                        -1);
    char *name = strdup(f->fts_path + root_len + 1);
    if (name == NULL)
        return EML_E_SYSTEM;
    *e = (struct eml_cpio_entry){.name = name, .kind = EML_CPIO_DIRECTORY};
    t->n++;
    if (f->fts_info == FTS_D)
        return EML_OK;
    e->kind = (f->fts_statp->st_mode & S_IXUSR) != 0 ? EML_CPIO_PROGRAM : EML_CPIO_FILE;
    return eml_file_map(f->fts_accpath, EML_EIF_FILE_MAX, &e->data, why);
}

static enum eml_err walk(struct tree *t, const char *path, struct eml_why *why)
{
    char *root = strdup(path);
    if (root == NULL)
        return EML_E_SYSTEM;
    for (size_t len = strlen(root); len > 1 && root[len - 1] == '/';)
        root[--len] = '\0';
    char *const roots[] = {root, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    enum eml_err err = fts != NULL ? EML_OK : EML_E_SYSTEM;
    while (err == EML_OK) {
        const FTSENT *f = fts_read(fts);
        if (f == NULL)
            break;
        err = add(t, f, strlen(root), why);
    }
    if (fts != NULL)
        (void)fts_close(fts);
    free(root);
    return err;
}

enum eml_err eml_eif_pack_tree(const char *path, struct eml_buf *out, struct eml_why *why)
{
    struct tree *t = calloc(1, sizeof *t);
    if (t == NULL)
        return EML_E_SYSTEM;
    enum eml_err err = walk(t, path, why);
    if (err == EML_OK) {
        qsort(t->entry, t->n, sizeof t->entry[0], by_name);
        err = eml_cpio_write(t->entry, t->n, out, why);
    }
    for (size_t i = 0; i < t->n; i++) {
        union {
            const char *in;
            char *out;
        } name = {t->entry[i].name};
        free(name.out);
        eml_file_unmap(t->entry[i].data);
    }
    free(t);
    return err;
}
