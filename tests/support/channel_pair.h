/* Two sides of a channel for tests. The document is a stand-in that shows what a real one binds:
 * nonce || user_data; `verify` is what a policy would do with it.
 */
#ifndef EML_TESTSUPPORT_CHANNEL_PAIR_H
#define EML_TESTSUPPORT_CHANNEL_PAIR_H

#include "testsupport/support.h"

#include "channel/channel.h"

#include <string.h>

struct eml_pair {
    struct eml_channel *client, *server;
    struct eml_buf hello, evidence, open; /* frames as sent */
};

/* The content of the frame at the start of `stream`, which is left behind it; false if cut short.
 */
static inline bool eml_pair_frame(struct eml_cur *stream, struct eml_bytes *content)
{
    uint32_t n = eml_cur_u32(stream);
    *content = eml_cur_take(stream, n);
    return eml_cur_ok(stream);
}

static inline enum eml_err eml_pair_only_frame(const struct eml_buf *b, struct eml_bytes *content)
{
    struct eml_cur c = eml_cur(eml_buf_bytes(b));
    return eml_pair_frame(&c, content) && eml_cur_done(&c) ? EML_OK : EML_E_INPUT;
}

static inline enum eml_err eml_pair_verify(const struct eml_channel *client,
                                           struct eml_bytes document, struct eml_bytes *user_data)
{
    struct eml_cur c = eml_cur(document);
    struct eml_bytes nonce = eml_cur_take(&c, 32);
    struct eml_bytes prefix = eml_channel_user_data_prefix(client);
    *user_data = eml_cur_take(&c, EML_CHANNEL_USER_DATA_BYTES);
    if (!eml_cur_done(&c) || !eml_bytes_equal(nonce, eml_channel_nonce(client)) ||
        !eml_bytes_equal(eml_bytes(user_data->ptr, prefix.len), prefix))
        return EML_E_AUTH;
    return EML_OK;
}

static inline enum eml_err eml_pair_document(const struct eml_channel *server, struct eml_buf *out)
{
    eml_buf_put(out, eml_channel_nonce(server));
    eml_buf_put(out, eml_channel_user_data(server));
    return eml_buf_ok(out);
}

/* The steps of a handshake; each takes the frame that the last one left in the pair. */
static inline enum eml_err eml_pair_step(struct eml_pair *p, int step)
{
    struct eml_bytes m, document, user_data;
    struct eml_buf made = {0};
    struct eml_why why;
    enum eml_err e;
    switch (step) {
    case 0:
        return eml_channel_client_hello(&p->client, &p->hello);
    case 1:
        EML_TRY(eml_pair_only_frame(&p->hello, &m));
        EML_TRY(eml_channel_server_hello(&p->server, m, &why));
        e = eml_pair_document(p->server, &made);
        if (e == EML_OK)
            e = eml_channel_server_evidence(p->server, eml_buf_bytes(&made), &p->evidence);
        eml_buf_free(&made);
        return e;
    case 2:
        EML_TRY(eml_pair_only_frame(&p->evidence, &m));
        EML_TRY(eml_channel_client_evidence(p->client, m, &document, &why));
        EML_TRY(eml_pair_verify(p->client, document, &user_data));
        return eml_channel_client_open(p->client, user_data, &p->open);
    default:
        EML_TRY(eml_pair_only_frame(&p->open, &m));
        return eml_channel_server_open(p->server, m, &why);
    }
}

#define EML_PAIR_STEPS 4

static inline void eml_pair_make(struct eml_pair *p)
{
    *p = (struct eml_pair){0};
    for (int i = 0; i < EML_PAIR_STEPS; i++)
        assert_int_equal(eml_pair_step(p, i), EML_OK);
}

static inline void eml_pair_free(struct eml_pair *p)
{
    eml_channel_free(p->client);
    eml_channel_free(p->server);
    eml_buf_free(&p->hello);
    eml_buf_free(&p->evidence);
    eml_buf_free(&p->open);
    *p = (struct eml_pair){0};
}

#endif
