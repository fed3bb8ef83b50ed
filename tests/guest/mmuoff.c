/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches and MMU off and on in turn: what is written in one state is read in the other (after the cleaning the
 * architecture asks for), and RAM that nobody has touched is zero in both. Where caches are real, fresh memory that the
 * hypervisor zeroed but did not clean would show another's bytes here.
 */
#include "tests/guest/lib/guest.h"

#define ROUNDS 16
#define PAGES_A_ROUND 64

static uint64_t next_fresh;

static uint64_t pattern(uint64_t address, unsigned round)
{
    return (address + round) * 0x9e3779b97f4a7c15UL | 1;
}

static bool fresh_is_zero(uint64_t page, const char *state)
{
    for (uint64_t address = page; address < page + PAGE; address += 8) {
        const uint64_t value = *(volatile uint64_t *)address;
        if (value) {
            fail("fresh RAM is zero", "%lx is %lx with the MMU %s", address, value, state);
            return false;
        }
    }
    return true;
}

static void write_pages(uint64_t base, unsigned round)
{
    for (uint64_t address = base; address < base + PAGES_A_ROUND * PAGE; address += 8)
        *(volatile uint64_t *)address = pattern(address, round);
}

static bool read_pages(uint64_t base, unsigned round, const char *name)
{
    for (uint64_t address = base; address < base + PAGES_A_ROUND * PAGE; address += 8) {
        if (*(volatile uint64_t *)address != pattern(address, round)) {
            fail(name, "%lx is %lx in round %u", address, *(volatile uint64_t *)address, round);
            return false;
        }
    }
    return true;
}

/* Stretches lie 2 MiB and a page apart, so every round begins a block of its own. */
static uint64_t fresh_stretch(void)
{
    const uint64_t base = next_fresh;
    next_fresh += BLOCK + PAGE;
    return base;
}

static bool one_round(unsigned round)
{
    const uint64_t size = PAGES_A_ROUND * PAGE;
    const uint64_t off = fresh_stretch(), on = fresh_stretch();
    for (unsigned i = 0; i < PAGES_A_ROUND; i++) {
        if (!fresh_is_zero(off + i * PAGE, "off"))
            return false;
    }
    write_pages(off, round);

    mmu_on();
    /* Written past the caches: no line may be left of what they held before. */
    cache_clean_invalidate((void *)off, size);
    if (!read_pages(off, round, "written with the MMU off, read with it on"))
        return false;
    for (unsigned i = 0; i < PAGES_A_ROUND; i++) {
        if (!fresh_is_zero(on + i * PAGE, "on"))
            return false;
    }
    write_pages(on, round);
    write_pages(off, round + 1);
    cache_clean_invalidate((void *)on, size);
    cache_clean_invalidate((void *)off, size);

    mmu_off();
    return read_pages(on, round, "written with the MMU on, read with it off") &&
           read_pages(off, round + 1, "rewritten with the MMU on, read with it off");
}

void guest_main(void)
{
    const struct range ram = free_ram();
    next_fresh = ram.base;
    if (!check(ram.end - ram.base >= (2 * ROUNDS + 1) * (BLOCK + PAGE), "enough RAM", "%lx-%lx", ram.base, ram.end))
        return;
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (!one_round(round))
            return;
    }
    pass("fresh RAM is zero");
    pass("written with the MMU off, read with it on");
    pass("written with the MMU on, read with it off");
}
