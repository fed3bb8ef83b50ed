/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/ahead.h"

#define FIRST_WINDOW 4u
#define SAMPLE 64u          /* pages that were touched or evicted, before they are judged */
#define TRIAL (SAMPLE + 16) /* pages that a closed window is tried again with */
#define RETRY 256u          /* requests until then, and twice as many each time that it did not pay, */
#define RETRY_MOST 4096u
#define IN_ORDER 8u /* unless so many in a row each ask for the page behind the one before */

void ahead_init(struct ahead *a, uint64_t limit, bool off)
{
    *a = (struct ahead){.off = off, .window = off ? 0 : FIRST_WINDOW, .most = limit / 4, .retry = RETRY};
}

static void judge(struct ahead *a, struct ahead_counts now)
{
    uint64_t hits = now.hits - a->judged.hits, missed = now.missed - a->judged.missed;

    if (hits + missed < SAMPLE)
        return;
    if (hits >= 3 * missed) {
        a->window = 2 * a->window < AHEAD_MOST ? 2 * a->window : AHEAD_MOST;
        a->trial = false;
        a->retry = RETRY;
    } else if (hits < missed) {
        a->window /= 2;
        if (!a->window && a->retry < RETRY_MOST)
            a->retry *= 2;
    } else {
        a->trial = false;
    }
    a->judged = now;
}

/* Brings nothing for now: it is closed, or what it was tried with says nothing yet. */
static bool is_closed(const struct ahead *a)
{
    return !a->window || (a->trial && a->brought - a->before >= TRIAL);
}

/* What has become of earlier pages does not count. */
static void try_again(struct ahead *a, struct ahead_counts now)
{
    a->window = 1;
    a->trial = true;
    a->before = a->brought;
    a->judged = now;
}

void ahead_asked(struct ahead *a, uint64_t offset, struct ahead_counts now)
{
    if (a->off)
        return;
    judge(a, now);
    if (is_closed(a)) {
        a->in_order = offset == a->at ? a->in_order + 1 : 0;
        if (++a->idle >= a->retry || a->in_order >= IN_ORDER) {
            a->idle = a->in_order = 0;
            try_again(a, now);
        }
    }
    a->at = offset + PAGE_SIZE;
    a->left = !is_closed(a) && a->brought - now.hits - now.missed < a->most ? a->window : 0;
}
