#include "engine/pace.h"

static void rest(struct eml_pace *p, int64_t now)
{
    p->rest_end = now + p->rest;
    p->turn_end = 0;
}

static void halve(struct eml_pace *p)
{
    p->good = 0;
    p->rest = p->rest > EML_PACE_REST_LEAST_NS ? p->rest / 2 : 0;
}

enum eml_pace_now eml_pace_next(struct eml_pace *p, int64_t now)
{
    if (p->rest == 0)
        return EML_PACE_FREE;
    if (now < p->rest_end)
        return EML_PACE_REST;
    if (p->turn_end == 0)
        p->turn_end = now + EML_PACE_TURN_NS;
    if (now < p->turn_end)
        return EML_PACE_TURN;
    if (++p->good == p->turns)
        halve(p);
    rest(p, now);
    return p->rest == 0 ? EML_PACE_FREE : EML_PACE_REST;
}

static int64_t twice(int64_t n, int64_t least, int64_t most)
{
    return n < least ? least : n > most / 2 ? most : n * 2;
}

void eml_pace_disturbed(struct eml_pace *p, int64_t now)
{
    bool free = p->rest == 0, chance = free && now >= p->chance_end;
    p->chance_end = now + EML_PACE_CHANCE_NS;
    if (chance)
        p->turns = 0;
    if (chance)
        return;
    if (free)
        p->turns = (unsigned)twice(p->turns, EML_PACE_GOOD_TURNS, EML_PACE_GOOD_TURNS_MOST);
    p->good = 0;
    p->rest = twice(p->rest, EML_PACE_REST_LEAST_NS, EML_PACE_REST_MOST_NS);
    rest(p, now);
}
