/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/psci.h"
#include "vcpu/power.h"

/* CPU_ON of DEN0022: the parameters are checked before the state, so one call has one answer. */
uint64_t psci_cpu_on(struct vcpu *v, struct frame *f, uint64_t mpidr, uint64_t entry, uint64_t context)
{
    struct vcpu *target = mpidr & ~PSCI_AFFINITY ? NULL : vm_vcpu_by_mpidr(v->vm, mpidr);

    (void)f;
    if (!target)
        return (uint64_t)PSCI_INVALID_PARAMETERS;
    if (!psci_entry_ok(v->vm, entry))
        return (uint64_t)PSCI_INVALID_ADDRESS;

    switch (vcpu_power_on(target, entry, context)) {
    case POWER_OK:
        return PSCI_SUCCESS;
    case POWER_ON_PENDING:
        return (uint64_t)PSCI_ON_PENDING;
    case POWER_ALREADY_ON:
        break;
    }
    return (uint64_t)PSCI_ALREADY_ON;
}
