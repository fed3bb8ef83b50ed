/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SYSTEM_RESET, again and again: each life finds its RAM fresh, dirties it, has its second CPU busy (if there is one) and
 * resets in the middle of that; the life that begins after `until-ms` since power-on turns itself off. Nothing but the
 * counter is left from one life to the next.
 */
#include "tests/guest/lib/guest.h"

#define STRIDE (BLOCK / 2)

static volatile uint64_t *sample(uint64_t at)
{
    return (volatile uint64_t *)(at + 0x108);
}

static bool all_fresh(struct range ram)
{
    for (uint64_t at = ram.base; at < ram.end; at += STRIDE) {
        if (*sample(at))
            return false;
    }
    return true;
}

static void dirty(struct range ram, uint64_t stride)
{
    for (uint64_t at = ram.base; at < ram.end; at += stride)
        *sample(at) = at;
}

/* Faults from another CPU while the first one resets the guest. */
static void busy(void *arg)
{
    for (;;)
        dirty(*(struct range *)arg, 16 * PAGE);
}

void guest_main(void)
{
    static struct range ram;

    ram = free_ram();
    if (!all_fresh(ram)) {
        fail("fresh RAM", "something is left of the life before");
        return;
    }
    if (now() >= ticks_of_us(1000 * boot_argument("until-ms", 0))) {
        pass("fresh RAM in every life");
        return;
    }
    if (cpu_exists(1) && cpu_on(1, busy, &ram)) {
        fail("the second CPU starts", "it does not");
        return;
    }
    dirty(ram, STRIDE);
    const uint64_t x0 = psci(PSCI_SYSTEM_RESET, 0, 0, 0);
    fail("SYSTEM_RESET", "returned %lx", x0);
}
