/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a hostile or broken guest does, none of which may reach the hypervisor or the launcher: semihosting, a forged
 * panic, cache and TLB maintenance of everything, control registers full of garbage, a CPU started nowhere. The run
 * must still end as an ordinary power-off.
 */
#include "tests/guest/lib/guest.h"

#define HOLE 0x20000000UL
#define FAR_AWAY 0x6000000000UL

static void semihosting_exit(void *arg)
{
    /* SYS_EXIT with status 99: honoured only where the machine's owner allowed semihosting. */
    static const uint64_t block[2] = {0x20026, 99};
    (void)arg;
    __asm__ volatile("mov w0, #0x18\n\tmov x1, %0\n\thlt #0xf000" ::"r"(block) : "x0", "x1", "memory");
}

#define ATTACK(name, text)                                        \
    static void name(void *arg)                                   \
    {                                                             \
        __asm__ volatile(text ::"r"(arg) : "x2", "x3", "memory"); \
    }

ATTACK(dc_civac, "dc civac, %0\n\tdsb sy")
ATTACK(dc_cvac, "dc cvac, %0\n\tdsb sy")
ATTACK(dc_cvau, "dc cvau, %0\n\tdsb sy")
ATTACK(dc_ivac, "dc ivac, %0\n\tdsb sy")
ATTACK(dc_zva, "dc zva, %0\n\tdsb sy")
ATTACK(ic_ivau, "ic ivau, %0\n\tdsb sy\n\tisb")
ATTACK(at_s1e1r, "at s1e1r, %0\n\tisb\n\tmrs x2, par_el1")
ATTACK(at_s1e1w, "at s1e1w, %0\n\tisb\n\tmrs x2, par_el1")
ATTACK(at_s1e0r, "at s1e0r, %0\n\tisb\n\tmrs x2, par_el1")
ATTACK(at_s12e1r, "at s12e1r, %0")
ATTACK(at_s1e2r, "at s1e2r, %0")
ATTACK(tlbi_vae1, "lsr x2, %0, #12\n\ttlbi vae1is, x2\n\tdsb sy\n\tisb")
ATTACK(tlbi_ipas2, "lsr x2, %0, #12\n\ttlbi ipas2e1is, x2")
ATTACK(tlbi_alle1, "tlbi alle1is")
ATTACK(tlbi_alle2, "tlbi alle2")
ATTACK(prefetch, "prfm pldl1keep, [%0]\n\tprfm pstl1keep, [%0]")
ATTACK(store_exclusive, "ldxr x2, [%0]\n\tstxr w3, x2, [%0]")
ATTACK(eret_to_el2, "mov x2, #0x3c9\n\tmsr spsr_el1, x2\n\tmsr elr_el1, %0\n\teret") /* illegal exception return */
ATTACK(breakpoint, "brk #0xf000")
ATTACK(fp, ".arch_extension fp\n\tfmov d0, %0\n\tfmov x2, d0")

static const struct {
    const char *name;
    void (*fn)(void *);
} attacks[] = {
    {"dc civac", dc_civac},
    {"dc cvac", dc_cvac},
    {"dc cvau", dc_cvau},
    {"dc ivac", dc_ivac},
    {"dc zva", dc_zva},
    {"ic ivau", ic_ivau},
    {"at s1e1r", at_s1e1r},
    {"at s1e1w", at_s1e1w},
    {"at s1e0r", at_s1e0r},
    {"at s12e1r", at_s12e1r},
    {"at s1e2r", at_s1e2r},
    {"tlbi vae1is", tlbi_vae1},
    {"tlbi ipas2e1is", tlbi_ipas2},
    {"tlbi alle1is", tlbi_alle1},
    {"tlbi alle2", tlbi_alle2},
    {"prfm", prefetch},
    {"ldxr, stxr", store_exclusive},
    {"brk", breakpoint},
    {"fmov", fp},
};

static void with_addresses(void)
{
    const uint64_t addresses[] = {HOLE,         ram_range().end,      FAR_AWAY,       GICD, UART + 0x100, 0,
                                  ~0UL & ~63UL, 0xffff000000000000UL, free_ram().base};
    const bool native = !under_meanwhile();
    for (unsigned a = 0; a < COUNT(attacks); a++) {
        /* QEMU 7.2 itself asserts on exclusives to I/O memory, which under the hypervisor no guest can reach. */
        if (native && attacks[a].fn == store_exclusive)
            continue;
        for (unsigned i = 0; i < COUNT(addresses); i++) {
            struct fault fault;
            (void)attempt(attacks[a].fn, (void *)addresses[i], &fault);
        }
        pass(attacks[a].name);
    }
}

static void by_set_and_way(void)
{
    for (uint64_t level = 0; level < 3; level++) {
        for (uint64_t i = 0; i < 64; i++) {
            const uint64_t word = level << 1 | i << 6;
            __asm__ volatile("dc csw, %0\n\tdc isw, %0\n\tdc cisw, %0" ::"r"(word) : "memory");
        }
    }
    dsb();
    pass("dc by set and way");
}

