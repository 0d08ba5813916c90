#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

const char *eml_err_name(enum eml_err e)
{
    switch (e) {
    case EML_OK:
        return "ok";
    case EML_E_USAGE:
        return "usage";
    case EML_E_INPUT:
        return "bad input";
    case EML_E_AUTH:
        return "not authentic";
    case EML_E_REFUSED:
        return "refused by policy";
    case EML_E_UNSUPPORTED:
        return "unsupported";
    case EML_E_NET:
        return "peer or network";
    case EML_E_SYSTEM:
        return "system";
    }
    return "unknown";
}

int eml_err_exit(enum eml_err e)
{
    switch (e) {
    case EML_OK:
        return 0;
    case EML_E_USAGE:
        return 2;
    case EML_E_INPUT:
    case EML_E_UNSUPPORTED:
        return 3;
    case EML_E_AUTH:
    case EML_E_REFUSED:
        return 4;
    case EML_E_NET:
        return 5;
    case EML_E_SYSTEM:
        return 1;
    }
    return 1;
}

enum eml_err eml_fail(struct eml_why *why, enum eml_err e, const char *rule, long index)
{
    if (why != NULL) {
        why->rule = rule;
        why->index = index;
    }
    return e;
}

_Noreturn void eml_bug(const char *file, int line)
{
    (void)fprintf(stderr, "bug: %s:%d\n", file, line);
    abort();
}
