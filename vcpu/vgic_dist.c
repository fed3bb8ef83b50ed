/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The distributor frame (IHI 0069H 12.8, 12.9), with GICD_CTLR.DS = 1 and affinity routing always on: one security
 * state, no legacy operation, so GICD_ITARGETSR, GICD_SGIR, GICD_CPENDSGIR, GICD_NSACR and everything about INTIDs 0 to
 * 31 reads as zero and ignores writes.
 */
#include "vcpu/vgic_state.h"

#define GICD_CTLR 0x0
#define GICD_TYPER 0x4
#define GICD_IIDR 0x8
#define GICD_PRIO_END (VGIC_PRIO_BASE + VGIC_BANKS * 32)
#define GICD_ICFGR_END (VGIC_ICFGR_BASE + VGIC_BANKS * 8)
#define GICD_IROUTER 0x6000
#define GICD_IROUTER_END (GICD_IROUTER + VGIC_BANKS * 32 * 8)

#define CTLR_ARE BIT32(4)
#define CTLR_DS BIT32(6)
#define CTLR_GROUPS (GICD_CTLR_GRP0 | GICD_CTLR_GRP1)

#define TYPER_IDBITS (9u << 19) /* 10 bits */
#define TYPER_A3V BIT32(24)

#define ROUTER_IRM BIT(31)
#define ROUTER_AFFINITY (FIELD(39, 32) | FIELD(23, 0))

static uint32_t head_read(struct vcpu *v, uint32_t off)
{
    switch (off) {
    case GICD_CTLR: /* RWP is never set: the few list registers that still have to follow do so at once */
        return atomic_load(&v->vm->vgic.ctlr) | CTLR_ARE | CTLR_DS;
    case GICD_TYPER:
        return VGIC_SPI_BANKS | TYPER_IDBITS | TYPER_A3V;
    case GICD_IIDR:
        return VGIC_IIDR;
    default: /* TYPER2 and STATUSR among them */
        return 0;
    }
}

static uint8_t router_target(const struct vm *vm, uint64_t router)
{
    if (router & ROUTER_IRM)
        return VGIC_TARGET_ANY;
    for (uint32_t i = 0; i < vm->vcpu_count; i++)
        if ((vcpu_mpidr(i) & ROUTER_AFFINITY) == (router & ROUTER_AFFINITY))
            return (uint8_t)i;
    return VGIC_TARGET_NONE;
}

static uint64_t router_read(struct vcpu *v, uint32_t off, uint32_t size)
{
    uint32_t intid = (off - GICD_IROUTER) / 8;
    uint64_t router;

    if (intid < 32 || size < 4 || off & (size - 1))
        return 0;
    router = atomic_load(&v->vm->vgic.router[intid - 32]);
    if (size == 8)
        return router;
    return off & 4 ? router >> 32 : (uint32_t)router;
}

/* Two vCPUs that write the two halves of one register at once leave one of the values, as long as both are aligned. */
static void router_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val)
{
    uint32_t intid = (off - GICD_IROUTER) / 8;
    struct vgic_dist *d = &v->vm->vgic;
    uint64_t router;

    if (intid < 32 || size < 4 || off & (size - 1))
        return;
    router = atomic_load(&d->router[intid - 32]);
    if (size == 8)
        router = val;
    else if (off & 4)
        router = (router & FIELD(31, 0)) | val << 32;
    else
        router = (router & FIELD(63, 32)) | (uint32_t)val;
    router &= ROUTER_IRM | ROUTER_AFFINITY;
    atomic_store(&d->router[intid - 32], router);
    atomic_store(&d->target[intid - 32], router_target(v->vm, router));
    vgic_poke_spi(v->vm, intid / 32, BIT32(intid % 32), VGIC_FOLD);
}

/* Priorities take bytes, halves and words; the rest but GICD_IROUTER words only (12.1.3). */
static bool prio_access(uint32_t off, uint32_t size)
{
    return off < GICD_PRIO_END && off >= VGIC_PRIO_BASE + 32 && size <= 4 && size && !(off & (size - 1)) && size != 3;
}

static bool word_access(uint32_t off, uint32_t size)
{
    return size == 4 && !(off & 3);
}

uint64_t vgicd_read(struct vcpu *v, uint32_t off, uint32_t size)
{
    if (off < VGIC_BITS_BASE)
        return word_access(off, size) ? head_read(v, off) : 0;
    if (off < VGIC_BITS_END) {
        uint32_t b = (off & 0x7f) / 4;

        return word_access(off, size) && b && b < VGIC_BANKS ? vgic_bits_read(v, v, b, off / 0x80) : 0;
    }
    if (off < VGIC_ICFGR_BASE) {
        uint32_t intid = off - VGIC_PRIO_BASE;

        return prio_access(off, size) ? vgic_prio_read(v, intid / 32, intid % 32, size) : 0;
    }
    if (off < GICD_ICFGR_END) {
        uint32_t word = (off - VGIC_ICFGR_BASE) / 4;

        return word_access(off, size) && word >= 2 ? vgic_icfgr_read(v, word / 2, word % 2) : 0;
    }
    if (off >= GICD_IROUTER && off < GICD_IROUTER_END)
        return router_read(v, off, size);
    if (off >= VGIC_PIDR_BASE && off < VIRT_GICD_SIZE && word_access(off, size))
        return vgic_id_read(off);
    return 0;
}

void vgicd_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val)
{
    if (off < VGIC_BITS_BASE) {
        if (off == GICD_CTLR && size == 4)
            vgic_ctlr_write(v->vm, (uint32_t)val & CTLR_GROUPS);
    } else if (off < VGIC_BITS_END) {
        uint32_t b = (off & 0x7f) / 4;

        if (word_access(off, size) && b && b < VGIC_BANKS)
            vgic_bits_write(v, v, b, off / 0x80, (uint32_t)val);
    } else if (off < VGIC_ICFGR_BASE) {
        uint32_t intid = off - VGIC_PRIO_BASE;

        if (prio_access(off, size))
            vgic_prio_write(v, intid / 32, intid % 32, size, (uint32_t)val);
    } else if (off < GICD_ICFGR_END) {
        uint32_t word = (off - VGIC_ICFGR_BASE) / 4;

        if (word_access(off, size) && word >= 2)
            vgic_icfgr_write(v, word / 2, word % 2, (uint32_t)val);
    } else if (off >= GICD_IROUTER && off < GICD_IROUTER_END) {
        router_write(v, off, size, val);
    }
}
