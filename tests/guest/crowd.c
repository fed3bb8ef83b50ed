/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every page of RAM touched by as many CPUs as there are, each in blocks of its own, all at once: whatever the machine
 * keeps for a core beside the guest's RAM, it must have kept aside when it let the guest in.
 */
#include "tests/guest/lib/guest.h"

static volatile struct {
    uint64_t dirty; /* the first page that was not zero */
    bool finished;
} done[MAX_CPUS];

static unsigned cpus;

static void touch(void *arg)
{
    const unsigned cpu = (unsigned)(uint64_t)arg;
    const struct range ram = ram_range();

    for (uint64_t block = ram.base + cpu * BLOCK; block < ram.end; block += cpus * BLOCK) {
        for (uint64_t page = block; page < block + BLOCK; page += PAGE) {
            volatile uint64_t *const word = (volatile uint64_t *)page;

            if (!ram_is_free(page))
                continue;
            if (*word && !done[cpu].dirty)
                done[cpu].dirty = page;
            *word = page;
        }
    }
    dsb();
    done[cpu].finished = true;
}

static bool all_finished(void)
{
    for (unsigned i = 0; i < cpus; i++) {
        if (!done[i].finished)
            return false;
    }
    return true;
}

static bool kept(struct range ram)
{
    for (uint64_t page = ram.base; page < ram.end; page += PAGE) {
        if (ram_is_free(page) && *(volatile uint64_t *)page != page)
            return false;
    }
    return true;
}

void guest_main(void)
{
    mmu_on();
    while (cpus < MAX_CPUS && cpu_exists(cpus))
        cpus++;
    (void)ram_is_free(RAM_BASE); /* it keeps what it finds out the first time */
    for (unsigned i = 1; i < cpus; i++)
        check(cpu_on(i, touch, (void *)(uint64_t)i) == 0, "CPU_ON", "of CPU %u", i);
    touch(NULL);
    check(WAIT_FOR(all_finished(), 20000), "all CPUs came through", "not all");
    for (unsigned i = 0; i < cpus; i++)
        check(!done[i].dirty, "fresh RAM is zero", "%lx is not", done[i].dirty);
    check(kept(ram_range()), "every page is as it was left", "one is not");
}
