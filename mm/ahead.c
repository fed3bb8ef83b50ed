/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/ahead.h"

#define FIRST_WINDOW 4u
#define SAMPLE 64u /* pages that were touched or evicted, before they are judged */
#define RETRY 256u /* requests until a closed window is tried again */

void ahead_init(struct ahead *a, uint64_t limit, bool off)
{
    *a = (struct ahead){.off = off, .window = off ? 0 : FIRST_WINDOW, .most = limit / 4};
}

static void judge(struct ahead *a, struct ahead_counts now)
{
    uint64_t hits = now.hits - a->judged.hits, missed = now.missed - a->judged.missed;

    if (hits + missed < SAMPLE)
        return;
    if (hits >= 3 * missed)
        a->window = 2 * a->window < AHEAD_MOST ? 2 * a->window : AHEAD_MOST;
    else if (hits < missed)
        a->window /= 2;
    a->judged = now;
}

void ahead_asked(struct ahead *a, uint64_t offset, struct ahead_counts now)
{
    if (a->off)
        return;
    judge(a, now);
    if (!a->window && ++a->idle == RETRY) {
        a->idle = 0;
        a->window = 1;
        a->judged = now;
    }
    a->at = offset + PAGE_SIZE;
    a->left = a->brought - now.hits - now.missed < a->most ? a->window : 0;
}
