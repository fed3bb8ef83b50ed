/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest ends itself (SYSTEM_OFF and SYSTEM_RESET of DEN0022). None of these returns to the caller. */
#include "pv/psci.h"
#include "vcpu/power.h"
#include "vcpu/reset.h"

uint64_t psci_system_off(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)f, (void)a1, (void)a2, (void)a3;
    vm_end(v->vm, GUEST_OFF, NULL);
    return PSCI_SUCCESS;
}

uint64_t psci_system_reset(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)f, (void)a1, (void)a2, (void)a3;
    if (v->vm->no_reboot)
        vm_end(v->vm, GUEST_RESET, NULL);
    else
        vm_reset(v->vm);
    return PSCI_SUCCESS;
}
