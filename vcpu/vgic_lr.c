/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list registers of a vCPU. Everything here runs on its own core, with interrupts masked.
 *
 * The common case costs little: list registers that the guest has finished with are found by one read of ELRSR, and what
 * is new goes into free ones. Anything else takes refill(): everything pending comes back into memory, and the best of
 * all candidates go into the list registers again. So priorities, enables, routes that changed are all honoured alike.
 *
 * When there are more candidates than list registers, those that matter most get one, and the maintenance interrupt "no
 * pending" (NPIE) brings EL2 back when the guest has taken them all. For that not to fire for ever, at least one list
 * register must be pending whenever NPIE is set. So if all of them are active (the guest nests, or uses EOImode 1 and
 * deactivates late), the least urgent active one is spilled: it stays `active` in memory, and the guest's EOI, which
 * then matches no list register, counts in ICH_HCR_EL2.EOIcount and causes maintenance (LRENPIE). With EOImode 0 EOIs
 * come in the reverse order of acknowledgement (IHI 0069H 4.1.1), and the priorities of nested interrupts differ, so
 * the one that ended is the most urgent of the spilled ones. With EOImode 1 the deactivation traps (TDIR) and says which.
 * Known limit: a guest that both lets interrupts spill and takes an active state away by GICD_ICACTIVER before its EOI
 * may deactivate another one of its own by that EOI.
 */
#include "vcpu/vgic_state.h"

#include "dev/gic.h"
#include "dev/gich.h"
#include "lib/arch.h"

/* On the way of every tick and every SGI: with b = 0 known when it is compiled, most of it goes away. */
#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

static uint32_t lowest(uint32_t bits)
{
    return (uint32_t)__builtin_ctz(bits);
}

static bool take_bit(_Atomic uint32_t *word, uint32_t bit)
{
    return atomic_load(word) & bit && atomic_fetch_and(word, ~bit) & bit;
}

/* Those of SPI bank b that `v` has, or had when they spilled. */
static uint32_t holding(const struct vcpu *v, uint32_t b, uint32_t bits)
{
    uint32_t mine = 0;

    for (; b && bits; bits &= bits - 1)
        if (atomic_load(&v->vm->vgic.holder[(b - 1) * 32 + lowest(bits)]) == v->index)
            mine |= bits & -bits;
    return b ? mine : bits;
}

/*
 * An SPI is free to be taken again. If another vCPU should have it, that one is told; if this one should, its bank is
 * returned. Never vgic_mark(v) in here: no signal would follow it, and later ones would be held back.
 */
static uint32_t offer_spi(struct vcpu *v, uint32_t b, uint32_t bit)
{
    struct vgic_bank *k = vgic_bank(v, b);
    uint32_t n = (b - 1) * 32 + lowest(bit);
    struct vcpu *t;

    if (!(vgic_wanted_spi(v->vm, k, memory_order_seq_cst) & bit) || atomic_load(&k->active) & bit)
        return 0;
    t = vgic_routed_to(v, n) ? v : vgic_spi_target(v->vm, n);
    if (t == v)
        return BIT32(b);
    if (t)
        vgic_mark(t, BIT32(b));
    return 0;
}

/* The interrupt is in no list register any more. Returns its bank if this vCPU has to look at it. */
static INLINE uint32_t let_go(struct vcpu *v, uint32_t b, uint32_t bit)
{
    struct vgic_bank *k = vgic_bank(v, b);

    if (b == 0) {
        uint32_t inlr = atomic_load_explicit(&k->inlr, memory_order_relaxed);

        atomic_store_explicit(&k->inlr, inlr & ~bit, memory_order_relaxed);
        return BIT32(0);
    }
    atomic_fetch_and(&k->inlr, ~bit);
    return offer_spi(v, b, bit);
}

/* vgic_cpu.lr[].flags */
#define ACTIVE 1u  /* as last seen */
#define HW 2u      /* stands for a physical interrupt, which is active: ICH_LR.HW = 1, if the hardware can do that */
#define LATCHED 4u /* its pending state came from `pending`, not from the input line */

