/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Has more pages on their way than it may, for which there is no room and never will be: it fills all that it may hold with
 * noise, and goes on touching pages, of which it is told that they are not present (doc/abi.md). Those that it is told of it forgets, by
 * turning that off and on, as soon as it has as many as it may.
 *
 * `touches=`: of so many it is told, then it sleeps for ever, with interrupts masked; more than it may have on their way: it waits in the hypervisor.
 */
#include "pv/abi.h"
#include "tests/guest/lib/guest.h"

static uint64_t random = 1;
static uint64_t shared;

static void fill(void *page)
{
    volatile uint64_t *word = page;
    for (unsigned i = 0; i < PAGE / 8; i++) {
        random = random * 6364136223846793005UL + 1442695040888963407UL;
        word[i] = random ^ random >> 29;
    }
}

static void enable(void)
{
    check(psci(MW_FN_APF_ENABLE, shared, MW_APF_FLAG_EL1, 0) == 0, "ENABLE", "an error");
}

void guest_main(void)
{
    const uint64_t touches = boot_argument("touches", 64);
    const struct range ram = free_ram();
    const volatile uint32_t *const answers = (uint32_t *)(ram.base + MW_APF_PAGE_PRODUCER);
    unsigned told = 0;
    uint32_t answered = 0;
    struct fault fault;

    gic_init();
    mmu_on();
    /* Its own pages, too, hold what is nowhere else: else they would go, and its next instruction waits for one of them. */
    for (uint64_t page = (uint64_t)image_start; page < (uint64_t)image_end; page += PAGE)
        *(volatile uint64_t *)page = *(volatile uint64_t *)page;
    shared = ram.base;
    enable();
    irq_enable(); /* no interrupt is enabled, but it is told only where one could come */
    for (uint64_t page = ram.base + PAGE; page < ram.end && told < touches; page += PAGE) {
        if (!attempt(fill, (void *)page, &fault))
            continue;
        if (fault.esr != MW_APF_ESR_EL1) {
            fail("not present", "ESR %lx", fault.esr);
            return;
        }
        if (!told && WAIT_FOR(*answers != answered, 200)) { /* it came: there was room */
            answered = *answers;
            *(volatile uint32_t *)(ram.base + MW_APF_PAGE_CONSUMER) = answered;
            page -= PAGE;
            continue;
        }
        if (++told == MW_APF_ENTRIES) {
            check(psci(MW_FN_APF_DISABLE, 0, 0, 0) == 0, "DISABLE", "an error");
            enable();
        }
        if (told >= MW_APF_ENTRIES)
            say("hoard: %u on their way\n", told);
    }
    say("hoard: %u on their way, and asleep\n", told);
    irq_disable();
    for (;;)
        wfi();
}
