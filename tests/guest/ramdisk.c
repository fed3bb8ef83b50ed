/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RAM disk holds what the test has put there: its CRC-32 is `crc=`. All CPUs have touched its pages before, here and
 * there. With `until-ms=` it starts again until that time, and finds the same in every life. With `bad=` that page of it
 * cannot be read, which is an external abort there, each time, and nothing anywhere else.
 * With `in-order=1` it only says how long CPU 0 takes to touch all pages once.
 */
#include "tests/guest/lib/guest.h"

#define STRIDE 37

static struct range disk;
static uint64_t bad; /* the page's address; 0: none */
static unsigned cpus;
static volatile uint64_t done[MAX_CPUS]; /* bytes that are not zero where a page begins: the loads must happen */

/* This CPU's share of the pages, from far apart to near. */
static void touch(void *arg)
{
    const unsigned self = (unsigned)(uint64_t)arg;
    uint64_t seen = 1;
    for (uint64_t from = self; from < STRIDE; from += cpus)
        for (uint64_t at = disk.base + from * PAGE; at < disk.end; at += STRIDE * PAGE)
            if (at != bad)
                seen += *(volatile uint8_t *)at != 0;
    done[self] = seen;
}

/* How long the first touches of all pages take, one after the other. */
static void in_order(void)
{
    const uint64_t from = now();
    for (uint64_t at = disk.base; at < disk.end; at += PAGE)
        (void)*(volatile uint8_t *)at;
    say("ramdisk: %lu pages in order in %lu us\n", (disk.end - disk.base) / PAGE,
        (now() - from) * 1000000 / read_sysreg(cntfrq_el0));
    if (now() < ticks_of_us(boot_argument("until-ms", 0) * 1000))
        psci(PSCI_SYSTEM_RESET, 0, 0, 0);
}

static void load(void *at)
{
    (void)*(volatile uint8_t *)at;
}

static void store(void *at)
{
    *(volatile uint8_t *)at = 1;
}

static void look_at_bad(void)
{
    static void (*const access[])(void *) = {load, store, load};
    struct fault f;
    for (unsigned i = 0; i < COUNT(access); i++) {
        const bool aborted = attempt(access[i], (void *)(bad + 8 * i), &f);
        check(aborted && FAULT_EC(f) == EC_DATA_ABORT && FAULT_STATUS(f) == STATUS_EXTERNAL && f.far == bad + 8 * i,
              "an external abort on the bad page", "access %u: %s, ESR %lx, FAR %lx", i, aborted ? "taken" : "none",
              f.esr, f.far);
    }
}

/* Without the bad page. */
static uint32_t crc32(uint64_t at, uint64_t end)
{
    uint32_t crc = ~0u;
    for (; at < end; at++)
        if (at - bad >= PAGE)
            __asm__(".arch_extension crc\n\tcrc32b %w0, %w0, %w1" : "+r"(crc) : "r"(*(volatile uint8_t *)at));
    return ~crc;
}

void guest_main(void)
{
    uint64_t behind = 0;
    disk = ramdisk_range();
    if (!check(disk.base % PAGE == 0 && disk.base < disk.end, "a RAM disk", "%lx-%lx", disk.base, disk.end))
        return;
    mmu_on();
    if (boot_argument("bad", ~0UL) != ~0UL)
        bad = disk.base + boot_argument("bad", 0) * PAGE;
    while (cpus < MAX_CPUS && cpu_exists(cpus))
        cpus++;
    if (boot_argument("in-order", 0)) {
        in_order();
        return;
    }
    for (unsigned cpu = 1; cpu < cpus; cpu++)
        check(cpu_on(cpu, touch, (void *)(uint64_t)cpu) == 0, "another CPU touches it", "CPU %u does not start", cpu);
    touch(0);
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        check(WAIT_FOR(done[cpu], 30000), "each page is there", "CPU %u is not done", cpu);
    if (bad)
        look_at_bad();
    const uint32_t crc = crc32(disk.base, disk.end);
    const bool right = crc == boot_argument("crc", 0);
    for (uint64_t at = disk.end; at % PAGE; at++)
        behind += *(volatile uint8_t *)at != 0;
    if (right && !behind && now() < ticks_of_us(boot_argument("until-ms", 0) * 1000))
        psci(PSCI_SYSTEM_RESET, 0, 0, 0);
    check(right, "its bytes are right", "CRC-32 %x, not %x", crc, (uint32_t)boot_argument("crc", 0));
    check(!behind, "zero behind its end", "%lu bytes are not", behind);
}
