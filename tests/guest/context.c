/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What belongs to a CPU besides its general registers: pointer authentication, breakpoints and watchpoints, the ID
 * registers' one story, and AArch32 at EL0. Natively the same holds, but for what EL2 hides.
 */
#include "tests/guest/lib/guest.h"

#define NOWHERE 0x0c000000UL
#define GICD_TYPER 0x4
#define EC_SVC32 0x11
#define EC_SVC64 0x15
#define EC_CP15 0x03
#define EC_DABT_LOW 0x24
#define EC_IABT_LOW 0x20
#define EC_BREAKPOINT 0x31
#define EC_WATCHPOINT 0x35
#define VECTOR_LOWER 0x400
#define VECTOR_LOWER_32 0x600

/* ---- pointer authentication ---- */
#define KEY(name) S3_0_C2_##name
#define SCTLR_PAC (BIT(31) | BIT(30) | BIT(27) | BIT(13)) /* EnIA, EnIB, EnDA, EnDB */

/* By encoding, operands x0 and x1: assemblers disagree on what FEAT_PAuth is called. */
#define PACIA "0xdac10020"
#define PACIB "0xdac10420"
#define PACDA "0xdac10820"
#define PACDB "0xdac10c20"
#define AUTIA "0xdac11020"
#define AUTIB "0xdac11420"
#define AUTDA "0xdac11820"
#define AUTDB "0xdac11c20"

#define PAUTH(op, p, m)                                     \
    ({                                                      \
        register uint64_t p_ __asm__("x0") = (p);           \
        register uint64_t m_ __asm__("x1") = (m);           \
        __asm__ volatile(".inst " op : "+r"(p_) : "r"(m_)); \
        p_;                                                 \
    })

static bool has_pac(void)
{
    return (read_sysreg(S3_0_C0_C6_1) & 0xff0) || (read_sysreg(S3_0_C0_C6_2) & 0xf000);
}

static void set_keys(uint64_t seed)
{
    write_sysreg(S3_0_C2_C1_0, seed * 3); /* APIAKeyLo_EL1 */
    write_sysreg(S3_0_C2_C1_1, seed * 5);
    write_sysreg(S3_0_C2_C1_2, seed * 7); /* APIBKeyLo_EL1 */
    write_sysreg(S3_0_C2_C1_3, seed * 11);
    write_sysreg(S3_0_C2_C2_0, seed * 13); /* APDAKeyLo_EL1 */
    write_sysreg(S3_0_C2_C2_1, seed * 17);
    write_sysreg(S3_0_C2_C2_2, seed * 19); /* APDBKeyLo_EL1 */
    write_sysreg(S3_0_C2_C2_3, seed * 23);
    write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) | SCTLR_PAC);
    isb();
}

static uint64_t signed_pointers[4];

static void sign(uint64_t p, uint64_t modifier)
{
    signed_pointers[0] = PAUTH(PACIA, p, modifier);
    signed_pointers[1] = PAUTH(PACIB, p, modifier);
    signed_pointers[2] = PAUTH(PACDA, p, modifier);
    signed_pointers[3] = PAUTH(PACDB, p, modifier);
}

static bool authentic(uint64_t p, uint64_t modifier)
{
    return PAUTH(AUTIA, signed_pointers[0], modifier) == p && PAUTH(AUTIB, signed_pointers[1], modifier) == p &&
           PAUTH(AUTDA, signed_pointers[2], modifier) == p && PAUTH(AUTDB, signed_pointers[3], modifier) == p;
}

static void pointer_authentication(void)
{
    if (!has_pac()) {
        pass("no pointer authentication");
        return;
    }
    mmu_on();
    bool same = true;
    unsigned changed = 0, refused = 0;
    for (uint64_t i = 1; i <= 64; i++) {
        const uint64_t p = (uint64_t)&signed_pointers[i % 4];
        set_keys(0x9e3779b97f4a7c15UL * (cpu_index() + 1));
        sign(p, i);
        /* Exits of each kind in between: the keys and SCTLR_EL1 are still there. */
        (void)psci(PSCI_VERSION, 0, 0, 0);
        (void)mmio_read32(GICD + GICD_TYPER);
        (void)read_sysreg(S3_0_C0_C4_0);
        same = same && authentic(p, i);
        changed += signed_pointers[0] != p;
        refused += !authentic(p, i + 1);
    }
    check(same, "what was signed is authentic", "it is not");
    check(changed > 48 && refused > 48, "signatures depend on the modifier", "%u changed, %u refused", changed,
          refused);
    check(read_sysreg(S3_0_C2_C1_0) == 0x9e3779b97f4a7c15UL * (cpu_index() + 1) * 3, "keys read back", "%lx",
          read_sysreg(S3_0_C2_C1_0));
    write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) & ~SCTLR_PAC);
    isb();
    mmu_off();
}

