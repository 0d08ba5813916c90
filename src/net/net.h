/* Sockets: the only folder of src/ that touches a file descriptor.
 *
 * Addresses are text: "tcp:HOST:PORT", "unix:PATH", "vsock:CID:PORT" (connect or listen; CID "any" to
 * listen), "vsock-unix:PATH:PORT" (connect only: Firecracker's Unix socket, "CONNECT port\n" first).
 * Every call has a deadline (monotonic milliseconds, absolute); waiting past it is EML_E_NET.
 * Descriptors are close-on-exec; writes never raise SIGPIPE.
 */
#ifndef EML_NET_NET_H
#define EML_NET_NET_H

#include "base/bytes.h"

int64_t eml_net_now_ms(void); /* monotonic */

EML_MUST enum eml_err eml_net_listen(const char *address, int *fd, struct eml_why *why);
/* For tcp port 0: the port that was given. 0 for other kinds. */
uint16_t eml_net_port(int fd);
EML_MUST enum eml_err eml_net_accept(int listener, int64_t deadline_ms, int *fd);
EML_MUST enum eml_err eml_net_connect(const char *address, int64_t deadline_ms, int *fd,
                                      struct eml_why *why);
EML_MUST enum eml_err eml_net_send(int fd, struct eml_bytes bytes, int64_t deadline_ms);
/* Exactly room.len bytes; *got tells how many came. End of stream before that is EML_E_NET. */
EML_MUST enum eml_err eml_net_recv(int fd, struct eml_room room, int64_t deadline_ms, size_t *got);
/* At least one byte, or *got = 0 at end of stream. */
EML_MUST enum eml_err eml_net_recv_some(int fd, struct eml_room room, int64_t deadline_ms,
                                        size_t *got);
/* be32 length || bytes. The frame is appended to *out (a fresh frame per call: *out is emptied). */
EML_MUST enum eml_err eml_net_send_frame(int fd, struct eml_bytes frame, int64_t deadline_ms);
EML_MUST enum eml_err eml_net_recv_frame(int fd, size_t max, int64_t deadline_ms,
                                         struct eml_buf *out);
void eml_net_close(int *fd); /* sets *fd to -1 */

#endif
