/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System registers by name, and the fields of them that EL2 uses: the one table, with the Arm ARM's names
 * (DDI 0487, chapter D19). Registers newer than the assembler's Armv8.0 go by their encoding.
 */
#pragma once

#include "lib/bits.h"

/* Two steps each: what is a macro below is replaced before it becomes text. */
#define sysreg_read(reg) sysreg_read_text(reg)
#define sysreg_write(reg, value) sysreg_write_text(reg, value)

#define sysreg_read_text(reg)                         \
    ({                                                \
        uint64_t v_;                                  \
        __asm__ volatile("mrs %0, " #reg : "=r"(v_)); \
        v_;                                           \
    })

#define sysreg_write_text(reg, value)                                  \
    do {                                                               \
        uint64_t w_ = (value);                                         \
        __asm__ volatile("msr " #reg ", %x0" : : "rZ"(w_) : "memory"); \
    } while (0)

/* GICv3 CPU interface and list registers (IHI 0069H 12.2, 12.4), by encoding. */
#define ICC_PMR_EL1 S3_0_C4_C6_0
#define ICC_DIR_EL1 S3_0_C12_C11_1
#define ICC_SGI1R_EL1 S3_0_C12_C11_5
#define ICC_IAR1_EL1 S3_0_C12_C12_0
#define ICC_EOIR1_EL1 S3_0_C12_C12_1
#define ICC_BPR1_EL1 S3_0_C12_C12_3
#define ICC_CTLR_EL1 S3_0_C12_C12_4
#define ICC_SRE_EL1 S3_0_C12_C12_5
#define ICC_IGRPEN1_EL1 S3_0_C12_C12_7
#define ICC_SRE_EL2 S3_4_C12_C9_5
#define ICH_AP0R0_EL2 S3_4_C12_C8_0
#define ICH_AP1R0_EL2 S3_4_C12_C9_0
#define ICH_HCR_EL2 S3_4_C12_C11_0
#define ICH_VTR_EL2 S3_4_C12_C11_1
#define ICH_MISR_EL2 S3_4_C12_C11_2
#define ICH_EISR_EL2 S3_4_C12_C11_3
#define ICH_ELRSR_EL2 S3_4_C12_C11_5
#define ICH_VMCR_EL2 S3_4_C12_C11_7

/* Traps and virtual state of later extensions, by encoding. */
#define HCRX_EL2 S3_4_C1_C2_2
#define HFGRTR_EL2 S3_4_C1_C1_4
#define HFGWTR_EL2 S3_4_C1_C1_5
#define HFGITR_EL2 S3_4_C1_C1_6
#define HDFGRTR_EL2 S3_4_C3_C1_4
#define HDFGWTR_EL2 S3_4_C3_C1_5
#define VSESR_EL2 S3_4_C5_C2_3
#define VDISR_EL2 S3_4_C12_C1_1

/* CurrentEL */
#define CURRENTEL_EL FIELD(3, 2)

/* HCR_EL2 (D19.2.48) */
#define HCR_VM BIT(0)
#define HCR_SWIO BIT(1)
#define HCR_PTW BIT(2)
#define HCR_FMO BIT(3)
#define HCR_IMO BIT(4)
#define HCR_AMO BIT(5)
#define HCR_VSE BIT(8)
#define HCR_FB BIT(9)
#define HCR_BSU_IS FIELD(10, 10)
#define HCR_TWI BIT(13)
#define HCR_TID3 BIT(18)
#define HCR_TSC BIT(19)
#define HCR_TIDCP BIT(20)
#define HCR_TACR BIT(21)
#define HCR_RW BIT(31)
#define HCR_TLOR BIT(35)
#define HCR_TERR BIT(36)
#define HCR_APK BIT(40)
#define HCR_API BIT(41)
#define HCR_TID5 BIT(58)

/* SCTLR_EL1 and SCTLR_EL2 (D19.2.118, D19.2.119) */
#define SCTLR_M BIT(0)
#define SCTLR_A BIT(1)
#define SCTLR_C BIT(2)
#define SCTLR_SA BIT(3)
#define SCTLR_I BIT(12)
#define SCTLR_WXN BIT(19)
#define SCTLR_SPAN BIT(23)
#define SCTLR_E0E BIT(24)
#define SCTLR_EE BIT(25)
#define SCTLR_DSSBS BIT(44)
#define SCTLR_EL2_BT BIT(36)
#define SCTLR_EL2_RES1 (BIT(4) | BIT(5) | BIT(11) | BIT(16) | BIT(18) | BIT(22) | BIT(23) | BIT(28) | BIT(29))
/* EL1 after reset: MMU and caches off, little-endian; the RES1 bits of Armv8.0 (D19.2.118). */
#define SCTLR_EL1_RESET (BIT(11) | BIT(20) | BIT(22) | BIT(23) | BIT(28) | BIT(29))

/* CPTR_EL2 with HCR_EL2.E2H = 0 (D19.2.35) */
#define CPTR_RES1 (FIELD(7, 0) | BIT(9) | FIELD(13, 12))
#define CPTR_TZ BIT(8)
#define CPTR_TFP BIT(10)
#define CPTR_TSM BIT(12)
#define CPTR_TTA BIT(20)
#define CPTR_TAM BIT(30)
#define CPTR_TCPAC BIT(31)

/* MDCR_EL2 (D19.3.17) */
#define MDCR_TPMCR BIT(5)
#define MDCR_TPM BIT(6)
#define MDCR_TDOSA BIT(10)
#define MDCR_TDRA BIT(11)
#define MDCR_TPMS BIT(14)
#define MDCR_TTRF BIT(19)

/* CNTHCTL_EL2 with E2H = 0 (D19.12.9) */
#define CNTHCTL_EL1PCTEN BIT(0)
#define CNTHCTL_EL1PCEN BIT(1)

/* ISR_EL1 (D19.2.66): pending, of this core's physical interrupts while at EL2 */
#define ISR_I BIT(7)

/* CNTHP_CTL_EL2 (D19.12.14) */
#define CNT_CTL_ENABLE BIT(0)
#define CNT_CTL_IMASK BIT(1)
#define CNT_CTL_ISTATUS BIT(2)

/* SPSR_EL2 (C5.2.19) */
#define SPSR_M FIELD(3, 0)
#define SPSR_M_EL0T 0x0
#define SPSR_M_EL1T 0x4
#define SPSR_M_EL1H 0x5
#define SPSR_NRW BIT(4)
#define SPSR_FROM FIELD(4, 2) /* execution state and exception level */
#define SPSR_F BIT(6)
#define SPSR_I BIT(7)
#define SPSR_A BIT(8)
#define SPSR_D BIT(9)
#define SPSR_DAIF FIELD(9, 6)
#define SPSR_BTYPE FIELD(11, 10)
#define SPSR_SSBS BIT(12)
#define SPSR_IL BIT(20)
#define SPSR_SS BIT(21)
#define SPSR_PAN BIT(22)
#define SPSR_UAO BIT(23)
#define SPSR_DIT BIT(24)
#define SPSR_TCO BIT(25)
/* Where it holds AArch32 state: ITSTATE[7:2] and [1:0] */
#define SPSR32_IT_HIGH FIELD(15, 10)
#define SPSR32_IT_LOW FIELD(26, 25)

/* VTCR_EL2 (D19.2.160) */
#define VTCR_T0SZ FIELD(5, 0)
#define VTCR_SL0 FIELD(7, 6)
#define VTCR_IRGN0 FIELD(9, 8)
#define VTCR_ORGN0 FIELD(11, 10)
#define VTCR_SH0 FIELD(13, 12)
#define VTCR_TG0 FIELD(15, 14)
#define VTCR_PS FIELD(18, 16)
#define VTCR_VS BIT(19)
#define VTCR_RES1 BIT(31)
#define VTTBR_VMID FIELD(63, 48)

/* ID registers */
#define ID_AA64MMFR0_PARANGE FIELD(3, 0)
#define ID_AA64MMFR0_FGT FIELD(59, 56)
#define ID_AA64MMFR1_VH FIELD(11, 8)
#define ID_AA64MMFR1_PAN FIELD(23, 20)
#define ID_AA64MMFR1_HCX FIELD(43, 40)
#define ID_AA64PFR0_RAS FIELD(31, 28)
#define ID_AA64PFR0_SVE FIELD(35, 32)
#define ID_AA64PFR1_MTE FIELD(11, 8)
#define ID_AA64PFR1_SME FIELD(27, 24)
#define ID_AA64PFR1_SSBS FIELD(7, 4)
#define ID_AA64PFR0_CSV2 FIELD(59, 56)
#define ID_AA64DFR0_BRPS FIELD(15, 12)
#define ID_AA64DFR0_WRPS FIELD(23, 20)
#define ID_AA64ISAR0_CRC32 FIELD(19, 16)
#define ID_AA64ISAR0_RNDR FIELD(63, 60)
#define ID_AA64ISAR1_APA FIELD(7, 4)
#define ID_AA64ISAR1_API FIELD(11, 8)
#define ID_AA64ISAR1_GPA FIELD(27, 24)
#define ID_AA64ISAR1_GPI FIELD(31, 28)
#define ID_AA64ISAR2_GPA3 FIELD(11, 8)
#define ID_AA64ISAR2_APA3 FIELD(15, 12)

/* PAR_EL1 (D19.2.111) */
#define PAR_F BIT(0)
#define PAR_PA FIELD(47, 12)

/* CTR_EL0 (D19.2.36) */
#define CTR_DMINLINE FIELD(19, 16)
#define CTR_L1IP FIELD(15, 14)
#define CTR_L1IP_VIPT 2
#define CTR_L1IP_PIPT 3
