/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The clock shows second s from its edge on, so s less the counter is at most what separates the two: the greatest
 * difference that was seen is the best bound. It falls slowly, or a counter that runs faster than the clock would come ahead of
 * it for good: by 1 in 8192, which two crystals of 50 ppm do not reach, and which still leaves a time that only grows. A clock
 * that is set back is followed no faster than that.
 */
#include "dev/pl031.h"

#include "dev/mmio.h"
#include "lib/arch.h"
#include "lib/spinlock.h"

#define RTCDR 0x00
#define RTCCR 0x0c
#define CR_START 1u
#define NS_PER_S 1000000000
#define DRIFT_SHIFT 13

static pa_t rtc RO_AFTER_INIT;
static spinlock_t lock;    /* of what follows */
static int64_t difference; /* of the clock and the counter, in nanoseconds, when the counter was at `since` */
static int64_t since;

/* Both, the counter no earlier than the clock. */
static int64_t look(int64_t *counted, ticks_t *at)
{
    int64_t second = mmio_read32(rtc, RTCDR);

    dsb_sy();
    *at = counter_ticks();
    *counted = (int64_t)ticks_ns(at->v);
    return second * NS_PER_S - *counted;
}

void pl031_init(pa_t base)
{
    ticks_t at;

    if (!(mmio_read32(base, RTCCR) & CR_START))
        return;
    rtc = base;
    difference = look(&since, &at);
}

bool pl031_present(void)
{
    return rtc.v != 0;
}

uint64_t pl031_now(ticks_t *at)
{
    int64_t seen, counted, best;

    spin_lock(&lock);
    seen = look(&counted, at);
    best = difference - ((counted - since) >> DRIFT_SHIFT);
    if (seen > best) {
        best = difference = seen;
        since = counted;
    }
    spin_unlock(&lock);
    return (uint64_t)(counted + best);
}
