/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System registers: the identification space reads without an exception; what this machine does not have is UNDEFINED
 * at EL1; what EL2 hides reads as absent. The guest goes on after each.
 */
#include "tests/guest/lib/guest.h"

enum wanted {
    READS,  /* no exception */
    UNDEF,  /* exception class 0, by the architecture or because this machine says it has no such register */
    EITHER, /* the platform may have it; only being alive afterwards counts */
};

static uint64_t value;

struct reg {
    const char *name;
    void (*read)(void *);
    void (*write)(void *);
    enum wanted wanted_read, wanted_write;
    bool ours; /* natively the CPU itself decides */
};

#define ACCESSORS(id, reg)            \
    static void read_##id(void *arg)  \
    {                                 \
        (void)arg;                    \
        value = read_sysreg(reg);     \
    }                                 \
    static void write_##id(void *arg) \
    {                                 \
        (void)arg;                    \
        write_sysreg(reg, value);     \
    }

#define READER(id, reg)              \
    static void read_##id(void *arg) \
    {                                \
        (void)arg;                   \
        value = read_sysreg(reg);    \
    }

ACCESSORS(impdef_c15_0, S3_0_C15_C0_0)
ACCESSORS(impdef_c15_7, S3_7_C15_C3_5)
ACCESSORS(impdef_c11, S3_3_C11_C5_1)
ACCESSORS(unallocated, S3_0_C8_C1_0)
ACCESSORS(actlr, S3_0_C1_C0_1)
ACCESSORS(pmcr, S3_3_C9_C12_0)
ACCESSORS(pmccntr, S3_3_C9_C13_0)
ACCESSORS(pmintenset, S3_0_C9_C14_1)
ACCESSORS(hcr_el2, S3_4_C1_C1_0)
ACCESSORS(vbar_el2, S3_4_C12_C0_0)
ACCESSORS(vttbr_el2, S3_4_C2_C1_0)
ACCESSORS(cnthctl_el2, S3_4_C14_C1_0)
ACCESSORS(icc_sre_el2, S3_4_C12_C9_5)
ACCESSORS(ich_hcr_el2, S3_4_C12_C11_0)
ACCESSORS(ich_lr0_el2, S3_4_C12_C12_0)
ACCESSORS(sctlr_el3, S3_6_C1_C0_0)
ACCESSORS(icc_ctlr_el3, S3_6_C12_C12_4)
ACCESSORS(sctlr_el12, S3_5_C1_C0_0)
ACCESSORS(zcr, S3_0_C1_C2_0)
ACCESSORS(rgsr, S3_0_C1_C0_5)
ACCESSORS(trfcr, S3_0_C1_C2_1)
ACCESSORS(pmscr, S3_0_C9_C9_0)
ACCESSORS(errselr, S3_0_C5_C3_1)
ACCESSORS(lorc, S3_0_C10_C4_3)
ACCESSORS(mdscr, S2_0_C0_C2_2)
ACCESSORS(bcr0, S2_0_C0_C0_5)
ACCESSORS(wvr0, S2_0_C0_C0_6)
ACCESSORS(osdlr, S2_0_C1_C3_4)
ACCESSORS(sre_el1, S3_0_C12_C12_5)
ACCESSORS(csselr, S3_2_C0_C0_0)
ACCESSORS(contextidr, S3_0_C13_C0_1)
ACCESSORS(cntkctl, S3_0_C14_C1_0)
ACCESSORS(cntp_ctl, S3_3_C14_C2_1)

#define ENTRY(text, id, r, w, o)             \
    {                                        \
        text, read_##id, write_##id, r, w, o \
    }

