#include "base/log.h"
#include "enclave/broker_state.h"

uint64_t eml_broker_record(struct eml_broker *b, const struct eml_session *s, struct eml_record r)
{
    uint64_t index = 0;
    r.session = s != NULL ? s->number : 0;
    enum eml_err err = eml_audit_log_append(b->log, &r, &index);
    if (err != EML_OK) {
        eml_log_event("audit.lost", err, {"event", r.event});
        b->stopping = b->lost = true;
    }
    return index;
}

void eml_broker_record_budget(struct eml_broker *b, const struct eml_session *s,
                              enum eml_budget_kind kind)
{
    (void)eml_broker_record(b, s,
                            (struct eml_record){.event = EML_EVENT_BUDGET,
                                                .outcome = EML_E_REFUSED,
                                                .number = {(uint64_t)kind}});
}

void eml_broker_record_violation(struct eml_broker *b, const struct eml_session *s,
                                 enum eml_violation kind, enum eml_err outcome, int signal)
{
    (void)eml_broker_record(b, s,
                            (struct eml_record){.event = EML_EVENT_VIOLATION,
                                                .outcome = outcome,
                                                .number = {(uint64_t)kind, (uint64_t)signal}});
}

void eml_broker_record_error(struct eml_broker *b, enum eml_error_place place, enum eml_err outcome)
{
    (void)eml_broker_record(b, NULL,
                            (struct eml_record){.event = EML_EVENT_ERROR,
                                                .outcome = outcome,
                                                .number = {(uint64_t)place}});
}

void eml_broker_record_destruction(struct eml_broker *b, const struct eml_session *s,
                                   const struct eml_ipc_request *r)
{
    const uint64_t *n = r->number;
    (void)eml_broker_record(
        b, s, (struct eml_record){.event = EML_EVENT_DESTRUCTION, .number = {n[5], n[3], n[4]}});
}

uint64_t eml_broker_record_request(struct eml_broker *b, const struct eml_session *s,
                                   enum eml_err outcome, const struct eml_ipc_request *r,
                                   const struct eml_sha256 *receipt)
{
    const uint64_t *n = r->number;
    struct eml_record inference = {
        .event = EML_EVENT_INFERENCE, .outcome = outcome, .number = {n[2]}};
    if (n[0] != 0) /* a further request finds its model assembled */
        (void)eml_broker_record(
            b, s, (struct eml_record){.event = EML_EVENT_ASSEMBLY, .number = {n[0], n[1]}});
    if (s->kms_due) /* KMS gave no key, or none that holds */
        (void)eml_broker_record(b, s,
                                (struct eml_record){.event = EML_EVENT_KMS, .outcome = r->err});
    else if (r->err == EML_E_REFUSED && !s->refused)
        eml_broker_record_budget(b, s, EML_BUDGET_REQUEST);
    if (n[5] != 0)
        eml_broker_record_destruction(b, s, r);
    if (outcome == EML_OK) {
        inference.bytes[EML_INFERENCE_RECEIPT] = EML_BYTES(receipt->b);
        inference.bytes[EML_INFERENCE_MODEL] = EML_BYTES(r->inference.topology);
    }
    return eml_broker_record(b, s, inference);
}
