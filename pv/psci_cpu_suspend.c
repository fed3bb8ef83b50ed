/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/psci.h"
#include "vcpu/power.h"

/* power_state in the original format (DEN0022, CPU_SUSPEND): 25:24 power level, 16 state type, 15:0 state id. */
#define POWER_STATE_RESERVED (FIELD(31, 26) | FIELD(23, 17))
#define POWER_STATE_POWERDOWN BIT(16)

/*
 * CPU_SUSPEND of DEN0022. A vCPU has one low-power state: it sleeps until an interrupt is pending. A request for
 * power-down is served as that too, which DEN0022 allows: state is retained and the call returns SUCCESS, so the entry
 * point is checked and never used. But who asks for power-down may have turned its CPU interface off before.
 */
uint64_t psci_cpu_suspend(struct vcpu *v, struct frame *f, uint64_t power_state, uint64_t entry, uint64_t context)
{
    bool powerdown = power_state & POWER_STATE_POWERDOWN;

    (void)f, (void)context;
    if ((uint32_t)power_state & POWER_STATE_RESERVED)
        return (uint64_t)PSCI_INVALID_PARAMETERS;
    if (powerdown && !psci_entry_ok(v->vm, entry))
        return (uint64_t)PSCI_INVALID_ADDRESS;
    vcpu_suspend(v, powerdown);
    return PSCI_SUCCESS;
}
