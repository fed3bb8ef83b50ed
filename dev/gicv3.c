/* SPDX-License-Identifier: BSD-2-Clause */
#include "dev/gicv3.h"

#include "dev/gic.h"
#include "dev/mmio.h"
#include "lib/arch.h"
#include "lib/bits.h"

/* Distributor (IHI 0069H 12.9) */
#define GICD_CTLR 0x0000
#define GICD_TYPER 0x0004
#define GICD_IGROUPR 0x0080
#define GICD_ISENABLER 0x0100
#define GICD_ICENABLER 0x0180
#define GICD_ICACTIVER 0x0380
#define GICD_IPRIORITYR 0x0400
#define GICD_ICFGR 0x0c00
#define GICD_IROUTER 0x6000
#define GICD_PIDR2 0xffe8

#define GICD_CTLR_RWP BIT(31)
/* Affinity routing, and both groups as a machine with one or two security states names them. */
#define GICD_CTLR_ON (BIT(4) | BIT(1) | BIT(0))
#define TYPER_LINES FIELD(4, 0)

/* Redistributor (12.10, 12.11): RD_base, and SGI_base 64 KiB above */
#define GICR_CTLR 0x0000
#define GICR_TYPER 0x0008
#define GICR_WAKER 0x0014
#define GICR_SGI 0x10000
#define GICR_TYPER_VLPIS BIT(1)
#define GICR_TYPER_LAST BIT(4)
#define GICR_TYPER_AFFINITY FIELD(63, 32)
#define GICR_WAKER_SLEEP BIT(1)
#define GICR_WAKER_ASLEEP BIT(2)

#define ICC_SRE_ALL (BIT(0) | BIT(1) | BIT(2))
#define ICC_SRE_EL2_ENABLE BIT(3) /* EL1 may use its ICC_SRE_EL1 untrapped */
#define ICC_CTLR_EOIMODE BIT(1)
#define PRIORITY_ALL 0xa0a0a0a0u

#define WAKE_SPINS 1000000u

static pa_t gicd RO_AFTER_INIT;
static pa_t gicr RO_AFTER_INIT;
static uint64_t gicr_bytes RO_AFTER_INIT;
static pa_t rd_of[MAX_CORES];

static uint32_t affinity32(uint64_t mpidr)
{
    return (uint32_t)((mpidr & 0xffffff) | (mpidr >> 8 & 0xff000000));
}

static void gicd_sync(void)
{
    while (mmio_read32(gicd, GICD_CTLR) & GICD_CTLR_RWP)
        cpu_relax();
}

bool gicv3_init(pa_t d, pa_t r, uint64_t r_bytes)
{
    uint32_t lines;

    gicd = d;
    gicr = r;
    gicr_bytes = r_bytes;
    if (field_get(FIELD(7, 4), mmio_read32(gicd, GICD_PIDR2)) < 3)
        return false;
    mmio_write32(gicd, GICD_CTLR, 0);
    gicd_sync();
    lines = ((uint32_t)field_get(TYPER_LINES, mmio_read32(gicd, GICD_TYPER)) + 1) * 32;
    for (uint32_t i = 32; i < lines; i += 32) {
        mmio_write32(gicd, GICD_ICENABLER + i / 8, ~0u);
        mmio_write32(gicd, GICD_ICACTIVER + i / 8, ~0u);
        mmio_write32(gicd, GICD_IGROUPR + i / 8, ~0u);
        for (uint32_t j = 0; j < 32; j += 4)
            mmio_write32(gicd, GICD_IPRIORITYR + i + j, PRIORITY_ALL);
    }
    mmio_write32(gicd, GICD_CTLR, GICD_CTLR_ON);
    gicd_sync();
    return true;
}

static bool find_redistributor(uint64_t mpidr, pa_t *out)
{
    for (uint64_t at = 0; at < gicr_bytes;) {
        uint64_t typer = mmio_read64(pa_add(gicr, at), GICR_TYPER);

        if (field_get(GICR_TYPER_AFFINITY, typer) == affinity32(mpidr)) {
            *out = pa_add(gicr, at);
            return true;
        }
        if (typer & GICR_TYPER_LAST)
            return false;
        at += typer & GICR_TYPER_VLPIS ? 0x40000 : 0x20000;
    }
    return false;
}

