/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/ahead.h"

#define FIRST_WINDOW 4u
#define SAMPLE 64u /* pages brought, before they are judged */
#define RETRY 256u /* requests until a closed window is tried again */

void ahead_init(struct ahead *a, bool off)
{
    *a = (struct ahead){.off = off, .window = off ? 0 : FIRST_WINDOW};
}

/* The last window is still on its way or untouched when it is judged: that is why half of them are enough. */
static void judge(struct ahead *a, uint64_t hits)
{
    uint64_t brought = a->brought - a->judged_at, hit = hits - a->hits_then;

    if (brought < SAMPLE)
        return;
    if (2 * hit >= brought)
        a->window = 2 * a->window < AHEAD_MOST ? 2 * a->window : AHEAD_MOST;
    else if (4 * hit < brought)
        a->window /= 2;
    a->judged_at = a->brought;
    a->hits_then = hits;
}

void ahead_asked(struct ahead *a, uint64_t offset, uint64_t hits)
{
    if (a->off)
        return;
    judge(a, hits);
    if (!a->window && ++a->idle == RETRY) {
        a->idle = 0;
        a->window = 1;
        a->judged_at = a->brought;
        a->hits_then = hits;
    }
    a->at = offset + PAGE_SIZE;
    a->left = a->window;
}
