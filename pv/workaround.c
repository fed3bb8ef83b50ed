/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SMCCC_ARCH_WORKAROUND_1 to 3 (DEN0028 7), which guests call on each entry from user mode where a core is affected: passed
 * on to the firmware of the core the vCPU is pinned to. A call that this core does not have is NOT_SUPPORTED.
 */
#include "dev/firmware.h"
#include "pv/smccc.h"

static uint64_t apply(enum firmware_workaround w, uint64_t arg)
{
    if (firmware_workaround(w) < 0)
        return (uint64_t)SMCCC_NOT_SUPPORTED;
    firmware_apply(w, arg);
    return SMCCC_SUCCESS;
}

uint64_t smccc_workaround_1(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a1, (void)a2, (void)a3;
    return apply(WORKAROUND_1, 0);
}

uint64_t smccc_workaround_2(struct vcpu *v, struct frame *f, uint64_t enable, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a2, (void)a3;
    return apply(WORKAROUND_2, enable);
}

uint64_t smccc_workaround_3(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a1, (void)a2, (void)a3;
    return apply(WORKAROUND_3, 0);
}
