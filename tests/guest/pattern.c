/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One of several guests, and what becomes of it is the test's to say. It waits for a key, unless `now=1`, then:
 *   mode=1  fills all of its free RAM with a pattern
 *   mode=2  finds all of its free RAM zero
 *   mode=3  takes an exception whose vector is nowhere, for ever
 *   mode=4  counts seconds, a line for each
 * With `stay=1` it then waits for ever; else it powers off.
 */
#include "tests/guest/lib/guest.h"

#define UARTFR (UART + 0x18)
#define FR_RXFE 0x10

static bool key(void)
{
    if (mmio_read32(UARTFR) & FR_RXFE)
        return false;
    mmio_read32(UART);
    return true;
}

static void fill(struct range r)
{
    for (uint64_t at = r.base; at < r.end; at += 8)
        *(volatile uint64_t *)at = at ^ 0x5ec2e75ec2e75ec2;
    say("pattern: filled %lu MiB\n", (r.end - r.base) >> 20);
}

static void look(struct range r)
{
    uint64_t other = 0, first = 0;

    for (uint64_t at = r.base; at < r.end; at += 8) {
        if (*(volatile uint64_t *)at) {
            first = other++ ? first : at;
        }
    }
    check(!other, "fresh RAM is zero", "%lu words of %lu are not, the first at %lx", other, (r.end - r.base) / 8,
          first);
}

static void crash(void)
{
    say("pattern: crashing\n");
    write_sysreg(vbar_el1, 0x9100000000); /* beyond what any guest has */
    isb();
    __asm__ volatile("udf #0");
}

static void count(void)
{
    for (unsigned i = 0; !key(); i++) {
        uint64_t until = now() + ticks_of_us(100000);

        say("pattern: count %u\n", i);
        while (now() < until)
            relax();
    }
}

void guest_main(void)
{
    struct range r = free_ram();

    mmu_on();
    say("pattern: ready\n");
    while (!boot_argument("now", 0) && !key())
        relax();
    switch (boot_argument("mode", 0)) {
    case 1:
        fill(r);
        break;
    case 2:
        look(r);
        break;
    case 3:
        crash();
        break;
    case 4:
        count();
        break;
    default:
        break;
    }
    if (boot_argument("stay", 0))
        say("pattern: staying");
    while (boot_argument("stay", 0))
        wfi();
    finish();
}
