/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SMCCC's Arm architecture calls (DEN0028 7), TRNG (DEN0098) and PV time (DEN0057A) as a guest sees them. Command line:
 * trng=1 if the machine has entropy; steal=1 if its pages come one by one from a helper that is to be waited for.
 */
#include "tests/guest/lib/guest.h"

#define ARCH_WORKAROUND_1 0x80008000UL
#define ARCH_WORKAROUND_2 0x80007fffUL
#define ARCH_WORKAROUND_3 0x80003fffUL
#define TRNG_VERSION 0x84000050UL
#define TRNG_FEATURES 0x84000051UL
#define TRNG_GET_UUID 0x84000052UL
#define TRNG_RND32 0x84000053UL
#define TRNG_RND64 0xC4000053UL
#define PV_TIME_FEATURES 0xC5000020UL
#define PV_TIME_ST 0xC5000021UL
#define INVALID_PARAMETERS (~0UL - 1)
#define TRIES 64

#define expect(name, value, wanted)                                            \
    do {                                                                       \
        const uint64_t value_ = (value), wanted_ = (uint64_t)(wanted);         \
        check(value_ == wanted_, name, "%lx instead of %lx", value_, wanted_); \
    } while (0)

/* A call's answer and what ARCH_FEATURES says of it belong together. */
static void workaround(const char *name, uint64_t function)
{
    const int64_t there = (int64_t)psci(SMCCC_ARCH_FEATURES, function, 0, 0);
    const int64_t x0 = (int64_t)psci(function, 1, 0, 0);
    check(there >= -2 && there <= 1 && (there < 0 ? x0 == -1 : x0 == 0), name, "ARCH_FEATURES %ld, the call %ld", there,
          x0);
}

static unsigned ones(uint64_t v)
{
    unsigned n = 0;
    for (; v; v &= v - 1)
        n++;
    return n;
}

/* `bits` that were asked for, or-ed over some tries: all of them seen as one, none above them. */
static void random_bits(uint64_t function, unsigned width, unsigned bits)
{
    uint64_t seen[3] = {0};
    for (unsigned i = 0; i < TRIES; i++) {
        struct regs r = {.x = {function, bits, ~0UL, ~0UL, 44}};
        smccc_raw(HVC_0, &r);
        if (r.x[0] != 0 || r.x[4] != 44) {
            fail("random bits", "%lx for %u bits by %lx, x4 %lx", r.x[0], bits, function, r.x[4]);
            return;
        }
        for (unsigned w = 0; w < 3; w++)
            seen[w] |= r.x[3 - w];
    }
    for (unsigned w = 0; w < 3; w++) {
        const unsigned in = bits <= w * width ? 0 : bits - w * width < width ? bits - w * width : width;
        const uint64_t wanted = in == 0 ? 0 : ~0UL >> (64 - in);
        if (seen[w] != wanted) {
            fail("random bits", "%lx in word %u of %u bits by %lx", seen[w], w, bits, function);
            return;
        }
    }
    pass("random bits");
}

static void trng(bool wanted)
{
    const uint64_t functions[] = {TRNG_VERSION, TRNG_FEATURES, TRNG_GET_UUID, TRNG_RND32, TRNG_RND64};
    if (!wanted) {
        for (unsigned i = 0; i < COUNT(functions); i++) {
            expect("no entropy, no TRNG", psci(functions[i], 8, 0, 0), NOT_SUPPORTED);
            expect("no entropy, no feature", psci(TRNG_FEATURES, functions[i], 0, 0), NOT_SUPPORTED);
        }
        return;
    }
    expect("TRNG_VERSION", psci(TRNG_VERSION, 0, 0, 0), 0x10000);
    for (unsigned i = 0; i < COUNT(functions); i++)
        expect("TRNG_FEATURES", psci(TRNG_FEATURES, functions[i], 0, 0), 0);
    expect("TRNG_FEATURES of PSCI_VERSION", psci(TRNG_FEATURES, PSCI_VERSION, 0, 0), NOT_SUPPORTED);
    expect("TRNG_FEATURES of nothing", psci(TRNG_FEATURES, 0x84000054, 0, 0), NOT_SUPPORTED);
    expect("TRNG_FEATURES of no SMC64", psci(TRNG_FEATURES, 0xC4000050, 0, 0), NOT_SUPPORTED);
    struct regs r = {.x = {TRNG_GET_UUID}};
    smccc_raw(HVC_0, &r);
    check((r.x[0] | r.x[1] | r.x[2] | r.x[3]) >> 32 == 0 &&
              ones(r.x[0]) + ones(r.x[1]) + ones(r.x[2]) + ones(r.x[3]) > 16,
          "TRNG_GET_UUID", "%lx %lx %lx %lx", r.x[0], r.x[1], r.x[2], r.x[3]);
    expect("RND32 of no bits", psci(TRNG_RND32, 0, 0, 0), INVALID_PARAMETERS);
    expect("RND32 of 97 bits", psci(TRNG_RND32, 97, 0, 0), INVALID_PARAMETERS);
    expect("RND64 of no bits", psci(TRNG_RND64, 0, 0, 0), INVALID_PARAMETERS);
    expect("RND64 of 193 bits", psci(TRNG_RND64, 193, 0, 0), INVALID_PARAMETERS);
    expect("RND64 of 2^32 + 8 bits", psci(TRNG_RND64, BIT(32) + 8, 0, 0), INVALID_PARAMETERS);
    expect("RND32 ignores upper halves", psci(TRNG_RND32, BIT(32) + 8, 0, 0), 0);
    for (unsigned bits = 1; bits <= 96; bits += bits < 30 || bits > 62 ? 1 : 8)
        random_bits(TRNG_RND32, 32, bits);
    for (unsigned bits = 1; bits <= 192; bits += bits < 60 || bits > 126 ? 3 : 1)
        random_bits(TRNG_RND64, 64, bits);
    random_bits(TRNG_RND64, 64, 192);
}

