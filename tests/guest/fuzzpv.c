/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each function of PSCI, SMCCC, TRNG and PV time, and random ones, with random arguments, from all CPUs at once; not those
 * that end the guest or put a CPU to sleep for good. Between calls the guest finds itself as it was. Command line:
 * calls=N per CPU, seed=N.
 */
#include "tests/guest/lib/guest.h"

static const uint32_t known[] = {
    0x80000000, 0x80000001, 0x80003fff, 0x80007fff, 0x80008000, 0x84000000, 0x84000001, 0xC4000001,
    0x84000003, 0xC4000003, 0x84000004, 0xC4000004, 0x84000005, 0xC4000005, 0x84000006, 0x84000007,
    0x8400000A, 0x8400000B, 0x8400000C, 0xC400000C, 0x8400000D, 0xC400000D, 0x8400000E, 0xC400000E,
    0x8400000F, 0x84000010, 0xC4000010, 0x84000011, 0xC4000011, 0x84000012, 0xC4000012, 0x84000013,
    0x84000014, 0xC4000014, 0x84000050, 0x84000051, 0x84000052, 0x84000053, 0xC4000053, 0xC5000020,
    0xC5000021, 0x8600FF01, 0x8600FF03, 0x86000000, 0x86000100, 0xC6000100, 0xC6000101, 0x86000101,
};

static volatile uint64_t served[MAX_CPUS], spoilt[MAX_CPUS], finished[MAX_CPUS], generator[MAX_CPUS];

static uint64_t random64(void)
{
    uint64_t x = generator[cpu_index()];
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    generator[cpu_index()] = x;
    return x * 0x2545f4914f6cdd1dUL;
}

/* Small numbers, identifiers, MPIDRs, addresses in RAM, beside it and below it, all ones, and anything. */
static uint64_t argument(void)
{
    const uint64_t r = random64();
    switch (r & 7) {
    case 0:
        return r >> 8 & 0xf;
    case 1:
        return 1UL << (r >> 8 & 63);
    case 2:
        return known[(r >> 8) % COUNT(known)];
    case 3:
        return RAM_BASE + (r >> 8 & 0x1ffffffc);
    case 4:
        return ~0UL - (r >> 8 & 3);
    case 5:
        return r >> 8 & 0xff00ffffffUL;
    case 6:
        return r >> 32;
    default:
        return r;
    }
}

static bool is(uint64_t function, uint64_t smc32)
{
    return ((uint32_t)function & ~BIT(30) & ~BIT(16)) == smc32;
}

/*
 * What would end the test: CPU_OFF, SYSTEM_OFF and the resets that are there; what would start a CPU at random, or give the
 * guest's own image and tree back.
 */
static bool spared(const struct regs *r)
{
    if (is(r->x[0], 0x84000002) || is(r->x[0], 0x84000008) || is(r->x[0], 0x84000009))
        return true;
    if (is(r->x[0], 0x84000012))
        return (uint32_t)r->x[1] == 0;
    const uint64_t entry = (uint32_t)r->x[0] & BIT(30) ? r->x[2] : (uint32_t)r->x[2];
    const struct range ram = ram_range();
    if (is(r->x[0], 0x84000003))
        return entry >= ram.base && entry < ram.end;
    const struct range unused = free_ram();
    if (is(r->x[0], 0x86000101))
        return r->x[1] - ram.base < ram.end - ram.base &&
               (r->x[1] < unused.base || r->x[1] >= unused.end || r->x[2] > (unused.end - r->x[1]) / PAGE);
    const uint64_t resume = (uint32_t)r->x[0] & BIT(30) ? r->x[1] : (uint32_t)r->x[1];
    if (is(r->x[0], 0x8400000E))
        return resume >= ram.base && resume < ram.end;
    return false;
}

static void fuzz(void *arg)
{
    const unsigned cpu = cpu_index();
    gic_init_cpu();
    gic_enable(3);
    generator[cpu] = 0x9e3779b97f4a7c15UL * ((uint64_t)arg * 16 + cpu + 1);
    for (uint64_t left = boot_argument("calls", 100000); left; left--) {
        struct regs r, before;
        for (unsigned i = 0; i < 18; i++)
            r.x[i] = argument();
        const uint64_t pick = random64();
        if (pick % 8)
            r.x[0] =
                known[(pick >> 8) % COUNT(known)] | (pick >> 32 & BIT(16)) | (pick % 8 == 1 ? pick & ~0xffffffffUL : 0);
        if (spared(&r))
            continue;
        if (is(r.x[0], 0x84000001))
            gic_sgi(cpu, 3); /* CPU_SUSPEND has something to wake up for */
        before = r;
        smccc_raw(pick >> 16 & 3 ? HVC_0 : (enum conduit)((pick >> 18) % CONDUITS), &r);
        for (unsigned i = 4; i < 18; i++)
            spoilt[cpu] += r.x[i] != before.x[i];
        served[cpu]++;
    }
    spoilt[cpu] += psci(PSCI_VERSION, 0, 0, 0) != 0x10001;
    finished[cpu] = 1;
}

void guest_main(void)
{
    unsigned cpus = 1;
    gic_init();
    const uint64_t seed = boot_argument("seed", 1);
    for (; cpus < MAX_CPUS && cpu_exists(cpus); cpus++)
        cpu_on(cpus, fuzz, (void *)seed);
    fuzz((void *)seed);
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        check(WAIT_FOR(finished[cpu], 60000), "comes to its end", "CPU %u: %lu calls", cpu, served[cpu]);
        check(spoilt[cpu] == 0, "registers are kept", "CPU %u: %lu spoilt", cpu, spoilt[cpu]);
        check(served[cpu] > 1000, "calls are made", "%lu", served[cpu]);
        say("fuzzpv: CPU %u made %lu calls\n", cpu, served[cpu]);
    }
}