/* List register i does not hold this interrupt any more. Returns its bank if this vCPU has to look at it. */
static INLINE uint32_t emptied(struct vcpu *v, uint32_t b, uint32_t bit, uint32_t i)
{
    struct vgic_cpu *c = &v->vgic;

    c->lr_used &= ~BIT32(i);
    c->lr_eoi &= ~BIT32(i);
    if (c->lr[i].flags & ACTIVE) /* otherwise an active state in memory is one the guest wrote there */
        atomic_fetch_and(&vgic_bank(v, b)->active, ~bit);
    return let_go(v, b, bit);
}

/*
 * Finds the list registers that the guest has emptied, or those of them that hold private interrupts. Returns the banks
 * that this vCPU has to look at.
 */
static INLINE uint32_t collect_some(struct vcpu *v, bool private_only)
{
    struct vgic_cpu *c = &v->vgic;
    uint32_t todo = 0;
    uint32_t gone = (uint32_t)gich_elrsr();

    if (!private_only && c->lr_eoi)
        gone |= (uint32_t)gich_eisr();
    for (gone &= c->lr_used; gone; gone &= gone - 1) {
        uint32_t i = lowest(gone);
        uint32_t intid = c->lr[i].intid;

        if (private_only && intid >= 32)
            continue;
        if (!private_only && c->lr_eoi & BIT32(i))
            gich_lr_write(i, 0); /* ends its maintenance interrupt */
        if (c->lr[i].flags & HW) {
            c->hw_active &= ~BIT32(intid); /* the guest's EOI has deactivated the physical one */
            if (!private_only && c->lr_eoi & BIT32(i))
                gic_deactivate(intid); /* it has not */
        }
        todo |= emptied(v, private_only ? 0 : intid / 32, BIT32(intid % 32), i);
    }
    return todo;
}

static uint32_t collect(struct vcpu *v)
{
    return v->vgic.lr_used ? collect_some(v, false) : 0;
}

/* What was asked of an interrupt when it was in a list register, and was not seen in time. */
static INLINE void drop_stale(struct vgic_bank *k, uint32_t bit)
{
    uint32_t stale = atomic_load_explicit(&k->drop_pending, memory_order_relaxed) |
                     atomic_load_explicit(&k->drop_active, memory_order_relaxed) |
                     atomic_load_explicit(&k->spilled, memory_order_relaxed);

    if (!(stale & bit))
        return;
    atomic_fetch_and(&k->drop_pending, ~bit);
    atomic_fetch_and(&k->drop_active, ~bit);
    atomic_fetch_and(&k->spilled, ~bit);
}

/* Of an interrupt that a GICv2 keeps apart by sender. */
static INLINE bool has_senders(const struct vcpu *v, uint32_t b, uint32_t n)
{
    return b == 0 && n < ARRAY_SIZE(v->vgic.senders) && v->vm->vgic.v2;
}

/*
 * One sender's SGI n, for a list register. If others have sent it too, it stays pending, and the guest's EOI causes
 * maintenance. 0 when there is none: it was taken with an earlier one.
 */
NOINLINE static uint64_t take_sender(struct vcpu *v, uint32_t n)
{
    _Atomic uint8_t *senders = &v->vgic.senders[n];
    uint32_t all = atomic_load(senders);
    uint32_t one = all & -all;

    if (!all)
        return 0;
    if (!(atomic_fetch_and(senders, (uint8_t)~one) & ~one))
        return LR_PENDING | field_put(LR_SOURCE, lowest(one));
    atomic_fetch_or(&v->vgic.priv.pending, BIT32(n));
    return LR_PENDING | field_put(LR_SOURCE, lowest(one)) | LR_EOI;
}

/*
 * Takes an interrupt of bank b into list register i, if it is still a candidate. Returns the bank if this vCPU has to
 * look at it again: its state changes under our hands.
 */