/* ---- stolen time */
struct record {
    uint32_t revision, attributes;
    uint64_t ns;
    uint8_t reserved[48];
};

static volatile struct record *own_record(void)
{
    return (volatile struct record *)psci(PV_TIME_ST, 0, 0, 0);
}

static volatile uint64_t second_record, second_stolen;

static void second(void *arg)
{
    (void)arg;
    second_stolen = own_record()->ns;
    second_record = (uint64_t)own_record();
}

static void store(void *arg)
{
    *(volatile uint64_t *)arg = ~0UL;
}

static void zero_line(void *arg)
{
    __asm__ volatile("dc zva, %0" ::"r"(arg) : "memory");
}

static void read_only(const char *name, void (*fn)(void *), volatile struct record *st)
{
    struct fault fault = {0};
    const uint64_t before = st->ns;
    const bool faulted = attempt(fn, (void *)&st->ns, &fault);
    check(faulted && FAULT_EC(fault) == EC_DATA_ABORT && FAULT_STATUS(fault) == STATUS_EXTERNAL, name,
          "faulted: %d, ESR %lx", faulted, fault.esr);
    check(st->ns >= before && st->ns != ~0UL && st->revision == 0, "and nothing is written", "%lx", st->ns);
}

/* Sparse touches of fresh RAM: each asks a helper for a page of its own. */
static void be_robbed(volatile struct record *st, bool wanted)
{
    const struct range ram = free_ram();
    const uint64_t before = st->ns, from = now();
    uint64_t last = before;
    bool grows = true;
    for (uint64_t page = ram.base; page + PAGE <= ram.end; page += 9 * PAGE) {
        *(volatile uint64_t *)page = page;
        const uint64_t stolen = st->ns;
        grows = grows && stolen >= last;
        last = stolen;
    }
    const uint64_t elapsed = (now() - from) * (1000000000UL / read_sysreg(cntfrq_el0));
    check(grows, "stolen time never goes back", "%lx", last);
    if (wanted)
        check(last > before, "stolen time grows while pages are fetched", "%lu", last);
    check(last - before <= elapsed, "stolen time is part of time", "%lu ns of %lu", last - before, elapsed);
    say("pv: stolen %lu ns of %lu\n", last - before, elapsed);
}

static void pv_time(bool steal)
{
    expect("ARCH_FEATURES(PV_TIME_FEATURES)", psci(SMCCC_ARCH_FEATURES, PV_TIME_FEATURES, 0, 0), 0);
    expect("PV_TIME_FEATURES(PV_TIME_FEATURES)", psci(PV_TIME_FEATURES, PV_TIME_FEATURES, 0, 0), 0);
    expect("PV_TIME_FEATURES(PV_TIME_ST)", psci(PV_TIME_FEATURES, PV_TIME_ST, 0, 0), 0);
    expect("PV_TIME_FEATURES(unknown)", psci(PV_TIME_FEATURES, PV_TIME_ST + 1, 0, 0), NOT_SUPPORTED);
    expect("PV_TIME_ST is SMC64", psci(PV_TIME_ST & ~BIT(30), 0, 0, 0), NOT_SUPPORTED);
    volatile struct record *const st = own_record();
    const struct range ram = ram_range();
    if (!check((uint64_t)st % 64 == 0 && ((uint64_t)st < ram.base || (uint64_t)st >= ram.end),
               "the record is outside RAM", "%lx", (uint64_t)st))
        return;
    check(st->revision == 0 && st->attributes == 0, "revision and attributes", "%x, %x", st->revision, st->attributes);
    unsigned rest = 0;
    for (unsigned i = 0; i < sizeof(st->reserved); i++)
        rest |= st->reserved[i];
    expect("the rest is zero", rest, 0);
    read_only("a store to the record", store, st);
    mmu_on();
    read_only("a store to the record, MMU on", store, st);
    mmu_off();
    if (read_sysreg(dczid_el0) & BIT(4))
        pass("no DC ZVA here");
    else
        check(attempt(zero_line, (void *)st, NULL) && st->revision == 0, "DC ZVA on the record", "no exception");
    be_robbed(st, steal);
    if (cpu_exists(1)) {
        cpu_on(1, second, NULL);
        check(WAIT_FOR(second_record != 0, 5000) && second_record == (uint64_t)st + 64, "a record for each CPU", "%lx",
              second_record);
        check(second_stolen <= st->ns, "the second CPU has waited less", "%lu", second_stolen);
        cpu_wait_off(1, 5000);
    }
}

void guest_main(void)
{
    gic_init();
    workaround("ARCH_WORKAROUND_1", ARCH_WORKAROUND_1);
    workaround("ARCH_WORKAROUND_2", ARCH_WORKAROUND_2);
    workaround("ARCH_WORKAROUND_3", ARCH_WORKAROUND_3);
    trng(boot_argument("trng", 0));
    pv_time(boot_argument("steal", 0));
}
