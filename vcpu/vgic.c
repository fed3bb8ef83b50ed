/* SPDX-License-Identifier: BSD-2-Clause */
/* State of interrupts, and who is told when it changes. */
#include "vcpu/vgic_state.h"

#include "dev/gic.h"
#include "vcpu/irq.h"

/*
 * Only the one who finds `dirty` clear signals: whoever found it set knows that a signal is under way, or that the
 * vCPU's own core set it, which looks again before it returns to the guest. vgic_sync() clears it before it reads state.
 */
void vgic_mark(struct vcpu *v, uint32_t what)
{
    if (atomic_fetch_or(&v->vgic.dirty, what) == 0 && v->core != this_core())
        gic_sgi(v->core, SGI_KICK);
}

bool vgic_routed_to(const struct vcpu *v, uint32_t n)
{
    uint8_t target = atomic_load(&v->vm->vgic.target[n]);

    return target == v->index || target == VGIC_TARGET_ANY ||
           (target == VGIC_TARGET_LIST && atomic_load(&v->vm->vgic.router[n]) >> v->index & 1);
}

struct vcpu *vgic_spi_target(struct vm *vm, uint32_t n)
{
    uint8_t target = atomic_load(&vm->vgic.target[n]);

    if (target < vm->vcpu_count)
        return &vm->vcpus[target];
    for (uint32_t i = 0; i < vm->vcpu_count; i++)
        if (vgic_routed_to(&vm->vcpus[i], n) && atomic_load(&vm->vcpus[i].power) == VCPU_ON)
            return &vm->vcpus[i];
    return NULL;
}

static void mark_holders(struct vm *vm, uint32_t b, uint32_t bits, uint32_t what)
{
    for (; bits; bits &= bits - 1) {
        uint32_t n = (b - 1) * 32 + (uint32_t)__builtin_ctz(bits);

        vgic_mark(&vm->vcpus[atomic_load(&vm->vgic.holder[n])], what);
    }
}

void vgic_poke_spi(struct vm *vm, uint32_t b, uint32_t bits, uint32_t held)
{
    struct vgic_bank *k = &vm->vgic.spi[b - 1];
    uint32_t inlr = atomic_load(&k->inlr) & bits;
    uint32_t due = bits & ~inlr;

    if (held)
        mark_holders(vm, b, inlr, held);
    if (due)
        due &= vgic_wanted_spi(vm, k, memory_order_seq_cst) & ~atomic_load(&k->active);
    for (; due; due &= due - 1) {
        struct vcpu *t = vgic_spi_target(vm, (b - 1) * 32 + (uint32_t)__builtin_ctz(due));

        if (t)
            vgic_mark(t, BIT32(b));
    }
}

void vgic_poke_private(struct vcpu *t, uint32_t bits, uint32_t held)
{
    uint32_t what = 0;

    if (!bits)
        return;
    /* From another core one cannot see what the own one is just doing with them. */
    if (t->core != this_core() || (atomic_load(&t->vgic.priv.inlr) | atomic_load(&t->vgic.hw_pending)) & bits)
        what |= held;
    if (vgic_wanted_private(t, memory_order_seq_cst) & bits)
        what |= BIT32(0);
    if (what)
        vgic_mark(t, what);
}

/* Whoever enables it looks whether it is pending, after that; so if it is seen disabled here, no more need be done. */
static void pend_private(struct vcpu *t, uint32_t bit)
{
    atomic_fetch_or(&t->vgic.priv.pending, bit);
    if (atomic_load(&t->vgic.priv.enable) & bit)
        vgic_mark(t, BIT32(0));
}

static void poke(struct vcpu *t, uint32_t b, uint32_t bits, uint32_t held)
{
    if (b == 0)
        vgic_poke_private(t, bits, held);
    else
        vgic_poke_spi(t->vm, b, bits, held);
}