static INLINE uint32_t fill(struct vcpu *v, uint32_t b, uint32_t n, uint32_t i)
{
    struct vgic_cpu *c = &v->vgic;
    struct vgic_bank *k = vgic_bank(v, b);
    uint32_t bit = BIT32(n);
    uint64_t lr = LR_PENDING | (b * 32 + n);
    uint32_t flags = 0;
    bool edge = atomic_load_explicit(&k->edge, memory_order_relaxed) & bit;

    if (b == 0) {
        uint32_t inlr = atomic_load_explicit(&k->inlr, memory_order_relaxed);

        atomic_store_explicit(&k->inlr, inlr | bit, memory_order_relaxed);
    } else {
        uint32_t spi = (b - 1) * 32 + n;

        if (atomic_fetch_or(&k->inlr, bit) & bit)
            return 0; /* another vCPU was faster */
        atomic_store(&v->vm->vgic.holder[spi], (uint8_t)v->index);
        if (!(vgic_wanted_spi(v->vm, k, memory_order_seq_cst) & bit) || atomic_load(&k->active) & bit ||
            !vgic_routed_to(v, spi))
            return let_go(v, b, bit);
    }
    drop_stale(k, bit);
    if (take_bit(&k->pending, bit)) {
        flags |= LATCHED;
        if (b == 0 && bit & VGIC_SGIS)
            c->sgi_lr = i;
    }
    if (has_senders(v, b, n)) {
        uint64_t sent = take_sender(v, n);

        lr |= sent;
        flags = sent ? LATCHED : 0;
    }
    if (b == 0 && take_bit(&c->hw_pending, bit)) {
        flags |= HW;
        lr |= c->lr_hw | field_put(LR_PINTID, n);
        c->tick_lr = i;
    } else if (!edge) {
        lr |= LR_EOI; /* to look at the line again then */
    }
    if (!flags && (edge || !(atomic_load(&k->level) & bit)))
        return let_go(v, b, bit);

    lr |= field_put(LR_PRIORITY, atomic_load_explicit(&k->prio[n], memory_order_relaxed));
    if (atomic_load_explicit(&k->group, memory_order_relaxed) & bit)
        lr |= LR_GROUP1;
    c->lr[i].intid = (uint16_t)(b * 32 + n);
    c->lr[i].flags = (uint16_t)flags;
    c->lr_used |= BIT32(i);
    if (lr & LR_EOI)
        c->lr_eoi |= BIT32(i);
    gich_lr_write(i, lr);
    return 0;
}

#define TOO_MUCH VGIC_FOLD

/*
 * Puts what is new in bank b into free list registers. Anything but 0: that does not do, because there are too few, or
 * because one of them is in a list register already.
 */
static INLINE uint32_t add_bank(struct vcpu *v, uint32_t b)
{
    struct vgic_cpu *c = &v->vgic;
    struct vgic_bank *k = vgic_bank(v, b);
    uint32_t inlr = atomic_load_explicit(&k->inlr, b == 0 ? memory_order_relaxed : memory_order_seq_cst);
    uint32_t want = vgic_wanted(v, b);
    uint32_t all = BIT32(c->lr_count) - 1;
    uint32_t again = 0;

    if (want & inlr) {
        uint32_t latch = atomic_load_explicit(&k->pending, memory_order_relaxed);

        if (b == 0)
            latch |= atomic_load_explicit(&c->hw_pending, memory_order_relaxed);
        if (holding(v, b, want & inlr & latch))
            return TOO_MUCH;
    }
    want &= ~inlr & ~atomic_load_explicit(&k->active, memory_order_relaxed);
    for (; want; want &= want - 1) {
        if (b && !vgic_routed_to(v, (b - 1) * 32 + lowest(want)))
            continue;
        if (!(all & ~c->lr_used))
            return TOO_MUCH;
        again |= fill(v, b, lowest(want), lowest(all & ~c->lr_used));
    }
    return again;
}

static uint32_t add(struct vcpu *v, uint32_t todo)
{
    uint32_t again = 0;

    for (todo &= BIT32(VGIC_BANKS) - 1; todo && !again; todo &= todo - 1)
        again = add_bank(v, lowest(todo));
    return again;
}

