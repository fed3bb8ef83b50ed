/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The GIC that the device tree names; without one, that of the CPU's ID register. A GICv3 (IHI 0069): one security state
 * as the guest sees it, affinity routing, group 1 only. A GICv2 (IHI 0048): group 0, which is what is left alone.
 */
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
#define GICD_ITARGETSR 0x0800
#define GICD_SGIR 0x0f00
#define GICC_CTLR 0x00
#define GICC_PMR 0x04
#define GICC_BPR 0x08
#define GICC_IAR 0x0c
#define GICC_EOIR 0x10
#define GICR_CTLR 0x0000
#define GICR_TYPER 0x0008
#define GICR_WAKER 0x0014
#define WAKER_SLEEP BIT(1)
#define WAKER_ASLEEP BIT(2)
#define CTLR_RWP BIT(31)

#define CTLR_ENABLE (BIT(1) | BIT(4)) /* affinity routing and group 1, whether or not there are two security states */

void (*volatile irq_hook[MAX_CPUS])(unsigned intid);

static bool v2_found; /* by gic_init() */

bool gic_is_v2(void)
{
    uint32_t size;
    if (!dtb_address)
        return !(read_sysreg(id_aa64pfr0_el1) >> 24 & 0xf);
    const char *compatible = fdt_property("intc", "compatible", &size);
    return compatible && text_equal(compatible, "arm,cortex-a15-gic");
}

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
    return intid < 32 && !v2_found ? redistributor() + GICR_SGI : GICD;
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
    v2_found = gic_is_v2();
    mmio_write32(GICD + GICD_CTLR, 0);
    if (!v2_found) {
        wait_distributor();
        mmio_write32(GICD + GICD_CTLR, BIT(4));
    }
    const unsigned words = (mmio_read32(GICD + GICD_TYPER) & 0x1f) + 1;
    for (unsigned word = 1; word < words; word++) {
        mmio_write32(GICD + ICENABLER + word * 4, ~0u);
        mmio_write32(GICD + ICPENDR + word * 4, ~0u);
        mmio_write32(GICD + ICACTIVER + word * 4, ~0u);
        mmio_write32(GICD + IGROUPR + word * 4, v2_found ? 0 : ~0u);
        for (unsigned i = 0; i < 8; i++)
            mmio_write32(GICD + IPRIORITYR + word * 32 + i * 4, 0xa0a0a0a0);
        for (unsigned i = 0; i < 2; i++)
            mmio_write32(GICD + ICFGR + word * 8 + i * 4, 0);
    }
    if (v2_found) {
        mmio_write8(GICD + GICD_ITARGETSR + SPI_UART, 1); /* to CPU 0 */
        mmio_write32(GICD + GICD_CTLR, 1);
        gic_init_cpu();
        return;
    }
    wait_distributor();
    __asm__ volatile("str xzr, [%0]" ::"r"(GICD + GICD_IROUTER + 8UL * SPI_UART) : "memory"); /* to CPU 0 */
    mmio_write32(GICD + GICD_CTLR, CTLR_ENABLE);
    wait_distributor();
    gic_init_cpu();
}

static void private_init(uint64_t frame, uint32_t group)
{
    mmio_write32(frame + ICENABLER, ~0u);
    mmio_write32(frame + ICPENDR, ~0u);
    mmio_write32(frame + ICACTIVER, ~0u);
    mmio_write32(frame + IGROUPR, group);
    for (unsigned i = 0; i < 8; i++)
        mmio_write32(frame + IPRIORITYR + i * 4, 0xa0a0a0a0);
    mmio_write32(frame + ICFGR + 4, 0);
    dsb();
}

void gic_init_cpu(void)
{
    if (v2_found) {
        private_init(GICD, 0);
        mmio_write32(GICC + GICC_PMR, 0xff);
        mmio_write32(GICC + GICC_BPR, 0);
        mmio_write32(GICC + GICC_CTLR, 1); /* EOI also deactivates */
        dsb();
        return;
    }
    const uint64_t rd = redistributor();
    mmio_write32(rd + GICR_CTLR, 0);
    mmio_write32(rd + GICR_WAKER, 0);
    if (!WAIT_FOR(!(mmio_read32(rd + GICR_WAKER) & WAKER_ASLEEP), 1000)) {
        fail("gic", "GICR_WAKER.ChildrenAsleep stays set");
        finish();
    }
    private_init(rd + GICR_SGI, ~0u);
    write_sysreg(S3_0_C12_C12_5, 1); /* ICC_SRE_EL1 */
    isb();
    gic_mask(0xff);
    write_sysreg(S3_0_C12_C12_3, 0); /* ICC_BPR1_EL1 */
    write_sysreg(S3_0_C12_C12_4, 0); /* ICC_CTLR_EL1: EOI also deactivates */
    write_sysreg(S3_0_C12_C12_7, 1); /* ICC_IGRPEN1_EL1 */
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

void gic_mask(uint8_t priority)
{
    if (v2_found) {
        mmio_write32(GICC + GICC_PMR, priority);
        dsb();
        return;
    }
    write_sysreg(S3_0_C4_C6_0, priority); /* ICC_PMR_EL1 */
    isb();
}

void gic_sgi(unsigned cpu, unsigned intid)
{
    dsb();
    if (v2_found) {
        mmio_write32(GICD + GICD_SGIR, 0x10000u << cpu | intid);
        return;
    }
    write_sysreg(S3_0_C12_C11_5, (uint64_t)intid << 24 | BIT(cpu)); /* ICC_SGI1R_EL1, affinity 0.0.0.cpu */
    isb();
}

/* What was acknowledged: on a GICv2 with the sender of an SGI above the INTID. */
static unsigned acknowledge(void)
{
    const unsigned what = v2_found ? mmio_read32(GICC + GICC_IAR) : (unsigned)read_sysreg(S3_0_C12_C12_0);
    dsb();
    return what & 0xffffff; /* ICC_IAR1_EL1 */
}

static void end_of_interrupt(unsigned what)
{
    if (v2_found)
        mmio_write32(GICC + GICC_EOIR, what);
    else
        write_sysreg(S3_0_C12_C12_1, what); /* ICC_EOIR1_EL1 */
    isb();
}

void irq_taken(void)
{
    const unsigned what = acknowledge();
    const unsigned intid = v2_found ? what & 0x3ff : what;
    if (intid >= 1020)
        return;
    void (*const hook)(unsigned) = irq_hook[cpu_index()];
    if (hook)
        hook(intid);
    else if (intid == PPI_VTIMER)
        vtimer_stop();
    end_of_interrupt(what);
}
