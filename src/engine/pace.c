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
    if (++p->good == EML_PACE_GOOD_TURNS)
        halve(p);
    rest(p, now);
    return p->rest == 0 ? EML_PACE_FREE : EML_PACE_REST;
}

void eml_pace_disturbed(struct eml_pace *p, int64_t now)
{
    bool chance = p->rest == 0 && now >= p->chance_end;
    p->chance_end = now + EML_PACE_CHANCE_NS;
    if (chance)
        return;
    p->good = 0;
    p->rest = p->rest == 0 ? EML_PACE_REST_LEAST_NS : p->rest * 2;
    if (p->rest > EML_PACE_REST_MOST_NS)
        p->rest = EML_PACE_REST_MOST_NS;
    rest(p, now);
}
