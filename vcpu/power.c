/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/power.h"

#include "dev/gic.h"
#include "lib/arch.h"
#include "lib/log.h"
#include "vcpu/context.h"
#include "vcpu/irq.h"
#include "vcpu/reset.h"
#include "vcpu/retire.h"

static void (*on_end)(struct vm *vm, bool last) RO_AFTER_INIT;

void power_on_end(void (*fn)(struct vm *vm, bool last))
{
    on_end = fn;
}

enum power_result vcpu_power_on(struct vcpu *target, uint64_t entry, uint64_t context)
{
    uint32_t seen = VCPU_OFF;

    if (!atomic_compare_exchange_strong_explicit(&target->power, &seen, VCPU_ON_CLAIMED, memory_order_acquire,
                                                 memory_order_relaxed))
        return seen == VCPU_ON ? POWER_ALREADY_ON : POWER_ON_PENDING;
    target->entry = entry;
    target->context = context;
    atomic_store_explicit(&target->power, VCPU_ON_PENDING, memory_order_release);
    if (target->core != this_core())
        gic_sgi(target->core, SGI_KICK);
    return POWER_OK;
}

void vcpu_power_off(struct vcpu *v)
{
    /* From here on another vCPU may turn it on again; its registers are set afresh then, so none need be kept. */
    apf_clear(v);
    atomic_store(&v->power, VCPU_OFF);
    vgic_cpu_off(v);
    atomic_store_explicit(&v->unsettled, 1, memory_order_relaxed);
}

void vcpu_suspend(struct vcpu *v, bool powered_down)
{
    vgic_ask_again(v);
    while (!(powered_down ? vgic_wakes(v) : vgic_pending(v)) &&
           !atomic_load_explicit(&v->vm->ending, memory_order_relaxed))
        irq_wait(v);
}

void vcpu_power_resume(struct vcpu *v, uint64_t entry, uint64_t context)
{
    apf_clear(v);
    v->entry = entry;
    v->context = context;
    vgic_cpu_off(v);
    atomic_store_explicit(&v->power, VCPU_ON_PENDING, memory_order_release);
    atomic_store_explicit(&v->unsettled, 1, memory_order_relaxed);
}

static bool all_ended(void)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        uint32_t status = atomic_load_explicit(&vms[i].stats->status, memory_order_acquire);

        if (status == GUEST_RUNNING)
            return false;
    }
    return true;
}

void vm_end(struct vm *vm, enum report_guest_status status, const char *reason)
{
    uint32_t running = GUEST_RUNNING;

    if (!atomic_compare_exchange_strong(&vm->stats->status, &running, (uint32_t)status))
        return;
    if (reason)
        format(vm->stats->reason, sizeof(vm->stats->reason), "%s", reason);
    atomic_store_explicit(&vm->ending, VM_ENDED, memory_order_release);
    vm_signal(vm);
    on_end(vm, all_ended());
}

bool vm_pause_once(struct vm *vm)
{
    if (atomic_exchange_explicit(&vm->paused, 1, memory_order_acq_rel))
        return false;
    vm_signal(vm);
    return true;
}

void vm_pause(struct vm *vm)
{
    (void)!vm_pause_once(vm);
}

void vm_resume(struct vm *vm)
{
    atomic_store_explicit(&vm->paused, 0, memory_order_release);
    vm_signal(vm);
}

static bool paused(const struct vcpu *v)
{
    return atomic_load_explicit(&v->vm->paused, memory_order_relaxed);
}

static bool at_rest(const struct vcpu *v)
{
    return atomic_load_explicit(&v->power, memory_order_relaxed) != VCPU_ON ||
           atomic_load_explicit(&v->vm->ending, memory_order_relaxed) || paused(v);
}

/*
 * The vCPU is on, but does not go on yet. Its virtual interrupts are not signalled meanwhile: QEMU's WFI at EL2 would
 * return for them at once.
 */
static void rest(struct vcpu *v)
{
    bool on = atomic_load_explicit(&v->power, memory_order_relaxed) == VCPU_ON;

    if (on)
        vgic_cpu_hold(true);
    irq_wait(v);
    if (on)
        vgic_cpu_hold(false);
}

static void start(struct vcpu *v)
{
    context_reset(v, v->entry, v->context);
    atomic_store(&v->power, VCPU_ON);
    vgic_cpu_hw_init(v);
}

bool vcpu_settle(struct vcpu *v)
{
    bool afresh = false;

    /* Cleared before the look: what comes later sets it again. */
    atomic_exchange_explicit(&v->unsettled, 0, memory_order_acquire);
    while (at_rest(v)) {
        /* Acquire: entry and context, which the winner wrote before. A guest that ended starts nothing any more. */
        uint32_t state = atomic_load_explicit(&v->vm->ending, memory_order_acquire);

        if (state == VM_RESETTING) {
            vm_reset_stop(v);
        } else if (state == VM_ENDED && !v->gone) {
            vcpu_retire(v);
        } else if (state == VM_RUNNING && !paused(v) &&
                   atomic_load_explicit(&v->power, memory_order_acquire) == VCPU_ON_PENDING) {
            start(v);
            afresh = true;
        } else {
            rest(v);
        }
    }
    return afresh;
}