void vgic_set_spi_level(struct vm *vm, uint32_t intid, bool level)
{
    uint32_t b = intid / 32;
    uint32_t bit = BIT32(intid % 32);
    struct vgic_bank *k;

    if (b == 0 || b >= VGIC_BANKS)
        return;
    k = &vm->vgic.spi[b - 1];
    if (!(atomic_load(&k->level) & bit) == !level)
        return;
    if (!level) {
        atomic_fetch_and(&k->level, ~bit);
        if (!(atomic_load(&k->edge) & bit))
            vgic_poke_spi(vm, b, bit, VGIC_FOLD);
        return;
    }
    atomic_fetch_or(&k->level, bit);
    if (atomic_load(&k->edge) & bit) {
        atomic_fetch_or(&k->pending, bit);
        vgic_poke_spi(vm, b, bit, BIT32(b));
    } else {
        vgic_poke_spi(vm, b, bit, 0); /* whoever holds it looks at the line again after the guest's EOI */
    }
}

void vgic_set_private_pending(struct vcpu *v, uint32_t intid)
{
    if (intid < 32)
        pend_private(v, BIT32(intid));
}

void vgic_ctlr_write(struct vm *vm, uint32_t val)
{
    if (atomic_exchange(&vm->vgic.ctlr, val) == val)
        return;
    for (uint32_t i = 0; i < vm->vcpu_count; i++)
        vgic_mark(&vm->vcpus[i], VGIC_FOLD);
    for (uint32_t b = 1; b < VGIC_BANKS; b++)
        vgic_poke_spi(vm, b, ~0u, 0);
}

#define SGIR_LIST FIELD(15, 0)
#define SGIR_AFF1 FIELD(23, 16)
#define SGIR_INTID FIELD(27, 24)
#define SGIR_ALL_BUT_SELF BIT(40)
#define SGIR_OUT_OF_RANGE (FIELD(55, 44) | FIELD(39, 32)) /* Aff3, RS, Aff2 */

static void send_sgi_to(struct vcpu *t, uint32_t bit, bool group0_only)
{
    if (!group0_only || !(atomic_load(&t->vgic.priv.group) & bit))
        pend_private(t, bit);
}

/*
 * Affinity routing, with the affinities of vcpu_mpidr(): Aff1 names a cluster of 16, the list its vCPUs. GICD_TYPER.RSS
 * is 0, so a range selector other than 0 is reserved, and reaches nobody. A vCPU that is off keeps the interrupt until
 * it is on.
 */
static inline void send_sgi(struct vcpu *v, uint64_t val, bool group0_only)
{
    struct vm *vm = v->vm;
    uint32_t bit = BIT32(field_get(SGIR_INTID, val));
    uint32_t first = 16 * (uint32_t)field_get(SGIR_AFF1, val);

    if (val & SGIR_ALL_BUT_SELF) {
        for (uint32_t i = 0; i < vm->vcpu_count; i++)
            if (i != v->index)
                send_sgi_to(&vm->vcpus[i], bit, group0_only);
        return;
    }
    if (val & SGIR_OUT_OF_RANGE)
        return;
    for (uint32_t list = (uint32_t)(val & SGIR_LIST); list; list &= list - 1) {
        uint32_t i = first + (uint32_t)__builtin_ctz(list);

        if (i == v->index && !group0_only && vgic_sgi_again(v, (uint32_t)field_get(SGIR_INTID, val)))
            continue;
        if (i < vm->vcpu_count)
            send_sgi_to(&vm->vcpus[i], bit, group0_only);
    }
}

/* Under GICD_CTLR.DS = 1 this one reaches SGIs of either group, ICC_SGI0R_EL1 and ICC_ASGI1R_EL1 those of group 0. */
void vgic_sgi1r(struct vcpu *v, uint64_t val)
{
    send_sgi(v, val, false);
}

void vgic_sgi0r(struct vcpu *v, uint64_t val)
{
    send_sgi(v, val, true);
}

/*
 * With the guest's EOImode 1 an interrupt that is in a list register of this core is deactivated by the hardware, unless
 * the trap is on. Known limit: an SPI that sits in another core's list register is reached by this only while the trap
 * happens to be on here.
 */
void vgic_dir(struct vcpu *v, uint64_t val)
{
    uint64_t intid = val & FIELD(23, 0);

    if (intid < VGIC_BANKS * 32)
        vgic_bits_write(v, v, (uint32_t)intid / 32, VGIC_CLR_ACTIVE, BIT32(intid % 32));
}

