/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The distributor frame of a GICv2 (IHI 0048B 4.3), without the security extensions: both groups, one view. What belongs
 * to INTIDs 0 to 31 is banked, so a vCPU reaches its own alone. The CPU interface needs no emulation: the guest's GICC is
 * the hardware's GICV.
 */
#include "vcpu/vgic_state.h"

#define GICD_CTLR 0x0
#define GICD_TYPER 0x4
#define GICD_IIDR 0x8
#define GICD_PRIO_END (VGIC_PRIO_BASE + VGIC_BANKS * 32)
#define GICD_ITARGETSR 0x800
#define GICD_ITARGETSR_END (GICD_ITARGETSR + VGIC_BANKS * 32)
#define GICD_ICFGR_END (VGIC_ICFGR_BASE + VGIC_BANKS * 8)
#define GICD_SGIR 0xf00
#define GICD_CPENDSGIR 0xf10
#define GICD_SPENDSGIR 0xf20
#define GICD_SPENDSGIR_END 0xf30
#define GICD_PIDR_BASE 0xfd0
#define GICD_END 0x1000

#define CTLR_GROUPS (GICD_CTLR_GRP0 | GICD_CTLR_GRP1)

#define SGIR_INTID FIELD(3, 0)
#define SGIR_LIST FIELD(23, 16)
#define SGIR_FILTER FIELD(25, 24)
enum { FILTER_LIST, FILTER_OTHERS, FILTER_SELF };

static uint32_t head_read(struct vcpu *v, uint32_t off)
{
    switch (off) {
    case GICD_CTLR:
        return atomic_load(&v->vm->vgic.ctlr);
    case GICD_TYPER:
        return VGIC_SPI_BANKS | (v->vm->vcpu_count - 1) << 5;
    case GICD_IIDR:
        return VGIC_IIDR;
    default:
        return 0;
    }
}

/* PIDR4 to PIDR7, PIDR0 to PIDR3, CIDR0 to CIDR3 (4.3.18): as on the virt board. */
static uint32_t id_read(uint32_t off)
{
    static const uint8_t id[] = {0x04, 0, 0, 0, 0x90, 0xb4, 0x2b, 0, 0x0d, 0xf0, 0x05, 0xb1};

    return id[(off - GICD_PIDR_BASE) / 4];
}

static uint8_t all_cpus(const struct vm *vm)
{
    return (uint8_t)(BIT32(vm->vcpu_count) - 1);
}

/* Of an SPI, the list; of a private interrupt, the vCPU itself. With one vCPU there is nothing to choose (4.3.12). */
static uint32_t targets_read(struct vcpu *v, uint32_t intid, uint32_t size)
{
    uint32_t val = 0;

    if (v->vm->vcpu_count == 1)
        return 0;
    for (uint32_t i = 0; i < size; i++) {
        uint32_t n = intid + i;

        val |= (n < 32 ? BIT32(v->index) : (uint32_t)atomic_load(&v->vm->vgic.router[n - 32])) << (8 * i);
    }
    return val;
}

static uint8_t list_target(const struct vm *vm, uint32_t list)
{
    if (!list)
        return VGIC_TARGET_NONE;
    if (!(list & (list - 1)))
        return (uint8_t)__builtin_ctz(list);
    return list == all_cpus(vm) ? VGIC_TARGET_ANY : VGIC_TARGET_LIST;
}

static void targets_write(struct vcpu *v, uint32_t intid, uint32_t size, uint32_t val)
{
    struct vgic_dist *d = &v->vm->vgic;

    if (v->vm->vcpu_count == 1 || intid < 32)
        return;
    for (uint32_t i = 0; i < size; i++) {
        uint32_t n = intid + i - 32;
        uint32_t list = val >> (8 * i) & all_cpus(v->vm);

        atomic_store(&d->router[n], list);
        atomic_store(&d->target[n], list_target(v->vm, list));
    }
    vgic_poke_spi(v->vm, intid / 32, (BIT32(size) - 1) << intid % 32, VGIC_FOLD);
}

/* The sender before the pending bit: who takes the bit finds the sender. */
static void send(struct vcpu *to, uint32_t n, uint32_t senders)
{
    if (!senders)
        return;
    atomic_fetch_or(&to->vgic.senders[n], (uint8_t)senders);
    vgic_set_private_pending(to, n);
}

static void sgir_write(struct vcpu *v, uint32_t val)
{
    struct vm *vm = v->vm;
    uint32_t n = (uint32_t)field_get(SGIR_INTID, val);
    uint32_t to;

    switch (field_get(SGIR_FILTER, val)) {
    case FILTER_LIST:
        to = (uint32_t)field_get(SGIR_LIST, val) & all_cpus(vm);
        break;
    case FILTER_OTHERS:
        to = all_cpus(vm) & ~BIT32(v->index);
        break;
    case FILTER_SELF:
        to = BIT32(v->index);
        break;
    default: /* reserved */
        return;
    }
    for (; to; to &= to - 1)
        send(&vm->vcpus[__builtin_ctz(to)], n, BIT32(v->index));
}

