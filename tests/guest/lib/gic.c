/* SPDX-License-Identifier: BSD-2-Clause */
/* GICv3, one security state as the guest sees it, affinity routing, group 1 only (IHI 0069). */
#include "tests/guest/lib/guest.h"

#define GICD_CTLR 0x0000
#define GICD_TYPER 0x0004
#define IGROUPR 0x0080
#define ISENABLER 0x0100
#define ICENABLER 0x0180
#define ICPENDR 0x0280
#define ICACTIVER 0x0380
#define IPRIORITYR 0x0400
#define ICFGR 0x0c00
#define GICD_IROUTER 0x6000
#define GICR_CTLR 0x0000
#define GICR_TYPER 0x0008
#define GICR_WAKER 0x0014
#define WAKER_SLEEP BIT(1)
#define WAKER_ASLEEP BIT(2)
#define CTLR_RWP BIT(31)

#define CTLR_ENABLE (BIT(1) | BIT(4)) /* affinity routing and group 1, whether or not there are two security states */

void (*volatile irq_hook[MAX_CPUS])(unsigned intid);

static uint64_t redistributor(void)
{
    const uint64_t affinity = read_sysreg(mpidr_el1) & 0xffffff;
    uint64_t base = GICR;
    for (;;) {
        const uint64_t typer = mmio_read64(base + GICR_TYPER);
        if (typer >> 32 == affinity)
            return base;
        if (typer & BIT(4)) {
            fail("gic", "no redistributor for affinity %lx", affinity);
            finish();
        }
        base += GICR_STRIDE;
    }
}

/* The registers of an interrupt are in its redistributor's SGI frame below 32, in the distributor above. */
static uint64_t frame_of(unsigned intid)
{
    return intid < 32 ? redistributor() + GICR_SGI : GICD;
}

static void wait_distributor(void)
{
    if (!WAIT_FOR(!(mmio_read32(GICD + GICD_CTLR) & CTLR_RWP), 1000)) {
        fail("gic", "GICD_CTLR.RWP stays set");
        finish();
    }
}

void gic_init(void)
{
    mmio_write32(GICD + GICD_CTLR, 0);
    wait_distributor();
    mmio_write32(GICD + GICD_CTLR, BIT(4));
    const unsigned words = (mmio_read32(GICD + GICD_TYPER) & 0x1f) + 1;
    for (unsigned word = 1; word < words; word++) {
        mmio_write32(GICD + ICENABLER + word * 4, ~0u);
        mmio_write32(GICD + ICPENDR + word * 4, ~0u);
        mmio_write32(GICD + ICACTIVER + word * 4, ~0u);
        mmio_write32(GICD + IGROUPR + word * 4, ~0u);
        for (unsigned i = 0; i < 8; i++)
            mmio_write32(GICD + IPRIORITYR + word * 32 + i * 4, 0xa0a0a0a0);
        for (unsigned i = 0; i < 2; i++)
            mmio_write32(GICD + ICFGR + word * 8 + i * 4, 0);
    }
    wait_distributor();
    __asm__ volatile("str xzr, [%0]" ::"r"(GICD + GICD_IROUTER + 8UL * SPI_UART) : "memory"); /* to CPU 0 */
    mmio_write32(GICD + GICD_CTLR, CTLR_ENABLE);
    wait_distributor();
    gic_init_cpu();
}

void gic_init_cpu(void)
{
    const uint64_t rd = redistributor();
    mmio_write32(rd + GICR_CTLR, 0);
    mmio_write32(rd + GICR_WAKER, 0);
    if (!WAIT_FOR(!(mmio_read32(rd + GICR_WAKER) & WAKER_ASLEEP), 1000)) {
        fail("gic", "GICR_WAKER.ChildrenAsleep stays set");
        finish();
    }
    const uint64_t sgi = rd + GICR_SGI;
    mmio_write32(sgi + ICENABLER, ~0u);
    mmio_write32(sgi + ICPENDR, ~0u);
    mmio_write32(sgi + ICACTIVER, ~0u);
    mmio_write32(sgi + IGROUPR, ~0u);
    for (unsigned i = 0; i < 8; i++)
        mmio_write32(sgi + IPRIORITYR + i * 4, 0xa0a0a0a0);
    mmio_write32(sgi + ICFGR + 4, 0);
    dsb();
    write_sysreg(S3_0_C12_C12_5, 1); /* ICC_SRE_EL1 */
    isb();
    write_sysreg(S3_0_C4_C6_0, 0xff); /* ICC_PMR_EL1 */
    write_sysreg(S3_0_C12_C12_3, 0);  /* ICC_BPR1_EL1 */
    write_sysreg(S3_0_C12_C12_4, 0);  /* ICC_CTLR_EL1: EOI also deactivates */
    write_sysreg(S3_0_C12_C12_7, 1);  /* ICC_IGRPEN1_EL1 */
    isb();
}

void gic_enable(unsigned intid)
{
    mmio_write32(frame_of(intid) + ISENABLER + intid / 32 * 4, 1u << intid % 32);
    dsb();
}

void gic_disable(unsigned intid)
{
    mmio_write32(frame_of(intid) + ICENABLER + intid / 32 * 4, 1u << intid % 32);
    dsb();
}

void gic_priority(unsigned intid, uint8_t priority)
{
    mmio_write8(frame_of(intid) + IPRIORITYR + intid, priority);
    dsb();
}

void gic_sgi(unsigned cpu, unsigned intid)
{
    dsb();
    write_sysreg(S3_0_C12_C11_5, (uint64_t)intid << 24 | BIT(cpu)); /* ICC_SGI1R_EL1, affinity 0.0.0.cpu */
    isb();
}

void irq_taken(void)
{
    const unsigned intid = (unsigned)(read_sysreg(S3_0_C12_C12_0) & 0xffffff); /* ICC_IAR1_EL1 */
    dsb();
    if (intid >= 1020)
        return;
    void (*const hook)(unsigned) = irq_hook[cpu_index()];
    if (hook)
        hook(intid);
    else if (intid == PPI_VTIMER)
        vtimer_stop();
    write_sysreg(S3_0_C12_C12_1, intid); /* ICC_EOIR1_EL1 */
    isb();
}
