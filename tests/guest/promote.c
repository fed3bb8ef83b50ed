/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two CPUs count in every page of many blocks, each in its own words, visiting the pages in its own pseudo-random
 * order, so that first touches, later writes and the promotion of the blocks below them meet in every way. At the end
 * each counter says how often its page was visited: nothing may be lost.
 */
#include "tests/guest/lib/guest.h"

#define BLOCK_PAGES (BLOCK / PAGE)
#define COUNTERS 2

struct counter {
    struct range ram;
    unsigned cpu;
    uint64_t until;
    uint64_t multiplier, increment; /* of the permutation: full period modulo a power of two (Hull and Dobell) */
    volatile uint64_t rounds;
    volatile bool finished;
};

static struct counter counters[COUNTERS];

/* Own words at the page's start and, at a place that moves from page to page, in its middle. */
static volatile uint64_t *word(uint64_t page, unsigned cpu, unsigned which)
{
    const uint64_t middle = 64 + page / PAGE * 8 % 384;
    return (volatile uint64_t *)page + cpu + (which ? middle : 0);
}

static void count(void *arg)
{
    struct counter *const c = arg;
    const uint64_t pages = (c->ram.end - c->ram.base) / PAGE;
    uint64_t modulus = 1;
    while (modulus < pages)
        modulus *= 2;
    uint64_t rounds = 0, i = c->cpu;
    do {
        for (uint64_t n = 0; n < modulus; n++) {
            i = (i * c->multiplier + c->increment) & (modulus - 1);
            if (i >= pages)
                continue;
            const uint64_t page = c->ram.base + i * PAGE;
            ++*word(page, c->cpu, 0);
            ++*word(page, c->cpu, 1);
        }
        rounds++;
    } while (now() < c->until);
    c->rounds = rounds;
    dsb();
    c->finished = true;
}

static void verify(struct range ram)
{
    for (uint64_t page = ram.base; page < ram.end; page += PAGE) {
        uint64_t sum = 0, expected = 0;
        for (unsigned i = 0; i < PAGE / 8; i++)
            sum += ((volatile uint64_t *)page)[i];
        for (unsigned cpu = 0; cpu < COUNTERS; cpu++) {
            const uint64_t rounds = counters[cpu].rounds;
            expected += 2 * rounds;
            if (*word(page, cpu, 0) != rounds || *word(page, cpu, 1) != rounds) {
                fail("no write is lost", "CPU %u in page %lx: %lu and %lu of %lu", cpu, page, *word(page, cpu, 0),
                     *word(page, cpu, 1), rounds);
                return;
            }
        }
        if (sum != expected) {
            fail("nothing else is written", "page %lx", page);
            return;
        }
    }
    pass("no write is lost");
}

void guest_main(void)
{
    struct range ram = free_ram();
    const uint64_t blocks = boot_argument("blocks", 48);
    if (blocks * BLOCK < ram.end - ram.base)
        ram.end = ram.base + blocks * BLOCK;
    gic_init();
    mmu_on();

    const uint64_t until = now() + ticks_of_us(1000 * boot_argument("ms", 1000));
    counters[0] = (struct counter){.ram = ram, .cpu = 0, .until = until, .multiplier = 0x5851f42d, .increment = 0x3039};
    counters[1] = (struct counter){.ram = ram, .cpu = 1, .until = until, .multiplier = 0x2c9277b5, .increment = 0xac55};
    if (!check(cpu_exists(1), "two CPUs", "only one"))
        return;
    const int64_t on = cpu_on(1, count, &counters[1]);
    if (!check(on == 0, "the second CPU starts", "%ld", on))
        return;
    count(&counters[0]);
    if (!check(WAIT_FOR(counters[1].finished, 20000), "the second CPU finishes", "it does not"))
        return;
    verify(ram);
    /* Long enough for the sweep to complete what is left; then the same once more. */
    gic_enable(PPI_VTIMER);
    (void)SLEEP_UNTIL(false, (unsigned)boot_argument("wait-ms", 50));
    verify(ram);
    say("promote: %lu blocks, %lu and %lu rounds\n", (ram.end - ram.base) / BLOCK, counters[0].rounds,
        counters[1].rounds);
}
