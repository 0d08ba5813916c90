// link: onnx
/* Any bytes: the reader refuses or yields a model that keeps its promises, and the checker can read
 * all of it. */
#include "testsupport/support.h"

#include "onnx/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void touch(struct eml_bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        sink += b.ptr[i];
}

static void read_model(const struct eml_onnx_model *m)
{
    for (uint32_t i = 0; i < m->n_inits; i++)
        touch(m->inits[i].data);
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const struct eml_onnx_node *n = &m->nodes[i];
        for (uint32_t k = 0; k < n->n_in; k++) {
            EML_ASSERT(n->in[k] == EML_ONNX_ABSENT || n->in[k] < m->n_values);
            if (n->in[k] != EML_ONNX_ABSENT && m->values[n->in[k]].producer != EML_ONNX_ABSENT)
                EML_ASSERT(m->values[n->in[k]].producer < i);
        }
        for (uint32_t k = 0; k < n->n_out; k++)
            EML_ASSERT(n->out[k] == EML_ONNX_ABSENT || m->values[n->out[k]].producer == i);
    }
    for (uint32_t i = 0; i < m->n_values; i++) {
        const struct eml_onnx_value *v = &m->values[i];
        EML_ASSERT((v->producer != EML_ONNX_ABSENT) + (v->init != NULL) + v->is_input == 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_onnx_model *m = NULL;
    struct eml_onnx_diag diag;
    struct eml_check_report report = {0};
    if (eml_onnx_parse(eml_bytes(data, size), NULL, &m, &diag) == EML_OK) {
        read_model(m);
        EML_ASSERT(eml_check_static(m, &report) == EML_OK);
        FILE *null = fopen("/dev/null", "w");
        EML_ASSERT(null != NULL);
        EML_ASSERT(eml_check_print_json(&report, "model", null) == EML_OK);
        EML_ASSERT(eml_check_print(&report, "model", null) == EML_OK);
        (void)fclose(null);
    } else {
        EML_ASSERT(m == NULL && diag.why.rule != NULL);
    }
    eml_check_free(&report);
    eml_onnx_free(m);
    return 0;
}
