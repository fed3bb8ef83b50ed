/* SPDX-License-Identifier: BSD-2-Clause */
/* What PSCI says about itself. */
#include "pv/psci.h"

/* Apart, so that the usual call saves nothing for it. */
static NOINLINE uint64_t void_registrations(struct vcpu *v)
{
    apf_drop_all(v);
    return PSCI_VERSION_1_1;
}

/*
 * A kernel calls this when it boots, with interrupts masked: a crash kernel, too, which does not tell the vCPUs of the one before. What
 * that one had registered is void. A kernel that runs may ask as well, as Linux does for who reads its debugfs, and loses nothing.
 */
uint64_t psci_version(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)f, (void)a1, (void)a2, (void)a3;
    if (UNLIKELY(atomic_load_explicit(&v->vm->apf_vcpus, memory_order_relaxed)) && sysreg_read(spsr_el2) & SPSR_I)
        return void_registrations(v);
    return PSCI_VERSION_1_1;
}

/*
 * PSCI_FEATURES of DEN0022. The flags of every function are 0; for CPU_SUSPEND that says: original format of the power
 * state, no OS-initiated mode. Besides PSCI's own functions it answers for SMCCC_VERSION, which is how a guest learns
 * that there is more than PSCI.
 */
uint64_t psci_features(struct vcpu *v, struct frame *f, uint64_t id, uint64_t a2, uint64_t a3)
{
    bool in_scope = id == SMCCC_FN_VERSION || (id & ~SMCCC_SMC64) - PSCI_BASE < PSCI_NUMBERS;

    (void)f, (void)a2, (void)a3;
    return in_scope && smccc_find(v->vm->identity, (uint32_t)id) ? PSCI_SUCCESS : (uint64_t)PSCI_NOT_SUPPORTED;
}

/* MIGRATE_INFO_TYPE of DEN0022: no Trusted OS that would have to be migrated. */
uint64_t psci_migrate_info_type(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a1, (void)a2, (void)a3;
    return 2;
}
