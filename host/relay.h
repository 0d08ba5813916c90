/* The relay: bytes of one socket to the other and back, untouched, until both directions ended.
 *
 * One buffer of EML_HOST_RELAY_BUFFER per direction: a side that does not read stops the other side
 * (back-pressure), nothing else is kept. End of stream on one side is passed on as half-close after
 * the last byte; a side that is gone ends the direction towards it only. The buffers are wiped;
 * nothing is parsed, logged or written anywhere.
 */
#ifndef EML_HOST_RELAY_H
#define EML_HOST_RELAY_H

#include "base/bytes.h"

struct eml_relay_limits {
    int64_t idle_ms;           /* no byte moved either way for so long: EML_E_NET */
    int64_t total_ms;          /* after so long, whatever happens: EML_E_NET */
    uint64_t bytes_per_second; /* of each direction, with one second's burst; 0 = no limit */
};

struct eml_relay_bytes {
    uint64_t up, down; /* a to b, b to a */
};

/* Blocks until the end: EML_OK however the two sides ended it. *moved is right in every case. a and
 * b stay open (the caller closes). */
EML_MUST enum eml_err eml_relay(int a, int b, const struct eml_relay_limits *limits,
                                struct eml_relay_bytes *moved);

#endif
