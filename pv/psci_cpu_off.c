/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/psci.h"
#include "vcpu/power.h"

/* CPU_OFF of DEN0022. There is no return to the caller: the result is overwritten by the context of the next CPU_ON. */
uint64_t psci_cpu_off(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)f, (void)a1, (void)a2, (void)a3;
    vcpu_power_off(v);
    return PSCI_SUCCESS;
}
