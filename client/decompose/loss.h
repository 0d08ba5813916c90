/* What a second, less exact emission of a graph loses: both run on the same random inputs. */
#ifndef EML_DECOMPOSE_LOSS_H
#define EML_DECOMPOSE_LOSS_H

#include "decompose/emit.h"

/* Over all elements of all float outputs. */
struct eml_loss {
    bool measured;
    double rms;     /* root mean square of the exact outputs */
    double error;   /* root mean square of the differences */
    double largest; /* largest difference */
};

/* Runs both graphs, which have the same inputs and outputs. Floats are drawn from [-1, 1), integers
 * are 0 or 1 (indices that most tables have); unknown dims are all one number, the first of a few
 * that fits. Not measured: none fits, or no output is of floats. EML_E_SYSTEM: no memory. */
EML_MUST enum eml_err eml_loss_measure(const struct eml_emitted *exact,
                                       const struct eml_emitted *rounded, struct eml_arena *arena,
                                       struct eml_loss *out);

#endif
