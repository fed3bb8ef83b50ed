/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/retire.h"

#include "lib/arch.h"
#include "mm/release.h"

static void release_memory(struct vm *vm, struct frame_cache *frames)
{
    s2_freeze(&vm->s2);
    for (uint32_t i = 0; i < vm->vcpu_count; i++) {
        while (!port_idle(&vm->vcpus[i].port))
            cpu_relax(); /* a helper fills a page: nothing of this guest can come after it */
        port_close(&vm->vcpus[i].port, frames);
    }
    s2_release(&vm->s2, frames);
}

void vcpu_retire(struct vcpu *v)
{
    struct vm *vm = v->vm;

    v->gone = true;
    apf_clear(v);
    if (atomic_load(&v->power) == VCPU_ON) {
        atomic_store(&v->power, VCPU_OFF);
        vgic_cpu_off(v); /* virtual interrupts are nobody's any more */
    }
    /* Acquire and release: what the others did to ports and tables comes before what the last one does. */
    if (atomic_fetch_add(&vm->gone, 1) + 1 == vm->vcpu_count)
        release_memory(vm, &v->port.inline_populator->frames);
}
