/* Whole messages over a socket, as the client of an open channel: for tests that talk to a worker.
 */
#ifndef EML_TESTSUPPORT_SEALED_TALK_H
#define EML_TESTSUPPORT_SEALED_TALK_H

#include "testsupport/support.h"

#include "channel/channel.h"
#include "net/net.h"

static inline void eml_talk_say(struct eml_channel *ch, int fd, int64_t deadline_ms,
                                enum eml_msg_type type, struct eml_bytes content)
{
    struct eml_buf out = {0};
    assert_int_equal(eml_channel_seal(ch, type, content, &out), EML_OK);
    assert_int_equal(eml_net_send(fd, eml_buf_bytes(&out), deadline_ms), EML_OK);
    eml_buf_free(&out);
}

/* Into *content, which is emptied first; the caller frees it. */
static inline enum eml_msg_type eml_talk_hear(struct eml_channel *ch, int fd, int64_t deadline_ms,
                                              struct eml_buf *content)
{
    struct eml_buf frame = {0};
    enum eml_msg_type type = EML_MSG_END;
    content->len = 0;
    for (bool done = false; !done;) {
        struct eml_bytes part;
        uint64_t total;
        assert_int_equal(eml_net_recv_frame(fd, EML_RECORD_PLAIN_MAX + 16, deadline_ms, &frame),
                         EML_OK);
        assert_int_equal(
            eml_channel_open(ch, eml_buf_bytes(&frame), &type, &total, &part, &done, NULL), EML_OK);
        eml_buf_put(content, part);
    }
    eml_buf_free(&frame);
    return type;
}

#endif
