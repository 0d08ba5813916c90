/* The parts of gen_model: one node in the making, with what its values, operands and bodies are
 * made of. Every choice is drawn from the model's generator, in an order that the seed repeats. */
#ifndef EML_TESTSUPPORT_GEN_MAKER_H
#define EML_TESTSUPPORT_GEN_MAKER_H

#include "testsupport/gen_model.h"
#include "testsupport/gen_spec.h"

struct eml_mg_maker {
    struct eml_model_gen *m;
    struct eml_mg_node *n;
    enum eml_op op;
    const struct eml_mg_spec *spec;
    enum eml_dtype dtype;   /* of the operand that carries the data */
    struct eml_shape x;     /* its shape: rank 0 until it is there */
    struct eml_shape other; /* of the operand before this one */
    uint32_t spatial;       /* dims of a window's kernel */
    int64_t group, hidden;
    int64_t axis[EML_RANK_MAX]; /* chosen for operands that speak of some axes */
    uint32_t axes;
};

/* --- gen_value.c --- */
int64_t eml_mg_pick(const struct eml_mg_maker *k, int64_t lo, int64_t hi); /* both included */
bool eml_mg_chance(const struct eml_mg_maker *k, int64_t percent);
int64_t eml_mg_count(const struct eml_shape *s);
struct eml_shape eml_mg_some_shape(const struct eml_mg_maker *k, uint32_t lo, uint32_t hi,
                                   int64_t most);
/* One of the set, and seldom one that is not. */
enum eml_dtype eml_mg_some_type(const struct eml_mg_maker *k, uint32_t set);
/* Appends v, named; returns its number, as the others here do. */
uint32_t eml_mg_add_value(const struct eml_mg_maker *k, struct eml_mg_value v);
/* A new operand with elements between lo and hi (quarters, if floats): an input or a constant. */
uint32_t eml_mg_fresh(const struct eml_mg_maker *k, enum eml_dtype t, struct eml_shape s,
                      int64_t lo, int64_t hi, int64_t percent_input);
/* Given integers as an operand that steers. */
uint32_t eml_mg_steer(const struct eml_mg_maker *k, const int64_t *v, uint32_t n, bool scalar);
/* A value there is, of the type and of a rank that the spec allows, or EML_ABSENT. Where rounding
 * could tip a result over, an exact one. */
uint32_t eml_mg_existing(const struct eml_mg_maker *k, enum eml_dtype t);
const char *eml_mg_name(const struct eml_mg_maker *k, uint32_t id);
/* An attribute of n integers. */
void eml_mg_put_ints(const struct eml_mg_maker *k, struct eml_buf *a, const char *name, uint32_t n,
                     int64_t lo, int64_t hi);

/* --- gen_operand.c --- */
/* The operand that a letter of the spec stands for, or EML_ABSENT. */
uint32_t eml_mg_operand(struct eml_mg_maker *k, char kind);

/* --- gen_body.c --- */
/* If, Loop, Scan or SequenceMap: its operands into the node, its bodies into attrs. Returns the
 * number of results. */
uint32_t eml_mg_propose_body(struct eml_mg_maker *k, struct eml_buf *attrs);

#endif
