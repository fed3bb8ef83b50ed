/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything is in the group that bit 0 of GICD_CTLR and GICC_CTLR enables: group 1 where there are two security states
 * and EL2 sees the non-secure half of the registers, group 0 where there is one (IHI 0048B 4.3.1, 4.4.1). Without
 * GICC_CTLR.FIQEn both are IRQs.
 */
#include "dev/gicv2.h"

#include "dev/gic.h"
#include "dev/mmio.h"
#include "lib/arch.h"
#include "lib/bits.h"

/* Distributor (IHI 0048B 4.3) */
#define GICD_CTLR 0x000
#define GICD_TYPER 0x004
#define GICD_IGROUPR 0x080
#define GICD_ISENABLER 0x100
#define GICD_ICENABLER 0x180
#define GICD_ICACTIVER 0x380
#define GICD_IPRIORITYR 0x400
#define GICD_ITARGETSR 0x800
#define GICD_ICFGR 0xc00
#define GICD_SGIR 0xf00
#define TYPER_LINES FIELD(4, 0)
#define SGIR_TARGETS FIELD(23, 16)

/* CPU interface (4.4) */
#define GICC_CTLR 0x00
#define GICC_PMR 0x04
#define GICC_BPR 0x08
#define GICC_IAR 0x0c
#define GICC_EOIR 0x10
#define GICC_APR 0xd0
#define GICC_IIDR 0xfc
#define GICC_DIR 0x000 /* in the second page */
#define CTLR_ENABLE BIT(0)
#define CTLR_EOIMODE BIT(9) /* in either view of the register */
#define IIDR_ARCHITECTURE FIELD(19, 16)
#define IAR_INTID FIELD(9, 0)

#define PRIORITY_ALL 0xa0a0a0a0u

static pa_t gicd RO_AFTER_INIT;
static pa_t gicc RO_AFTER_INIT;
static uint64_t page_stride RO_AFTER_INIT;
/* Each core's bit in target lists; 0 until it has come up. Its own core writes it, all read it. */
static _Atomic uint8_t interface_of[MAX_CORES];

/*
 * On boards that can use pages of 64 KiB, each 4 KiB of a CPU interface fill 64 KiB, 16 times over: the second lies
 * 64 KiB above the first then, and the identification register is found at the end of those 64 KiB too.
 */
static uint64_t find_stride(uint64_t size)
{
    bool repeated = size >= KIB(128) && mmio_read32(gicc, KIB(60) + GICC_IIDR) == mmio_read32(gicc, GICC_IIDR);

    return repeated ? KIB(64) : KIB(4);
}

uint32_t gicv2_identification(void)
{
    return mmio_read32(gicc, GICC_IIDR);
}

uint64_t gicv2_page_stride(void)
{
    return page_stride;
}

bool gicv2_init(pa_t d, pa_t c, uint64_t c_size)
{
    uint32_t lines;

    gicd = d;
    gicc = c;
    if (field_get(IIDR_ARCHITECTURE, gicv2_identification()) != 2)
        return false;
    page_stride = find_stride(c_size);
    mmio_write32(gicd, GICD_CTLR, 0);
    lines = ((uint32_t)field_get(TYPER_LINES, mmio_read32(gicd, GICD_TYPER)) + 1) * 32;
    for (uint32_t i = 32; i < lines; i += 32) {
        mmio_write32(gicd, GICD_ICENABLER + i / 8, ~0u);
        mmio_write32(gicd, GICD_ICACTIVER + i / 8, ~0u);
        mmio_write32(gicd, GICD_IGROUPR + i / 8, 0);
        for (uint32_t j = 0; j < 32; j += 4)
            mmio_write32(gicd, GICD_IPRIORITYR + i + j, PRIORITY_ALL);
    }
    mmio_write32(gicd, GICD_CTLR, CTLR_ENABLE);
    return true;
}

