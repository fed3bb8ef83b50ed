/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the virtual GIC share among themselves. Bank 0 is the private one of a vCPU, banks 1 to 8 are the
 * SPIs of its guest: bank b holds INTIDs 32b to 32b + 31.
 *
 * Two patterns order things between cores:
 *
 * News travels by `dirty`. Who changes something sets it afterwards; the own core clears it before it looks. What it
 * reads then may be relaxed: if it misses a change, `dirty` is set again, and the signal is on its way.
 *
 * An SPI is taken by whoever sets its bit in `inlr`. Who changes its state writes the state, then reads `inlr` to learn
 * whom to tell; who takes or releases it writes `inlr`, then reads the state. With these four sequentially consistent at
 * least one of the two sees the other, so no change is missed. The `inlr` of a private bank is written by its own core
 * only, and other cores tell it of every change.
 */
#pragma once

#include "vcpu/vm.h"

#define BIT32(n) (UINT32_C(1) << (n))
#define VGIC_BANKS (1 + VGIC_SPI_BANKS)
#define VGIC_SGIS 0x0000ffffu /* INTIDs 0..15 */

/* Bits of vgic_cpu.dirty: bit b says that bank b has something new; this one, that list registers have to be redone. */
#define VGIC_FOLD BIT32(31)

/* GICD_CTLR with GICD_CTLR.DS = 1 (IHI 0069H 12.9.4) */
#define GICD_CTLR_GRP0 BIT32(0)
#define GICD_CTLR_GRP1 BIT32(1)

/* The registers of one bit per interrupt lie 0x80 bytes apart in both frames (12.8, 12.10). */
enum vgic_bits {
    VGIC_GROUP = 1,
    VGIC_SET_ENABLE,
    VGIC_CLR_ENABLE,
    VGIC_SET_PENDING,
    VGIC_CLR_PENDING,
    VGIC_SET_ACTIVE,
    VGIC_CLR_ACTIVE,
};
#define VGIC_BITS_BASE 0x80
#define VGIC_BITS_END 0x400
#define VGIC_PRIO_BASE 0x400
#define VGIC_ICFGR_BASE 0xc00
#define VGIC_PIDR_BASE 0xffd0

/* Five bits, as many as the list registers of QEMU and of the GIC-500 have. */
#define VGIC_PRIO_MASK 0xf8

#define VGIC_IIDR 0x43bu /* Arm's, as on the virt board; all-zero would match an erratum of another part in Linux */

static inline struct vgic_bank *vgic_bank(struct vcpu *v, uint32_t b)
{
    return b == 0 ? &v->vgic.priv : &v->vm->vgic.spi[b - 1];
}

/* Those of a bank that reach the CPU interface once they are pending: enabled, and so is their group. */
static inline uint32_t vgic_forwarded(struct vm *vm, struct vgic_bank *k, memory_order order)
{
    uint32_t ctlr = atomic_load_explicit(&vm->vgic.ctlr, order);
    uint32_t group = atomic_load_explicit(&k->group, order);
    uint32_t enable = atomic_load_explicit(&k->enable, order);

    if ((ctlr & (GICD_CTLR_GRP0 | GICD_CTLR_GRP1)) == (GICD_CTLR_GRP0 | GICD_CTLR_GRP1))
        return enable;
    return enable & ((ctlr & GICD_CTLR_GRP0 ? ~group : 0) | (ctlr & GICD_CTLR_GRP1 ? group : 0));
}

static inline uint32_t vgic_asserted(struct vgic_bank *k, memory_order order)
{
    return atomic_load_explicit(&k->pending, order) |
           (atomic_load_explicit(&k->level, order) & ~atomic_load_explicit(&k->edge, order));
}

/* Those of an SPI bank that some vCPU should get. */
static inline uint32_t vgic_wanted_spi(struct vm *vm, struct vgic_bank *k, memory_order order)
{
    uint32_t asserted = vgic_asserted(k, order);

    return asserted ? asserted & vgic_forwarded(vm, k, order) : 0;
}

/* Those of its private bank that `v` should get. */
static inline uint32_t vgic_wanted_private(struct vcpu *v, memory_order order)
{
    return (vgic_asserted(&v->vgic.priv, order) | atomic_load_explicit(&v->vgic.hw_pending, order)) &
           vgic_forwarded(v->vm, &v->vgic.priv, order);
}

/* For the own core, after it has cleared `dirty`. */
static inline uint32_t vgic_wanted(struct vcpu *v, uint32_t b)
{
    return b == 0 ? vgic_wanted_private(v, memory_order_relaxed)
                  : vgic_wanted_spi(v->vm, vgic_bank(v, b), memory_order_relaxed);
}

/* vgic.c */

/* Sets bits of `dirty` and signals the vCPU's core, if it is another one. */
void vgic_mark(struct vcpu *v, uint32_t what);

/* SPI n is routed to `v`, alone or among others. */
bool vgic_routed_to(const struct vcpu *v, uint32_t n);

/* The vCPU that SPI n (INTID 32 + n) goes to; NULL when there is none. */
struct vcpu *vgic_spi_target(struct vm *vm, uint32_t n);

/*
 * The state of interrupts `bits` of a bank has changed: tells whoever has to act. Who holds one in a list register is
 * told `held` (0: nothing), whoever should get one is told to look at the bank.
 */
void vgic_poke_spi(struct vm *vm, uint32_t b, uint32_t bits, uint32_t held);
void vgic_poke_private(struct vcpu *t, uint32_t bits, uint32_t held);

/*
 * Registers that GICD and GICR have in common, for bank b: for b = 0 the one of vCPU t. `v` is the accessing vCPU.
 * `reg` is the offset divided by 0x80.
 */
void vgic_ctlr_write(struct vm *vm, uint32_t groups); /* GICD_CTLR, the two enables */
uint32_t vgic_bits_read(struct vcpu *v, struct vcpu *t, uint32_t b, uint32_t reg);
void vgic_bits_write(struct vcpu *v, struct vcpu *t, uint32_t b, uint32_t reg, uint32_t bits);
uint32_t vgic_prio_read(struct vcpu *t, uint32_t b, uint32_t first, uint32_t size);
void vgic_prio_write(struct vcpu *t, uint32_t b, uint32_t first, uint32_t size, uint32_t val);
uint32_t vgic_icfgr_read(struct vcpu *t, uint32_t b, uint32_t half);
void vgic_icfgr_write(struct vcpu *t, uint32_t b, uint32_t half, uint32_t val);
uint32_t vgic_id_read(uint32_t off);

/* vgic_lr.c */

/*
 * Own core: makes memory exact about what `v` has in its list registers. Pending ones are taken out and put back by the
 * vgic_sync() that follows before the guest runs.
 */
void vgic_fold(struct vcpu *v);
