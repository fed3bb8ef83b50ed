/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/abort.h"

#include "lib/arch.h"
#include "lib/log.h"
#include "mm/fault.h"
#include "vcpu/inject.h"
#include "vcpu/irq.h"
#include "vcpu/mmio.h"
#include "vcpu/power.h"
#include "vcpu/stolen.h"

#define SPINS 4      /* looks before going to sleep: about what going to sleep costs */
#define LOOKS 16     /* between two YIELDs: an emulator takes its lock for each */
#define ROOM_MS 100u /* between two looks at how long a guest has waited for room */

static NOINLINE void starving(struct vcpu *v, uint64_t since)
{
    struct vm *vm = v->vm;
    uint64_t now = counter_ticks().v;

    irq_alarm(ROOM_MS);
    if (!vm->paging.pause_ticks || now - since < vm->paging.pause_ticks)
        return;
    if (!atomic_compare_exchange_strong(&vm->paging.starving, &since, now) || !vm_pause_once(vm))
        return;
    vm->stats->paging.pauses++;
    log_line("%s: paused: its %lu MiB are full, and so is where its cold pages could go", vm->name,
             vm->stats->paging.limit >> (20 - PAGE_SHIFT));
}

/*
 * A guest may have used up its frames, and its cold pages have nowhere to go. Nothing is lost, and others go on; but one that has
 * waited for as long as was configured is paused, and said to be. The time counts from when a request last found room, for
 * interrupts of the guest's own may end each single wait; and anew when it was paused.
 */
void abort_starving(struct vcpu *v)
{
    const struct paging *g = v->vm->s2.paging;
    uint64_t since = g ? atomic_load_explicit(&g->starving, memory_order_relaxed) : 0;

    if (UNLIKELY(since))
        starving(v, since);
}

static uint32_t bucket(uint64_t ns)
{
    uint32_t n = ns ? 63 - (uint32_t)__builtin_clzll(ns) : 0;

    return n < REPORT_WAITS ? n : REPORT_WAITS - 1;
}

/* What may end a wait before the page is there. */
enum patience {
    WAIT_OUT,    /* nothing but the guest's end */
    WAIT_CALL,   /* an interrupt for the guest: it called, since it has looked, and its call is over either way */
    WAIT_ACCESS, /* the same, once: it is at the instruction that faulted, and will do it again */
};

/*
 * The guest could take an interrupt right where it faulted, and there is one. The architecture does not order the two: so
 * it may go, and come back for its page later. If it comes back with that interrupt still there, it has not taken it (its
 * interrupt controller may think otherwise of priorities than we do), and is not let go for it again. Who calls may have its
 * interrupts masked, as for a WFI: it was told where it had not.
 */
static bool may_interrupt(struct vcpu *v, enum patience patience, bool before)
{
    bool plain = v->vm->plain_waits && !v->apf.page;

    return !before && !plain && (patience == WAIT_CALL || !(sysreg_read(spsr_el2) & SPSR_I)) && vgic_pending(v);
}

/*
 * Until a physical interrupt. Virtual ones are not signalled meanwhile: they are none of EL2's wake-up events, but QEMU's WFI returns
 * for them at once, and the guest may have them masked for as long as this takes.
 */
static void sleep(struct vcpu *v)
{
    bool hold = v->vgic.lr_used;

    if (hold)
        vgic_cpu_hold(true);
    irq_wait(v);
    if (hold)
        vgic_cpu_hold(false);
}

static void account(struct vcpu *v, uint64_t ns)
{
    v->stats->faults.waited++;
    v->stats->wait_ns += ns;
    v->stats->wait_log2[bucket(ns)]++;
    stolen_time_add(v, ns);
}

static bool is_under_way(enum s2_fault_result result)
{
    return result == S2_WAIT || result == S2_BUSY || result == S2_FULL;
}

/*
 * The vCPU has to wait for a page. Its core takes physical interrupts meanwhile, for they may be for others, and leaves
 * when its guest ends. A guest that has asked for it is told instead that the page is not present; any other can have its
 * tick run another task.
 */
static NOINLINE enum s2_fault_result wait(struct vcpu *v, const struct s2_fault *f, enum s2_fault_result result,
                                          enum patience patience, uint32_t *mmio)
{
    struct s2 *s = &v->vm->s2;
    struct core *c = this_core();
    ticks_t from = {0};
    bool queued = true, slept = false;
    bool before = v->interrupted && v->interrupted == sysreg_read(elr_el2) && vgic_pending(v);