/* Everything EL1 may set but M, C, EE and the alignment checks, which would only hurt the guest itself. */
static void control_registers(void)
{
    const uint64_t sctlr = read_sysreg(sctlr_el1), tcr = read_sysreg(tcr_el1), mair = read_sysreg(mair_el1);
    const uint64_t mine = BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(19) | BIT(24) | BIT(25);
    static const uint64_t patterns[] = {0, ~0UL, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 0x123456789abcdef0};
    for (unsigned i = 0; i < COUNT(patterns); i++) {
        write_sysreg(tcr_el1, patterns[i]);
        write_sysreg(mair_el1, patterns[i]);
        write_sysreg(ttbr0_el1, patterns[i]);
        write_sysreg(ttbr1_el1, patterns[i]);
        write_sysreg(cpacr_el1, patterns[i]);
        write_sysreg(contextidr_el1, patterns[i]);
        write_sysreg(tpidr_el1, patterns[i]);
        write_sysreg(par_el1, patterns[i]);
        write_sysreg(afsr0_el1, patterns[i]);
        write_sysreg(amair_el1, patterns[i]);
        write_sysreg(cntkctl_el1, patterns[i]);
        write_sysreg(csselr_el1, patterns[i]);
        write_sysreg(sctlr_el1, (patterns[i] & ~mine) | (sctlr & mine));
        isb();
        say("still here\n");
        write_sysreg(sctlr_el1, sctlr);
        isb();
    }
    write_sysreg(tcr_el1, tcr);
    write_sysreg(mair_el1, mair);
    write_sysreg(cpacr_el1, 0);
    write_sysreg(cntkctl_el1, 0);
    isb();
    pass("control registers");
}

static void oslar(void *arg)
{
    write_sysreg(oslar_el1, arg);
    isb();
}

static void debug_registers(void)
{
    for (uint64_t value = 0; value < 4; value++)
        (void)attempt(oslar, (void *)value, NULL);
    pass("OSLAR_EL1");
}

/* Wait instructions with something pending fall through; with interrupts masked too. */
static void waiting(void)
{
    gic_enable(7);
    gic_enable(PPI_VTIMER);
    gic_sgi(0, 7);
    for (unsigned i = 0; i < 100; i++)
        __asm__ volatile("wfi\n\tsevl\n\twfe\n\tsev\n\twfe" ::: "memory");
    pass("wfi and wfe with an interrupt pending");
    irq_enable();
    isb();
    irq_disable();
    vtimer_arm(500);
    __asm__ volatile("sevl\n\twfe\n\twfi" ::: "memory");
    vtimer_stop();
    pass("wfi with a timer");
}

static void icc_registers(void)
{
    static const uint64_t patterns[] = {~0UL, 0x5555555555555555, 0};
    for (unsigned i = 0; i < COUNT(patterns); i++) {
        write_sysreg(S3_0_C12_C11_5, patterns[i]); /* ICC_SGI1R_EL1: ranges, other clusters, all others */
        write_sysreg(S3_0_C12_C12_1, 5);           /* ICC_EOIR1_EL1 without an acknowledge */
        write_sysreg(S3_0_C12_C11_1, patterns[i]); /* ICC_DIR_EL1 */
        write_sysreg(S3_0_C12_C12_4, patterns[i]); /* ICC_CTLR_EL1 */
        write_sysreg(S3_0_C12_C12_3, patterns[i]); /* ICC_BPR1_EL1 */
        write_sysreg(S3_0_C12_C9_0, patterns[i]);  /* ICC_AP1R0_EL1 */
        isb();
        (void)read_sysreg(S3_0_C12_C12_0); /* ICC_IAR1_EL1 */
    }
    write_sysreg(S3_0_C12_C9_0, 0);
    gic_init();
    pass("interrupt controller registers");
}

/* The same of a GICv2, whose CPU interface is the machine's own: each register of both pages. */
static void gicc_registers(void)
{
    static const uint32_t patterns[] = {~0u, 0x55555555, 0};
    for (unsigned i = 0; i < COUNT(patterns); i++) {
        for (uint64_t reg = 0; reg < PAGE; reg += 4) {
            mmio_write32(GICC + reg, patterns[i]);
            (void)mmio_read32(GICC + reg);
        }
        mmio_write32(GICC + PAGE, patterns[i]); /* GICC_DIR */
        mmio_write32(GICD + 0xf00, patterns[i]);
    }
    for (uint64_t reg = 0xd0; reg < 0xf0; reg += 4)
        mmio_write32(GICC + reg, 0); /* GICC_APR, GICC_NSAPR */
    gic_init();
    pass("interrupt controller registers");
}

static void fetch_from_gicc(void)
{
    struct fault fault;
    const bool aborted = attempt((void (*)(void *))GICC, NULL, &fault);
    check(aborted && FAULT_EC(fault) == EC_INSTRUCTION_ABORT && FAULT_STATUS(fault) == STATUS_EXTERNAL,
          "a fetch from the GICC", "ESR %lx", fault.esr);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void lost_cpu(void)
{
    /* Refused, or a CPU that aborts for ever: its own affair, and the others' CPU_ON and power-off work. */
    (void)psci(PSCI_CPU_ON64, 1, HOLE, 0);
    spin_us(20000);
    (void)cpu_on(1, nothing, NULL);
    spin_us(1000);
    pass("a CPU started nowhere");
}

void guest_main(void)
{
    gic_init();
    say("[mw] panic: fake\n");
    struct fault fault;
    const bool refused = attempt(semihosting_exit, NULL, &fault);
    check(!refused || FAULT_EC(fault) == EC_UNKNOWN, "hlt #0xf000", "ESR %lx", fault.esr);
    with_addresses();
    (void)attempt(eret_to_el2, (void *)HOLE, NULL);
    pass("return to EL2");
    by_set_and_way();
    control_registers();
    debug_registers();
    waiting();
    if (gic_is_v2()) {
        gicc_registers();
        fetch_from_gicc();
    } else {
        icc_registers();
    }
    if (cpu_exists(1))
        lost_cpu();
    say("[mw] panic: core 0: fake again\n");
}
