/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/apf.h"

#include "dev/gic.h"
#include "dev/gich.h"
#include "lib/arch.h"
#include "lib/string.h"
#include "mm/guestmem.h"
#include "vcpu/abort.h"
#include "vcpu/inject.h"
#include "vcpu/vm.h"

/* A token: the vCPU's index in 63:48, then how many were injected, then the fault. Never 0, never all ones. */
#define TOKEN_VCPU FIELD(63, 48)
#define TOKEN_GIVEN FIELD(47, 6)
#define TOKEN_FAULT FIELD(5, 0)

#define ALONE 4u        /* tokens in a row that were waited for at once, before some are not given */
#define HOLD_OFF_LOG2 4 /* of the most faults between two that are */

#define TELLING UINT64_MAX /* instead of a token: its entry is written, and the producer index does not say so yet */

static struct apf_fault faults[MAX_CORES][ASYNC_FAULTS] NOINIT;

void apf_init(struct vcpu *v, uint32_t number)
{
    v->apf.fault = faults[number];
    for (uint32_t i = 0; i < ASYNC_FAULTS; i++)
        atomic_store_explicit(&v->apf.fault[i].token, 0, memory_order_relaxed);
}

/* ---- on and off */

/* Pairs with itself on another vCPU's core: of two that want the same page at least one sees the other. */
static bool is_others(struct vcpu *v, ipa_t at)
{
    atomic_store_explicit(&v->apf.at, at.v, memory_order_relaxed);
    dmb_ish();
    for (uint32_t i = 0; i < v->vm->vcpu_count; i++) {
        const struct vcpu *other = &v->vm->vcpus[i];

        if (other != v && atomic_load_explicit(&other->apf.at, memory_order_relaxed) == at.v)
            return true;
    }
    return false;
}

static bool pin(struct vcpu *v, ipa_t at, void **page)
{
    enum guestmem_result result;

    do {
        if (!abort_populate(v, at, true))
            return false;
        result = guestmem_pin(&v->vm->s2, at, page);
    } while (result == GUESTMEM_ABSENT); /* it went while we came */
    return result == GUESTMEM_OK;
}

enum apf_result apf_enable(struct vcpu *v, ipa_t at, uint32_t flags)
{
    struct apf *a = &v->apf;
    bool others;
    void *page;

    if (a->page)
        return APF_ON;
    atomic_store_explicit(&a->dropped, 0, memory_order_relaxed); /* what is dropped from here on is this one */
    others = is_others(v, at);
    if (others || !pin(v, at, &page)) {
        atomic_store_explicit(&a->at, 0, memory_order_relaxed);
        return others ? APF_TAKEN : APF_BAD;
    }
    memset(page, 0, PAGE_SIZE);
    atomic_fetch_add_explicit(&v->vm->apf_vcpus, 1, memory_order_relaxed);
    a->page = page;
    a->flags = flags;
    a->producer = 0;
    a->outstanding = 0;
    a->alone = a->hold_off = 0;
    return APF_OK;
}

void apf_clear(struct vcpu *v)
{
    struct apf *a = &v->apf;

    if (!a->page)
        return;
    for (uint32_t i = 0; i < ASYNC_FAULTS; i++)
        atomic_store_explicit(&a->fault[i].token, 0, memory_order_relaxed);
    a->page = NULL;
    a->outstanding = 0;
    a->held = 0;
    guestmem_unpin();
    atomic_fetch_sub_explicit(&v->vm->apf_vcpus, 1, memory_order_relaxed);
    atomic_store_explicit(&a->at, 0, memory_order_release);
}

void apf_drop_all(struct vcpu *v)
{
    for (uint32_t i = 0; i < v->vm->vcpu_count; i++) {
        struct vcpu *other = &v->vm->vcpus[i];

        if (!atomic_load_explicit(&other->apf.at, memory_order_relaxed))
            continue;
        atomic_store_explicit(&other->apf.dropped, 1, memory_order_release);
        if (other != v)
            gic_sgi(other->core, SGI_KICK);
    }
    if (atomic_load_explicit(&v->apf.dropped, memory_order_relaxed))
        apf_clear(v);
}

