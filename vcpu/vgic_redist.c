/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The redistributor frames (IHI 0069H 12.10, 12.11): for each vCPU RD_base, then SGI_base 64 KiB above it. No LPIs. Any
 * vCPU may access any frame.
 */
#include "vcpu/vgic_state.h"

#define GICR_SGI_BASE 0x10000

#define GICR_IIDR 0x4
#define GICR_TYPER 0x8
#define GICR_WAKER 0x14

#define TYPER_LAST BIT(4)
#define TYPER_PROCESSOR FIELD(23, 8)
#define TYPER_AFFINITY FIELD(63, 32)
#define WAKER_SLEEP BIT32(1)
#define WAKER_CHILDREN_ASLEEP BIT32(2)

static uint64_t typer(struct vcpu *t)
{
    uint64_t mpidr = vcpu_mpidr(t->index);
    uint64_t affinity = field_get(FIELD(39, 32), mpidr) << 24 | (mpidr & FIELD(23, 0));
    bool last = t->index + 1 == t->vm->vcpu_count;

    return field_put(TYPER_AFFINITY, affinity) | field_put(TYPER_PROCESSOR, t->index) | (last ? TYPER_LAST : 0);
}

static uint64_t rd_read(struct vcpu *t, uint32_t off, uint32_t size)
{
    if (off == GICR_TYPER && size == 8)
        return typer(t);
    if (size != 4 || off & 3)
        return 0;
    switch (off) {
    case GICR_IIDR:
        return VGIC_IIDR;
    case GICR_TYPER:
        return (uint32_t)typer(t);
    case GICR_TYPER + 4:
        return typer(t) >> 32;
    case GICR_WAKER:
        return atomic_load(&t->vgic.waker) ? WAKER_SLEEP | WAKER_CHILDREN_ASLEEP : 0;
    default: /* GICR_CTLR among them: nothing to control, no write ever pending */
        return off >= VGIC_PIDR_BASE ? vgic_id_read(off) : 0;
    }
}

/* Frame, size and alignment of a word in SGI_base; `reg` counts from it. */
static bool prio_access(uint32_t reg, uint32_t size)
{
    return reg >= VGIC_PRIO_BASE && reg < VGIC_PRIO_BASE + 32 && (size == 1 || size == 2 || size == 4) &&
           !(reg & (size - 1));
}

static bool bits_access(uint32_t reg, uint32_t size)
{
    return reg >= VGIC_BITS_BASE && reg < VGIC_BITS_END && !(reg & 0x7f) && size == 4;
}

/* The vCPU whose frames `off` lies in, or NULL. */
static struct vcpu *owner(struct vcpu *v, uint32_t off)
{
    uint32_t index = off / VIRT_GICR_STRIDE;

    return index < v->vm->vcpu_count ? &v->vm->vcpus[index] : NULL;
}

uint64_t vgicr_read(struct vcpu *v, uint32_t off, uint32_t size)
{
    struct vcpu *t = owner(v, off);
    uint32_t reg = off % VIRT_GICR_STRIDE;

    if (!t)
        return 0;
    if (reg < GICR_SGI_BASE)
        return rd_read(t, reg, size);
    reg -= GICR_SGI_BASE;
    if (bits_access(reg, size))
        return vgic_bits_read(v, t, 0, reg / 0x80);
    if (prio_access(reg, size))
        return vgic_prio_read(t, 0, reg - VGIC_PRIO_BASE, size);
    if ((reg == VGIC_ICFGR_BASE || reg == VGIC_ICFGR_BASE + 4) && size == 4)
        return vgic_icfgr_read(t, 0, (reg - VGIC_ICFGR_BASE) / 4);
    return 0;
}

void vgicr_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val)
{
    struct vcpu *t = owner(v, off);
    uint32_t reg = off % VIRT_GICR_STRIDE;

    if (!t)
        return;
    if (reg < GICR_SGI_BASE) {
        /* As on the virt board, interrupts are forwarded whether or not the guest has woken the redistributor. */
        if (reg == GICR_WAKER && size == 4)
            atomic_store(&t->vgic.waker, !!(val & WAKER_SLEEP));
        return;
    }
    reg -= GICR_SGI_BASE;
    if (bits_access(reg, size))
        vgic_bits_write(v, t, 0, reg / 0x80, (uint32_t)val);
    else if (prio_access(reg, size))
        vgic_prio_write(t, 0, reg - VGIC_PRIO_BASE, size, (uint32_t)val);
    else if (reg == VGIC_ICFGR_BASE + 4 && size == 4) /* SGIs are always edge-triggered */
        vgic_icfgr_write(t, 0, 1, (uint32_t)val);
}