/* ---- self-hosted debug ---- */
#define MDSCR_KDE BIT(13)
#define MDSCR_MDE BIT(15)

static volatile uint64_t watched[2];
static volatile unsigned visits;

static __attribute__((noinline)) void visited(void *arg)
{
    (void)arg;
    visits++;
}

static void touch(void *arg)
{
    (void)arg;
    watched[0] = 1;
}

static void touch_other(void *arg)
{
    (void)arg;
    watched[1] = 1;
}

static void look(void *arg)
{
    (void)arg;
    (void)watched[0];
}

static void debug(void)
{
    struct fault fault = {0};
    check(!(read_sysreg(mdscr_el1) & (MDSCR_KDE | MDSCR_MDE)), "debug is off at first", "%lx", read_sysreg(mdscr_el1));
    check(!(read_sysreg(oslsr_el1) & BIT(1)), "the OS lock is open", "%lx", read_sysreg(oslsr_el1));
    write_sysreg(dbgbvr0_el1, (uint64_t)visited);
    write_sysreg(dbgbcr0_el1, BIT(0) | 1 << 1 | 0xf << 5); /* on, EL1, a whole instruction */
    write_sysreg(dbgwvr0_el1, (uint64_t)&watched[0]);
    write_sysreg(dbgwcr0_el1, BIT(0) | 1 << 1 | 2 << 3 | 0xff << 5); /* on, EL1, stores, 8 bytes */
    write_sysreg(mdscr_el1, MDSCR_KDE | MDSCR_MDE);
    __asm__ volatile("msr daifclr, #8\n\tisb" ::: "memory");
    for (unsigned i = 0; i < 3; i++) {
        (void)psci(PSCI_VERSION, 0, 0, 0);
        check(attempt(visited, NULL, &fault) && FAULT_EC(fault) == EC_BREAKPOINT && fault.elr == (uint64_t)visited &&
                  visits == 0,
              "breakpoint", "ESR %lx ELR %lx, %u visits", fault.esr, fault.elr, visits);
        check(attempt(touch, NULL, &fault) && FAULT_EC(fault) == EC_WATCHPOINT && fault.far == (uint64_t)&watched[0] &&
                  watched[0] == 0,
              "watchpoint", "ESR %lx FAR %lx", fault.esr, fault.far);
        check(!attempt(touch_other, NULL, NULL) && !attempt(look, NULL, NULL),
              "watchpoint on this, and on stores alone", "an exception");
    }
    __asm__ volatile("msr daifset, #8" ::: "memory");
    write_sysreg(mdscr_el1, 0);
    isb();
    check(!attempt(visited, NULL, NULL) && visits == 1, "no breakpoint any more", "%u visits", visits);
}

/* ---- what a CPU leaves behind when it goes off ---- */
static volatile uint64_t left_over, left;

static void leave_something(void *arg)
{
    (void)arg;
    if (has_pac())
        set_keys(0x123456789abcdefUL);
    write_sysreg(dbgbvr0_el1, 0x1234);
    write_sysreg(dbgwvr1_el1, 0x5678);
    write_sysreg(mdscr_el1, MDSCR_KDE);
    left = 1;
}

static void look_for_something(void *arg)
{
    (void)arg;
    left_over = read_sysreg(dbgbvr0_el1) | read_sysreg(dbgwvr1_el1) | read_sysreg(mdscr_el1);
    if (has_pac())
        left_over |= read_sysreg(S3_0_C2_C1_0) | read_sysreg(S3_0_C2_C1_3) | read_sysreg(S3_0_C2_C2_0);
    left = 2;
}

static void off_and_on(void)
{
    if (!cpu_exists(1))
        return;
    cpu_on(1, leave_something, NULL);
    check(WAIT_FOR(left == 1, 5000) && cpu_wait_off(1, 5000), "a CPU goes off", "it does not");
    cpu_on(1, look_for_something, NULL);
    check(WAIT_FOR(left == 2, 5000) && left_over == 0, "keys and breakpoints do not outlive CPU_OFF", "%lx", left_over);
    cpu_wait_off(1, 5000);
}

