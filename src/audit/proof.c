#include "audit/proof.h"

#include "base/cur.h"
#include "base/text.h"
#include "wire/base64.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIRST EML_LIT("c2sp.org/tlog-proof@v1")

enum eml_err eml_proof_print(const struct eml_proof *p, struct eml_buf *out)
{
    char line[64];
    eml_buf_put(out, FIRST);
    (void)snprintf(line, sizeof line, "\nindex %" PRIu64 "\n", p->index);
    eml_buf_put(out, eml_bytes_of_str(line));
    for (size_t i = 0; i < p->path.n; i++) {
        eml_base64_encode(EML_BYTES(p->path.hash[i].b), out);
        eml_buf_put_u8(out, '\n');
    }
    eml_buf_put_u8(out, '\n');
    eml_buf_put(out, p->checkpoint);
    return eml_buf_ok(out);
}

/* The next line without its end; the cursor fails if there is none. */
static struct eml_bytes next_line(struct eml_cur *c)
{
    struct eml_cur look = *c;
    struct eml_bytes rest = eml_cur_rest(&look);
    const uint8_t *p = rest.len != 0 ? memchr(rest.ptr, '\n', rest.len) : NULL;
    if (p == NULL)
        eml_cur_fail(c);
    struct eml_bytes line = eml_cur_take(c, p != NULL ? (size_t)(p - rest.ptr) : 0);
    (void)eml_cur_u8(c);
    return line;
}

static bool starts(struct eml_bytes line, struct eml_bytes with)
{
    return line.len >= with.len && memcmp(line.ptr, with.ptr, with.len) == 0;
}

static bool index_line(struct eml_bytes line, uint64_t *out)
{
    const struct eml_bytes word = EML_LIT("index ");
    char digits[24] = {0};
    if (!starts(line, word) || line.len - word.len >= sizeof digits || line.len == word.len)
        return false;
    memcpy(digits, line.ptr + word.len, line.len - word.len);
    return (digits[0] != '0' || digits[1] == '\0') && eml_u64_get(digits, 0, UINT64_MAX, out);
}

static enum eml_err hash_line(struct eml_bytes line, struct eml_tree_proof *path)
{
    struct eml_buf b = {0};
    enum eml_err err = path->n < EML_TREE_PROOF_MAX ? eml_base64_decode(line, &b) : EML_E_INPUT;
    if (err == EML_OK && b.len != sizeof path->hash[0].b)
        err = EML_E_INPUT;
    if (err == EML_OK)
        memcpy(path->hash[path->n++].b, b.ptr, b.len);
    eml_buf_free(&b);
    return err;
}

static enum eml_err parse(struct eml_bytes text, struct eml_proof *p, struct eml_why *why)
{
    struct eml_cur c = eml_cur(text);
    if (text.len > EML_PROOF_BYTES_MAX)
        return eml_fail(why, EML_E_INPUT, "proof: too long", -1);
    if (!eml_bytes_equal(next_line(&c), FIRST))
        return eml_fail(why, EML_E_INPUT, "proof: not a proof file of this version", -1);
    struct eml_bytes line = next_line(&c);
    if (starts(line, EML_LIT("extra ")))
        line = next_line(&c);
    if (!eml_cur_ok(&c) || !index_line(line, &p->index))
        return eml_fail(why, EML_E_INPUT, "proof: no index", -1);
    for (line = next_line(&c); eml_cur_ok(&c) && line.len != 0; line = next_line(&c)) {
        enum eml_err err = hash_line(line, &p->path);
        if (err == EML_E_SYSTEM)
            return eml_fail(why, err, "out of memory", -1);
        if (err != EML_OK)
            return eml_fail(why, err, "proof: a line is no hash", (long)p->path.n);
    }
    if (!eml_cur_ok(&c) || eml_cur_left(&c) == 0)
        return eml_fail(why, EML_E_INPUT, "proof: no checkpoint", -1);
    p->checkpoint = eml_cur_rest(&c);
    return EML_OK;
}

enum eml_err eml_proof_parse(struct eml_bytes text, struct eml_proof *out, struct eml_why *why)
{
    *out = (struct eml_proof){0};
    enum eml_err err = parse(text, out, why);
    if (err != EML_OK)
        *out = (struct eml_proof){0};
    return err;
}

enum eml_err eml_proof_verify(const struct eml_proof *p, struct eml_bytes entry,
                              const struct eml_note_key *k, struct eml_checkpoint *checkpoint,
                              struct eml_why *why)
{
    struct eml_checkpoint c = {0};
    struct eml_sha256 leaf;
    if (checkpoint != NULL)
        *checkpoint = c;
    EML_TRY(eml_checkpoint_verify(p->checkpoint, k, &c, why));
    EML_TRY(eml_tree_leaf(entry, &leaf));
    enum eml_err err = eml_tree_verify_inclusion(p->index, c.size, &leaf, &p->path, &c.root);
    if (err != EML_OK)
        return eml_fail(why, err, "proof: the entry is not in this log at this index", -1);
    if (checkpoint != NULL)
        *checkpoint = c;
    return EML_OK;
}