    v->interrupted = 0;
    for (uint32_t looks = patience == WAIT_CALL ? SPINS : 0; is_under_way(result); looks++) {
        if (atomic_load_explicit(&v->vm->ending, memory_order_relaxed))
            break;
        if (patience != WAIT_OUT && result != S2_BUSY && looks >= SPINS) {
            if (v->apf.page && patience == WAIT_ACCESS && looks == SPINS && result == S2_WAIT && apf_inject(v, f)) {
                c->in_fault = false;
                abort_starving(v); /* if it is before the helper says so: nobody is signalled who does not wait yet */
                break;
            }
            if (may_interrupt(v, patience, before)) {
                if (patience == WAIT_ACCESS)
                    v->interrupted = sysreg_read(elr_el2);
                v->stats->faults_interrupted++;
                apf_ask_again(&v->apf);
                break;
            }
        }
        if (looks < SPINS || result == S2_BUSY) {
            if (looks % LOOKS == 0)
                cpu_relax();
        } else if (result == S2_FULL ? s2_full_signal(&v->port) : s2_wait_signal(s, f->ipa)) {
            if (!slept)
                from = counter_ticks(); /* no earlier: for a look at the time an emulator takes its lock */
            c->in_fault = false; /* whose interrupt it is, or what is said of a guest, is not the fault's business */
            abort_starving(v);
            sleep(v);
            c->in_fault = true;
            slept = true;
        }
        result = s2_fault(s, &v->port, f->ipa, f->write, mmio, &queued);
    }
    if (slept)
        account(v, ticks_ns(counter_ticks().v - from.v));
    return result;
}

/* Resolves the fault; RAM is there, or will never be, when this returns. */
static ALWAYS_INLINE enum s2_fault_result resolve(struct vcpu *v, const struct s2_fault *f, enum patience patience,
                                                  uint32_t *mmio)
{
    struct core *c = this_core();
    bool queued = false;
    enum s2_fault_result result;

    c->in_fault = true;
    result = s2_fault(&v->vm->s2, &v->port, f->ipa, f->write, mmio, &queued);
    if (is_under_way(result))
        result = wait(v, f, result, patience, mmio);
    c->in_fault = false;
    v->stats->shared_locks = c->locks_in_fault;
    if (result == S2_RESUME) {
        v->stats->faults.fast += !queued;
        v->stats->faults.queued += queued;
    }
    return result;
}

static NOINLINE void out_of_memory(struct vcpu *v)
{
    vm_end(v->vm, GUEST_DESTROYED, "the machine has no memory left for it");
}

bool abort_populate(struct vcpu *v, ipa_t at, bool write)
{
    struct s2_fault f = {.ipa = at, .ipa_valid = true, .write = write};
    uint32_t mmio;
    enum s2_fault_result result = resolve(v, &f, WAIT_OUT, &mmio);

    if (result == S2_NO_MEMORY)
        out_of_memory(v);
    return result == S2_RESUME;
}

bool abort_wait(struct vcpu *v, ipa_t at)
{
    struct s2_fault f = {.ipa = at, .ipa_valid = true};
    uint32_t mmio;
    enum s2_fault_result result = resolve(v, &f, WAIT_CALL, &mmio);

    if (result == S2_NO_MEMORY)
        out_of_memory(v);
    return result != S2_ERROR;
}

static NOINLINE void nowhere(struct vcpu *v, uint64_t esr)
{
    v->stats->faults.nowhere++;
    inject_external_abort(esr);
}

static NOINLINE void ram_abort(struct vcpu *v, uint64_t esr)
{
    struct s2_fault f = s2_fault_decode(esr, sysreg_read(far_el2), sysreg_read(hpfar_el2));
    uint32_t mmio;

    if (f.kind == FAULT_EXTERNAL || f.kind == FAULT_OTHER) {
        inject_external_abort(esr);
        return;
    }
    if (!s2_fault_locate(&f))
        return;
    if (UNLIKELY(f.ipa.v < v->vm->ram_base.v)) { /* a write to what is EL2's, and the guest's to read */
        nowhere(v, esr);
        return;
    }
    switch (resolve(v, &f, WAIT_ACCESS, &mmio)) {
    case S2_NOWHERE:
    case S2_MMIO: /* there is none among RAM */
        nowhere(v, esr);
        break;
    case S2_ERROR:
        v->stats->unreadable++;
        inject_external_abort(esr);
        break;
    case S2_NO_MEMORY:
        out_of_memory(v);
        break;
    default:
        break;
    }
}

/*
 * Below RAM there are devices and holes. Tables there never change while the guest runs, so this walk needs no epoch. The
 * ways out are tail calls: nothing is saved here on the way to a device.
 */
void abort_trap(struct vcpu *v, uint64_t esr)
{
    ipa_t page = s2_fault_page(esr, sysreg_read(hpfar_el2));
    struct s2_entry e;

    v->stats->exits.abort++;
    if (page.v >= v->vm->ram_base.v) {
        ram_abort(v, esr);
        return;
    }
    e = s2_walk(&v->vm->s2, page);
    if (desc_kind(e.desc, e.level) == DESC_MMIO)
        mmio_trap(v, desc_small(e.desc), ipa_add(page, sysreg_read(far_el2) & (PAGE_SIZE - 1)), esr);
    else
        nowhere(v, esr);
}
