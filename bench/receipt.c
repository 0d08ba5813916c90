/* Processor time of one receipt: what the broker does for it (two signatures with their encoding),
 * and what a verifier does for the same two. Prints the least and the median of many. */
#define _GNU_SOURCE
#include "enclave/notary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 2000 };

static double now_us(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *what, double *us)
{
    qsort(us, ROUNDS, sizeof *us, by_value);
    (void)printf("%-28s least %6.1f us  median %6.1f us\n", what, us[0], us[ROUNDS / 2]);
}

int main(void)
{
    static double make[ROUNDS], check[ROUNDS];
    struct eml_ed25519_sk sk = {.b = {1, 2, 3}};
    struct eml_notary n = {.attested = true, .pcr_present = 7};
    struct eml_ipc_request report = {.type = EML_IPC_REPORT, .number = {100, 200, 300, 4, 500, 6}};
    struct eml_sha256 digest;
    struct eml_buf receipt = {0};
    size_t air = 0, statement = 0;
    eml_crypto_init();
    EML_ASSERT(eml_ed25519_make(&sk) == EML_OK);
    memset(&report.inference.topology, 7, sizeof report.inference.topology);
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_us();
        EML_ASSERT(eml_notary_receive(&n, &sk, &report, 1700000000, true, &digest) == EML_OK);
        EML_ASSERT(eml_notary_state(&n, &report, EML_LIT("ephemeralml/0123456789abcdef"),
                                    (uint64_t)i) == EML_OK);
        receipt.len = 0;
        EML_ASSERT(eml_notary_finish(&n, &sk, EML_LIT("record"), EML_LIT("proof"), &receipt) ==
                   EML_OK);
        make[i] = now_us() - start;
        struct eml_receipt parts;
        struct eml_why why;
        EML_ASSERT(eml_receipt_decode(eml_buf_bytes(&receipt), &parts, &why) == EML_OK);
        air = parts.air.len;
        statement = parts.statement.len;
        struct eml_air a;
        struct eml_statement s;
        const struct eml_air_policy any = {.now_s = 0};
        start = now_us();
        EML_ASSERT(eml_air_verify(parts.air, &sk.pk, &any, &a, &why) == EML_OK);
        EML_ASSERT(eml_statement_verify(parts.statement, &sk.pk, &s, &why) == EML_OK);
        check[i] = now_us() - start;
    }
    print("sign and encode a receipt", make);
    print("verify both signatures", check);
    (void)printf("AIR receipt %zu bytes, statement %zu bytes\n", air, statement);
    eml_buf_free(&receipt);
    return 0;
}