/*
 * Which private interrupts of t are pending as physical ones. A timer's line is a level: it may have gone low since EL2
 * took its interrupt, and may be high again while that is still active. For the accessing vCPU's own ones the timers
 * themselves say so, and an interrupt whose line is low goes back to the hardware. Known limit: of another vCPU's, what
 * was true when its core took them.
 */
static uint32_t physical_pending(struct vcpu *v, struct vcpu *t)
{
    uint32_t was = atomic_load(&t->vgic.hw_pending);
    uint32_t edge, lines;

    if (t != v)
        return was;
    edge = atomic_load(&t->vgic.priv.edge);
    lines = irq_timer_lines() & ~edge;
    if (was & ~(lines | edge)) {
        atomic_fetch_and(&t->vgic.hw_pending, lines | edge);
        vgic_mark(t, VGIC_FOLD);
    }
    return lines | (was & edge);
}

/*
 * What the accessing vCPU has in its own list registers is folded into memory first, so its own view is exact. What
 * another vCPU has in its list registers counts as it was when that one last folded: in a list register and not known
 * to be active means pending.
 */
uint32_t vgic_bits_read(struct vcpu *v, struct vcpu *t, uint32_t b, uint32_t reg)
{
    struct vgic_bank *k = vgic_bank(t, b);
    uint32_t pending;

    switch (reg) {
    case VGIC_GROUP:
        return atomic_load(&k->group);
    case VGIC_SET_ENABLE:
    case VGIC_CLR_ENABLE:
        return atomic_load(&k->enable);
    case VGIC_SET_PENDING:
    case VGIC_CLR_PENDING:
        vgic_fold(v);
        pending = atomic_load(&k->pending) | (atomic_load(&k->level) & ~atomic_load(&k->edge));
        if (b == 0)
            pending |= physical_pending(v, t);
        return pending | (atomic_load(&k->inlr) & ~atomic_load(&k->active));
    case VGIC_SET_ACTIVE:
    case VGIC_CLR_ACTIVE:
        vgic_fold(v);
        return atomic_load(&k->active);
    default:
        return 0;
    }
}

/* Pending or active state that sits in a list register only its holder can take out; it is asked to. */
static void ask_to_drop(struct vcpu *t, uint32_t b, _Atomic uint32_t *drop, uint32_t bits)
{
    uint32_t inlr = bits & atomic_load(&vgic_bank(t, b)->inlr);

    atomic_fetch_or(drop, inlr);
    if (b == 0)
        vgic_mark(t, VGIC_FOLD); /* in any case: its core may owe the physical deactivation now */
    else
        mark_holders(t->vm, b, inlr, VGIC_FOLD);
}

void vgic_bits_write(struct vcpu *v, struct vcpu *t, uint32_t b, uint32_t reg, uint32_t bits)
{
    struct vgic_bank *k = vgic_bank(t, b);
    uint32_t held = VGIC_FOLD;

    switch (reg) {
    case VGIC_GROUP:
        bits ^= atomic_exchange(&k->group, bits);
        break;
    case VGIC_SET_ENABLE:
        bits &= ~atomic_fetch_or(&k->enable, bits);
        break;
    case VGIC_CLR_ENABLE:
        bits &= atomic_fetch_and(&k->enable, ~bits);
        break;
    case VGIC_SET_PENDING:
        atomic_fetch_or(&k->pending, bits);
        held = BIT32(b);
        break;
    case VGIC_CLR_PENDING:
        atomic_fetch_and(&k->pending, ~bits);
        if (b == 0)
            atomic_fetch_and(&t->vgic.hw_pending, ~bits);
        ask_to_drop(t, b, &k->drop_pending, bits);
        break;
    case VGIC_SET_ACTIVE:
        vgic_fold(v); /* an active state that the guest has ended must not be taken for this one */
        bits &= ~atomic_fetch_or(&k->active, bits);
        break;
    case VGIC_CLR_ACTIVE:
        atomic_fetch_and(&k->active, ~bits);
        ask_to_drop(t, b, &k->drop_active, bits);
        break;
    default:
        return;
    }
    poke(t, b, bits, held);
}

uint32_t vgic_prio_read(struct vcpu *t, uint32_t b, uint32_t first, uint32_t size)
{
    struct vgic_bank *k = vgic_bank(t, b);
    uint32_t val = 0;

    for (uint32_t i = 0; i < size; i++)
        val |= (uint32_t)atomic_load(&k->prio[first + i]) << (8 * i);
    return val;
}

