/* A thread that does one thing at a time beside its owner: what waits for nothing is done while the
 * owner does something else, or waits. */
#ifndef EML_BASE_ASIDE_H
#define EML_BASE_ASIDE_H

struct eml_aside;

/* NULL without memory or threads. No signal of the process is delivered to it. */
struct eml_aside *eml_aside_new(void);
/* Not between begin and await. NULL is allowed. */
void eml_aside_free(struct eml_aside *a);

/* Begins work(arg), on another core than the caller's if it may, and with a NULL has done it when
 * it returns. What it does not share with the caller both may change. Then eml_aside_await, before
 * the next. */
void eml_aside_begin(struct eml_aside *a, void (*work)(void *arg), void *arg);
/* Returns when it is done; what it wrote can be read. */
void eml_aside_await(struct eml_aside *a);

#endif
