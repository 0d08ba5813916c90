/* Sockets: the only folder of src/ that touches a file descriptor.
 *
 * Addresses are text: "tcp:HOST:PORT", "unix:PATH", "vsock:CID:PORT" (connect or listen; CID "any"
 * to listen), "vsock-unix:PATH:PORT" (connect only: Firecracker's Unix socket, "CONNECT port\n"
 * first). An IPv6 number stands in brackets: "tcp:[::1]:443". Every call has a deadline (monotonic
 * milliseconds, absolute; INT64_MAX = none); waiting past it is EML_E_NET. Only the lookup of a
 * host name, bounded by the resolver's own timeouts, is outside it. Descriptors made here are
 * close-on-exec and non-blocking; writes never raise SIGPIPE. Sending and receiving need no system
 * call but sendmsg, recvfrom and poll, on descriptors of either mode.
 */
#ifndef EML_NET_NET_H
#define EML_NET_NET_H

#include "base/bytes.h"

int64_t eml_net_now_ms(void); /* monotonic */

/* On failure *fd is -1. EML_E_USAGE: the address has no meaning; EML_E_SYSTEM: it cannot be bound.
 */
EML_MUST enum eml_err eml_net_listen(const char *address, int *fd, struct eml_why *why);
/* For tcp port 0: the port that was given. 0 for other kinds. */
uint16_t eml_net_port(int fd);
EML_MUST enum eml_err eml_net_accept(int listener, int64_t deadline_ms, int *fd);
/* Whether who connected may be who `address` names: its CID, where both are vsock's, since anything
 * on the machine may call a vsock port. True for other kinds, whose access is a matter of files and
 * networks. */
bool eml_net_is_from(int fd, const char *address);
EML_MUST enum eml_err eml_net_connect(const char *address, int64_t deadline_ms, int *fd,
                                      struct eml_why *why);
/* Waits for poll(2) events (errors and hang-up included). */
EML_MUST enum eml_err eml_net_wait(int fd, short events, int64_t deadline_ms);
EML_MUST enum eml_err eml_net_send(int fd, struct eml_bytes bytes, int64_t deadline_ms);
/* Exactly room.len bytes; *got tells how many came. End of stream before that is EML_E_NET. */
EML_MUST enum eml_err eml_net_recv(int fd, struct eml_room room, int64_t deadline_ms, size_t *got);
/* At least one byte, or *got = 0 at end of stream. */
EML_MUST enum eml_err eml_net_recv_some(int fd, struct eml_room room, int64_t deadline_ms,
                                        size_t *got);
/* be32 length || bytes. *out is emptied (and wiped) first, then holds the one frame; empty on
 * failure. A frame longer than max is EML_E_INPUT. */
EML_MUST enum eml_err eml_net_send_frame(int fd, struct eml_bytes frame, int64_t deadline_ms);
EML_MUST enum eml_err eml_net_recv_frame(int fd, size_t max, int64_t deadline_ms,
                                         struct eml_buf *out);
void eml_net_close(int *fd); /* sets *fd to -1 */

#endif
