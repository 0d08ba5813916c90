/* The broker's two small helpers, each a process of its own so that the broker never waits for the
 * host. Their exit status is an error class. */
#ifndef EML_ENCLAVE_FETCH_H
#define EML_ENCLAVE_FETCH_H

#include "enclave/ipc.h"
#include "enclave/options.h"

/* "64 hex digits:size", the fetcher's argument. */
enum { EML_FETCH_ARGUMENT = 2 * EML_IPC_ID + 1 + 20 + 1 };
void eml_fetch_argument(const uint8_t id[EML_IPC_ID], uint64_t size, char out[EML_FETCH_ARGUMENT]);
EML_MUST enum eml_err eml_fetch_parse(const char *argument, uint8_t id[EML_IPC_ID], uint64_t *size);

/* Gets one object from the host, writes it into the memory file EML_CHILD_FD_0, whose size must be
 * the object's, seals that and sends its SHA-256 over EML_CHILD_FD_1. EML_E_INPUT: the host has
 * none, or one of another size. Enters the sandbox before it reads. */
EML_MUST enum eml_err eml_fetcher_run(const struct eml_options *o, const char *argument);

/* The part after connecting, for tests: asks on `sock`, writes into `file`. */
EML_MUST enum eml_err eml_fetch(int sock, int file, const uint8_t id[EML_IPC_ID], uint64_t size);

/* Connects to the host and sends the descriptor as an answer over EML_CHILD_FD_0, a worker's socket
 * pair. Reads nothing. */
EML_MUST enum eml_err eml_connector_run(const struct eml_options *o);

#endif