/* The kernel that registered the page is no more: another one starts, or is about to. */
static bool is_void(const struct vcpu *v)
{
    return atomic_load_explicit(&v->apf.dropped, memory_order_acquire) || !(sysreg_read(sctlr_el1) & SCTLR_M);
}

/* ---- ready */

static void push(struct apf *a, uint64_t token, enum apf_status status)
{
    a->page->ring[a->producer++ % APF_RING] = (struct apf_entry){.token = token, .status = status};
}

/*
 * The ring was empty if the guest has come to where it ended before: then the guest may not look again, and is called. Our
 * index before the look at the guest's, as the guest has it the other way round: at least one of the two sees the other.
 */
static void publish(struct vcpu *v, uint32_t before)
{
    struct apf *a = &v->apf;

    if (a->producer == before)
        return;
    atomic_store_explicit(&a->page->producer, a->producer, memory_order_release);
    dmb_ish();
    if (a->producer - atomic_load_explicit(&a->page->consumer, memory_order_relaxed) <= a->producer - before)
        vgic_set_private_pending(v, PPI_EVENT);
}

/* Own core: nobody else puts a token there. 0: it was taken back. */
static uint64_t claim(struct apf_fault *f)
{
    uint64_t token = atomic_load_explicit(&f->token, memory_order_relaxed);

    if (token && !atomic_compare_exchange_strong_explicit(&f->token, &token, TELLING, memory_order_acq_rel,
                                                          memory_order_relaxed))
        token = 0;
    return token;
}

/* Returns whether there is an entry of it now. */
static bool settle(struct vcpu *v, uint32_t n)
{
    struct apf *a = &v->apf;
    struct apf_fault *f = &a->fault[n];
    uint64_t token;

    if (!s2_ticket_ended(&f->ticket))
        return false;
    a->outstanding &= ~BIT(n);
    a->held--;
    token = claim(f);
    if (!token)
        return false;
    a->alone = a->hold_off = 0; /* it had something else to run */
    v->stats->apf.ready++;
    push(a, token,
         s2_is_unreadable(&v->vm->s2, ipa(atomic_load_explicit(&f->page, memory_order_relaxed))) ? APF_ERROR
                                                                                                 : APF_READY);
    return true;
}

void apf_collect(struct vcpu *v)
{
    struct apf *a = &v->apf;
    uint32_t before = a->producer;
    uint64_t told = 0;

    if (is_void(v)) {
        apf_clear(v);
        return;
    }
    for (uint64_t left = a->outstanding; left; left &= left - 1) {
        uint32_t n = (uint32_t)__builtin_ctzll(left);

        if (settle(v, n))
            told |= BIT(n);
    }
    publish(v, before);
    for (; told; told &= told - 1)
        atomic_store_explicit(&a->fault[__builtin_ctzll(told)].token, 0, memory_order_release);
    if (a->outstanding)
        abort_starving(v); /* all of its tasks may sleep for such pages, and none of its vCPUs wait */
}

bool apf_disable(struct vcpu *v)
{
    struct apf *a = &v->apf;
    uint32_t before = a->producer;

    if (!a->page)
        return false;
    if (a->outstanding) /* so there is room */
        push(a, APF_ALL, APF_WAKE_ALL);
    publish(v, before);
    apf_clear(v);
    return true;
}

bool apf_take_back(struct vm *vm, uint64_t token, ipa_t *page)
{
    uint64_t index = field_get(TOKEN_VCPU, token), found;
    struct apf_fault *f;

    if (!token || index >= vm->vcpu_count)
        return false;
    f = &vm->vcpus[index].apf.fault[field_get(TOKEN_FAULT, token)];
    while ((found = atomic_load_explicit(&f->token, memory_order_acquire)) == TELLING)
        cpu_relax(); /* that core is between two lines of apf_collect() */
    if (found != token)
        return false;
    *page = ipa(atomic_load_explicit(&f->page, memory_order_relaxed)); /* the token's, if that is still there now */
    return atomic_compare_exchange_strong_explicit(&f->token, &token, 0, memory_order_acq_rel, memory_order_relaxed);
}

