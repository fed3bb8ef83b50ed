/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/irq.h"

#include "dev/gic.h"
#include "lib/arch.h"

static struct {
    uint32_t intid;
    void (*serve)(void);
} route RO_AFTER_INIT; /* the console's: the only device EL2 has so far */
static void (*on_alarm)(void) RO_AFTER_INIT;

static uint32_t maintenance RO_AFTER_INIT; /* the PPI by which list registers call */

void irq_init(uint32_t maintenance_ppi)
{
    maintenance = maintenance_ppi;
}

void irq_route_spi(uint32_t intid, void (*serve)(void))
{
    route.intid = intid;
    route.serve = serve;
}

/*
 * The EL2 physical timer of this core (DDI 0487 D11.2.4). Nothing else uses it; it is off but for the one time that was
 * asked for, so an idle core stays asleep.
 */
void irq_on_alarm(void (*fn)(void))
{
    on_alarm = fn;
}

void irq_core_init(void)
{
    sysreg_write(cnthp_ctl_el2, 0); /* UNKNOWN after reset */
    isb();
    gic_enable_ppi(PPI_ALARM);
    gic_enable_ppi(maintenance);
    gic_enable_ppi(PPI_VTIMER);
    gic_enable_ppi(PPI_PTIMER);
}

void irq_alarm(uint32_t ms)
{
    sysreg_write(cnthp_cval_el2, counter_ticks().v + counter_hz() * ms / 1000);
    sysreg_write(cnthp_ctl_el2, CNT_CTL_ENABLE);
    isb();
}

static void ring_alarm(void)
{
    sysreg_write(cnthp_ctl_el2, 0); /* takes the interrupt's reason away */
    isb();
    if (on_alarm)
        on_alarm();
}

static void serve(struct vcpu *v, uint32_t intid)
{
    switch (intid) {
    case PPI_VTIMER:
    case PPI_PTIMER:
        gic_eoi(intid); /* priority only: the guest's own EOI deactivates it, through the list register */
        vgic_hw_ppi(v, intid);
        return;
    case PPI_ALARM:
        ring_alarm();
        break;
    default:
        if (intid == maintenance)
            vgic_sync(v); /* takes the reason away before the interrupt is let go */
        else if (route.serve && intid == route.intid)
            route.serve();
        /* A signal from another core says only: look. Whoever waits looks after this. */
    }
    gic_eoi(intid);
    gic_deactivate(intid);
    if (v->apf.page) /* last: a signal that comes while it looks comes again */
        apf_collect(v);
}

void irq_poll(struct vcpu *v)
{
    uint32_t intid;

    /* Asked first is the core, not its GIC, which is slower. What comes too late to be seen is taken when the core would rest. */
    while (sysreg_read(isr_el1) & ISR_I && (intid = gic_ack()) != GIC_SPURIOUS)
        serve(v, intid);
}

void irq_trap(struct vcpu *v)
{
    uint32_t intid = gic_ack();

    if (intid == PPI_VTIMER || intid == PPI_PTIMER) {
        gic_eoi(intid);
        if (!vgic_hw_ppi_again(v, intid))
            vgic_hw_ppi(v, intid);
    } else if (intid != GIC_SPURIOUS) {
        serve(v, intid);
    }
}

static uint32_t line(uint64_t ctl, uint32_t intid)
{
    return (ctl & (CNT_CTL_ENABLE | CNT_CTL_IMASK | CNT_CTL_ISTATUS)) == (CNT_CTL_ENABLE | CNT_CTL_ISTATUS)
               ? UINT32_C(1) << intid
               : 0;
}

uint32_t irq_timer_lines(void)
{
    return line(sysreg_read(cntv_ctl_el0), PPI_VTIMER) | line(sysreg_read(cntp_ctl_el0), PPI_PTIMER);
}

void irq_wait(struct vcpu *v)
{
    wfi();
    irq_poll(v);
}
