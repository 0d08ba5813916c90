#include "engine/fused.h"

#include "base/checked.h"

static enum eml_act act_of(const struct eml_op_ctx *c)
{
    return (enum eml_act)eml_node_int(c->node, EML_ATTR_ACT, EML_ACT_NONE);
}

uint32_t eml_fused_operands(const struct eml_op_ctx *c)
{
    return act_of(c) == EML_ACT_PRELU && c->n_in > 0 ? c->n_in - 1 : c->n_in;
}

const struct eml_view *eml_fused_in(const struct eml_op_ctx *c, uint32_t i)
{
    if (i >= eml_fused_operands(c) || c->in[i].dtype == EML_DT_NONE)
        return NULL;
    return &c->in[i];
}

enum eml_err eml_fused_act(const struct eml_op_ctx *c, uint32_t own_params, int64_t columns,
                           struct eml_act_spec *act)
{
    *act = (struct eml_act_spec){.act = act_of(c)};
    size_t n = eml_act_params(act->act);
    if (n > 2 || c->n_params < own_params + n)
        return eml_fail(c->why, EML_E_INPUT, "activation: its numbers are missing", -1);
    for (size_t i = 0; i < n; i++)
        act->p[i] = c->params[c->n_params - n + i];
    if (act->act == EML_ACT_PRELU) {
        const struct eml_view *slope = &c->in[c->n_in - 1];
        if (c->n_in < 2 || slope->dtype != EML_DT_F32 || slope->count != columns)
            return eml_fail(c->why, EML_E_INPUT, "activation: slope is not one per channel", -1);
        act->slope = slope->data;
    }
    return EML_OK;
}

enum eml_err eml_fused_epilogue(const struct eml_op_ctx *c, uint32_t own_params, int64_t columns,
                                struct eml_epilogue *e)
{
    *e = (struct eml_epilogue){0};
    EML_TRY(eml_fused_act(c, own_params, columns, &e->act));
    const struct eml_view *bias = eml_fused_in(c, 2), *residual = eml_fused_in(c, 3);
    if (bias) {
        if (bias->dtype != EML_DT_F32 || bias->count != columns)
            return eml_fail(c->why, EML_E_INPUT, "bias: not one per output channel", -1);
        e->bias = bias->data;
    }
    if (residual) {
        if (residual->dtype != EML_DT_F32 || residual->count != c->out[0].count)
            return eml_fail(c->why, EML_E_INPUT, "residual: shape is not the output's", -1);
        e->residual = residual->data;
        e->residual_stride = (size_t)columns;
    }
    return EML_OK;
}

struct eml_scratch eml_scratch_of(const struct eml_op_ctx *c)
{
    return (struct eml_scratch){.base = c->scratch.ptr, .size = c->scratch.len};
}

void *eml_scratch_take(struct eml_scratch *s, size_t count, size_t size)
{
    size_t n, end;
    if (s->failed || !eml_mul_size(count, size, &n) || !eml_round_up(n, 64, &n) ||
        !eml_add_size(s->used, n, &end) || (s->base && end > s->size)) {
        s->failed = true;
        return NULL;
    }
    uint8_t *p = s->base ? s->base + s->used : NULL;
    s->used = end;
    return p;
}
