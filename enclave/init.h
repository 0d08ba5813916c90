/* PID 1 of the enclave image: turns a bare kernel into a place to work in, starts the broker, reaps
 * what is orphaned, and ends the machine when the broker ends.
 *
 * What it does depends on measured bytes only. The kernel hands it words of its command line, to
 * which the hypervisor has added some that no PCR covers, as arguments and environment: it looks at
 * neither. The broker's options are lines of EML_INIT_OPTIONS, a file of the image. The host gives
 * it one byte, the heartbeat's echo. Any step that fails is logged and ends the machine: an enclave
 * that is half set up serves nobody.
 */
#ifndef EML_ENCLAVE_INIT_H
#define EML_ENCLAVE_INIT_H

#include "base/bytes.h"

#define EML_INIT_PATH "/init"
#define EML_INIT_OPTIONS "/etc/eml-enclaved.options"

/* Whether this process is the image's PID 1. (In a container the program may be PID 1, too; the
 * kernel starts an initramfs' program by the name EML_INIT_PATH.) */
bool eml_init_is(const char *argv0);
_Noreturn void eml_init_run(void);

#endif