/*
 * Brings what list register i holds back into memory, after collect(): it is not empty. A pending state leaves the list
 * register; an active one stays, alone.
 */
static uint32_t fold_one(struct vcpu *v, uint32_t i)
{
    struct vgic_cpu *c = &v->vgic;
    uint32_t b = c->lr[i].intid / 32;
    uint32_t bit = BIT32(c->lr[i].intid % 32);
    struct vgic_bank *k = vgic_bank(v, b);
    uint32_t flags = c->lr[i].flags;
    uint64_t lr = gich_lr_read(i);
    bool pending = lr & LR_PENDING;
    bool active = lr & LR_ACTIVE;

    if (take_bit(&k->drop_pending, bit))
        pending = false;
    if (take_bit(&k->drop_active, bit))
        active = false;
    if (pending && flags & HW)
        atomic_fetch_or(&c->hw_pending, bit);
    if (pending && flags & LATCHED) {
        if (has_senders(v, b, lowest(bit)))
            atomic_fetch_or(&v->vgic.senders[lowest(bit)], (uint8_t)BIT32(field_get(LR_SOURCE, lr)));
        atomic_fetch_or(&k->pending, bit);
    }
    if (active) {
        if (!(flags & ACTIVE))
            atomic_fetch_or(&k->active, bit);
        c->lr[i].flags = (uint16_t)((flags | ACTIVE) & ~LATCHED);
        if (lr & LR_PENDING)
            gich_lr_write(i, lr & ~LR_PENDING);
        return 0;
    }
    gich_lr_write(i, 0);
    return emptied(v, b, bit, i);
}

static uint32_t fold_all(struct vcpu *v)
{
    uint32_t todo = 0;

    for (uint32_t used = v->vgic.lr_used; used; used &= used - 1)
        todo |= fold_one(v, lowest(used));
    return todo;
}

/* An active interrupt that was in no list register has ended. */
static void ended(struct vcpu *v, uint32_t b, uint32_t bit)
{
    struct vgic_bank *k = vgic_bank(v, b);

    take_bit(&k->drop_active, bit);
    atomic_fetch_and(&k->spilled, ~bit);
    atomic_fetch_and(&k->active, ~bit);
    if (b)
        offer_spi(v, b, bit); /* all banks are looked at next in any case */
}

/* EOIs that met no list register: each ended the most urgent one that spilled. */
static void count_eois(struct vcpu *v, uint64_t eois)
{
    while (eois--) {
        uint32_t best_b = VGIC_BANKS;
        uint32_t best_n = 0;
        uint32_t best = 256;

        for (uint32_t b = 0; b < VGIC_BANKS; b++) {
            struct vgic_bank *k = vgic_bank(v, b);
            uint32_t out = atomic_load(&k->spilled) & atomic_load(&k->active) & ~atomic_load(&k->inlr);

            for (out = holding(v, b, out); out; out &= out - 1) {
                uint32_t prio = atomic_load(&k->prio[lowest(out)]);

                if (prio < best) {
                    best = prio;
                    best_b = b;
                    best_n = lowest(out);
                }
            }
        }
        if (best_b == VGIC_BANKS)
            return;
        ended(v, best_b, BIT32(best_n));
    }
}

/* Gives up the list register of the least urgent active interrupt; all that are in use are active ones. */
static void spill_one(struct vcpu *v)
{
    struct vgic_cpu *c = &v->vgic;
    uint32_t worst = VGIC_LRS_MAX;
    uint64_t worst_prio = 0;
    uint32_t b, bit;

    for (uint32_t used = c->lr_used; used; used &= used - 1) {
        uint64_t prio = field_get(LR_PRIORITY, gich_lr_read(lowest(used)));

        if (worst == VGIC_LRS_MAX || prio > worst_prio) {
            worst = lowest(used);
            worst_prio = prio;
        }
    }
    if (worst == VGIC_LRS_MAX)
        return;
    b = c->lr[worst].intid / 32;
    bit = BIT32(c->lr[worst].intid % 32);
    gich_lr_write(worst, 0);
    c->lr_used &= ~BIT32(worst);
    c->lr_eoi &= ~BIT32(worst);
    atomic_fetch_or(&vgic_bank(v, b)->spilled, bit);
    atomic_fetch_and(&vgic_bank(v, b)->inlr, ~bit);
}