bool gicv3_core_init(void)
{
    struct core *c = this_core();
    pa_t *rd = &rd_of[c->id];
    pa_t sgi;

    if (!find_redistributor(c->mpidr, rd))
        return false;
    mmio_write32(*rd, GICR_WAKER, mmio_read32(*rd, GICR_WAKER) & ~(uint32_t)GICR_WAKER_SLEEP);
    for (uint32_t i = 0; mmio_read32(*rd, GICR_WAKER) & GICR_WAKER_ASLEEP; i++) {
        if (i == WAKE_SPINS)
            return false;
        cpu_relax();
    }
    sgi = pa_add(*rd, GICR_SGI);
    mmio_write32(sgi, GICD_ICENABLER, ~0u);
    mmio_write32(sgi, GICD_ICACTIVER, ~0u);
    mmio_write32(sgi, GICD_IGROUPR, ~0u);
    for (uint32_t j = 0; j < 32; j += 4)
        mmio_write32(sgi, GICD_IPRIORITYR + j, PRIORITY_ALL);
    mmio_write32(sgi, GICD_ISENABLER, 0xffff); /* all SGIs */

    sysreg_write(ICC_SRE_EL2, ICC_SRE_ALL | ICC_SRE_EL2_ENABLE);
    isb();
    sysreg_write(ICC_SRE_EL1, ICC_SRE_ALL);
    isb();
    sysreg_write(ICC_PMR_EL1, 0xff);
    sysreg_write(ICC_BPR1_EL1, 0);
    sysreg_write(ICC_CTLR_EL1, ICC_CTLR_EOIMODE);
    sysreg_write(ICC_IGRPEN1_EL1, 1);
    isb();
    return true;
}

/* To cores whose affinities are that of `m` but for the low four bits of Aff0, which `list` has a bit for each of. */
static void signal_list(uint64_t m, uint64_t list, uint32_t sgi)
{
    /* ICC_SGI1R_EL1: Aff3 at 55:48, RS at 47:44, Aff2 at 39:32, INTID at 27:24, Aff1 at 23:16, a bit per Aff0 below. */
    dsb_ishst(); /* what the targets are to see, before the signal */
    sysreg_write(ICC_SGI1R_EL1, field_put(FIELD(55, 48), m >> 32) | field_put(FIELD(47, 44), (m & 0xff) >> 4) |
                                    field_put(FIELD(39, 32), m >> 16) | field_put(FIELD(27, 24), sgi) |
                                    field_put(FIELD(23, 16), m >> 8) | list);
    isb();
}

void gicv3_sgi(const struct core *target, uint32_t sgi)
{
    signal_list(target->mpidr, BIT(target->mpidr & 0xf), sgi);
}

void gicv3_sgi_cores(uint64_t which, uint32_t sgi)
{
    while (which) {
        uint64_t m = cores[__builtin_ctzll(which)].mpidr, list = 0;

        for (uint64_t left = which; left; left &= left - 1) {
            uint32_t core = (uint32_t)__builtin_ctzll(left);

            if (cores[core].mpidr >> 4 != m >> 4)
                continue;
            list |= BIT(cores[core].mpidr & 0xf);
            which &= ~BIT(core);
        }
        signal_list(m, list, sgi);
    }
}

void gicv3_enable_ppi(uint32_t intid)
{
    mmio_write32(pa_add(rd_of[this_core()->id], GICR_SGI), GICD_ISENABLER, (uint32_t)BIT(intid));
}

void gicv3_enable_spi(uint32_t intid, bool edge)
{
    uint32_t shift = intid % 16 * 2 + 1;
    uint32_t cfg = mmio_read32(gicd, GICD_ICFGR + intid / 16 * 4);

    mmio_write32(gicd, GICD_ICFGR + intid / 16 * 4, edge ? cfg | (uint32_t)BIT(shift) : cfg & ~(uint32_t)BIT(shift));
    mmio_write64(gicd, GICD_IROUTER + intid * 8, this_core()->mpidr);
    mmio_write32(gicd, GICD_ISENABLER + intid / 32 * 4, (uint32_t)BIT(intid % 32));
}