/* GICD_CPENDSGIR and GICD_SPENDSGIR: a byte for each SGI, a bit in it for each sender. The vCPU's own only. */
static uint32_t senders_read(struct vcpu *v, uint32_t n, uint32_t size)
{
    uint32_t val = 0;

    vgic_fold(v);
    for (uint32_t i = 0; i < size; i++)
        val |= (uint32_t)atomic_load(&v->vgic.senders[n + i]) << (8 * i);
    return val;
}

static void senders_set(struct vcpu *v, uint32_t n, uint32_t size, uint32_t val)
{
    for (uint32_t i = 0; i < size; i++)
        send(v, n + i, val >> (8 * i) & all_cpus(v->vm));
}

static void senders_clear(struct vcpu *v, uint32_t n, uint32_t size, uint32_t val)
{
    vgic_fold(v);
    for (uint32_t i = 0; i < size; i++) {
        _Atomic uint8_t *senders = &v->vgic.senders[n + i];

        atomic_fetch_and(senders, (uint8_t) ~(val >> (8 * i)));
        if (atomic_load(senders))
            continue;
        atomic_fetch_and(&v->vgic.priv.pending, ~BIT32(n + i));
        if (atomic_load(senders)) /* another vCPU has sent it meanwhile */
            atomic_fetch_or(&v->vgic.priv.pending, BIT32(n + i));
    }
}

static bool word_access(uint32_t off, uint32_t size)
{
    return size == 4 && !(off & 3);
}

/* A byte for each interrupt: bytes, halves and words (4.1.4). */
static bool byte_access(uint32_t off, uint32_t size)
{
    return (size == 1 || size == 2 || size == 4) && !(off & (size - 1));
}

uint64_t vgicv2_read(struct vcpu *v, uint32_t off, uint32_t size)
{
    bool word = word_access(off, size);
    bool byte = byte_access(off, size);

    if (off < VGIC_BITS_BASE)
        return word ? head_read(v, off) : 0;
    if (off < VGIC_BITS_END) {
        uint32_t b = (off & 0x7f) / 4;

        return word && b < VGIC_BANKS ? vgic_bits_read(v, v, b, off / 0x80) : 0;
    }
    if (off < GICD_PRIO_END)
        return byte ? vgic_prio_read(v, (off - VGIC_PRIO_BASE) / 32, off % 32, size) : 0;
    if (off >= GICD_ITARGETSR && off < GICD_ITARGETSR_END)
        return byte ? targets_read(v, off - GICD_ITARGETSR, size) : 0;
    if (off >= VGIC_ICFGR_BASE && off < GICD_ICFGR_END) {
        uint32_t n = (off - VGIC_ICFGR_BASE) / 4;

        return word ? vgic_icfgr_read(v, n / 2, n % 2) : 0;
    }
    if (off >= GICD_CPENDSGIR && off < GICD_SPENDSGIR_END)
        return byte ? senders_read(v, off % 16, size) : 0;
    if (off >= GICD_PIDR_BASE && off < GICD_END)
        return word ? id_read(off) : 0;
    return 0;
}

static void bits_write(struct vcpu *v, uint32_t b, uint32_t reg, uint32_t bits)
{
    if (b == 0 && (reg == VGIC_SET_PENDING || reg == VGIC_CLR_PENDING)) /* SGIs have registers of their own (4.3.7) */
        bits &= ~VGIC_SGIS;
    vgic_bits_write(v, v, b, reg, bits);
}

void vgicv2_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val)
{
    bool word = word_access(off, size);
    bool byte = byte_access(off, size);
    uint32_t w = (uint32_t)val;

    if (off < VGIC_BITS_BASE) {
        if (off == GICD_CTLR && word)
            vgic_ctlr_write(v->vm, w & CTLR_GROUPS);
    } else if (off < VGIC_BITS_END) {
        uint32_t b = (off & 0x7f) / 4;

        if (word && b < VGIC_BANKS)
            bits_write(v, b, off / 0x80, w);
    } else if (off < GICD_PRIO_END) {
        if (byte)
            vgic_prio_write(v, (off - VGIC_PRIO_BASE) / 32, off % 32, size, w);
    } else if (off >= GICD_ITARGETSR && off < GICD_ITARGETSR_END) {
        if (byte)
            targets_write(v, off - GICD_ITARGETSR, size, w);
    } else if (off >= VGIC_ICFGR_BASE && off < GICD_ICFGR_END) {
        uint32_t n = (off - VGIC_ICFGR_BASE) / 4;

        if (word && n > 0) /* SGIs are always edge-triggered */
            vgic_icfgr_write(v, n / 2, n % 2, w);
    } else if (off == GICD_SGIR) {
        if (word)
            sgir_write(v, w);
    } else if (off >= GICD_CPENDSGIR && off < GICD_SPENDSGIR) {
        if (byte)
            senders_clear(v, off % 16, size, w);
    } else if (off >= GICD_SPENDSGIR && off < GICD_SPENDSGIR_END) {
        if (byte)
            senders_set(v, off % 16, size, w);
    }
}
