/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/psci.h"
#include "vcpu/power.h"

enum affinity_info { AFFINITY_ON = 0, AFFINITY_OFF = 1, AFFINITY_ON_PENDING = 2 };

#define LEVELS 4

/* The affinity fields that tell an instance of a level from others of it; those below are ignored (DEN0022). */
static const uint64_t fields[LEVELS] = {
    PSCI_AFFINITY,
    PSCI_AFFINITY & ~FIELD(7, 0),
    PSCI_AFFINITY & ~FIELD(15, 0),
    PSCI_AFFINITY & ~FIELD(23, 0),
};

static enum affinity_info info(const struct vcpu *v)
{
    switch ((enum vcpu_power)atomic_load_explicit(&v->power, memory_order_acquire)) {
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

/*
 * AFFINITY_INFO of DEN0022. An instance of a higher level is ON if a vCPU of it is, else ON_PENDING if one is about to be,
 * else OFF.
 */
uint64_t psci_affinity_info(struct vcpu *v, struct frame *f, uint64_t mpidr, uint64_t level, uint64_t a3)
{
    uint64_t result = (uint64_t)PSCI_INVALID_PARAMETERS;
    uint64_t mask;

    (void)f, (void)a3;
    if ((uint32_t)level >= LEVELS || mpidr & ~PSCI_AFFINITY)
        return (uint64_t)PSCI_INVALID_PARAMETERS;
    mask = fields[(uint32_t)level];
    for (uint32_t i = 0; i < v->vm->vcpu_count; i++) {
        enum affinity_info one;

        if ((vcpu_mpidr(i) ^ mpidr) & mask)
            continue;
        one = info(&v->vm->vcpus[i]);
        if (one == AFFINITY_ON)
            return AFFINITY_ON;
        if (one == AFFINITY_ON_PENDING || result != AFFINITY_ON_PENDING)
            result = one;
    }
    return result;
}