static const struct reg regs[] = {
    ENTRY("S3_0_C15_C0_0", impdef_c15_0, UNDEF, UNDEF, true),
    ENTRY("S3_7_C15_C3_5", impdef_c15_7, UNDEF, UNDEF, true),
    ENTRY("S3_3_C11_C5_1", impdef_c11, UNDEF, UNDEF, true),
    ENTRY("S3_0_C8_C1_0", unallocated, UNDEF, UNDEF, false),
    ENTRY("ACTLR_EL1", actlr, READS, EITHER, true),
    ENTRY("PMCR_EL0", pmcr, UNDEF, UNDEF, true),
    ENTRY("PMCCNTR_EL0", pmccntr, UNDEF, UNDEF, true),
    ENTRY("PMINTENSET_EL1", pmintenset, UNDEF, UNDEF, true),
    ENTRY("HCR_EL2", hcr_el2, UNDEF, UNDEF, false),
    ENTRY("VBAR_EL2", vbar_el2, UNDEF, UNDEF, false),
    ENTRY("VTTBR_EL2", vttbr_el2, UNDEF, UNDEF, false),
    ENTRY("CNTHCTL_EL2", cnthctl_el2, UNDEF, UNDEF, false),
    ENTRY("ICC_SRE_EL2", icc_sre_el2, UNDEF, UNDEF, false),
    ENTRY("ICH_HCR_EL2", ich_hcr_el2, UNDEF, UNDEF, false),
    ENTRY("ICH_LR0_EL2", ich_lr0_el2, UNDEF, UNDEF, false),
    ENTRY("SCTLR_EL3", sctlr_el3, UNDEF, UNDEF, false),
    ENTRY("ICC_CTLR_EL3", icc_ctlr_el3, UNDEF, UNDEF, false),
    ENTRY("SCTLR_EL12", sctlr_el12, UNDEF, UNDEF, false),
    ENTRY("ZCR_EL1", zcr, UNDEF, UNDEF, true),
    ENTRY("RGSR_EL1", rgsr, UNDEF, UNDEF, true),
    ENTRY("TRFCR_EL1", trfcr, UNDEF, UNDEF, true),
    ENTRY("PMSCR_EL1", pmscr, UNDEF, UNDEF, true),
    ENTRY("ERRSELR_EL1", errselr, UNDEF, UNDEF, true),
    ENTRY("LORC_EL1", lorc, UNDEF, UNDEF, true),
    ENTRY("MDSCR_EL1", mdscr, EITHER, EITHER, true),
    ENTRY("DBGBCR0_EL1", bcr0, EITHER, EITHER, true),
    ENTRY("DBGWVR0_EL1", wvr0, EITHER, EITHER, true),
    ENTRY("OSDLR_EL1", osdlr, EITHER, EITHER, true),
    ENTRY("ICC_SRE_EL1", sre_el1, READS, READS, false),
    ENTRY("CSSELR_EL1", csselr, READS, READS, false),
    ENTRY("CONTEXTIDR_EL1", contextidr, READS, READS, false),
    ENTRY("CNTKCTL_EL1", cntkctl, READS, READS, false),
    ENTRY("CNTP_CTL_EL0", cntp_ctl, READS, READS, false),
};

static void access_reg(const struct reg *reg, void (*fn)(void *), enum wanted wanted, const char *verb, bool native)
{
    struct fault fault = {0};
    const bool faulted = attempt(fn, NULL, &fault);
    const bool undef = faulted && FAULT_EC(fault) == EC_UNKNOWN;
    bool right = !faulted || undef;
    if (!native || !reg->ours)
        right = right && (wanted == EITHER || undef == (wanted == UNDEF));
    if (right)
        pass(reg->name);
    else if (faulted)
        fail(reg->name, "%s: ESR %lx ELR %lx", verb, fault.esr, fault.elr);
    else
        fail(reg->name, "%s: no exception, value %lx", verb, value);
}

