/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stolen time (DEN0057A 3.2): how long a vCPU waited in EL2 for pages instead of running. The records of a guest's vCPUs
 * lie in one frame of EL2's, which the guest sees read-only at VIRT_PVTIME. The frame lives as long as the machine: it is
 * none of the guest's RAM, and what releases that does not find it.
 */
#pragma once

#include "vcpu/vm.h"

/* A guest maps and parses it: little-endian, revision 0. */
struct stolen_time {
    uint32_t revision, attributes; /* 0 */
    _Atomic uint64_t ns;           /* written by the vCPU's own core */
    uint8_t reserved[48];
};

_Static_assert(sizeof(struct stolen_time) == 64 && sizeof(struct stolen_time) * MAX_VM_CPUS <= PAGE_SIZE, "DEN0057A");

/* Where the guest finds the record of this vCPU. */
static inline ipa_t stolen_time_at(const struct vcpu *v)
{
    return ipa(VIRT_PVTIME + v->index * sizeof(struct stolen_time));
}

/* All vCPUs of the guest as never having waited. Boot core, or when all of them are stopped. */
void stolen_time_reset(struct vm *vm);

/* Own core: `ns` more. */
static inline void stolen_time_add(struct vcpu *v, uint64_t ns)
{
    struct stolen_time *t = &v->vm->stolen[v->index];

    atomic_store_explicit(&t->ns, atomic_load_explicit(&t->ns, memory_order_relaxed) + ns, memory_order_relaxed);
}
