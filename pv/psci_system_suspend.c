/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/psci.h"
#include "vcpu/power.h"

/* The only vCPU that runs can start no other meanwhile: what is seen here stays so. */
static bool others_off(const struct vcpu *v)
{
    for (uint32_t i = 0; i < v->vm->vcpu_count; i++) {
        const struct vcpu *other = &v->vm->vcpus[i];

        if (other != v && atomic_load_explicit(&other->power, memory_order_acquire) != VCPU_OFF)
            return false;
    }
    return true;
}

/*
 * SYSTEM_SUSPEND of DEN0022: to RAM, which stays as it is. An interrupt that is enabled in the distributor wakes the
 * system; the vCPU then starts at `entry` as after a CPU_ON. There is no return to the caller.
 */
uint64_t psci_system_suspend(struct vcpu *v, struct frame *f, uint64_t entry, uint64_t context, uint64_t a3)
{
    (void)f, (void)a3;
    if (!psci_entry_ok(v->vm, entry))
        return (uint64_t)PSCI_INVALID_ADDRESS;
    if (!others_off(v))
        return (uint64_t)PSCI_DENIED;
    apf_clear(v); /* not after it: a page that comes would wake the system for one who does not hear of it */
    vcpu_suspend(v, true);
    vcpu_power_resume(v, entry, context);
    return PSCI_SUCCESS;
}
