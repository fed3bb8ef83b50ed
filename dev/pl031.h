/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine's real-time clock, a PL031 (DDI 0224C), made finer by the counter. It is read, and never written: what it counts
 * is whole seconds since 1970 that somebody else has set.
 */
#pragma once

#include "lib/types.h"

/* Boot core. A clock that nobody has started is none. */
void pl031_init(pa_t base);

bool pl031_present(void);

/*
 * Nanoseconds since 1970 when CNTPCT_EL0 was `*at`. Any core. Whoever asks later, on whatever core, is told no less.
 *
 * Behind the clock by as much as the call, this or an earlier one, that came soonest after a second's edge: less than a second at
 * first, a millisecond once somebody has asked each millisecond for a second. And by 122 us for each second since that call, so it
 * is never ahead as long as the counter runs no more than 122 ppm faster than the clock.
 */
uint64_t pl031_now(ticks_t *at);
