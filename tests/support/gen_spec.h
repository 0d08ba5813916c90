/* What operands each operator gets from the generator of models. A test of ranges and kinds only:
 * what the operators' rules say of them is not repeated here, so some proposals are refused. */
#ifndef EML_TESTSUPPORT_GEN_SPEC_H
#define EML_TESTSUPPORT_GEN_SPEC_H

#include "model/graph.h"

struct eml_mg_spec {
    /* A letter for each operand; NULL: the operator is not generated. Of x's type and
     *   x main operand   b broadcasts with x   s like x   0 scalar   c [dim 1]   l [last dim]
     *   M [last dim, n]   W H weights of Conv, ConvTranspose   w its bias   u like the operand
     * before n updates of ScatterND   3 4 5 weights of a recurrent operator   z zero point of other
     * types ? bool like b   k bool list   I J N indices   A T U Q axes   R X K D S E B Z V integers
     * that steer   F scales of 1   p positive float   q an axis   1 i an integer   v two floats   g
     * grid t any   L lengths   Y labels   [ a list   _ absent   * up to two more of the last */
    const char *operands;
    uint8_t lo, hi; /* rank of x */
    bool smooth;    /* a small error of operands makes a small error */
    bool exact;     /* adds none */
    bool square;    /* x's last two dims are equal */
};

const struct eml_mg_spec *eml_mg_spec_of(enum eml_op op);

#endif
