/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PSCI under stress (DEN0022): CPUs that all want to start the same one, at once, thousands of times; and SYSTEM_SUSPEND,
 * from which a guest comes back at another place than it left. Command line: rounds=N.
 */
#include "tests/guest/lib/guest.h"

#define PSCI_SYSTEM_SUSPEND 0x8400000EUL
#define PSCI_SYSTEM_SUSPEND64 0xC400000EUL
#define PSCI_SYSTEM_RESET2 0x84000012UL
#define PSCI_SYSTEM_RESET2_64 0xC4000012UL
#define INVALID_PARAMETERS (~0UL - 1)
#define DENIED (~0UL - 2)
#define ALREADY_ON (~0UL - 3)
#define ON_PENDING (~0UL - 4)
#define INVALID_ADDRESS (~0UL - 8)
#define PPI_PTIMER 30
#define SUSPENDS 24
#define SGI_GO 1

#define expect(name, value, wanted)                                            \
    do {                                                                       \
        const uint64_t value_ = (value), wanted_ = (uint64_t)(wanted);         \
        check(value_ == wanted_, name, "%lx instead of %lx", value_, wanted_); \
    } while (0)

extern char stacks[];

static unsigned cpus;

/* ---- one target, many that start it ---- */
static volatile uint64_t go, let_go, started_by, started;
static struct {
    volatile uint64_t round, answer;
} __attribute__((aligned(64))) racer[MAX_CPUS];
static struct cpu_start race_start[MAX_CPUS];
static uint64_t wins[MAX_CPUS];

/* The target, started by the racer that `arg` says: it stays until all have had their answer. */
static void target(void *arg)
{
    const uint64_t round = go;
    started_by = (uint64_t)arg;
    started = round;
    while (let_go != round)
        relax();
}

static void race(unsigned self, uint64_t round)
{
    racer[self].answer = psci(PSCI_CPU_ON64, cpus - 1, (uint64_t)secondary_entry, (uint64_t)&race_start[self]);
    racer[self].round = round;
}

static void racing(void *arg)
{
    const unsigned self = (unsigned)(uint64_t)arg;
    uint64_t round = 0;
    gic_init_cpu();
    gic_enable(SGI_GO);
    racer[self].round = 0;
    while (round != ~0UL) {
        while (go == round) { /* asleep: many that spin leave the target no time on a small host */
            wfi();
            irq_enable();
            irq_disable();
        }
        round = go;
        if (round != ~0UL)
            race(self, round);
    }
}

static bool one_round(uint64_t round)
{
    unsigned winners = 0, winner = 0;
    for (unsigned i = 0; i < cpus - 1; i++)
        race_start[i] =
            (struct cpu_start){.fn = target, .arg = (void *)(uint64_t)i, .stack = (uint64_t)stacks + cpus * STACK_SIZE};
    go = round;
    for (unsigned i = 1; i < cpus - 1; i++)
        gic_sgi(i, SGI_GO);
    spin_us(round % 32); /* for the others to wake up: the first is not always the same */
    race(0, round);
    for (unsigned i = 0; i < cpus - 1; i++) {
        if (!WAIT_FOR(racer[i].round == round, 10000)) {
            fail("a race for CPU_ON", "CPU %u has no answer in round %lu", i, round);
            return false;
        }
        if (racer[i].answer == 0) {
            winners++;
            winner = i;
        } else if (racer[i].answer != ALREADY_ON && racer[i].answer != ON_PENDING) {
            fail("a race for CPU_ON", "CPU %u got %lx in round %lu", i, racer[i].answer, round);
            return false;
        }
    }
    if (winners != 1 || !WAIT_FOR(started == round, 10000) || started_by != winner || !race_start[winner].entered) {
        fail("a race for CPU_ON", "round %lu: %u winners, the last CPU %u; started in %lu by %lu", round, winners,
             winner, started, started_by);
        return false;
    }
    wins[winner]++;
    let_go = round;
    if (!cpu_wait_off(cpus - 1, 10000)) {
        fail("a race for CPU_ON", "the target does not go off in round %lu", round);
        return false;
    }
    return true;
}

