/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/reset.h"

#include "dev/gic.h"
#include "lib/arch.h"
#include "lib/log.h"
#include "mm/release.h"
#include "vcpu/irq.h"
#include "vcpu/power.h"
#include "vcpu/stolen.h"

bool vm_layout_add(struct vm *vm, ipa_t at, uint64_t size, uint64_t desc)
{
    if (vm->layout_count == VM_LAYOUT_MAX)
        return false;
    vm->layout[vm->layout_count++] = (struct vm_range){at, size, desc};
    return true;
}

bool vm_layout_apply(struct vm *vm, struct frame_cache *frames)
{
    for (uint32_t i = 0; i < vm->layout_count; i++) {
        const struct vm_range *r = &vm->layout[i];

        if (!s2_set_range(&vm->s2, frames, r->at, r->size, r->desc))
            return false;
    }
    return true;
}

void vm_power_reset(struct vm *vm)
{
    for (uint32_t i = 1; i < vm->vcpu_count; i++)
        atomic_store(&vm->vcpus[i].power, VCPU_OFF);
    vm->vcpus[0].entry = vm->entry.v;
    vm->vcpus[0].context = vm->dtb.v;
    atomic_store(&vm->vcpus[0].power, VCPU_ON_PENDING);
}

void vm_reset(struct vm *vm)
{
    uint32_t none = VM_RUNNING;

    if (atomic_compare_exchange_strong(&vm->ending, &none, VM_RESETTING))
        vm_signal(vm);
}

/* The counters of pages present say what is there now: nothing. */
static void forget_pages(struct vm *vm)
{
    int64_t touched = atomic_load(&vm->stats->touched), block = atomic_load(&vm->stats->block);

    for (uint32_t i = 0; i < vm->vcpu_count; i++) {
        touched += vm->vcpus[i].stats->touched;
        block += vm->vcpus[i].stats->block;
    }
    atomic_fetch_sub(&vm->stats->touched, touched);
    atomic_fetch_sub(&vm->stats->block, block);
}

static bool rebuild(struct vm *vm)
{
    struct frame_cache *frames = &vm->vcpus[0].port.inline_populator->frames;

    s2_freeze(&vm->s2);
    for (uint32_t i = 0; i < vm->vcpu_count; i++) {
        while (!port_idle(&vm->vcpus[i].port))
            cpu_relax(); /* a helper is at it: nothing of this guest can come after */
        atomic_store(&vm->vcpus[i].port.failed, false);
    }
    s2_release(&vm->s2, frames);
    forget_pages(vm);
    if (!vm_layout_apply(vm, frames))
        return false;
    vgic_dist_reset(vm);
    for (uint32_t i = 0; i < vm->vcpu_count; i++)
        vgic_cpu_reset(&vm->vcpus[i]);
    vuart_reset(vm);
    virtio_reset(vm);
    stolen_time_reset(vm);
    vm_power_reset(vm);
    vm->stats->resets++;
    s2_thaw(&vm->s2);
    return true;
}

void vm_reset_stop(struct vcpu *v)
{
    struct vm *vm = v->vm;
    uint32_t resetting = VM_RESETTING;
    uint32_t life = atomic_load(&vm->lives);

    apf_clear(v);
    if (atomic_load(&v->power) == VCPU_ON) {
        atomic_store(&v->power, VCPU_OFF);
        vgic_cpu_off(v);
    }
    atomic_fetch_add(&vm->stopped, 1);
    if (v->index == 0) {
        while (atomic_load(&vm->stopped) != vm->vcpu_count) {
            if (atomic_load(&vm->ending) != VM_RESETTING)
                return;
            irq_wait(v);
        }
        if (!rebuild(vm)) {
            vm_end(vm, GUEST_DESTROYED, "no memory to start it again");
            return;
        }
        atomic_store(&vm->stopped, 0);
        atomic_fetch_add(&vm->lives, 1); /* lets the others go, each of them once */
        /* Fails when it was destroyed meanwhile. */
        (void)!atomic_compare_exchange_strong(&vm->ending, &resetting, VM_RUNNING);
        vm_signal(vm);
        return;
    }
    gic_sgi(vm->vcpus[0].core, SGI_KICK);
    while (atomic_load(&vm->lives) == life && atomic_load(&vm->ending) == VM_RESETTING)
        irq_wait(v);
}
