/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/context.h"

#include "dev/firmware.h"
#include "lib/arch.h"
#include "lib/asm.h"
#include "lib/string.h"

_Static_assert(sizeof(struct frame) == FRAME_SIZE, "lib/asm.h");

struct frame *core_frame(const struct core *c)
{
    return (struct frame *)((char *)c->stack_top - FRAME_SIZE);
}

/*
 * Every exit there is, and why (DDI 0487 D19.2.48): stage-2 aborts; physical interrupts; SMC, which must not reach the
 * firmware; ID registers, which tell of nothing the guest does not have; the registers of what it does not have (error
 * records, LORegions, tags) and the implementation's own. WFI and WFE stay with the guest: its core has nobody else to
 * run. FWB stays 0: doc/caches-and-barriers.md.
 */
#define HCR_GUEST                                                                                                     \
    (HCR_VM | HCR_SWIO | HCR_PTW | HCR_FMO | HCR_IMO | HCR_AMO | HCR_TID3 | HCR_TSC | HCR_TIDCP | HCR_TACR | HCR_RW | \
     HCR_TLOR | HCR_TERR | HCR_API | HCR_APK | HCR_TID5)

/* Controls of later extensions, UNKNOWN after a reset: the guest is shown none of them, and they trap or do nothing. */
static void extensions_off(void)
{
    if (field_get(ID_AA64MMFR0_FGT, sysreg_read(id_aa64mmfr0_el1))) {
        sysreg_write(HFGRTR_EL2, 0);
        sysreg_write(HFGWTR_EL2, 0);
        sysreg_write(HFGITR_EL2, 0);
        sysreg_write(HDFGRTR_EL2, 0);
        sysreg_write(HDFGWTR_EL2, 0);
    }
    if (field_get(ID_AA64MMFR1_HCX, sysreg_read(id_aa64mmfr1_el1)))
        sysreg_write(HCRX_EL2, 0);
    if (field_get(ID_AA64PFR0_RAS, sysreg_read(id_aa64pfr0_el1)))
        sysreg_write(VSESR_EL2, 0); /* what a virtual SError says of itself */
}

void context_hw_init(const struct vcpu *v, uint64_t vtcr)
{
    uint64_t mdcr = sysreg_read(mdcr_el2) & FIELD(4, 0); /* HPMN stays */

    sysreg_write(vtcr_el2, vtcr);
    sysreg_write(vttbr_el2, v->vm->s2.vttbr);
    /* FP and SIMD are the guest's; SVE, SME, AMU and trace it does not have. */
    sysreg_write(cptr_el2, (CPTR_RES1 & ~CPTR_TFP) | CPTR_TZ | CPTR_TSM | CPTR_TTA | CPTR_TAM);
    /* No PMU, no statistical profiling; debug registers are its own, the vCPU never leaves the core. */
    sysreg_write(mdcr_el2, mdcr | MDCR_TPM | MDCR_TPMCR | MDCR_TPMS | MDCR_TTRF);
    sysreg_write(hstr_el2, 0);
    /* Both EL1 timers are the guest's; their interrupts come through EL2 (vcpu/irq.c). */
    sysreg_write(cnthctl_el2, CNTHCTL_EL1PCTEN | CNTHCTL_EL1PCEN);
    sysreg_write(cntvoff_el2, 0);
    extensions_off();
    sysreg_write(vpidr_el2, sysreg_read(midr_el1));
    sysreg_write(vmpidr_el2, vcpu_mpidr(v->index));
    sysreg_write(hcr_el2, HCR_GUEST);
    isb();
}

static void reset_fp(void)
{
    __asm__ volatile(".arch_extension fp\n\t"
                     ".arch_extension simd\n\t"
                     "msr fpcr, xzr\n\t"
                     "msr fpsr, xzr\n\t"
                     "movi v0.2d, #0\n\tmovi v1.2d, #0\n\tmovi v2.2d, #0\n\tmovi v3.2d, #0\n\t"
                     "movi v4.2d, #0\n\tmovi v5.2d, #0\n\tmovi v6.2d, #0\n\tmovi v7.2d, #0\n\t"
                     "movi v8.2d, #0\n\tmovi v9.2d, #0\n\tmovi v10.2d, #0\n\tmovi v11.2d, #0\n\t"
                     "movi v12.2d, #0\n\tmovi v13.2d, #0\n\tmovi v14.2d, #0\n\tmovi v15.2d, #0\n\t"
                     "movi v16.2d, #0\n\tmovi v17.2d, #0\n\tmovi v18.2d, #0\n\tmovi v19.2d, #0\n\t"
                     "movi v20.2d, #0\n\tmovi v21.2d, #0\n\tmovi v22.2d, #0\n\tmovi v23.2d, #0\n\t"
                     "movi v24.2d, #0\n\tmovi v25.2d, #0\n\tmovi v26.2d, #0\n\tmovi v27.2d, #0\n\t"
                     "movi v28.2d, #0\n\tmovi v29.2d, #0\n\tmovi v30.2d, #0\n\tmovi v31.2d, #0");
}

