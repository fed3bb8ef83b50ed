/* SPDX-License-Identifier: BSD-2-Clause */
#include "dev/gich.h"

#include "lib/arch.h"

bool gich_is_v2 RO_AFTER_INIT;

void gich_use_v2(pa_t frame, uint32_t cpu_interface_id)
{
    gich_is_v2 = true;
    gichv2_init(frame, cpu_interface_id);
}

/* A list register's number is part of its encoding: one case each. */
#define FOR_EACH_LR(X)  \
    X(0, ICH_LR0_EL2)   \
    X(1, ICH_LR1_EL2)   \
    X(2, ICH_LR2_EL2)   \
    X(3, ICH_LR3_EL2)   \
    X(4, ICH_LR4_EL2)   \
    X(5, ICH_LR5_EL2)   \
    X(6, ICH_LR6_EL2)   \
    X(7, ICH_LR7_EL2)   \
    X(8, ICH_LR8_EL2)   \
    X(9, ICH_LR9_EL2)   \
    X(10, ICH_LR10_EL2) \
    X(11, ICH_LR11_EL2) \
    X(12, ICH_LR12_EL2) \
    X(13, ICH_LR13_EL2) \
    X(14, ICH_LR14_EL2) \
    X(15, ICH_LR15_EL2)

uint64_t gich_lr_read(uint32_t n)
{
    if (UNLIKELY(gich_is_v2))
        return gichv2_lr_read(n);
    switch (n) {
#define LR_READ(i, reg) \
    case i:             \
        return sysreg_read(reg);
        FOR_EACH_LR(LR_READ)
    default:
        return 0;
    }
}

void gich_lr_write_any(uint32_t n, uint64_t v)
{
    if (UNLIKELY(gich_is_v2)) {
        gichv2_lr_write(n, v);
        return;
    }
    switch (n) {
#define LR_WRITE(i, reg)      \
    case i:                   \
        sysreg_write(reg, v); \
        break;
        FOR_EACH_LR(LR_WRITE)
    default:
        break;
    }
}

uint32_t gich_lr_count(void)
{
    if (gich_is_v2)
        return gichv2_lr_count();
    return (uint32_t)field_get(ICH_VTR_LISTREGS, sysreg_read(ICH_VTR_EL2)) % 16 + 1; /* 16 at most */
}

bool gich_has_hw(void)
{
    return !gich_is_v2 || gichv2_has_hw();
}

bool gich_has_tdir(void)
{
    return !gich_is_v2 && sysreg_read(ICH_VTR_EL2) & ICH_VTR_TDS;
}

uint64_t gich_eisr(void)
{
    if (UNLIKELY(gich_is_v2))
        return gichv2_eisr();
    return sysreg_read(ICH_EISR_EL2);
}

uint64_t gich_hcr_read(void)
{
    if (UNLIKELY(gich_is_v2))
        return gichv2_hcr_read();
    return sysreg_read(ICH_HCR_EL2);
}

void gich_hcr_write(uint64_t v)
{
    if (UNLIKELY(gich_is_v2)) {
        gichv2_hcr_write(v);
        return;
    }
    sysreg_write(ICH_HCR_EL2, v);
}

uint64_t gich_vmcr_read(void)
{
    if (UNLIKELY(gich_is_v2))
        return gichv2_vmcr_read();
    return sysreg_read(ICH_VMCR_EL2);
}

void gich_vmcr_write(uint64_t v)
{
    if (UNLIKELY(gich_is_v2)) {
        gichv2_vmcr_write(v);
        return;
    }
    sysreg_write(ICH_VMCR_EL2, v);
}

/* 2^PREbits active priorities, 32 to a register, and those that would hold none do not exist (12.4.1, 12.4.2). */
void gich_apr_clear(void)
{
    uint64_t pre_bits;

    if (gich_is_v2) {
        gichv2_apr_clear();
        return;
    }
    pre_bits = field_get(ICH_VTR_PREBITS, sysreg_read(ICH_VTR_EL2)) + 1;
    sysreg_write(ICH_AP0R0_EL2, 0);
    sysreg_write(ICH_AP1R0_EL2, 0);
    if (pre_bits >= 6) {
        sysreg_write(ICH_AP0R1_EL2, 0);
        sysreg_write(ICH_AP1R1_EL2, 0);
    }
    if (pre_bits >= 7) {
        sysreg_write(ICH_AP0R2_EL2, 0);
        sysreg_write(ICH_AP1R2_EL2, 0);
        sysreg_write(ICH_AP0R3_EL2, 0);
        sysreg_write(ICH_AP1R3_EL2, 0);
    }
}