/*
 * Physical PPIs that were kept and could be delivered now: the guest may have reprogrammed its timer meanwhile. They
 * go back to the hardware, which knows whether the line is still high: settle_physical() deactivates them.
 */
static void give_back(struct vcpu *v)
{
    struct vgic_cpu *c = &v->vgic;

    if (c->hw_kept)
        atomic_fetch_and(&c->hw_pending, ~(c->hw_kept & vgic_forwarded(v->vm, &c->priv, memory_order_relaxed) &
                                           ~atomic_load(&c->priv.active)));
}

struct best {
    uint32_t n;
    uint32_t room;
    bool more;                  /* than there is room for */
    uint32_t key[VGIC_LRS_MAX]; /* ascending: group disabled in the CPU interface, priority, INTID */
};

static void best_insert(struct best *best, uint32_t key)
{
    uint32_t at = best->n;

    if (best->n == best->room) {
        best->more = true;
        if (key >= best->key[best->n - 1])
            return;
        at--;
    } else {
        best->n++;
    }
    for (; at && best->key[at - 1] > key; at--)
        best->key[at] = best->key[at - 1];
    best->key[at] = key;
}

static void gather(struct vcpu *v, uint64_t vmcr, struct best *best)
{
    for (uint32_t b = 0; b < VGIC_BANKS; b++) {
        struct vgic_bank *k = vgic_bank(v, b);
        uint32_t want = vgic_wanted(v, b);

        if (want)
            want &= ~atomic_load(&k->inlr) & ~atomic_load(&k->active);
        for (; want; want &= want - 1) {
            uint32_t n = lowest(want);
            uint64_t veng = atomic_load(&k->group) >> n & 1 ? ICH_VMCR_VENG1 : ICH_VMCR_VENG0;
            uint32_t off = vmcr & veng ? 0 : 1;

            if (b == 0 || vgic_routed_to(v, (b - 1) * 32 + n))
                best_insert(best, off << 31 | (uint32_t)atomic_load(&k->prio[n]) << 16 | (b * 32 + n));
        }
    }
}

/*
 * The active interrupts that stay in list registers. An edge that came meanwhile makes one active and pending, which
 * needs no exit; where that does not do (another sender's SGI among them), the edge waits in memory for the guest's EOI.
 */
static void settle_active(struct vcpu *v)
{
    struct vgic_cpu *c = &v->vgic;

    for (uint32_t used = c->lr_used; used; used &= used - 1) {
        uint32_t i = lowest(used);
        uint32_t b = c->lr[i].intid / 32;
        uint32_t n = c->lr[i].intid % 32;
        struct vgic_bank *k = vgic_bank(v, b);
        uint32_t bit = BIT32(n);
        uint64_t old = gich_lr_read(i);
        uint64_t lr = old;
        bool here = vgic_wanted(v, b) & bit && (b == 0 || vgic_routed_to(v, (b - 1) * 32 + n));
        bool latch = atomic_load(&k->pending) & bit;

        if (c->lr[i].flags & HW) {
            if (!latch)
                continue;
            /* HW = 1 knows no EOI maintenance: EL2 deactivates the physical one itself, when this is over. */
            lr &= ~(LR_HW | LR_PINTID);
            c->lr[i].flags &= (uint16_t)~HW;
        } else if (latch && here && !has_senders(v, b, n) && take_bit(&k->pending, bit)) {
            lr |= LR_PENDING;
            c->lr[i].flags |= LATCHED;
            latch = false;
        }
        lr &= ~LR_EOI;
        c->lr_eoi &= ~BIT32(i);
        if (latch || !(atomic_load(&k->edge) & bit) || (b == 0 && atomic_load(&c->hw_pending) & bit)) {
            lr |= LR_EOI;
            c->lr_eoi |= BIT32(i);
        }
        if (lr != old)
            gich_lr_write(i, lr);
    }
}