#define RESET_DEBUG(n)                        \
    do {                                      \
        if ((n) < breakpoints) {              \
            sysreg_write(dbgbcr##n##_el1, 0); \
            sysreg_write(dbgbvr##n##_el1, 0); \
        }                                     \
        if ((n) < watchpoints) {              \
            sysreg_write(dbgwcr##n##_el1, 0); \
            sysreg_write(dbgwvr##n##_el1, 0); \
        }                                     \
    } while (0)

/* As many as there are; the others are undefined (D13.3). */
static void reset_debug(void)
{
    uint64_t dfr0 = sysreg_read(id_aa64dfr0_el1);
    uint64_t breakpoints = field_get(ID_AA64DFR0_BRPS, dfr0) + 1;
    uint64_t watchpoints = field_get(ID_AA64DFR0_WRPS, dfr0) + 1;

    sysreg_write(mdscr_el1, 0);
    sysreg_write(oslar_el1, 0);
    sysreg_write(mdccint_el1, 0);
    RESET_DEBUG(0);
    RESET_DEBUG(1);
    RESET_DEBUG(2);
    RESET_DEBUG(3);
    RESET_DEBUG(4);
    RESET_DEBUG(5);
    RESET_DEBUG(6);
    RESET_DEBUG(7);
    RESET_DEBUG(8);
    RESET_DEBUG(9);
    RESET_DEBUG(10);
    RESET_DEBUG(11);
    RESET_DEBUG(12);
    RESET_DEBUG(13);
    RESET_DEBUG(14);
    RESET_DEBUG(15);
}

/* The keys of pointer authentication are secrets, of whoever ran here before. */
static void reset_keys(void)
{
    uint64_t address = sysreg_read(id_aa64isar1_el1) & (ID_AA64ISAR1_APA | ID_AA64ISAR1_API);
    uint64_t address3 = sysreg_read(S3_0_C0_C6_2) & ID_AA64ISAR2_APA3;
    uint64_t generic = sysreg_read(id_aa64isar1_el1) & (ID_AA64ISAR1_GPA | ID_AA64ISAR1_GPI);
    uint64_t generic3 = sysreg_read(S3_0_C0_C6_2) & ID_AA64ISAR2_GPA3;

    if (address | address3) {
        sysreg_write(S3_0_C2_C1_0, 0); /* APIAKeyLo_EL1, Hi, APIBKey */
        sysreg_write(S3_0_C2_C1_1, 0);
        sysreg_write(S3_0_C2_C1_2, 0);
        sysreg_write(S3_0_C2_C1_3, 0);
        sysreg_write(S3_0_C2_C2_0, 0); /* APDAKeyLo_EL1, Hi, APDBKey */
        sysreg_write(S3_0_C2_C2_1, 0);
        sysreg_write(S3_0_C2_C2_2, 0);
        sysreg_write(S3_0_C2_C2_3, 0);
    }
    if (generic | generic3) {
        sysreg_write(S3_0_C2_C3_0, 0); /* APGAKeyLo_EL1, Hi */
        sysreg_write(S3_0_C2_C3_1, 0);
    }
}

void context_reset(struct vcpu *v, uint64_t entry, uint64_t context)
{
    sysreg_write(hcr_el2, sysreg_read(hcr_el2) & ~HCR_VSE);
    if (field_get(ID_AA64PFR0_RAS, sysreg_read(id_aa64pfr0_el1)))
        sysreg_write(VDISR_EL2, 0); /* DISR_EL1 as the guest's ESB writes it */
    sysreg_write(sctlr_el1, SCTLR_EL1_RESET);
    sysreg_write(ttbr0_el1, 0);
    sysreg_write(ttbr1_el1, 0);
    sysreg_write(tcr_el1, 0);
    sysreg_write(mair_el1, 0);
    sysreg_write(amair_el1, 0);
    sysreg_write(vbar_el1, 0);
    sysreg_write(cpacr_el1, 0);
    sysreg_write(contextidr_el1, 0);
    sysreg_write(afsr0_el1, 0);
    sysreg_write(afsr1_el1, 0);
    sysreg_write(esr_el1, 0);
    sysreg_write(far_el1, 0);
    sysreg_write(elr_el1, 0);
    sysreg_write(spsr_el1, 0);
    sysreg_write(par_el1, 0);
    sysreg_write(sp_el0, 0);
    sysreg_write(sp_el1, 0);
    sysreg_write(tpidr_el0, 0);
    sysreg_write(tpidrro_el0, 0);
    sysreg_write(tpidr_el1, 0);
    sysreg_write(csselr_el1, 0);
    sysreg_write(cntkctl_el1, 0);
    sysreg_write(cntv_ctl_el0, 0);
    sysreg_write(cntv_cval_el0, 0);
    sysreg_write(cntp_ctl_el0, 0);
    sysreg_write(cntp_cval_el0, 0);
    reset_debug();
    reset_keys();
    reset_fp();
    firmware_apply(WORKAROUND_2, 1); /* on, as after a reset, until the guest says otherwise (DEN0028 7.5) */

    memset(v->frame, 0, sizeof(*v->frame));
    v->frame->x[0] = context;
    sysreg_write(elr_el2, entry);
    sysreg_write(spsr_el2, SPSR_M_EL1H | SPSR_DAIF);
    isb(); /* no walk by the old registers once the TLB is empty (D8.17) */
    /* Whatever stage 1 of an earlier life left in the TLB under this VMID. */
    tlbi_vmalle1();
    dsb_nsh();
    isb();
}
