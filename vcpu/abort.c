/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/abort.h"

#include "lib/arch.h"
#include "mm/fault.h"
#include "vcpu/inject.h"
#include "vcpu/irq.h"
#include "vcpu/mmio.h"
#include "vcpu/power.h"

#define SPINS 64 /* looks before going to sleep: about what going to sleep costs */

/*
 * The vCPU has to wait for a page. Its core takes physical interrupts meanwhile, for they may be for others, and leaves
 * when its guest ends. Interrupts for the guest itself wait with it.
 */
static enum s2_fault_result wait(struct vcpu *v, const struct s2_fault *f, enum s2_fault_result result, uint32_t *mmio)
{
    struct s2 *s = &v->vm->s2;
    ticks_t from = counter_ticks();
    bool queued, slept = false;

    for (uint32_t looks = 0; result == S2_WAIT || result == S2_BUSY; looks++) {
        if (atomic_load_explicit(&v->vm->ending, memory_order_relaxed))
            break;
        if (looks < SPINS || result == S2_BUSY) {
            cpu_relax();
        } else {
            irq_wait(v);
            slept = true;
        }
        result = s2_fault(s, &v->port, f->ipa, f->write, mmio, &queued);
    }
    v->stats->faults.waited += slept;
    v->stats->wait_ns += (counter_ticks().v - from.v) * 1000000000u / counter_hz();
    return result;
}

/* Resolves the fault; RAM is there, or will never be, when this returns. */
static enum s2_fault_result resolve(struct vcpu *v, const struct s2_fault *f, uint32_t *mmio)
{
    struct core *c = this_core();
    bool queued = false;
    enum s2_fault_result result;

    c->in_fault = true;
    result = s2_fault(&v->vm->s2, &v->port, f->ipa, f->write, mmio, &queued);
    if (result == S2_WAIT || result == S2_BUSY)
        result = wait(v, f, result, mmio);
    c->in_fault = false;
    if (result == S2_RESUME) {
        v->stats->faults.fast += !queued;
        v->stats->faults.queued += queued;
    }
    return result;
}

static __attribute__((noinline)) void ram_abort(struct vcpu *v, struct s2_fault f, uint64_t esr)
{
    uint32_t mmio;

    if (!s2_fault_locate(&f))
        return;
    switch (resolve(v, &f, &mmio)) {
    case S2_NOWHERE:
    case S2_MMIO: /* there is none among RAM */
        v->stats->faults.nowhere++;
        inject_external_abort(&f, esr);
        break;
    case S2_NO_MEMORY:
        vm_end(v->vm, GUEST_DESTROYED, "the machine has no memory left for it");
        break;
    default:
        break;
    }
}

static __attribute__((noinline)) void refuse(struct s2_fault f, uint64_t esr)
{
    inject_external_abort(&f, esr);
}

/*
 * Below RAM there are devices and holes. Tables there never change while the guest runs, so this walk needs no epoch.
 * Maintenance of a device's cache lines has nothing to do.
 */
static inline bool device_abort(struct vcpu *v, const struct s2_fault *f, uint64_t esr)
{
    struct s2_entry e = s2_walk(&v->vm->s2, f->ipa);

    if (desc_kind(e.desc, e.level) != DESC_MMIO) {
        v->stats->faults.nowhere++;
        return false;
    }
    v->stats->faults.mmio++;
    return f->cache_op || mmio_access(v, desc_small(e.desc), f->ipa, esr);
}

void abort_trap(struct vcpu *v, uint64_t esr)
{
    struct s2_fault f = s2_fault_decode(esr, sysreg_read(far_el2), sysreg_read(hpfar_el2));

    v->stats->exits.abort++;
    if (f.kind == FAULT_TRANSLATION && f.ipa.v < v->vm->ram_base.v) {
        if (device_abort(v, &f, esr))
            skip_instruction(esr);
        else
            refuse(f, esr);
    } else if (f.kind == FAULT_EXTERNAL || f.kind == FAULT_OTHER) {
        refuse(f, esr);
    } else {
        ram_abort(v, f, esr);
    }
}
