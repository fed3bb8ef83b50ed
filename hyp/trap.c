/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits from a guest, sorted by exception class. Nothing here waits for anything but through the functions it calls, and
 * every class that a guest can cause ends in a result, an exception for the guest, or the guest's own end.
 */
#include "hyp/trap.h"

#include "lib/arch.h"
#include "lib/log.h"
#include "pv/smccc.h"
#include "vcpu/abort.h"
#include "vcpu/context.h"
#include "vcpu/inject.h"
#include "vcpu/irq.h"
#include "vcpu/power.h"
#include "vcpu/sysreg.h"

/* Something happened to this vCPU that its guest must not run past: its end, CPU_OFF, an interrupt. */
static NOINLINE void news(struct vcpu *v)
{
    bool afresh = atomic_load_explicit(&v->unsettled, memory_order_relaxed) && vcpu_settle(v);

    vgic_sync(v);
    if (afresh)
        vcpu_enter(v->frame); /* the way out of a hypercall would leave it x19 to x29 of its earlier life */
}

/* Two words are all that a usual exit looks at on its way back. */
static inline void leave(struct vcpu *v)
{
    if (UNLIKELY(atomic_load_explicit(&v->vgic.dirty, memory_order_relaxed) |
                 atomic_load_explicit(&v->unsettled, memory_order_relaxed)))
        news(v);
}

void trap_hvc(struct frame *f)
{
    struct vcpu *v = this_vcpu();

    v->stats->exits.hvc++;
    smccc_call(v, f);
    leave(v);
}

static void on_smc(struct vcpu *v, uint64_t esr)
{
    v->stats->exits.smc++;
    skip_instruction64(esr); /* a trapped SMC has not been executed: ELR_EL2 is at it (DDI 0487 D1.3.6) */
    smccc_call(v, v->frame);
}

static void on_wfx(struct vcpu *v, uint64_t esr)
{
    v->stats->exits.wfx++; /* not trapped: should it be after all, it is a hint */
    skip_instruction(esr);
}

static NOINLINE void on_other(struct vcpu *v, uint64_t esr)
{
    v->stats->exits.other++;
    inject_undefined(esr);
}

static void (*const handlers[EC_COUNT])(struct vcpu *, uint64_t) = {
    [EC_WFX] = on_wfx,          [EC_SMC64] = on_smc,        [EC_SYSREG] = sysreg_trap,
    [EC_IABT_LOW] = abort_trap, [EC_DABT_LOW] = abort_trap,
};

void trap_sync(uint64_t esr)
{
    struct vcpu *v = this_vcpu();
    void (*handler)(struct vcpu *, uint64_t) = handlers[esr_ec(esr)];

    if (UNLIKELY(!handler))
        on_other(v, esr);
    else
        handler(v, esr);
    leave(v);
}

void trap_irq(void)
{
    struct vcpu *v = this_vcpu();

    v->stats->exits.irq++;
    irq_trap(v);
    leave(v);
}

void trap_serror(void)
{
    struct vcpu *v = this_vcpu();

    v->stats->exits.other++;
    inject_serror();
    leave(v);
}

void trap_own(uint64_t kind, uint64_t sp, uint64_t lr)
{
    static const char *const names[] = {"synchronous exception", "IRQ", "FIQ", "SError"};

    panic("%s in EL2: sp %lx, lr %lx, esr %lx at %lx", names[kind & 3], sp, lr, sysreg_read(esr_el2),
          sysreg_read(elr_el2));
}