/* What ICH_HCR_EL2 has to watch for, given what is in no list register. */
static uint64_t watch(struct vcpu *v, uint64_t vmcr, bool more)
{
    uint64_t hcr = ICH_HCR_EN;

    for (uint32_t b = 0; b < VGIC_BANKS; b++) {
        struct vgic_bank *k = vgic_bank(v, b);
        uint32_t out = atomic_load(&k->active) & ~atomic_load(&k->inlr);

        if (!out)
            continue;
        if (gich_has_tdir())
            hcr |= ICH_HCR_TDIR;
        if (holding(v, b, out & atomic_load(&k->spilled)))
            hcr |= ICH_HCR_LRENPIE;
    }
    if (!more)
        return hcr;
    /*
     * Those of a group that the guest has disabled in its CPU interface come last, so EL2 has to know when it changes
     * its mind. QEMU (7.2 to 9.1 at least) tests group 1 for VGRP0DIE, so it is set only while both are enabled.
     */
    hcr |= ICH_HCR_NPIE;
    if (!(vmcr & ICH_VMCR_VENG0))
        hcr |= ICH_HCR_VGRP0EIE;
    else if (vmcr & ICH_VMCR_VENG1)
        hcr |= ICH_HCR_VGRP0DIE;
    hcr |= vmcr & ICH_VMCR_VENG1 ? ICH_HCR_VGRP1DIE : ICH_HCR_VGRP1EIE;
    return hcr;
}

NOINLINE static void refill(struct vcpu *v)
{
    struct vgic_cpu *c = &v->vgic;
    uint64_t vmcr = gich_vmcr_read();
    uint32_t all = BIT32(c->lr_count) - 1;
    uint32_t todo = 0;
    struct best best = {.n = 0};
    uint64_t hcr;

    if (!c->lr_count)
        return;
    /* With EOImode 1 it is not EOIs that deactivate, and what does so has trapped. */
    if (c->hcr & ICH_HCR_LRENPIE && !(vmcr & ICH_VMCR_VEOIM && gich_has_tdir()))
        count_eois(v, field_get(ICH_HCR_EOICOUNT, gich_hcr_read()));
    for (uint32_t b = 0; b < VGIC_BANKS; b++) {
        struct vgic_bank *k = vgic_bank(v, b);
        uint32_t late = atomic_load(&k->spilled); /* spilled while somebody was asking to drop it, or dropped since */

        if (late)
            late &= ~atomic_load(&k->inlr) & (atomic_load(&k->drop_active) | ~atomic_load(&k->active));
        for (late = holding(v, b, late); late; late &= late - 1)
            ended(v, b, late & -late);
    }
    fold_all(v); /* what it would have this vCPU look at is gathered below in any case */
    give_back(v);

    for (uint32_t left = all & ~c->lr_used; left; left &= left - 1)
        best.room++;
    if (best.room) {
        gather(v, vmcr, &best);
    } else {
        best.room = 1;
        gather(v, vmcr, &best);
        if (best.n)
            spill_one(v);
    }
    settle_active(v);
    for (uint32_t i = 0; i < best.n; i++) {
        uint32_t intid = best.key[i] & 0xffff;

        todo |= fill(v, intid / 32, intid % 32, lowest(all & ~c->lr_used));
    }
    hcr = watch(v, vmcr, best.more);
    if (hcr != c->hcr || hcr & ICH_HCR_LRENPIE) { /* the write also sets EOIcount to 0 */
        gich_hcr_write(hcr);
        c->hcr = hcr;
    }
    if (todo) { /* the state changed under a fill() to and fro: come back, rather than risk to stay here */
        atomic_fetch_or(&c->dirty, todo | VGIC_FOLD);
        gic_sgi(v->core, SGI_KICK);
    }
}