static void races(uint64_t rounds)
{
    bool all = true;
    for (unsigned i = 1; i < cpus - 1; i++)
        cpu_on(i, racing, (void *)(uint64_t)i);
    for (uint64_t round = 1; all && round <= rounds; round++)
        all = one_round(round);
    go = ~0UL;
    for (unsigned i = 1; i < cpus - 1; i++)
        gic_sgi(i, SGI_GO);
    for (unsigned i = 1; i < cpus - 1; i++)
        all = cpu_wait_off(i, 5000) && all;
    if (all)
        pass("a race for CPU_ON");
    for (unsigned i = 0; i < cpus - 1; i++)
        say("power: CPU %u won %lu times\n", i, wins[i]);
}

/* ---- AFFINITY_INFO of higher levels: all CPUs here are one instance of each ---- */
static volatile uint64_t stay;

static void stays(void *arg)
{
    (void)arg;
    while (stay)
        relax();
}

static void levels(void)
{
    for (uint64_t level = 1; level < 4; level++) {
        expect("AFFINITY_INFO of a higher level", psci(PSCI_AFFINITY_INFO64, 0, level, 0), 0);
        expect("AFFINITY_INFO ignores lower fields", psci(PSCI_AFFINITY_INFO, 0xe, level, 0), 0);
        expect("AFFINITY_INFO of no such instance", psci(PSCI_AFFINITY_INFO64, 5UL << 32, level, 0),
               INVALID_PARAMETERS);
    }
    expect("AFFINITY_INFO of level 4", psci(PSCI_AFFINITY_INFO64, 0, 4, 0), INVALID_PARAMETERS);
    expect("AFFINITY_INFO of level -1", psci(PSCI_AFFINITY_INFO64, 0, ~0UL, 0), INVALID_PARAMETERS);
}

static void arguments(void)
{
    expect("SYSTEM_SUSPEND to nowhere", psci(PSCI_SYSTEM_SUSPEND64, 0x1000, 0, 0), INVALID_ADDRESS);
    expect("SYSTEM_SUSPEND to an odd address", psci(PSCI_SYSTEM_SUSPEND64, (uint64_t)secondary_entry + 2, 0, 0),
           INVALID_ADDRESS);
    expect("FEATURES(SYSTEM_SUSPEND)", psci(PSCI_FEATURES, PSCI_SYSTEM_SUSPEND64, 0, 0), 0);
    expect("FEATURES(SYSTEM_RESET2)", psci(PSCI_FEATURES, PSCI_SYSTEM_RESET2_64, 0, 0), 0);
    expect("RESET2 of a type that is not there", psci(PSCI_SYSTEM_RESET2, 1, 0, 0), INVALID_PARAMETERS);
    expect("RESET2 of a vendor's type", psci(PSCI_SYSTEM_RESET2_64, BIT(31), 0, 0), NOT_SUPPORTED);
    expect("CPU_SUSPEND, power-down to nowhere", psci(PSCI_CPU_SUSPEND, BIT(16), 0x1000, 0), INVALID_ADDRESS);
    expect("CPU_SUSPEND of a reserved state", psci(PSCI_CPU_SUSPEND, BIT(27), 0, 0), INVALID_PARAMETERS);
    for (uint64_t n = 0x13; n < 0x20; n++)
        expect("MEM_PROTECT and what follows", psci(0x84000000 + n, 0, 0, 0), NOT_SUPPORTED);
    if (cpus < 2)
        return;
    stay = 1;
    cpu_on(1, stays, NULL);
    expect("SYSTEM_SUSPEND with another CPU on", psci(PSCI_SYSTEM_SUSPEND64, (uint64_t)secondary_entry, 0, 0), DENIED);
    stay = 0;
    cpu_wait_off(1, 5000);
}

/* ---- SYSTEM_SUSPEND: each ends in resumed(), on a stack of its own, which goes to sleep again ---- */
static struct cpu_start resume;
static volatile uint64_t kept[PAGE / 8];
static unsigned suspends;
static uint64_t fell_asleep, sleep_us;

static void resumed(void *arg);

static void ptimer_arm(uint64_t us)
{
    write_sysreg(cntp_cval_el0, read_sysreg(cntpct_el0) + ticks_of_us(us));
    write_sysreg(cntp_ctl_el0, 1);
    isb();
}

