/* SPDX-License-Identifier: BSD-2-Clause */
/* PSCI 1.1 (DEN0022) and SMCCC (DEN0028): versions, error codes, register preservation, CPUs on and off. */
#include "tests/guest/lib/guest.h"

#define SUCCESS 0
#define INVALID_PARAMETERS (-2)
#define ALREADY_ON (-4)
#define ON 0
#define OFF 1
#define NO_SUCH_CPU 0x00ff0000UL /* Aff2 0xff: affinity 0.255.0.0 */
#define SMCCC_HINT BIT(16)       /* SMCCC 1.3: the caller has no live SVE state */
#define RESTARTS 200

#define expect(name, value, wanted)                                            \
    do {                                                                       \
        const uint64_t value_ = (value), wanted_ = (uint64_t)(wanted);         \
        check(value_ == wanted_, name, "%lx instead of %lx", value_, wanted_); \
    } while (0)

static void versions(void)
{
    expect("PSCI_VERSION", psci(PSCI_VERSION, 0, 0, 0), 0x10001);
    const uint64_t smccc_version = psci(SMCCC_VERSION, 0, 0, 0);
    check(smccc_version >= 0x10001 && smccc_version < 0x20000, "SMCCC_VERSION", "%lx", smccc_version);
    expect("SMCCC_VERSION with the SVE hint", psci(SMCCC_VERSION | SMCCC_HINT, 0, 0, 0), smccc_version);
    expect("ARCH_FEATURES(SMCCC_VERSION)", psci(SMCCC_ARCH_FEATURES, SMCCC_VERSION, 0, 0), SUCCESS);
    expect("ARCH_FEATURES(ARCH_FEATURES)", psci(SMCCC_ARCH_FEATURES, SMCCC_ARCH_FEATURES, 0, 0), SUCCESS);
    expect("ARCH_FEATURES(unknown)", psci(SMCCC_ARCH_FEATURES, 0x8000abcd, 0, 0), NOT_SUPPORTED);
    expect("MIGRATE_INFO_TYPE", psci(PSCI_MIGRATE_INFO_TYPE, 0, 0, 0), 2);
}

static void features(void)
{
    static const uint64_t known[] = {PSCI_VERSION,         PSCI_CPU_OFF,      PSCI_CPU_ON32,
                                     PSCI_CPU_ON64,        PSCI_SYSTEM_OFF,   PSCI_AFFINITY_INFO,
                                     PSCI_AFFINITY_INFO64, PSCI_SYSTEM_RESET, PSCI_MIGRATE_INFO_TYPE,
                                     PSCI_FEATURES,        SMCCC_VERSION};
    static const uint64_t unknown[] = {PSCI_MIGRATE, 0xC4000002, 0xC4000008, 0x8400001f, 0xC400001f,
                                       0x12345678,   0,          0xffffffff, 0x86000000};
    for (unsigned i = 0; i < COUNT(known); i++) {
        const uint64_t x0 = psci(PSCI_FEATURES, known[i], 0, 0);
        if (x0 != 0) {
            fail("FEATURES(known)", "%lx for %lx", x0, known[i]);
            return;
        }
    }
    pass("FEATURES(known)");
    for (unsigned i = 0; i < COUNT(unknown); i++) {
        const uint64_t x0 = psci(PSCI_FEATURES, unknown[i], 0, 0);
        if (x0 != NOT_SUPPORTED) {
            fail("FEATURES(unknown)", "%lx for %lx", x0, unknown[i]);
            return;
        }
    }
    pass("FEATURES(unknown)");
    /* CPU_SUSPEND answers with feature flags; bit 0, OS-initiated mode, is nobody's need here. */
    const uint64_t flags = psci(PSCI_FEATURES, PSCI_CPU_SUSPEND, 0, 0);
    check(flags <= 3, "FEATURES(CPU_SUSPEND)", "%lx", flags);
}

