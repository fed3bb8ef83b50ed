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

/* SYSTEM_RESET2 of DEN0022: reset_type's bit 31 says whose it is. Architectural ones are numbered, and 0 is the warm one. */
#define RESET_TYPE_VENDOR BIT(31)
#define RESET_TYPE_WARM 0

/* The warm reset is served by the only one there is, which empties RAM. The cookie belongs to vendors' types. */
uint64_t psci_system_reset2(struct vcpu *v, struct frame *f, uint64_t type, uint64_t cookie, uint64_t a3)
{
    (void)cookie;
    if (type & RESET_TYPE_VENDOR)
        return (uint64_t)PSCI_NOT_SUPPORTED;
    if ((uint32_t)type != RESET_TYPE_WARM)
        return (uint64_t)PSCI_INVALID_PARAMETERS;
    return psci_system_reset(v, f, 0, 0, a3);
}
