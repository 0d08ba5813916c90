/* Clauses are named and told in our own words: SOC 2 (AICPA Trust Services Criteria 2017), ISO/IEC
 * 27001:2022 Annex A, HIPAA Security Rule (45 CFR part 164), GDPR (EU) 2016/679, AI Act (EU)
 * 2024/1689. A log supports a control; it does not make an organisation conform. */
#include "auditlog/report.h"

const struct eml_control eml_controls[] = {
    {"SOC 2", "CC6.1", "Access to protected information is restricted",
     "Each session's attestation, and every key that KMS released to the enclave",
     "Who the person or program behind a session is: the enclave does not know"},
    {"SOC 2", "CC7.2", "Systems are watched for anomalies",
     "Violations, budgets that were hit, refusals and crashes, each with time and session",
     "The host's operating system, its network, its physical site"},
    {"SOC 2", "CC7.3", "Security events are evaluated",
     "A complete list to evaluate, whose completeness can be verified",
     "That somebody evaluated it"},
    {"ISO 27001", "A.5.28", "Evidence is collected so that it can be relied on",
     "Signed records whose removal, change or reordering is detected by anyone, offline",
     "Custody of the copies that you keep"},
    {"ISO 27001", "A.8.10", "Information is deleted when no longer needed",
     "Bytes wiped and exposure window of each inference, from the first plaintext weight to the "
     "end of the wipe",
     "Copies at the client, which owns model, input and output"},
    {"ISO 27001", "A.8.15", "Logs of activities are produced, kept, protected, analysed",
     "Production and protection against change", "How long you keep it, and who reviews it"},
    {"ISO 27001", "A.8.17", "Clocks are synchronised",
     "Time never runs back within a start; each start's time agrees with AWS's in its attestation "
     "document",
     "Accuracy between two starts: the clock is the enclave's"},
    {"HIPAA", "164.312(b)", "Activity in systems with health information is recorded",
     "Every inference, its outcome, and the destruction after it, without any content of it",
     "Which patient a request concerned: by design it cannot be in this log"},
    {"HIPAA", "164.312(c)(1)", "Information is protected from improper alteration",
     "That this log was not altered; weights that were not authentic were refused and noted",
     "Integrity of records outside the enclave"},
    {"HIPAA", "164.308(a)(1)(ii)(D)", "System activity is reviewed regularly",
     "The material of a review",
     "The review itself; retention of six years (164.316(b)(2)(i)) is yours"},
    {"GDPR", "Art. 5(1)(c), (e)", "Data is minimised and not stored longer than needed",
     "Destruction after each request or session; this log holds numbers and digests only, no "
     "personal data of subjects",
     "Lawfulness and purpose of the processing"},
    {"GDPR", "Art. 5(2), 30", "The controller can demonstrate what it does",
     "When processing took place and how it ended",
     "Purposes, categories, recipients: the record of processing is yours"},
    {"GDPR", "Art. 32, 33", "Processing is secure; breaches are detected and notified",
     "Attested code, measured exposure, violations with their time",
     "Whether an event is a breach of personal data"},
    {"EU AI Act", "Art. 12", "High-risk systems log events automatically over their lifetime",
     "Automatic logging of each use, its outcome, time and (as a digest) the model version",
     "Inputs and results, and the extra fields of Art. 12(3) for remote biometric identification"},
    {"EU AI Act", "Art. 19, 26(6)", "Providers and deployers keep those logs, six months at least",
     "Whether anything is missing from what was kept",
     "The keeping: copy the directory and the checkpoint"},
    {"EU AI Act", "Art. 72", "Providers monitor systems after they are on the market",
     "Counts of uses, failures and refusals over time", "Performance and quality of results"},
};
const size_t eml_controls_n = sizeof eml_controls / sizeof eml_controls[0];
