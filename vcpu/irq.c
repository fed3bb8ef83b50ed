/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/irq.h"

#include "dev/gic.h"
#include "lib/arch.h"

static struct {
    uint32_t intid;
    void (*serve)(void);
} route RO_AFTER_INIT; /* the console's: the only device EL2 has so far */

void irq_route_spi(uint32_t intid, void (*serve)(void))
{
    route.intid = intid;
    route.serve = serve;
}

static void serve(struct vcpu *v, uint32_t intid)
{
    switch (intid) {
    case PPI_VTIMER:
    case PPI_PTIMER:
        gic_eoi(intid); /* priority only: the guest's own EOI deactivates it, through the list register */
        vgic_hw_ppi(v, intid);
        return;
    case PPI_MAINTENANCE:
        vgic_sync(v); /* takes the reason away before the interrupt is let go */
        break;
    default:
        if (route.serve && intid == route.intid)
            route.serve();
        /* A signal from another core says only: look. Whoever waits looks after this. */
    }
    gic_eoi(intid);
    gic_deactivate(intid);
}

void irq_poll(struct vcpu *v)
{
    uint32_t intid;

    while ((intid = gic_ack()) != GIC_SPURIOUS)
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

void irq_wait(struct vcpu *v)
{
    wfi();
    irq_poll(v);
}
