/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/transition.h"

#include "lib/arch.h"
#include "lib/log.h"

static bool swap(_Atomic uint64_t *slot, uint64_t old, uint64_t desc)
{
    /* Release: the frame's content, or the new table's entries, before the descriptor that leads to them. */
    return atomic_compare_exchange_strong_explicit(slot, &old, desc, memory_order_acq_rel, memory_order_acquire);
}

bool s2_begin(_Atomic uint64_t *slot, uint64_t old, uint32_t request)
{
    return swap(slot, old, desc_in_flight(request));
}

void s2_complete(_Atomic uint64_t *slot, uint32_t request, uint64_t desc)
{
    if (!swap(slot, desc_in_flight(request), desc))
        panic("request %u: its descriptor changed under it", request);
    dsb_ishst(); /* the walkers of all cores see it before anyone is told (D8.2.6) */
}

bool s2_map_ready(_Atomic uint64_t *slot, uint64_t desc)
{
    if (!swap(slot, 0, desc))
        return false;
    dsb_ishst();
    return true;
}

void s2_forget_here(const struct s2 *s, ipa_t at)
{
    uint64_t other = vttbr_switch(s->vttbr);

    dsb_ishst();
    tlbi_ipas2e1(at);
    dsb_nsh();
    tlbi_vmalle1(); /* the combined entries, which no IPA reaches (D8.14) */
    dsb_nsh();
    vttbr_switch(other);
}

void s2_forget_all(const struct s2 *s)
{
    uint64_t other = vttbr_switch(s->vttbr);

    dsb_ishst();
    tlbi_vmalls12e1is();
    dsb_ish();
    vttbr_switch(other);
}

bool s2_make_dirty(const struct s2 *s, _Atomic uint64_t *slot, uint64_t desc, ipa_t at)
{
    /* More permission needs no break-before-make (D8.14.1), but a TLB may hold the page as read-only for ever. */
    if (!swap(slot, desc, desc | DESC_S2AP_W))
        return false;
    s2_forget_here(s, at);
    return true;
}

uint32_t s2_count_present(_Atomic uint64_t *slot)
{
    uint64_t r = atomic_fetch_add_explicit(s2_table_record(slot), 1, memory_order_relaxed);

    return (uint32_t)field_get(TABLE_PRESENT, r) + 1;
}

/*
 * The one place where a valid descriptor gives way to another valid one (D8.14.1): break, forget, make. Between break
 * and make it is BUSY, and a toucher waits. `make` computes the new descriptor while nobody can reach what is below;
 * it may give back the old one.
 */
static bool break_before_make(const struct s2 *s, _Atomic uint64_t *slot, uint64_t old,
                              uint64_t (*make)(uint64_t old, void *arg), void *arg)
{
    uint64_t desc;

    if (!swap(slot, old, desc_busy()))
        return false;
    s2_forget_all(s);
    desc = make(old, arg);
    s2_taken(slot, desc);
    return desc != old;
}

/*
 * Takes the pages out of their table one by one, so that a compare-and-swap of somebody who still holds the table fails
 * and walks again: a page that becomes dirty meanwhile is either seen here as dirty or not made dirty at all.
 */
static uint64_t join(uint64_t old, void *arg)
{
    _Atomic uint64_t *table = pa_ptr(desc_pa(old));
    uint64_t block = *(uint64_t *)arg;
    uint64_t seen[S2_ENTRIES / 64] = {0}; /* bit per page: it was dirty */
    bool dirty = false;
    uint32_t i;

    for (i = 0; i < S2_ENTRIES;) {
        uint64_t d = atomic_load_explicit(&table[i], memory_order_relaxed);

        if (desc_kind(d, 3) != DESC_PRESENT || desc_pa(d).v != block + i * PAGE_SIZE)
            break;
        if (!swap(&table[i], d, desc_busy()))
            continue; /* it became dirty, or went: look again */
        if (desc_writable(d)) {
            seen[i / 64] |= BIT(i % 64);
            dirty = true;
        }
        i++;
    }
    if (i == S2_ENTRIES)
        return desc_leaf(pa(block), 2, dirty);
    while (i-- > 0) {
        bool was_dirty = (seen[i / 64] & BIT(i % 64)) != 0;

        atomic_store_explicit(&table[i], desc_leaf(pa(block + i * PAGE_SIZE), 3, was_dirty), memory_order_release);
    }
    return old;
}

bool s2_promote(const struct s2 *s, _Atomic uint64_t *slot, ipa_t block, struct limbo *limbo)
{
    uint64_t table = atomic_load_explicit(slot, memory_order_acquire);
    uint64_t record, base;

    if (desc_kind(table, 2) != DESC_TABLE_REF || !limbo_room(limbo))
        return false;
    record = atomic_load_explicit(frame_record(desc_pa(table)), memory_order_relaxed);
    if (field_get(TABLE_PRESENT, record) != S2_ENTRIES || !(record & TABLE_RESERVED))
        return false;
    base = record & TABLE_BLOCK;
    if (!break_before_make(s, slot, table, join, &base))
        return false;
    frame_set_owner(pa(base), s->vmid, block);
    epoch_retire(limbo, desc_pa(table));
    return true;
}

bool s2_drop(_Atomic uint64_t *slot, uint64_t old)
{
    return swap(slot, old, 0);
}

bool s2_take(_Atomic uint64_t *slot, uint64_t old)
{
    return swap(slot, old, desc_busy());
}

void s2_taken(_Atomic uint64_t *slot, uint64_t desc)
{
    if (!swap(slot, desc_busy(), desc))
        panic("a BUSY descriptor changed under its owner");
    dsb_ishst();
}

bool s2_age(_Atomic uint64_t *slot, uint64_t old, uint64_t desc)
{
    if (!swap(slot, old, desc))
        return false;
    dsb_ishst(); /* the access that is done again finds the flag set (D8.2.6) */
    return true;
}

void s2_want_back(_Atomic uint64_t *slot)
{
    (void)!swap(slot, desc_busy(), desc_busy_wanted());
}

void s2_evicted(_Atomic uint64_t *slot, uint64_t desc)
{
    uint64_t old = atomic_exchange_explicit(slot, desc, memory_order_acq_rel);

    if (old != desc_busy() && old != desc_busy_wanted())
        panic("a BUSY descriptor changed under its owner");
    dsb_ishst();
}
