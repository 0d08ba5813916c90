/* The broker: owns the NSM, the enclave's signing key, the RSA key for KMS and the weights cache,
 * and hands out what a session may have. One thread, one poll loop, never waits for a peer.
 *
 * It accepts connections and gives each to a worker process that it starts for it; from then on it
 * hears only the worker's typed messages (ipc.h). It never sees a topology, a plaintext weight, an
 * input or an output. A worker that says anything unexpected, or stays too long, is killed; a
 * worker that dies concerns nobody else.
 */
#ifndef EML_ENCLAVE_BROKER_H
#define EML_ENCLAVE_BROKER_H

#include "enclave/options.h"
#include "enclave/spawn.h"

/* Serves until SIGTERM or SIGINT, then ends its workers. */
EML_MUST enum eml_err eml_broker_run(const struct eml_options *o, const struct eml_program *program,
                                     struct eml_why *why);

#endif
