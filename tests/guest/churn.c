/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Work on more pages than the guest may hold at once: each CPU has a stretch of its own in every page, and keeps
 * count of what it has written there. It goes through the pages at random (or in their order, `in-order=1`), looks whether its
 * stretch is as it left it, and writes it anew, `writes=` times of a hundred. In the end all of it is looked at.
 *
 * Pages are zeroes, one word all over, half of them noise, or all of them, unless `kind=` says that all are of one kind: what is
 * stored of them differs. With `reads-ms=` all CPUs then read at random for so long, a word at a time, and their number is
 * printed; with `ms=` it goes on for that long instead of `rounds=`; with `tick-us=` CPU 0 has a tick; with `passes=` CPU 0 reads a word of each page in their order, so many times.
 */
#include "tests/guest/lib/guest.h"

struct worker {
    unsigned cpu;
    volatile uint8_t *version; /* of each page's stretch */
    uint64_t rounds;           /* looks at pages */
    volatile uint64_t looked, wrong, reads;
    volatile bool done;
};

static struct worker workers[MAX_CPUS];
static struct range pages; /* addresses */
static uint64_t count, kind, writes, in_order, reads_ms, until;
static unsigned cpus, words;       /* how many of a page are one CPU's */
static volatile unsigned at_reads; /* CPUs that have come to the reads */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9UL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebUL;
    return x ^ x >> 31;
}

/* What word `w` of a page's stretch holds. Version 0 was never written. */
static uint64_t expected(const struct worker *k, uint64_t page, unsigned w, uint8_t version)
{
    const uint64_t noise = mix(page * 0x9e3779b97f4a7c15UL + (uint64_t)version * 8192 + k->cpu * 512 + w);
    if (!version)
        return 0;
    switch (kind < 4 ? kind : page % 4) {
    case 0:
        return version % 3 * 0x0101010101010101UL;
    case 1:
        return version * 0x10001UL;
    case 2:
        return w % 2 ? noise : page;
    default:
        return noise;
    }
}

static volatile uint64_t *stretch(const struct worker *k, uint64_t page)
{
    return (volatile uint64_t *)(pages.base + page * PAGE) + k->cpu * words;
}

static void look(struct worker *k, uint64_t page, unsigned step)
{
    const volatile uint64_t *at = stretch(k, page);
    for (unsigned w = 0; w < words; w += step)
        if (at[w] != expected(k, page, w, k->version[page]) && !k->wrong++)
            say("FAIL CPU %u, page %lx, word %u: %lx, not %lx\n", k->cpu, pages.base + page * PAGE, w, at[w],
                expected(k, page, w, k->version[page]));
    k->looked++;
}

static void write(struct worker *k, uint64_t page)
{
    volatile uint64_t *at = stretch(k, page);
    k->version[page]++;
    for (unsigned w = 0; w < words; w++)
        at[w] = expected(k, page, w, k->version[page]);
}

static void work(void *arg)
{
    struct worker *const k = arg;
    uint64_t rnd = mix(k->cpu + 1);
    for (uint64_t n = 0; until ? now() < until : n < k->rounds; n++) {
        rnd = mix(rnd + 0x9e3779b97f4a7c15UL);
        const uint64_t page = in_order ? n % count : rnd % count;
        look(k, page, 17);
        if (rnd >> 40 < (1UL << 24) * writes / 100)
            write(k, page);
    }
    for (uint64_t page = 0; page < count; page++)
        look(k, page, 1);
    __atomic_fetch_add(&at_reads, 1, __ATOMIC_SEQ_CST);
    while (reads_ms && at_reads < cpus) /* all begin together */
        relax();
    const uint64_t reads_until = now() + ticks_of_us(1000 * reads_ms);
    do { /* a few between two looks at the time, for which an emulator takes its one lock */
        for (unsigned i = 0; i < 16; i++) {
            rnd = mix(rnd + 0x9e3779b97f4a7c15UL);
            (void)*stretch(k, rnd % count);
            k->reads++;
        }
    } while (now() < reads_until);
    dsb();
    k->done = true;
}

static uint64_t tick_us;

static void tick(unsigned intid)
{
    if (intid == PPI_VTIMER)
        vtimer_arm(tick_us);
}

void guest_main(void)
{
    struct range ram = free_ram();
    uint64_t looked = 0, wrong = 0, reads = 0;
    gic_init();
    mmu_on();
    tick_us = boot_argument("tick-us", 0);
    if (tick_us) {
        irq_hook[0] = tick;
        gic_enable(PPI_VTIMER);
        vtimer_arm(tick_us);
        irq_enable();
    }
    while (cpus < MAX_CPUS && cpu_exists(cpus))
        cpus++;
    words = PAGE / 8 / cpus;
    /* A byte for each page and CPU at the start, the pages behind it. */
    const uint64_t room = (ram.end - ram.base) / PAGE;
    count = boot_argument("pages", room);
    if (count > room - room * MAX_CPUS / PAGE - 1)
        count = room - room * MAX_CPUS / PAGE - 1;
    pages = (struct range){ram.end - count * PAGE, ram.end};
    writes = boot_argument("writes", 50);
    kind = boot_argument("kind", 4);
    in_order = boot_argument("in-order", 0);
    const uint64_t rounds = boot_argument("rounds", 4 * count / cpus);
    const uint64_t wait_ms = boot_argument("wait-ms", 300000);
    until = boot_argument("ms", 0) ? now() + ticks_of_us(1000 * boot_argument("ms", 0)) : 0;
    reads_ms = boot_argument("reads-ms", 0);

    for (unsigned cpu = cpus; cpu-- > 0;) {
        struct worker *k = &workers[cpu];
        k->cpu = cpu;
        k->version = (volatile uint8_t *)(ram.base + cpu * count);
        k->rounds = rounds;
        if (cpu)
            check(cpu_on(cpu, work, k) == 0, "another CPU works", "CPU %u does not start", cpu);
    }
    work(&workers[0]);
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        check(WAIT_FOR(workers[cpu].done, wait_ms), "a CPU has done its work", "CPU %u has not", cpu);
        looked += workers[cpu].looked;
        wrong += workers[cpu].wrong;
        reads += workers[cpu].reads;
    }
    const uint64_t passes = boot_argument("passes", 0);
    for (uint64_t n = 0; n < passes * count; n++)
        (void)*stretch(&workers[0], n % count);
    check(!wrong, "no write is lost", "%lu words are wrong", wrong);
    say("churn: %lu pages, %u CPUs, %lu looks, %lu reads\n", count, cpus, looked, reads);
    if (boot_argument("again", 0) && now() < ticks_of_us(1000 * boot_argument("again", 0)))
        psci(PSCI_SYSTEM_RESET, 0, 0, 0);
}