/* Physical PPIs that cannot be delivered now are kept, and those are deactivated that no one else is going to. */
NOINLINE static void settle_physical(struct vcpu *v)
{
    struct vgic_cpu *c = &v->vgic;
    uint32_t forwarded = vgic_forwarded(v->vm, &c->priv, memory_order_relaxed);
    uint32_t pending = atomic_load(&c->hw_pending);
    uint32_t owed = c->hw_active & ~(pending | atomic_load(&c->priv.active));

    for (uint32_t used = owed ? c->lr_used : 0; used; used &= used - 1)
        if (c->lr[lowest(used)].flags & HW)
            owed &= ~BIT32(c->lr[lowest(used)].intid);
    c->hw_kept = pending & ~(forwarded & ~atomic_load(&c->priv.active));
    c->hw_active &= ~owed;
    for (; owed; owed &= owed - 1)
        gic_deactivate(lowest(owed));
}

NOINLINE static void sync_all(struct vcpu *v, uint32_t todo)
{
    struct vgic_cpu *c = &v->vgic;
    bool plain = !(todo & VGIC_FOLD) && c->hcr == ICH_HCR_EN;

    todo |= collect(v);
    give_back(v);
    if (!plain || add(v, todo))
        refill(v);
}

/*
 * Puts private interrupt `intid` into list register i again, which had it before with these flags, if the guest has ended
 * that one and nothing else is new: then what is written down about the list register is right as it is.
 */
static INLINE bool again(struct vcpu *v, uint32_t intid, uint32_t i, uint32_t flags, uint64_t lr)
{
    struct vgic_cpu *c = &v->vgic;
    struct vgic_bank *k = &c->priv;

    if (atomic_load_explicit(&c->dirty, memory_order_relaxed) || c->hcr != ICH_HCR_EN || c->lr[i].intid != intid ||
        c->lr[i].flags != flags || !(c->lr_used & (uint32_t)gich_elrsr() & BIT32(i)))
        return false;
    if (!(vgic_forwarded(v->vm, k, memory_order_relaxed) & BIT32(intid)) ||
        atomic_load_explicit(&k->active, memory_order_relaxed) & BIT32(intid))
        return false;
    lr |= LR_PENDING | field_put(LR_PRIORITY, atomic_load_explicit(&k->prio[intid], memory_order_relaxed)) | intid;
    if (atomic_load_explicit(&k->group, memory_order_relaxed) & BIT32(intid))
        lr |= LR_GROUP1;
    gich_lr_write(i, lr);
    isb();
    return true;
}

/*
 * The usual signal from another vCPU: the SGI that came last comes once more, and nothing else of this bank waits. If it is
 * sent yet again meanwhile, the guest has not taken this one: they are one.
 */
static INLINE bool sgi_once_more(struct vcpu *v)
{
    struct vgic_cpu *c = &v->vgic;
    uint32_t intid = c->lr[c->sgi_lr].intid;

    if (v->vm->vgic.v2 || intid >= 16 || vgic_wanted_private(v, memory_order_relaxed) != BIT32(intid) ||
        !again(v, intid, c->sgi_lr, LATCHED, 0))
        return false;
    atomic_fetch_and_explicit(&c->priv.pending, ~BIT32(intid), memory_order_relaxed);
    return true;
}

void vgic_sync(struct vcpu *v)
{
    struct vgic_cpu *c = &v->vgic;
    uint32_t todo = atomic_exchange(&c->dirty, 0);
    bool quick = todo == BIT32(0) && c->hcr == ICH_HCR_EN && !(c->lr_eoi | c->hw_kept);

    if (quick && !sgi_once_more(v)) {
        if (c->lr_used)
            collect_some(v, true);
        quick = !add_bank(v, 0);
    }
    if (!quick)
        sync_all(v, todo);
    if (c->hw_active)
        settle_physical(v);
    isb(); /* before ELRSR is read again */
}

void vgic_fold(struct vcpu *v)
{
    uint32_t todo = collect(v);

    todo |= fold_all(v);
    if (todo | v->vgic.lr_used)
        vgic_mark(v, VGIC_FOLD | todo);
}

