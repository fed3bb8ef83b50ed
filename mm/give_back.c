/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/give_back.h"

#include "lib/arch.h"
#include "mm/guestmem.h"
#include "mm/helper.h"
#include "mm/paging.h"
#include "mm/transition.h"

#define LOOKS 256 /* at a block that somebody else is changing, before it is kept */

void give_back_begin(struct give_back *g, struct s2 *s, struct frame_cache *frames)
{
    g->s = s;
    g->frames = frames;
    g->asked = g->zero = g->freed = g->rounds = 0;
    g->count = 0;
}

/*
 * The pages present in a table that nobody reaches any more. False: some page of it is on its way, and whoever fills it holds
 * its slot, or has yet to count it: the table has to stay.
 */
static bool at_rest(const struct s2 *s, pa_t table, uint64_t record, uint64_t *present)
{
    const _Atomic uint64_t *entries = pa_ptr(table);

    *present = 0;
    for (uint32_t i = 0; i < S2_ENTRIES; i++) {
        uint64_t d = atomic_load_explicit(&entries[i], memory_order_acquire);
        enum desc_kind kind = desc_kind(d, 3);

        if (kind == DESC_IN_FLIGHT || kind == DESC_BUSY || kind == DESC_MMIO || kind == DESC_NOWHERE)
            return false;
        *present += kind == DESC_PRESENT;
    }
    return s->paging || field_get(TABLE_PRESENT, record) == *present;
}

static void account(const struct give_back *g, uint64_t present, uint64_t in_block)
{
    atomic_fetch_sub_explicit(&g->s->stats->touched, (int64_t)present, memory_order_relaxed);
    atomic_fetch_sub_explicit(&g->s->stats->block, (int64_t)in_block, memory_order_relaxed);
}

static bool free_block(struct give_back *g, _Atomic uint64_t *slot, pa_t block)
{
    if (guestmem_held(block, BLOCK_SIZE))
        return false;
    s2_taken(slot, 0);
    frames_free_block(block);
    account(g, BLOCK_PAGES, BLOCK_PAGES);
    g->freed += BLOCK_PAGES;
    return true;
}

/* The same of pages that stand alone. */
static bool pages_held(pa_t table)
{
    const _Atomic uint64_t *entries = pa_ptr(table);
    bool held = false;

    for (uint32_t i = 0; i < S2_ENTRIES && !held; i++) {
        uint64_t d = atomic_load_explicit(&entries[i], memory_order_relaxed);

        held = desc_kind(d, 3) == DESC_PRESENT && guestmem_held(desc_pa(d), PAGE_SIZE);
    }
    return held;
}

static bool free_table(struct give_back *g, _Atomic uint64_t *slot, pa_t table)
{
    uint64_t record = atomic_load_explicit(frame_record(table), memory_order_acquire);
    pa_t block = pa(record & TABLE_BLOCK);
    uint64_t present;

    if (!at_rest(g->s, table, record, &present))
        return false;
    if (record & TABLE_RESERVED && guestmem_held(block, BLOCK_SIZE))
        return false;
    if (g->s->paging && pages_held(table))
        return false;
    s2_taken(slot, 0);
    if (record & TABLE_RESERVED)
        frames_free_block(block);
    if (g->s->paging)
        paging_bury(g->s, table);
    else
        frame_free(g->frames, table); /* else the helper frees it */
    account(g, present, 0);
    g->freed += present;
    return true;
}

/* A sweep that came by meanwhile has passed it over: there is to be another one. */
static void put_back(struct give_back *g, _Atomic uint64_t *slot, uint64_t desc)
{
    s2_taken(slot, desc);
    if (desc_kind(desc, 2) == DESC_TABLE_REF) {
        atomic_fetch_add_explicit(&g->s->begun, 1, memory_order_relaxed);
        helper_kick(this_core()->helper);
    }
}

/*
 * One TLB round for all that was taken. After it no CPU reaches a page through them; and after the wait for the epochs no
 * code of EL2 does that had found its way before they were BUSY: not to a frame, nor to an entry of a table. So tables need
 * no limbo, and nobody changes one while it is looked at, but for whoever fills a page of it.
 */
static void flush(struct give_back *g)
{
    bool scarce = !frames_plentiful();

    if (!g->count)
        return;
    s2_forget_all(g->s);
    epoch_wait();
    g->rounds++;
    for (uint32_t i = 0; i < g->count; i++) {
        _Atomic uint64_t *slot = g->taken[i].slot;
        uint64_t desc = g->taken[i].desc;
        bool gone = desc_kind(desc, 2) == DESC_PRESENT ? free_block(g, slot, desc_pa(desc))
                                                       : free_table(g, slot, desc_pa(desc));

        if (gone)
            g->zero += BLOCK_PAGES;
        else
            put_back(g, slot, desc);
    }
    g->count = 0;
    if (scarce || g->s->paging)
        helper_kick(this_core()->helper); /* it may have gone to sleep for want of memory */
}

/* One look at a block. False: somebody is changing it. */
static bool look(struct give_back *g, ipa_t at)
{
    struct s2_entry e = s2_walk_block(g->s, at);

    switch (desc_kind(e.desc, e.level)) {
    case DESC_ABSENT_ZERO:
        g->zero += BLOCK_PAGES;
        return true;
    case DESC_ABSENT:
        if (!s2_drop(e.slot, e.desc))
            return false;
        g->zero += BLOCK_PAGES;
        return true;
    case DESC_PRESENT:
    case DESC_TABLE_REF:
        if (!s2_take(e.slot, e.desc))
            return false;
        g->taken[g->count].slot = e.slot;
        g->taken[g->count++].desc = e.desc;
        return true;
    case DESC_IN_FLIGHT:
    case DESC_BUSY:
        return false;
    default:
        return true;
    }
}

static void one_block(struct give_back *g, ipa_t at)
{
    bool settled = false;

    for (uint32_t looks = 0; looks < LOOKS && !settled; looks++) {
        if (looks) {
            flush(g); /* the one who keeps it BUSY may be ourselves: it was named twice */
            cpu_relax();
        }
        epoch_enter();
        settled = look(g, at);
        epoch_leave();
    }
    if (g->count == GIVE_BACK_BATCH)
        flush(g);
}

void give_back_range(struct give_back *g, ipa_t at, uint64_t bytes)
{
    uint64_t base = g->s->ram_base.v, size = g->s->ram_size;
    uint64_t from, to;

    g->asked += bytes >> PAGE_SHIFT;
    if (at.v - base >= size)
        return;
    if (bytes > size - (at.v - base))
        bytes = size - (at.v - base);
    from = align_up(at.v, BLOCK_SIZE);
    to = align_down(at.v + bytes, BLOCK_SIZE);
    for (; from < to; from += BLOCK_SIZE)
        one_block(g, ipa(from));
}

void give_back_end(struct give_back *g)
{
    flush(g);
}
