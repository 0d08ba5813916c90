/* Error classes and the one macro that hides flow.
 *
 * An error is a class: it says who is at fault, and that is all that a peer may learn. Verifiers
 * also name the rule that was broken (a string literal, never data) in `struct eml_why`, for logs,
 * tests and the person at the command line. Bugs abort (`EML_BUG`); they are not errors.
 */
#ifndef EML_BASE_ERR_H
#define EML_BASE_ERR_H

#include <stddef.h>

enum eml_err {
    EML_OK = 0,
    EML_E_USAGE,       /* what the caller asked for has no meaning (CLI, API misuse by data) */
    EML_E_INPUT,       /* the peer or a file sent nonsense: malformed, inconsistent */
    EML_E_AUTH,        /* not authentic: signature, tag, key id or digest does not match */
    EML_E_REFUSED,     /* understood and authentic, but policy says no (measurement, rollback) */
    EML_E_UNSUPPORTED, /* valid, but this build cannot do it (operator, type, version) */
    EML_E_NET,         /* peer gone, timed out, or connection refused */
    EML_E_SYSTEM,      /* this machine cannot: memory, disk, descriptor, random source */
};

#define EML_MUST __attribute__((warn_unused_result))

/* Name of a class, e.g. "not authentic". Never NULL. */
const char *eml_err_name(enum eml_err e);

/* The process exit code for a class, the same in all programs:
 * 0 ok, 1 internal/system, 2 usage, 3 bad input (also unsupported), 4 refused (attestation, policy,
 * authenticity), 5 peer or network. */
int eml_err_exit(enum eml_err e);

/* Why a verifier or parser refused. `rule` is a string literal with the rule that was broken
 * ("attestation: PCR0 is all zero (debug mode)"). `index` is the position it concerns (node, PCR,
 * chunk, byte), or -1. Holds no data of any party. */
struct eml_why {
    const char *rule;
    long index;
};

/* Sets *why (if not NULL) and returns e; for `return eml_fail(why, EML_E_INPUT, "rule", i);` */
enum eml_err eml_fail(struct eml_why *why, enum eml_err e, const char *rule, long index);

#define EML_TRY(expr)                                                                              \
    do {                                                                                           \
        enum eml_err eml_try_ = (expr);                                                            \
        if (eml_try_ != EML_OK)                                                                    \
            return eml_try_;                                                                       \
    } while (0)

/* A state that only a programming error can reach. Prints file and line, then aborts. */
_Noreturn void eml_bug(const char *file, int line);
#define EML_BUG() eml_bug(__FILE__, __LINE__)
#define EML_ASSERT(c) ((c) ? (void)0 : EML_BUG())

#endif
