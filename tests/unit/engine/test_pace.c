/* When a thread of a pool takes part: turns and rests after disturbances. */
#include "testsupport/support.h"

#include "engine/pace.h"

enum { MS = 1000000 };

/* Rests from `now` on for exactly so long, then has a turn. */
static void check_rest(struct eml_pace p, int64_t now, int64_t rest)
{
    assert_int_equal(eml_pace_next(&p, now), EML_PACE_REST);
    assert_int_equal(eml_pace_next(&p, now + rest - 1), EML_PACE_REST);
    assert_int_equal(eml_pace_next(&p, now + rest), EML_PACE_TURN);
}

static struct eml_pace disturbed_twice(int64_t now)
{
    struct eml_pace p = {0};
    eml_pace_disturbed(&p, now);
    assert_int_equal(eml_pace_next(&p, now), EML_PACE_FREE);
    eml_pace_disturbed(&p, now);
    return p;
}

static void one_disturbance_is_chance(void **state)
{
    (void)state;
    struct eml_pace p = {0};
    int64_t now = 7 * MS;
    for (int i = 0; i < 100; i++, now += EML_PACE_CHANCE_NS) {
        assert_int_equal(eml_pace_next(&p, now), EML_PACE_FREE);
        eml_pace_disturbed(&p, now);
        assert_int_equal(eml_pace_next(&p, now), EML_PACE_FREE);
    }
    eml_pace_disturbed(&p, now - 1);
    check_rest(p, now - 1, EML_PACE_REST_LEAST_NS);
}

static void rests_double_up_to_the_longest(void **state)
{
    (void)state;
    int64_t now = 3 * MS, rest = EML_PACE_REST_LEAST_NS;
    struct eml_pace p = disturbed_twice(now);
    for (int i = 0; i < 20; i++) {
        check_rest(p, now, rest);
        now += rest;
        assert_int_equal(eml_pace_next(&p, now), EML_PACE_TURN);
        eml_pace_disturbed(&p, now);
        rest = rest * 2 < EML_PACE_REST_MOST_NS ? rest * 2 : EML_PACE_REST_MOST_NS;
    }
    check_rest(p, now, EML_PACE_REST_MOST_NS);
}

/* A turn begins with the first job after the rest, however late that is. */
static void a_turn_ends(void **state)
{
    (void)state;
    struct eml_pace p = disturbed_twice(0);
    int64_t late = 1000 * (int64_t)MS;
    assert_int_equal(eml_pace_next(&p, late), EML_PACE_TURN);
    assert_int_equal(eml_pace_next(&p, late + EML_PACE_TURN_NS - 1), EML_PACE_TURN);
    check_rest(p, late + EML_PACE_TURN_NS, EML_PACE_REST_LEAST_NS);
}

/* How many turns until it is free, if nothing disturbs it. *now moves on until then. */
static unsigned turns_until_free(struct eml_pace *p, int64_t *now)
{
    unsigned turns = 0;
    enum eml_pace_now was = EML_PACE_REST;
    for (int i = 0; i < 1000000; i++, *now += EML_PACE_TURN_NS / 4) {
        enum eml_pace_now is = eml_pace_next(p, *now);
        turns += is == EML_PACE_TURN && was == EML_PACE_REST;
        if (is == EML_PACE_FREE)
            return turns;
        was = is;
    }
    return 0;
}

static void undisturbed_turns_make_it_free(void **state)
{
    (void)state;
    int64_t now = 5, then = now;
    struct eml_pace p = disturbed_twice(now), q = p;
    assert_int_equal(turns_until_free(&q, &now), EML_PACE_GOOD_TURNS);
    for (int i = 0; i < 3; i++) { /* rests are as long as they get after one */
        eml_pace_disturbed(&p, then);
        q = p;
        now = then;
        assert_int_equal(turns_until_free(&q, &now), 2 * EML_PACE_GOOD_TURNS);
    }
}

/* Whom the next disturbance finds soon after turns takes more of them, up to a number whose time is
 * short beside a run of seconds; after quiet all is as at first. */
static void turns_grow_while_it_is_disturbed_again(void **state)
{
    (void)state;
    int64_t now = 5, begin = now;
    struct eml_pace p = disturbed_twice(now);
    for (unsigned turns = EML_PACE_GOOD_TURNS, i = 0; i < 20; i++) {
        begin = now;
        assert_int_equal(turns_until_free(&p, &now), turns);
        assert_true(now - begin < EML_PACE_CHANCE_NS);
        eml_pace_disturbed(&p, now);
        turns = turns * 2 < EML_PACE_GOOD_TURNS_MOST ? turns * 2 : EML_PACE_GOOD_TURNS_MOST;
    }
    assert_int_equal(turns_until_free(&p, &now), EML_PACE_GOOD_TURNS_MOST);
    now += EML_PACE_CHANCE_NS;
    eml_pace_disturbed(&p, now);
    assert_int_equal(eml_pace_next(&p, now), EML_PACE_FREE);
    eml_pace_disturbed(&p, now);
    assert_int_equal(turns_until_free(&p, &now), EML_PACE_GOOD_TURNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_disturbance_is_chance),
        cmocka_unit_test(rests_double_up_to_the_longest),
        cmocka_unit_test(a_turn_ends),
        cmocka_unit_test(undisturbed_turns_make_it_free),
        cmocka_unit_test(turns_grow_while_it_is_disturbed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
