/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/idregs.h"

#include "lib/arch.h"
#include "lib/bits.h"

/* One nibble of an ID register by the bit it starts at. */
#define NIBBLE(lsb) FIELD((lsb) + 3, lsb)

/*
 * Fields that pass (DDI 0487 D19.2.61 and following). Left out on purpose: EL2 and EL3 (a guest has none), RAS, SVE,
 * MPAM, AMU, MTE, SME, PMU, SPE, trace, nested virtualisation, fine-grained traps, ECV, LOR, TWED, HCX: each needs state
 * or traps that EL2 does not keep.
 */
static const uint64_t shown[8][8] =
    {
        /* AArch32 ID registers: all but the PMU (ID_DFR0.PerfMon, TraceFilt) and RAS and AMU (ID_PFR0) */
        [1] =
            {
                [0] = FIELD(19, 0) | NIBBLE(24), /* ID_PFR0: State0-3, CSV2, DIT */
                [1] = FIELD(31, 0),              /* ID_PFR1 */
                [2] = FIELD(11, 0),              /* ID_DFR0: CopDbg, CopSDbg, MMapDbg */
                [4] = FIELD(31, 0),              /* ID_MMFR0 */
                [5] = FIELD(31, 0),              /* ID_MMFR1 */
                [6] = FIELD(31, 0),              /* ID_MMFR2 */
                [7] = FIELD(31, 0),              /* ID_MMFR3 */
            },
        [2] =
            {
                [0] = FIELD(31, 0), /* ID_ISAR0 */
                [1] = FIELD(31, 0), /* ID_ISAR1 */
                [2] = FIELD(31, 0), /* ID_ISAR2 */
                [3] = FIELD(31, 0), /* ID_ISAR3 */
                [4] = FIELD(31, 0), /* ID_ISAR4 */
                [5] = FIELD(31, 0), /* ID_ISAR5 */
                [6] = FIELD(31, 0), /* ID_MMFR4 */
                [7] = FIELD(31, 0), /* ID_ISAR6 */
            },
        [3] =
            {
                [0] = FIELD(31, 0), /* MVFR0 */
                [1] = FIELD(31, 0), /* MVFR1 */
                [2] = FIELD(31, 0), /* MVFR2 */
                [4] = FIELD(7, 0),  /* ID_PFR2: CSV3, SSBS */
                [6] = FIELD(31, 0), /* ID_MMFR5 */
            },
        [4] =
            {
                [0] = NIBBLE(0) | NIBBLE(4) | NIBBLE(16) | NIBBLE(20) | NIBBLE(24) | NIBBLE(48) | NIBBLE(56) |
                      NIBBLE(60),            /* ID_AA64PFR0: EL0, EL1, FP, AdvSIMD, GIC, DIT, CSV2, CSV3 */
                [1] = NIBBLE(0) | NIBBLE(4), /* ID_AA64PFR1: BT, SSBS */
            },
        [5] =
            {
                /* ID_AA64DFR0: DebugVer, BRPs, WRPs, CTX_CMPs, DoubleLock, of which 0 says that it is there */
                [0] = NIBBLE(0) | NIBBLE(12) | NIBBLE(20) | NIBBLE(28) | NIBBLE(36),
            },
        [6] =
            {
                [0] = FIELD(63, 0) & ~NIBBLE(24),    /* ID_AA64ISAR0, less TME */
                [1] = FIELD(63, 0) & ~(NIBBLE(60)),  /* ID_AA64ISAR1, less LS64 */
                [2] = FIELD(31, 0) & ~FIELD(19, 16), /* ID_AA64ISAR2: to PAC_frac and BC, less MOPS */
            },
        [7] =
            {
                /* ID_AA64MMFR0: PARange, ASIDBits, BigEnd, SNSMem, BigEndEL0, granules of stage 1, ExS */
                [0] = NIBBLE(0) | NIBBLE(4) | NIBBLE(8) | NIBBLE(12) | NIBBLE(16) | NIBBLE(20) | NIBBLE(24) |
                      NIBBLE(28) | NIBBLE(44),
                /* ID_AA64MMFR1: HAFDBS, HPDS, PAN, XNX, ETS, AFP */
                [1] = NIBBLE(0) | NIBBLE(12) | NIBBLE(20) | NIBBLE(28) | NIBBLE(36) | NIBBLE(44),
                /* ID_AA64MMFR2: CnP, UAO, LSM, VARange, CCIDX, ST, AT, IDS, TTL, BBM, E0PD */
                [2] = NIBBLE(0) | NIBBLE(4) | NIBBLE(8) | NIBBLE(16) | NIBBLE(20) | NIBBLE(28) | NIBBLE(32) |
                      NIBBLE(36) | NIBBLE(48) | NIBBLE(52) | NIBBLE(60),
            },
};

#define PARANGE_48 5
#define CSV2_ONLY 1

uint64_t idregs_filter(uint32_t crm, uint32_t op2, uint64_t raw)
{
    uint64_t v = raw & shown[crm & 7][op2 & 7];

    if (crm == 7 && op2 == 0 && field_get(ID_AA64MMFR0_PARANGE, v) > PARANGE_48)
        v = (v & ~ID_AA64MMFR0_PARANGE) | PARANGE_48;
    /* From 2 on it says that SCXTNUM_EL1 is there, which is trapped: HCR_EL2.EnSCXT stays 0. */
    if (crm == 4 && op2 == 0 && field_get(ID_AA64PFR0_CSV2, v) > CSV2_ONLY)
        v = (v & ~ID_AA64PFR0_CSV2) | field_put(ID_AA64PFR0_CSV2, CSV2_ONLY);
    return v;
}

static uint64_t value[8][8] RO_AFTER_INIT;

#define READ(crm, op2) value[crm][op2] = idregs_filter(crm, op2, sysreg_read(S3_0_C0_C##crm##_##op2))

void idregs_init(void)
{
    READ(1, 0);
    READ(1, 1);
    READ(1, 2);
    READ(1, 3);
    READ(1, 4);
    READ(1, 5);
    READ(1, 6);
    READ(1, 7);
    READ(2, 0);
    READ(2, 1);
    READ(2, 2);
    READ(2, 3);
    READ(2, 4);
    READ(2, 5);
    READ(2, 6);
    READ(2, 7);
    READ(3, 0);
    READ(3, 1);
    READ(3, 2);
    READ(3, 3);
    READ(3, 4);
    READ(3, 5);
    READ(3, 6);
    READ(3, 7);
    READ(4, 0);
    READ(4, 1);
    READ(4, 2);
    READ(4, 3);
    READ(4, 4);
    READ(4, 5);
    READ(4, 6);
    READ(4, 7);
    READ(5, 0);
    READ(5, 1);
    READ(5, 2);
    READ(5, 3);
    READ(5, 4);
    READ(5, 5);
    READ(5, 6);
    READ(5, 7);
    READ(6, 0);
    READ(6, 1);
    READ(6, 2);
    READ(6, 3);
    READ(6, 4);
    READ(6, 5);
    READ(6, 6);
    READ(6, 7);
    READ(7, 0);
    READ(7, 1);
    READ(7, 2);
    READ(7, 3);
    READ(7, 4);
    READ(7, 5);
    READ(7, 6);
    READ(7, 7);
}

uint64_t idregs_read(uint32_t crm, uint32_t op2)
{
    return value[crm & 7][op2 & 7];
}