void vgic_hw_ppi(struct vcpu *v, uint32_t intid)
{
    struct vgic_cpu *c = &v->vgic;
    uint32_t todo = BIT32(0);

    if (intid >= 32)
        return;
    if (c->hw_active & BIT32(intid)) /* its last list register must not be taken for this one's */
        todo |= collect(v);
    c->hw_active |= BIT32(intid);
    atomic_fetch_or(&c->hw_pending, BIT32(intid));
    vgic_mark(v, todo);
}

bool vgic_hw_ppi_again(struct vcpu *v, uint32_t intid)
{
    return again(v, intid, v->vgic.tick_lr, HW, v->vgic.lr_hw | field_put(LR_PINTID, intid));
}

bool vgic_sgi_again(struct vcpu *v, uint32_t intid)
{
    return again(v, intid, v->vgic.sgi_lr, LATCHED, 0);
}

void vgic_ask_again(struct vcpu *v)
{
    if (!v->vgic.hw_active)
        return;
    vgic_fold(v);
    atomic_store(&v->vgic.hw_pending, 0);
    settle_physical(v);
}

/* Active priorities are not looked at: an interrupt that only waits for a handler to end counts. */
/* Some list register has a pending interrupt that this CPU interface lets through. */
static bool pending_through(struct vcpu *v, uint64_t vmcr)
{
    struct vgic_cpu *c = &v->vgic;

    if (atomic_load(&c->dirty))
        vgic_sync(v);
    for (uint32_t used = c->lr_used; used; used &= used - 1) {
        uint64_t lr = gich_lr_read(lowest(used));

        if ((lr & LR_STATE) == LR_PENDING && vmcr & (lr & LR_GROUP1 ? ICH_VMCR_VENG1 : ICH_VMCR_VENG0) &&
            field_get(LR_PRIORITY, lr) < field_get(ICH_VMCR_VPMR, vmcr))
            return true;
    }
    return false;
}

bool vgic_pending(struct vcpu *v)
{
    return pending_through(v, gich_vmcr_read());
}

bool vgic_wakes(struct vcpu *v)
{
    return pending_through(v, ICH_VMCR_VENG0 | ICH_VMCR_VENG1 | ICH_VMCR_VPMR);
}

/* Everything out of the list registers; what is active stays so in memory. */
static void withdraw(struct vcpu *v)
{
    collect(v);
    fold_all(v);
    while (v->vgic.lr_used)
        spill_one(v);
}

void vgic_cpu_off(struct vcpu *v)
{
    withdraw(v);
    gich_hcr_write(0);
    v->vgic.hcr = 0;
    v->vgic.lr_count = 0; /* vgic_sync() puts nothing in again */
    for (uint32_t b = 1; b < VGIC_BANKS; b++)
        vgic_poke_spi(v->vm, b, ~0u, 0);
}

void vgic_cpu_hold(bool on)
{
    uint64_t hcr = gich_hcr_read(); /* EOIcount stays */

    gich_hcr_write(on ? hcr & ~ICH_HCR_EN : hcr | ICH_HCR_EN);
}

void vgic_cpu_hw_init(struct vcpu *v)
{
    struct vgic_cpu *c = &v->vgic;

    c->lr_count = gich_lr_count();
    c->lr_hw = gich_has_hw() ? LR_HW : LR_EOI;
    withdraw(v);
    for (uint32_t i = 0; i < c->lr_count; i++)
        gich_lr_write(i, 0);
    gich_apr_clear();
    gich_vmcr_write(0); /* groups disabled, all priorities masked, binary points at their minimum */
    gich_hcr_write(0);
    c->hcr = 0;
    for (uint32_t b = 0; b < VGIC_BANKS; b++) /* their EOI will not come: only the guest's GICx_ICACTIVER ends them */
        atomic_fetch_and(&vgic_bank(v, b)->spilled, ~holding(v, b, atomic_load(&vgic_bank(v, b)->spilled)));
    atomic_store(&c->hw_pending, 0);
    c->hw_kept = 0;
    for (; c->hw_active; c->hw_active &= c->hw_active - 1)
        gic_deactivate(lowest(c->hw_active));
    vgic_sync(v);
}
