/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/psci.h"
#include "vcpu/power.h"

enum affinity_info { AFFINITY_ON = 0, AFFINITY_OFF = 1, AFFINITY_ON_PENDING = 2 };

/*
 * AFFINITY_INFO of DEN0022. Level 0 alone, a single vCPU: since PSCI 1.0 nothing has to answer for higher levels, and
 * INVALID_PARAMETERS is what says so.
 */
uint64_t psci_affinity_info(struct vcpu *v, struct frame *f, uint64_t mpidr, uint64_t level, uint64_t a3)
{
    struct vcpu *target = mpidr & ~PSCI_AFFINITY ? NULL : vm_vcpu_by_mpidr(v->vm, mpidr);

    (void)f, (void)a3;
    if (!target || (uint32_t)level != 0)
        return (uint64_t)PSCI_INVALID_PARAMETERS;

    switch ((enum vcpu_power)atomic_load_explicit(&target->power, memory_order_acquire)) {
    case VCPU_ON:
        return AFFINITY_ON;
    case VCPU_ON_CLAIMED:
    case VCPU_ON_PENDING:
        return AFFINITY_ON_PENDING;
    case VCPU_OFF:
        break;
    }
    return AFFINITY_OFF;
}