/* ---- the identification space S3_0_C0_C{1..7}_{0..7}: read-only, and unallocated ones read as zero (DDI 0487) ---- */
#define ID_ROW(m)                        \
    READER(id_##m##_0, S3_0_C0_C##m##_0) \
    READER(id_##m##_1, S3_0_C0_C##m##_1) \
    READER(id_##m##_2, S3_0_C0_C##m##_2) \
    READER(id_##m##_3, S3_0_C0_C##m##_3) \
    READER(id_##m##_4, S3_0_C0_C##m##_4) \
    READER(id_##m##_5, S3_0_C0_C##m##_5) \
    READER(id_##m##_6, S3_0_C0_C##m##_6) \
    READER(id_##m##_7, S3_0_C0_C##m##_7)

ID_ROW(1)
ID_ROW(2)
ID_ROW(3)
ID_ROW(4)
ID_ROW(5)
ID_ROW(6)
ID_ROW(7)

#define ID_NAMES(m)                                                                                           \
    {                                                                                                         \
        read_id_##m##_0, read_id_##m##_1, read_id_##m##_2, read_id_##m##_3, read_id_##m##_4, read_id_##m##_5, \
            read_id_##m##_6, read_id_##m##_7                                                                  \
    }

static void (*const id_space[7][8])(void *) = {ID_NAMES(1), ID_NAMES(2), ID_NAMES(3), ID_NAMES(4),
                                               ID_NAMES(5), ID_NAMES(6), ID_NAMES(7)};

static void write_pfr0(void *arg)
{
    (void)arg;
    __asm__ volatile("msr S3_0_C0_C4_0, xzr" ::: "memory");
}

static void identification(bool native)
{
    bool all = true;
    for (unsigned m = 0; m < 7; m++) {
        for (unsigned i = 0; i < 8; i++) {
            struct fault fault;
            if (attempt(id_space[m][i], NULL, &fault)) {
                fail("ID registers", "S3_0_C0_C%u_%u: ESR %lx", m + 1, i, fault.esr);
                all = false;
            }
        }
    }
    if (all)
        pass("ID registers");

    struct fault fault;
    check(attempt(write_pfr0, NULL, &fault) && FAULT_EC(fault) == EC_UNKNOWN, "writing an ID register is UNDEFINED",
          "no exception");
    check(read_sysreg(midr_el1) != 0 && (read_sysreg(mpidr_el1) & BIT(31)) &&
              (read_sysreg(mpidr_el1) & 0xff00ffffff) == 0,
          "MIDR and MPIDR", "%lx, %lx", read_sysreg(midr_el1), read_sysreg(mpidr_el1));
    (void)read_sysreg(revidr_el1);
    (void)read_sysreg(ctr_el0);
    (void)read_sysreg(dczid_el0);
    (void)read_sysreg(clidr_el1);
    (void)read_sysreg(aidr_el1);
    (void)read_sysreg(ccsidr_el1);
    pass("cache identification");

    const uint64_t pfr0 = read_sysreg(S3_0_C0_C4_0), pfr1 = read_sysreg(S3_0_C0_C4_1), dfr0 = read_sysreg(S3_0_C0_C5_0);
    check((pfr0 & 0xf) != 0 && (pfr0 >> 4 & 0xf) != 0, "EL0 and EL1 exist", "ID_AA64PFR0_EL1 %lx", pfr0);
    check((pfr0 >> 24 & 0xf) != 0, "the GIC has system registers", "ID_AA64PFR0_EL1 %lx", pfr0);
    if (native)
        return;
    check((pfr0 >> 32 & 0xf) == 0, "SVE is hidden", "ID_AA64PFR0_EL1 %lx", pfr0);
    check((pfr1 >> 8 & 0xf) == 0, "MTE is hidden", "ID_AA64PFR1_EL1 %lx", pfr1);
    check((pfr1 >> 24 & 0xf) == 0, "SME is hidden", "ID_AA64PFR1_EL1 %lx", pfr1);
    check((dfr0 >> 8 & 0xf) == 0 || (dfr0 >> 8 & 0xf) == 0xf, "the PMU is hidden", "ID_AA64DFR0_EL1 %lx", dfr0);
    check((dfr0 >> 32 & 0xf) == 0, "SPE is hidden", "ID_AA64DFR0_EL1 %lx", dfr0);
    check(read_sysreg(S3_0_C0_C4_4) == 0, "SVE has no features", "ID_AA64ZFR0_EL1 %lx", read_sysreg(S3_0_C0_C4_4));
}

void guest_main(void)
{
    const bool native = !under_meanwhile();
    /* FP, SVE and SME open at EL1: what is still refused is refused by EL2. */
    write_sysreg(cpacr_el1, 3UL << 24 | 3UL << 20 | 3UL << 16);
    isb();
    identification(native);
    for (unsigned i = 0; i < COUNT(regs); i++) {
        value = 0;
        access_reg(&regs[i], regs[i].read, regs[i].wanted_read, "read", native);
        /* What was read is written back, so that nothing is changed by accident. */
        access_reg(&regs[i], regs[i].write, regs[i].wanted_write, "write", native);
    }
    pass("still alive");
}
