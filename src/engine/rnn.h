/* RNN, GRU and LSTM: what rule and kernel share.
 *
 * Operands of all three: X, W, R, B, sequence_lens, initial_h, initial_c (LSTM), P (LSTM), and
 * activation numbers f32 [activations, 2] (alpha, beta), there if and only if the attribute
 * ACTIVATIONS is. Weights may be packed (EML_LAYOUT_PANEL16, model/graph.h).
 */
#ifndef EML_ENGINE_RNN_H
#define EML_ENGINE_RNN_H

#include "engine/exec.h"

enum eml_rnn_operand {
    EML_RNN_X,
    EML_RNN_W,
    EML_RNN_R,
    EML_RNN_B,
    EML_RNN_LENS,
    EML_RNN_H0,
    EML_RNN_C0,
    EML_RNN_P,
    EML_RNN_NUMBERS,
};

/* In the order in which ops.def lists them. */
enum eml_rnn_act {
    EML_RNN_AFFINE,
    EML_RNN_ELU,
    EML_RNN_HARD_SIGMOID,
    EML_RNN_LEAKY_RELU,
    EML_RNN_RELU,
    EML_RNN_SCALED_TANH,
    EML_RNN_SIGMOID,
    EML_RNN_SOFTPLUS,
    EML_RNN_SOFTSIGN,
    EML_RNN_TANH,
    EML_RNN_THRESHOLDED_RELU,
    EML_RNN_ACT_N
};

enum { EML_RNN_FORWARD, EML_RNN_REVERSE, EML_RNN_BIDIRECTIONAL }; /* attribute direction */

/* Gates of the operator, and activations per direction. */
static inline int64_t eml_rnn_gates(enum eml_op op)
{
    return op == EML_OP_LSTM ? 4 : op == EML_OP_GRU ? 3 : 1;
}

static inline uint32_t eml_rnn_acts(enum eml_op op)
{
    return op == EML_OP_LSTM ? 3 : op == EML_OP_GRU ? 2 : 1;
}

#endif
