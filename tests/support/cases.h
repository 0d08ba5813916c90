/* Generated cases with a size: the most parts (messages, nodes, statements) that one may have.
 *
 * Each case can be had again from the generator as it was at its beginning, with fewer parts. If
 * one fails, that is tried, each size in a process of its own, and the smallest that fails too is
 * told, with the seed: a test over such cases is EML_CASES_TEST(f), whose teardown does it.
 */
#ifndef EML_TESTSUPPORT_CASES_H
#define EML_TESTSUPPORT_CASES_H

#include "testsupport/support.h"

/* Fails (as cmocka's assertions do) if the case does not hold. */
typedef void eml_case(struct eml_gen *g, unsigned size);

/* n cases of at most `size` parts (>= 1), drawn from *g one after the other. */
void eml_cases(struct eml_gen *g, long n, unsigned size, eml_case *one);

/* The smallest size from 1 to `size` with which the case that begins at *at fails; 0: none does. */
unsigned eml_cases_smallest(const struct eml_gen *at, unsigned size, eml_case *one);

/* A teardown: of a case that has not ended, tells the smallest size. 0 always. */
int eml_cases_shrink(void **state);
#define EML_CASES_TEST(f) cmocka_unit_test_teardown(f, eml_cases_shrink)

#endif