static void unknown_functions(void)
{
    static const uint32_t numbers[] = {0x0000abcd, 0x00000fff, 0x0000fffe};
    for (uint64_t owner = 0; owner < 64; owner++) {
        for (unsigned i = 0; i < COUNT(numbers); i++) {
            for (uint64_t kind = 0; kind < 4; kind++) { /* yielding and fast, each SMC32 and SMC64 */
                const uint64_t function = kind << 30 | owner << 24 | numbers[i];
                const uint64_t x0 = psci(function, 0, 0, 0);
                if (x0 != NOT_SUPPORTED) {
                    fail("unknown functions", "%lx from %lx", x0, function);
                    return;
                }
            }
        }
    }
    pass("unknown functions");
    expect("vendor function 0", psci(0x86000000, 0, 0, 0), NOT_SUPPORTED);
    expect("function 0xffffffff", psci(0xffffffff, 0, 0, 0), NOT_SUPPORTED);
    expect("function 0", psci(0, 0, 0, 0), NOT_SUPPORTED);
}

static void preserved(enum conduit conduit, uint64_t function)
{
    struct regs r = {.x = {function}};
    for (unsigned i = 4; i < 18; i++)
        r.x[i] = 0xa5a5000000000000UL + i;
    smccc_raw(conduit, &r);
    for (unsigned i = 4; i < 18; i++) {
        if (r.x[i] != 0xa5a5000000000000UL + i) {
            fail("x4-x17 preserved", "x%u %lx after %s, function %lx", i, r.x[i], conduit_name(conduit), function);
            return;
        }
    }
    pass("x4-x17 preserved");
}

static void conduits(void)
{
    static const uint64_t functions[] = {PSCI_VERSION, SMCCC_VERSION, PSCI_MIGRATE_INFO_TYPE, 0x8300abcd, 0xC300abcd};
    for (unsigned c = 0; c < CONDUITS; c++) {
        bool alike = true;
        for (unsigned i = 0; i < COUNT(functions); i++) {
            const uint64_t x0 = smccc((enum conduit)c, functions[i], 0, 0, 0);
            const uint64_t reference = psci(functions[i], 0, 0, 0);
            if (x0 != reference || x0 == UNDEFINED_CALL) {
                fail(conduit_name((enum conduit)c), "%lx for %lx, by hvc #0 %lx", x0, functions[i], reference);
                alike = false;
            }
        }
        if (!alike)
            continue;
        pass(conduit_name((enum conduit)c));
        preserved((enum conduit)c, PSCI_VERSION);
        preserved((enum conduit)c, 0x8300abcd);
    }
    /* The function identifier is W0: what is above it does not count. */
    expect("upper half of x0", psci(0xdeadbeef00000000UL | PSCI_VERSION, 0, 0, 0), 0x10001);
}

static void uid(void)
{
    struct regs r = {.x = {VENDOR_UID}};
    smccc_raw(HVC_0, &r);
    for (unsigned i = 0; i < 4; i++) {
        if (r.x[i] != meanwhile_uid[i]) {
            fail("vendor UID", "x%u is %lx instead of %x", i, r.x[i], meanwhile_uid[i]);
            return;
        }
    }
    pass("vendor UID");
}

static void suspend(void)
{
    /* Standby (power state 0) with interrupts masked: the pending timer interrupt wakes the core and is not taken. */
    gic_enable(PPI_VTIMER);
    for (unsigned i = 0; i < 10; i++) {
        const uint64_t then = now();
        vtimer_arm(2000);
        const uint64_t x0 = psci(PSCI_CPU_SUSPEND, 0, 0, 0);
        const uint64_t slept = now() - then;
        vtimer_stop();
        if (x0 != SUCCESS) {
            fail("CPU_SUSPEND", "returned %lx", x0);
            return;
        }
        /* Any wake-up will do, an early one too; but not ten. */
        if (slept >= ticks_of_us(2000)) {
            pass("CPU_SUSPEND");
            return;
        }
    }
    fail("CPU_SUSPEND", "never slept until the timer");
}

/* ---- the second CPU ---- */
static volatile uint64_t seen_argument, release;