/* ---- not present */

/* The PPI's priority is above the guest's mask: a kernel may mask interrupts by that instead of PSTATE.I. */
static bool priority_open(struct vcpu *v)
{
    return field_get(ICH_VMCR_VPMR, gich_vmcr_read()) >
           atomic_load_explicit(&v->vgic.priv.prio[PPI_EVENT], memory_order_relaxed);
}

/*
 * Where an interrupt could be taken, ELR_EL1, SPSR_EL1, ESR_EL1 and FAR_EL1 hold nothing that the guest wants any more: that is
 * so at EL0, and at EL1 with interrupts on. Its task may sleep there if it is at EL0, or at an address of the user's.
 */
static enum apf_refusal refusal(struct vcpu *v, const struct s2_fault *f)
{
    uint64_t spsr = sysreg_read(spsr_el2);

    if (f->s1ptw)
        return APF_NOT_ON_WALKS;
    if (spsr & SPSR_I)
        return APF_NOT_MASKED;
    if (spsr & SPSR_NRW || field_get(SPSR_M, spsr) == SPSR_M_EL0T)
        return APF_MAY;
    if (!(v->apf.flags & APF_FLAG_EL1) || field_get(SPSR_M, spsr) != SPSR_M_EL1H || !f->far_valid || f->far & BIT(55))
        return APF_NOT_IN_KERNEL;
    return priority_open(v) ? APF_MAY : APF_NOT_MASKED;
}

/*
 * The counter of what was injected is never reset, so no token comes twice: at a million a second its 42 bits last for half a
 * century.
 */
static uint64_t token_of(const struct vcpu *v, uint32_t n)
{
    return field_put(TOKEN_VCPU, v->index) | field_put(TOKEN_GIVEN, v->stats->apf.injected) | n;
}

uint64_t apf_last_token(const struct vcpu *v)
{
    return token_of(v, ASYNC_FAULTS - 1);
}

/* A fault for which there is room in the ring when it ends. The guest's index says nothing that is relied upon but that. */
static bool find_room(const struct apf *a, uint32_t *n)
{
    uint32_t unread = a->producer - atomic_load_explicit(&a->page->consumer, memory_order_acquire);

    if (unread > APF_RING || unread + a->held >= APF_RING)
        return false;
    *n = (uint32_t)__builtin_ctzll(~a->outstanding);
    return true;
}

void apf_waits(struct vcpu *v, uint64_t token)
{
    struct apf *a = &v->apf;

    if (token != token_of(v, (uint32_t)field_get(TOKEN_FAULT, token)) || a->held != 1) /* it counts up with each */
        return;
    a->hold_off = a->alone < ALONE ? 0 : 1u << (a->alone - ALONE);
    if (a->alone < ALONE + HOLD_OFF_LOG2)
        a->alone++;
}

bool apf_inject(struct vcpu *v, const struct s2_fault *f)
{
    struct apf *a = &v->apf;
    enum apf_refusal why;
    uint64_t token;
    uint32_t n;

    if (is_void(v)) {
        apf_clear(v);
        return false;
    }
    why = refusal(v, f);
    if (why == APF_MAY && a->hold_off) {
        a->hold_off--;
        why = APF_ALONE;
    }
    if (why == APF_MAY && !find_room(a, &n))
        why = APF_NO_ROOM;
    if (why != APF_MAY) {
        v->stats->apf.refused[why]++;
        return false;
    }
    if (!s2_wait_ticket(&v->vm->s2, f->ipa, &a->fault[n].ticket))
        return false; /* it has just come */
    v->stats->apf.injected++;
    v->stats->apf_from[f->fetch][field_get(SPSR_FROM, sysreg_read(spsr_el2))]++;
    token = token_of(v, n);
    atomic_store_explicit(&a->fault[n].page, f->ipa.v, memory_order_relaxed);
    atomic_store_explicit(&a->fault[n].token, token, memory_order_release);
    a->outstanding |= BIT(n);
    a->held++;
    inject_not_present(token);
    return true;
}