/*
 * A core learns its bit from the targets of its private interrupts, which are itself; some of those bytes are not
 * implemented. A GIC for one core has none at all (4.3.12).
 */
static uint8_t own_interface(void)
{
    uint32_t all = 0;

    for (uint32_t i = 0; i < 32; i += 4)
        all |= mmio_read32(gicd, GICD_ITARGETSR + i);
    all |= all >> 16;
    all |= all >> 8;
    return (all & 0xff) ? (uint8_t)all : 1;
}

bool gicv2_core_init(void)
{
    uint8_t interface = own_interface();

    if (interface & (interface - 1))
        return false;
    mmio_write32(gicd, GICD_ICENABLER, ~0u);
    mmio_write32(gicd, GICD_ICACTIVER, ~0u);
    mmio_write32(gicd, GICD_IGROUPR, 0);
    for (uint32_t j = 0; j < 32; j += 4)
        mmio_write32(gicd, GICD_IPRIORITYR + j, PRIORITY_ALL);
    mmio_write32(gicd, GICD_ISENABLER, 0xffff); /* all SGIs */

    for (uint32_t i = 0; i < 16; i += 4) /* what the firmware may have left active */
        mmio_write32(gicc, GICC_APR + i, 0);
    mmio_write32(gicc, GICC_PMR, 0xff);
    mmio_write32(gicc, GICC_BPR, 0);
    mmio_write32(gicc, GICC_CTLR, CTLR_ENABLE | CTLR_EOIMODE);
    atomic_store(&interface_of[this_core()->id], interface);
    dsb_ish(); /* before this core looks for news: pairs with the barrier in gicv2_sgi() */
    return true;
}

uint32_t gicv2_ack(void)
{
    uint32_t iar = mmio_read32(gicc, GICC_IAR);

    dsb_sy(); /* the acknowledge takes effect before what the handler does */
    return field_get(IAR_INTID, iar) >= 1020 ? GIC_SPURIOUS : iar;
}

void gicv2_eoi(uint32_t intid)
{
    mmio_write32(gicc, GICC_EOIR, intid);
}

void gicv2_deactivate(uint32_t intid)
{
    mmio_write32(gicc, page_stride + GICC_DIR, intid);
}

/* A core that has not come up yet gets no signal: it looks for news once it has. */
void gicv2_sgi_cores(uint64_t which, uint32_t sgi)
{
    uint8_t interfaces = 0;

    dsb_ish(); /* the news before the look at the interfaces, and before the signal */
    for (; which; which &= which - 1)
        interfaces |= atomic_load(&interface_of[__builtin_ctzll(which)]);
    if (interfaces)
        mmio_write32(gicd, GICD_SGIR, (uint32_t)field_put(SGIR_TARGETS, interfaces) | sgi);
}

void gicv2_sgi(const struct core *target, uint32_t sgi)
{
    gicv2_sgi_cores(BIT(target->id), sgi);
}

void gicv2_enable_ppi(uint32_t intid)
{
    mmio_write32(gicd, GICD_ISENABLER, (uint32_t)BIT(intid));
}

void gicv2_enable_spi(uint32_t intid, bool edge)
{
    uint32_t cfg = mmio_read32(gicd, GICD_ICFGR + intid / 16 * 4);
    uint32_t targets = mmio_read32(gicd, GICD_ITARGETSR + intid / 4 * 4);
    uint32_t shift = intid % 4 * 8;
    uint32_t bit = (uint32_t)BIT(intid % 16 * 2 + 1);

    mmio_write32(gicd, GICD_ICFGR + intid / 16 * 4, edge ? cfg | bit : cfg & ~bit);
    mmio_write32(gicd, GICD_ITARGETSR + intid / 4 * 4,
                 (targets & ~(0xffu << shift)) | (uint32_t)own_interface() << shift);
    mmio_write32(gicd, GICD_ISENABLER + intid / 32 * 4, (uint32_t)BIT(intid % 32));
}
