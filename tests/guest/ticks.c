/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A RAM disk whose pages take long to come. The guest's tick goes on while one of its instructions waits for a page, if its
 * interrupts are not masked: by PSTATE, by the priority mask, or by the interrupt controller. Then it waits with them.
 */
#include "tests/guest/lib/guest.h"

#define TICK_US 4000
#define APART 64 /* pages between two that are touched: what is fetched with one does not bring the next */

static struct range disk;
static uint64_t next; /* page to touch */
static volatile unsigned ticks;
static unsigned most; /* ticks during one access */

static void tick(unsigned intid)
{
    if (intid != PPI_VTIMER)
        return;
    ticks++;
    vtimer_arm(TICK_US);
}

/* Ticks during `count` accesses that have to wait, and how long the longest of those took. */
static unsigned touch(unsigned count, uint64_t *longest_us)
{
    unsigned sum = 0;
    *longest_us = 0;
    for (unsigned i = 0; i < count && next < disk.end; i++, next += APART * PAGE) {
        const unsigned before = ticks;
        const uint64_t from = now();
        (void)*(volatile uint8_t *)next;
        const uint64_t us = (now() - from) * 1000000 / read_sysreg(cntfrq_el0);
        const unsigned taken = ticks - before;
        sum += taken;
        if (taken > most)
            most = taken;
        if (us > *longest_us)
            *longest_us = us;
    }
    return sum;
}

void guest_main(void)
{
    uint64_t us;
    unsigned taken;
    disk = ramdisk_range();
    next = disk.base;
    gic_init();
    mmu_on();
    irq_hook[0] = tick;
    gic_enable(PPI_VTIMER);
    vtimer_arm(TICK_US);

    irq_enable();
    taken = touch(4, &us);
    check(taken >= 4 && most >= 2, "ticks are taken while an access waits", "%u in 4 accesses, the longest of %lu us",
          taken, us);
    irq_disable();
    taken = touch(3, &us);
    check(taken == 0 && us > 2 * TICK_US, "none with interrupts masked, and the page comes",
          "%u, the longest of %lu us", taken, us);
    gic_mask(0);
    irq_enable();
    taken = touch(3, &us);
    check(taken == 0 && us > 2 * TICK_US, "nor with the priority mask closed", "%u, the longest of %lu us", taken, us);
    gic_mask(0xff);
    gic_disable(PPI_VTIMER);
    vtimer_arm(TICK_US);
    taken = touch(3, &us);
    check(taken == 0, "nor one that is disabled", "%u", taken);
    gic_enable(PPI_VTIMER);
    taken = touch(4, &us);
    check(taken >= 4, "and again while they are open", "%u in 4 accesses, the longest of %lu us", taken, us);
    irq_disable();
    vtimer_stop();
}
