#include "crypto/crypto.h"

#include "base/wipe.h"

#include <openssl/err.h>
#include <openssl/rand.h>

enum { PIECE = 1 << 30 }; /* OpenSSL's lengths are int */

enum eml_err eml_random(struct eml_room out)
{
    for (size_t done = 0; done < out.len;) {
        size_t n = out.len - done < PIECE ? out.len - done : PIECE;
        if (RAND_priv_bytes(out.ptr + done, (int)n) != 1) {
            ERR_clear_error();
            eml_wipe(out.ptr, out.len);
            return EML_E_SYSTEM;
        }
        done += n;
    }
    return EML_OK;
}