static void second(void *arg)
{
    seen_argument = (uint64_t)arg;
    while (!release)
        relax();
}

static bool start_second(const char *name, uint64_t function, uint64_t affinity, uint64_t arg)
{
    release = 0;
    seen_argument = 0;
    const int64_t x0 = cpu_on_by(function, affinity, 1, second, (void *)arg);
    if (x0 != SUCCESS) {
        fail(name, "CPU_ON returned %ld", x0);
        return false;
    }
    if (!WAIT_FOR(seen_argument == arg, 5000)) {
        fail(name, "the CPU does not run: entered %lx", cpu_starts[1].entered);
        return false;
    }
    return true;
}

static bool stop_second(const char *name)
{
    release = 1;
    if (!cpu_wait_off(1, 5000)) {
        fail(name, "AFFINITY_INFO stays %lx", psci(PSCI_AFFINITY_INFO64, 1, 0, 0));
        return false;
    }
    return true;
}

static void second_cpu(void)
{
    expect("AFFINITY_INFO of a CPU that is off", psci(PSCI_AFFINITY_INFO64, 1, 0, 0), OFF);
    if (!start_second("CPU_ON", PSCI_CPU_ON64, 1, 0x1234))
        return;
    const struct cpu_start *const s = &cpu_starts[1];
    expect("context identifier", s->context, (uint64_t)s);
    expect("entry: EL1", s->current_el, 4);
    expect("entry: DAIF masked", s->daif, 0x3c0);
    expect("entry: MMU and caches off, little-endian", s->sctlr & 0x2001005, 0);
    expect("entry: SP_EL1", s->spsel, 1);
    expect("AFFINITY_INFO of a CPU that is on", psci(PSCI_AFFINITY_INFO64, 1, 0, 0), ON);
    expect("CPU_ON of a CPU that is on", psci(PSCI_CPU_ON64, 1, (uint64_t)secondary_entry, 0), ALREADY_ON);
    if (!stop_second("CPU_OFF"))
        return;
    pass("CPU_OFF");
    if (start_second("CPU_ON, 32 bits", PSCI_CPU_ON32, 1, 0x5678) && stop_second("CPU_ON, 32 bits"))
        pass("CPU_ON, 32 bits");
    /* An SMC32 call's arguments are W registers (DEN0028). */
    if (start_second("CPU_ON32 ignores upper halves", PSCI_CPU_ON32, 0xabcd000000000001UL, 0x9abc) &&
        stop_second("CPU_ON32 ignores upper halves"))
        pass("CPU_ON32 ignores upper halves");
    for (uint64_t i = 1; i <= RESTARTS; i++) {
        if (!start_second("on and off again", PSCI_CPU_ON64, 1, i) || !stop_second("on and off again"))
            return;
    }
    pass("on and off again");
    /* PSCI leaves them open; natively they may be anything. */
    check(!under_meanwhile() || s->kept == 0, "no register of an earlier life", "bits %lx", s->kept);
}

void guest_main(void)
{
    gic_init();
    versions();
    features();
    expect("AFFINITY_INFO of this CPU", psci(PSCI_AFFINITY_INFO, 0, 0, 0), ON);
    expect("AFFINITY_INFO of no CPU", psci(PSCI_AFFINITY_INFO64, NO_SUCH_CPU, 0, 0), INVALID_PARAMETERS);
    expect("CPU_ON of this CPU", psci(PSCI_CPU_ON64, 0, (uint64_t)secondary_entry, 0), ALREADY_ON);
    expect("CPU_ON of no CPU", psci(PSCI_CPU_ON64, NO_SUCH_CPU, (uint64_t)secondary_entry, 0), INVALID_PARAMETERS);
    expect("CPU_ON of an affinity with bits that are no affinity's",
           psci(PSCI_CPU_ON64, BIT(24), (uint64_t)secondary_entry, 0), INVALID_PARAMETERS);
    suspend();
    if (cpu_exists(1))
        second_cpu();
    unknown_functions();
    conduits();
    uid();
}
