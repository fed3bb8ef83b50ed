/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/vm.h"

#include "dev/gic.h"

struct vm vms[MAX_GUESTS];
uint32_t vm_count;
struct vcpu vcpus[MAX_CORES];

#define MPIDR_AFFINITY (FIELD(39, 32) | FIELD(23, 0))

struct vcpu *vm_vcpu_by_mpidr(struct vm *vm, uint64_t mpidr)
{
    uint64_t index = (mpidr & 0xff) + 16 * (mpidr >> 8 & 0xff);

    if ((mpidr & MPIDR_AFFINITY) != (vcpu_mpidr((uint32_t)index) & MPIDR_AFFINITY) || index >= vm->vcpu_count)
        return NULL;
    return &vm->vcpus[index];
}

void vm_signal(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *v = &vm->vcpus[i];

        atomic_store_explicit(&v->unsettled, 1, memory_order_release);
        if (v->core != this_core())
            gic_sgi(v->core, SGI_KICK);
    }
}