/* ---- ID registers ---- */
#define ROW(m)                                                                                       \
    read_sysreg(S3_0_C0_C##m##_0), read_sysreg(S3_0_C0_C##m##_1), read_sysreg(S3_0_C0_C##m##_2),     \
        read_sysreg(S3_0_C0_C##m##_3), read_sysreg(S3_0_C0_C##m##_4), read_sysreg(S3_0_C0_C##m##_5), \
        read_sysreg(S3_0_C0_C##m##_6), read_sysreg(S3_0_C0_C##m##_7)
#define IDS 57

static uint64_t ids[IDS];
static volatile unsigned differing, compared;

static void read_ids(uint64_t *to)
{
    const uint64_t all[IDS] = {ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), read_sysreg(midr_el1)};
    memcpy(to, all, sizeof(all));
}

static void compare_ids(void *arg)
{
    uint64_t own[IDS];
    (void)arg;
    read_ids(own);
    for (unsigned i = 0; i < IDS; i++)
        differing += own[i] != ids[i];
    compared++;
}

static void identity(bool native)
{
    read_ids(ids);
    for (unsigned cpu = 1; cpu < MAX_CPUS && cpu_exists(cpu); cpu++) {
        compared = 0;
        cpu_on(cpu, compare_ids, NULL);
        const bool met = WAIT_FOR(compared == 1, 5000);
        check(met && differing == 0, "ID registers are equal on all CPUs", "%u differ on CPU %u", differing, cpu);
        cpu_wait_off(cpu, 5000);
    }
    if (native)
        return;
    const uint64_t dfr0 = read_sysreg(S3_0_C0_C5_0), dfr0_32 = read_sysreg(S3_0_C0_C1_2),
                   pfr0 = read_sysreg(S3_0_C0_C4_0);
    check((dfr0 >> 8 & 0xf) == 0 && (dfr0_32 >> 24 & 0xf) == 0, "the PMU is hidden in both states", "%lx, %lx", dfr0,
          dfr0_32);
    check((pfr0 >> 56 & 0xf) < 2, "no SCXTNUM, which is trapped", "ID_AA64PFR0_EL1 %lx", pfr0);
}

/* ---- EL0 ---- */
struct el0 {
    uint64_t pc, spsr, r0;
};

static void enter_el0(void *arg)
{
    const struct el0 *const e = arg;
    write_sysreg(elr_el1, e->pc);
    write_sysreg(spsr_el1, e->spsr);
    register uint64_t x0 __asm__("x0") = e->r0;
    __asm__ volatile("mov x1, #0\n\tmov x2, #0\n\tmov x3, #0\n\tmov x4, #0\n\tmov x5, #0\n\teret" ::"r"(x0)
                     : "x1", "x2", "x3", "x4", "x5", "memory");
    __builtin_unreachable();
}

static struct fault run_el0(const void *code, uint64_t spsr, uint64_t r0)
{
    struct el0 e = {(uint64_t)code, spsr, r0};
    struct fault fault = {0};
    if (!attempt(enter_el0, &e, &fault))
        fail("EL0", "came back without an exception");
    return fault;
}

#define A32 0x10UL
#define T32 0x30UL
#define NZCV 0xf0000000UL
#define SPSR_IT (0x3UL << 25 | 0x3fUL << 10)

static const uint32_t a32_svc[] = {0xe3a0002a, 0xef000007};  /* mov r0, #42; svc #7 */
static const uint32_t a32_load[] = {0xe5901000, 0xef000001}; /* ldr r1, [r0]; svc #1 */
static const uint32_t a32_store[] = {0xe5801000, 0xef000001};
static const uint32_t a32_hvc[] = {0xe1400070};
static const uint32_t a32_smc[] = {0xe1600070};
static const uint32_t a32_pmccntr[] = {0xee191f1d}; /* mrc p15, 0, r1, c9, c13, 0 */

/* cmp r0, r0; itet eq; ldreq r1, [r0]; movne r2, #1; ldreq r3, [r0]; movs r4, #5; ldr.w r5, [r0]; svc #2 */
static const uint16_t t32_it[]
    __attribute__((aligned(4))) = {0x4280, 0xbf0a, 0x6801, 0x2201, 0x6803, 0x2405, 0xf8d0, 0x5000, 0xdf02};
static const uint32_t a64_svc[] = {0xd4000021};              /* svc #1 */
static const uint32_t a64_load[] = {0xf9400001, 0xd4000021}; /* ldr x1, [x0] */

static void undefined_at_el0(const char *name, const void *code)
{
    const struct fault f = run_el0(code, A32 | NZCV, 0);
    check(f.vector == VECTOR_LOWER_32 && (FAULT_EC(f) == EC_UNKNOWN || FAULT_EC(f) == EC_CP15) &&
              f.elr == (uint64_t)code && f.spsr == (A32 | NZCV),
          name, "vector %x ESR %lx ELR %lx SPSR %lx", f.vector, f.esr, f.elr, f.spsr);
}

static void aborts_at_el0(const char *name, const void *code, uint64_t spsr, uint64_t address, unsigned vector)
{
    const struct fault f = run_el0(code, spsr, address);
    check(f.vector == vector && FAULT_EC(f) == EC_DABT_LOW && FAULT_STATUS(f) == STATUS_EXTERNAL && f.far == address &&
              f.elr == (uint64_t)code && f.spsr == spsr,
          name, "vector %x ESR %lx FAR %lx ELR %lx SPSR %lx", f.vector, f.esr, f.far, f.elr, f.spsr);
}

static void aarch32(void)
{
    const uint32_t typer = mmio_read32(GICD + GICD_TYPER);
    struct fault f = run_el0(a32_svc, A32, 0);
    check(f.vector == VECTOR_LOWER_32 && FAULT_EC(f) == EC_SVC32 && (f.esr & 0xffff) == 7 && f.x[0] == 42,
          "AArch32 at EL0", "vector %x ESR %lx r0 %lx", f.vector, f.esr, f.x[0]);

    f = run_el0(a32_load, A32 | NZCV, GICD + GICD_TYPER);
    check(FAULT_EC(f) == EC_SVC32 && f.x[1] == typer && f.spsr == (A32 | NZCV) && f.elr == (uint64_t)a32_load + 8,
          "MMIO from A32", "ESR %lx r1 %lx SPSR %lx ELR %lx", f.esr, f.x[1], f.spsr, f.elr);

    f = run_el0(t32_it, T32, GICD + GICD_TYPER);
    check(FAULT_EC(f) == EC_SVC32 && (f.esr & 0xffff) == 2 && f.x[1] == typer && f.x[2] == 0 && f.x[3] == typer &&
              f.x[4] == 5 && f.x[5] == typer && !(f.spsr & SPSR_IT),
          "MMIO from an IT block", "ESR %lx, r1 to r5 %lx %lx %lx %lx %lx, SPSR %lx", f.esr, f.x[1], f.x[2], f.x[3],
          f.x[4], f.x[5], f.spsr);

    /* ITSTATE 0x0a at the first load: what an exception there has to keep. */
    f = run_el0(t32_it, T32, NOWHERE);
    check(f.vector == VECTOR_LOWER_32 && FAULT_EC(f) == EC_DABT_LOW && f.elr == (uint64_t)t32_it + 4 &&
              (f.spsr & SPSR_IT) == (0x2UL << 25 | 0x2UL << 10) && (f.spsr & 0x3f) == T32,
          "an abort in an IT block", "vector %x ESR %lx ELR %lx SPSR %lx", f.vector, f.esr, f.elr, f.spsr);

    aborts_at_el0("A32 load from nowhere", a32_load, A32 | NZCV, NOWHERE, VECTOR_LOWER_32);
    aborts_at_el0("A32 store to nowhere", a32_store, A32 | NZCV, NOWHERE, VECTOR_LOWER_32);
    f = run_el0((const void *)NOWHERE, A32, 0);
    check(f.vector == VECTOR_LOWER_32 && FAULT_EC(f) == EC_IABT_LOW && FAULT_STATUS(f) == STATUS_EXTERNAL &&
              f.elr == NOWHERE && f.far == NOWHERE,
          "A32 fetch from nowhere", "vector %x ESR %lx ELR %lx FAR %lx", f.vector, f.esr, f.elr, f.far);
    undefined_at_el0("HVC from A32", a32_hvc);
    undefined_at_el0("SMC from A32", a32_smc);
    undefined_at_el0("PMCCNTR from A32", a32_pmccntr);
}

static void el0(void)
{
    const struct fault f = run_el0(a64_svc, 0, 0);
    check(f.vector == VECTOR_LOWER && FAULT_EC(f) == EC_SVC64, "AArch64 at EL0", "vector %x ESR %lx", f.vector, f.esr);
    aborts_at_el0("A64 load from nowhere", a64_load, NZCV, NOWHERE, VECTOR_LOWER);
    if ((read_sysreg(S3_0_C0_C4_0) & 0xf) == 2)
        aarch32();
    else
        pass("no AArch32");
}

void guest_main(void)
{
    const bool native = !under_meanwhile();
    gic_init();
    pointer_authentication();
    debug();
    off_and_on();
    identity(native);
    el0();
}
