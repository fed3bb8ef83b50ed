/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Identity `kvm` (include/linux/arm-smccc.h and Documentation/virt/kvm/arm/ptp_kvm.rst in Linux): who it is, what it can do, and
 * its clock. Command line: ptp=1 if the machine has a clock; seconds=N for which it is read, a line with the time in the end.
 */
#include "tests/guest/lib/guest.h"

#define KVM_FEATURES 0x86000000UL
#define KVM_PTP 0x86000001UL
#define VIRTUAL 0
#define PHYSICAL 1
#define SECOND 1000000000UL
#define RTC 0x09010000UL
#define YEAR_2020 (1577836800 * SECOND)

/* 28b46fb6-2ec5-11e9-a9ca-4b564d003a74 */
static const uint32_t kvm_uid[4] = {0xb66fb428, 0xe911c52e, 0x564bcaa9, 0x743a004d};

struct reading {
    uint64_t ns, counter;
};

/* Readings of one CPU after the other: the same counter for both, so neither may contradict the other's. */
static struct reading others[64];
static volatile unsigned others_count;

static struct regs called(uint64_t function, uint64_t argument)
{
    struct regs r = {.x = {function, argument, ~0UL, ~0UL}};
    smccc_raw(HVC_0, &r);
    return r;
}

static struct reading ptp(uint64_t counter)
{
    const struct regs r = called(KVM_PTP, counter);
    if ((int32_t)r.x[0] < 0 || (r.x[0] | r.x[1] | r.x[2] | r.x[3]) >> 32) {
        fail("ptp", "%lx %lx %lx %lx", r.x[0], r.x[1], r.x[2], r.x[3]);
        finish();
    }
    return (struct reading){r.x[0] << 32 | r.x[1], r.x[2] << 32 | r.x[3]};
}

static uint64_t ns_of(uint64_t ticks)
{
    const uint64_t hz = read_sysreg(cntfrq_el0);
    return ticks / hz * SECOND + ticks % hz * SECOND / hz;
}

static void load_rtc(void *arg)
{
    (void)arg;
    (void)mmio_read32(RTC);
}

static void no_clock(void)
{
    for (uint64_t counter = 0; counter < 4; counter++) {
        const struct regs r = called(KVM_PTP, counter);
        check(r.x[0] == NOT_SUPPORTED && r.x[1] == counter, "no clock, no PTP", "%lx", r.x[0]);
    }
}

static void counters(void)
{
    uint64_t before = now();
    struct reading r = ptp(VIRTUAL);
    check(r.counter >= before && r.counter <= now(), "the virtual counter", "%lx, not in %lx to %lx", r.counter, before,
          now());
    check(r.ns > YEAR_2020, "the time of day", "%lu", r.ns);
    isb();
    before = read_sysreg(cntpct_el0);
    r = ptp(PHYSICAL);
    isb();
    const uint64_t after = read_sysreg(cntpct_el0);
    check(r.counter >= before && r.counter <= after, "the physical counter", "%lx, not in %lx to %lx", r.counter,
          before, after);
    r = ptp(0xdeadbeef00000000 | VIRTUAL);
    check(r.counter <= now(), "the argument is w1", "%lx", r.counter);
    check(called(KVM_PTP, 2).x[0] == NOT_SUPPORTED && called(KVM_PTP, ~0UL).x[0] == NOT_SUPPORTED, "no other counter",
          "answered");
    check(called(KVM_PTP | BIT(30), 0).x[0] == NOT_SUPPORTED, "no SMC64 call", "answered");
    struct fault fault;
    check(attempt(load_rtc, NULL, &fault) && FAULT_EC(fault) == EC_DATA_ABORT && FAULT_STATUS(fault) == STATUS_EXTERNAL,
          "the machine's own clock is not ours", "read");
}

/* The time goes by as the counter does, less what it gives way, or by more when it comes closer to the clock: never back. */
static bool follows(struct reading a, struct reading b)
{
    const uint64_t passed = ns_of(b.counter) - ns_of(a.counter);
    return b.counter >= a.counter && b.ns + passed / 4096 + 1 >= a.ns + passed && b.ns < a.ns + passed + SECOND;
}

static void other(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < COUNT(others); i++) {
        others[i] = ptp(VIRTUAL);
        others_count = i + 1;
        spin_us(200);
    }
}

static void two_cpus(void)
{
    unsigned bad = 0;
    cpu_on(1, other, NULL);
    for (unsigned i = 0; i < COUNT(others); i++) {
        if (!WAIT_FOR(others_count > i, 10000))
            break;
        bad += !follows(others[i], ptp(VIRTUAL));
    }
    check(cpu_wait_off(1, 5000) && !bad, "two CPUs agree", "%u times not", bad);
}

static void goes_on(uint64_t seconds)
{
    const uint64_t until = now() + ticks_of_us(seconds * 1000000);
    struct reading first = ptp(VIRTUAL), last = first;
    uint64_t lifted = 0;
    unsigned bad = 0, count = 0;
    do {
        const struct reading r = ptp(VIRTUAL);
        bad += !follows(last, r);
        lifted = r.ns - first.ns - (ns_of(r.counter) - ns_of(first.counter));
        last = r;
        count++;
        spin_us(1000);
    } while (now() < until);
    check(!bad, "it never goes back", "%u of %u", bad, count);
    say("kvm: %u readings brought it %ld us closer\n", count, (int64_t)lifted / 1000);
    for (unsigned i = 0; i < 20; i++) {
        say("kvm: it is %lu\n", ptp(VIRTUAL).ns);
        spin_us(20000);
    }
}

void guest_main(void)
{
    const bool clock = boot_argument("ptp", 1);
    struct regs r = called(VENDOR_UID, 0);
    check((int64_t)psci(PSCI_FEATURES, SMCCC_VERSION, 0, 0) >= 0, "SMCCC", "none");
    check(r.x[0] == kvm_uid[0] && r.x[1] == kvm_uid[1] && r.x[2] == kvm_uid[2] && r.x[3] == kvm_uid[3], "KVM's UID",
          "%lx %lx %lx %lx", r.x[0], r.x[1], r.x[2], r.x[3]);
    r = called(KVM_FEATURES, 0);
    check(r.x[0] == (clock ? 3 : 1) && !(r.x[1] | r.x[2] | r.x[3]), "KVM's features", "%lx %lx %lx %lx", r.x[0], r.x[1],
          r.x[2], r.x[3]);
    check(!under_meanwhile() && called(0x86000100, 0).x[0] == NOT_SUPPORTED &&
              called(0xc6000100, 0).x[0] == NOT_SUPPORTED,
          "no call of another", "answered");
    if (!clock) {
        no_clock();
        return;
    }
    counters();
    if (cpu_exists(1))
        two_cpus();
    if (boot_argument("seconds", 0))
        goes_on(boot_argument("seconds", 0));
}
