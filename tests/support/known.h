/* Known answers: hex of a fixed length into an array, and comparison of bytes with hex. */
#ifndef EML_TESTSUPPORT_KNOWN_H
#define EML_TESTSUPPORT_KNOWN_H

#include "base/bytes.h"

/* The hex must be exactly as long as the room; aborts otherwise. */
void eml_test_hex_into(const char *hex, struct eml_room out);
/* Fails the test, showing both in hex, unless they are equal. */
void eml_test_assert_hex(struct eml_bytes got, const char *hex);

#endif