/* The priority of an active interrupt stays in its list register as it was: its EOI has to match it. */
void vgic_prio_write(struct vcpu *t, uint32_t b, uint32_t first, uint32_t size, uint32_t val)
{
    struct vgic_bank *k = vgic_bank(t, b);
    uint32_t changed = 0;

    for (uint32_t i = 0; i < size; i++) {
        uint8_t prio = (uint8_t)(val >> (8 * i)) & VGIC_PRIO_MASK;

        if (atomic_exchange(&k->prio[first + i], prio) != prio)
            changed |= BIT32(first + i);
    }
    poke(t, b, changed, VGIC_FOLD);
}

/* Two bits for each interrupt, the upper of which says edge. */
uint32_t vgic_icfgr_read(struct vcpu *t, uint32_t b, uint32_t half)
{
    uint32_t edge = atomic_load(&vgic_bank(t, b)->edge) >> (16 * half);
    uint32_t val = 0;

    for (uint32_t i = 0; i < 16; i++)
        val |= (edge >> i & 1) << (2 * i + 1);
    return val;
}

void vgic_icfgr_write(struct vcpu *t, uint32_t b, uint32_t half, uint32_t val)
{
    struct vgic_bank *k = vgic_bank(t, b);
    uint32_t set = 0;
    uint32_t mask = UINT32_C(0xffff) << (16 * half);

    for (uint32_t i = 0; i < 16; i++)
        set |= (val >> (2 * i + 1) & 1) << (16 * half + i);
    atomic_fetch_or(&k->edge, set);
    atomic_fetch_and(&k->edge, ~mask | set);
    poke(t, b, mask, VGIC_FOLD);
}

/* PIDR4 to PIDR7, PIDR0 to PIDR3, CIDR0 to CIDR3 (IHI 0069H 12.1.4): an Arm part, GICv3. */
uint32_t vgic_id_read(uint32_t off)
{
    static const uint8_t id[] = {0x44, 0, 0, 0, 0x92, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1};

    return id[(off - VGIC_PIDR_BASE) / 4];
}

static void bank_reset(struct vgic_bank *k, uint32_t edge)
{
    atomic_store(&k->enable, 0);
    atomic_store(&k->pending, 0);
    atomic_store(&k->level, 0);
    atomic_store(&k->active, 0);
    atomic_store(&k->group, 0);
    atomic_store(&k->edge, edge);
    atomic_store(&k->inlr, 0);
    atomic_store(&k->spilled, 0);
    atomic_store(&k->drop_pending, 0);
    atomic_store(&k->drop_active, 0);
    for (uint32_t i = 0; i < 32; i++)
        atomic_store(&k->prio[i], 0);
}

void vgic_dist_reset(struct vm *vm)
{
    struct vgic_dist *d = &vm->vgic;

    atomic_store(&d->ctlr, 0);
    for (uint32_t b = 0; b < VGIC_SPI_BANKS; b++)
        bank_reset(&d->spi[b], 0);
    for (uint32_t n = 0; n < VIRT_SPIS; n++) {
        atomic_store(&d->router[n], 0);
        /* Affinity 0.0.0.0 is vCPU 0; a GICv2 has no targets at first, unless there is but one. */
        atomic_store(&d->target[n], d->v2 && vm->vcpu_count > 1 ? VGIC_TARGET_NONE : 0);
        atomic_store(&d->holder[n], 0);
    }
}

void vgic_cpu_reset(struct vcpu *v)
{
    struct vgic_cpu *c = &v->vgic;

    bank_reset(&c->priv, VGIC_SGIS);
    /* Whether SGIs can be disabled is up to the implementation (IHI 0048B 4.3.5); on the virt board they cannot. */
    atomic_store(&c->priv.enable, v->vm->vgic.v2 ? VGIC_SGIS : 0);
    for (uint32_t n = 0; n < ARRAY_SIZE(c->senders); n++)
        atomic_store(&c->senders[n], 0);
    atomic_store(&c->dirty, 0);
    atomic_store(&c->waker, 1);
    atomic_store(&c->hw_pending, 0);
    c->hw_kept = 0;
    c->lr_used = 0;
    c->lr_eoi = 0;
}