static void fall_asleep(void)
{
    const uint64_t function = suspends % 2 ? PSCI_SYSTEM_SUSPEND : PSCI_SYSTEM_SUSPEND64;
    for (unsigned i = 0; i < COUNT(kept); i++)
        kept[i] = suspends * 1000UL + i;
    resume = (struct cpu_start){
        .fn = resumed, .arg = (void *)(uint64_t)suspends, .stack = (uint64_t)stacks + MAX_CPUS * STACK_SIZE};
    cache_clean_invalidate(&resume, sizeof(resume));
    gic_init();
    sleep_us = 0;
    fell_asleep = now();
    switch (suspends % 6) {
    case 0: /* a timer */
        gic_enable(PPI_VTIMER);
        sleep_us = 3000;
        vtimer_arm(sleep_us);
        break;
    case 1: /* one is disabled, the other is not */
        gic_enable(PPI_PTIMER);
        vtimer_arm(1000);
        sleep_us = 4000;
        ptimer_arm(sleep_us);
        break;
    case 2: /* as Linux goes to sleep: CPU interface off, redistributor asleep */
        gic_enable(PPI_VTIMER);
        write_sysreg(S3_0_C12_C12_7, 0); /* ICC_IGRPEN1_EL1 */
        isb();
        mmio_write32(GICR + 0x14, BIT(1)); /* GICR_WAKER.ProcessorSleep */
        sleep_us = 2000;
        vtimer_arm(sleep_us);
        break;
    case 3: /* everything masked by priority */
        gic_enable(PPI_VTIMER);
        write_sysreg(S3_0_C4_C6_0, 0); /* ICC_PMR_EL1 */
        isb();
        sleep_us = 2000;
        vtimer_arm(sleep_us);
        break;
    case 4: /* a wake-up that is there before the call */
        gic_enable(PPI_VTIMER);
        vtimer_arm(0);
        spin_us(100);
        break;
    default: /* the same by a signal to itself */
        gic_enable(3);
        gic_sgi(0, 3);
    }
    if (suspends % 4 == 3)
        mmu_on();
    const uint64_t x0 = psci(function, (uint64_t)secondary_entry, (uint64_t)&resume, 0);
    fail("SYSTEM_SUSPEND", "returned %lx", x0);
    finish();
}

static bool woken_well(uint64_t number)
{
    const uint64_t slept = now() - fell_asleep;
    bool same = true;
    for (unsigned i = 0; i < COUNT(kept); i++)
        same = same && kept[i] == number * 1000 + i;
    return check(number == suspends && resume.context == (uint64_t)&resume, "the context identifier", "%lx, %lu",
                 resume.context, number) &&
           check(resume.current_el == 4 && resume.daif == 0x3c0 && !(resume.sctlr & 0x2001005) && resume.spsel == 1,
                 "the state of a CPU that is turned on", "EL %lx DAIF %lx SCTLR %lx SPSel %lx", resume.current_el,
                 resume.daif, resume.sctlr, resume.spsel) &&
           check(same, "RAM is kept", "number %lu", number) &&
           check(slept >= ticks_of_us(sleep_us), "sleeps until its wake-up", "number %lu: %lu ticks of %lu", number,
                 slept, ticks_of_us(sleep_us)) &&
           check(read_sysreg(cntv_ctl_el0) == 0 && read_sysreg(cntp_ctl_el0) == 0, "timers are off", "%lx, %lx",
                 read_sysreg(cntv_ctl_el0), read_sysreg(cntp_ctl_el0)) &&
           check(psci(PSCI_AFFINITY_INFO64, 0, 0, 0) == 0, "the CPU is on", "it is not");
}

static volatile unsigned taken;

static void on_irq(unsigned intid)
{
    taken += intid == PPI_VTIMER;
    vtimer_stop();
}

static void resumed(void *arg)
{
    bool ok = woken_well((uint64_t)arg);
    if (ok && ++suspends < SUSPENDS)
        fall_asleep();
    /* Interrupts work as before; the other CPUs can be turned on again. */
    gic_init();
    irq_hook[0] = on_irq;
    gic_enable(PPI_VTIMER);
    vtimer_arm(500);
    irq_enable();
    ok = WAIT_FOR(taken == 1, 5000);
    irq_disable();
    check(ok, "an interrupt after it all", "%u taken", taken);
    if (cpus > 1) {
        stay = 0;
        check(cpu_on(1, stays, NULL) == 0 && cpu_wait_off(1, 5000), "another CPU after it all", "it does not start");
    }
    finish();
}

void guest_main(void)
{
    gic_init();
    while (cpus < MAX_CPUS && cpu_exists(cpus))
        cpus++;
    levels();
    if (cpus > 2)
        races(boot_argument("rounds", 1000));
    if (!under_meanwhile())
        return;
    arguments();
    fall_asleep();
}
