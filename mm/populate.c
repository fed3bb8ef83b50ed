/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/populate.h"

#include "dev/gic.h"
#include "lib/arch.h"
#include "lib/log.h"
#include "mm/transition.h"

struct s2_request requests[REQUESTS_MAX];

void port_init(struct s2_port *port, uint32_t index, struct helper *helper, struct report_vcpu *stats)
{
    port->first_request = index * PORT_REQUESTS;
    port->helper = helper;
    port->stats = stats;
}

void populator_init(struct populator *p, uint32_t core, struct report_helper *stats)
{
    p->request = MAX_CORES * PORT_REQUESTS + core;
    p->stats = stats;
}

void frame_publish(void *frame, size_t bytes)
{
    dcache_clean_inval_poc(frame, bytes);
    icache_inval(frame, bytes);
}

static void wake(struct s2_request *r)
{
    uint64_t waiters;

    /* The descriptor before the look at who waits: pairs with the barrier in s2_wait_signal(). */
    dmb_ish();
    waiters = atomic_exchange_explicit(&r->waiters, 0, memory_order_acq_rel);
    waiters &= ~BIT(this_core()->id); /* whoever fills its own page is awake */
    while (waiters) {
        uint32_t core = (uint32_t)__builtin_ctzll(waiters);

        waiters &= waiters - 1;
        gic_sgi(&cores[core], SGI_KICK);
    }
}

static enum fill_result fill(const struct s2 *s, uint64_t old, void *frame)
{
    uint32_t n = old == 0 ? S2_SOURCE_ZERO : desc_small(old);
    const struct source *src = &s->sources[n];
    enum fill_result result = src->ops->fill(src, desc_large(old), frame);

    frame_publish(frame, PAGE_SIZE);
    return result;
}

/* Reserves a block for the pages of a table that has none yet. Two who try agree on one. */
static bool reserve(_Atomic uint64_t *record, struct s2 *s, uint64_t *out)
{
    uint64_t r = atomic_load_explicit(record, memory_order_acquire);
    pa_t block;

    if (!(r & TABLE_RESERVED)) {
        if (!frames_alloc_block(&block))
            return false;
        do {
            if (r & TABLE_RESERVED) {
                frames_free_block(block);
                break;
            }
        } while (!atomic_compare_exchange_weak_explicit(record, &r, r | TABLE_RESERVED | block.v, memory_order_acq_rel,
                                                        memory_order_acquire));
        if (!(r & TABLE_RESERVED)) {
            r |= TABLE_RESERVED | block.v;
            atomic_fetch_add_explicit(&s->begun, 1, memory_order_relaxed);
        }
    }
    *out = r;
    return true;
}

/* The page that `slot` of a level-3 table stands for, filled. Returns its descriptor; 0: out of memory. */
static uint64_t build_page(struct s2 *s, _Atomic uint64_t *slot, uint64_t old, bool write)
{
    uint64_t index = (ptr_pa(slot).v & (PAGE_SIZE - 1)) / sizeof(uint64_t);
    uint64_t record;
    pa_t frame;

    if (!reserve(s2_table_record(slot), s, &record))
        return 0;
    frame = pa((record & TABLE_BLOCK) + index * PAGE_SIZE);
    if (old != 0 || !(record & TABLE_READY)) {
        if (fill(s, old, pa_ptr(frame)) != FILL_OK)
            return 0;
    }
    return desc_leaf(frame, 3, write || old == 0);
}

/* A table whose entries say one level down what `old` says at `level`. NULL: out of memory. */
static _Atomic uint64_t *build_table(struct populator *p, uint64_t old, unsigned level)
{
    _Atomic uint64_t *table;
    pa_t frame;

    if (level == 1 && old != 0)
        panic("a source at level 1: s2_set_range() makes none");
    if (!frame_alloc(&p->frames, &frame))
        return NULL;
    table = pa_ptr(frame);
    zero_pages(pa_ptr(frame), 1);
    if (old != 0 && level == 2) {
        for (uint32_t i = 0; i < S2_ENTRIES; i++)
            atomic_store_explicit(&table[i], desc_below(old, i), memory_order_relaxed);
    }
    return table;
}

/* 2 MiB of zeroes as one block. 0: out of memory. */
static uint64_t build_block(struct populator *p, const struct s2 *s, ipa_t at)
{
    pa_t block;

    if (!frames_alloc_block(&block))
        return 0;
    zero_pages(pa_ptr(block), BLOCK_PAGES);
    frame_publish(pa_ptr(block), BLOCK_SIZE);
    frame_set_owner(block, s->vmid, ipa(align_down(at.v, BLOCK_SIZE)));
    p->stats->zeroed_pages += BLOCK_PAGES;
    return desc_leaf(block, 2, true);
}

/*
 * What belongs in the place of `old` at `level`: a page, or tables down to the one page that was asked for. Without a
 * helper there is no sweep to complete a block of zeroes that was begun, so it comes whole; `*whole` says that it did.
 * 0: out of memory.
 */
static uint64_t build(struct populator *p, const struct s2_request *r, _Atomic uint64_t *slot, uint64_t old,
                      unsigned level, bool *whole)
{
    _Atomic uint64_t *table;
    uint64_t below, desc;

    if (level == 3) {
        *whole = false;
        return build_page(r->s2, slot, old, r->write);
    }
    if (level == 2 && old == 0 && *whole)
        return build_block(p, r->s2, r->ipa);
    table = build_table(p, old, level);
    if (!table)
        return 0;
    below = (r->ipa.v >> (39 - 9 * (level + 1))) & (S2_ENTRIES - 1);
    old = atomic_load_explicit(&table[below], memory_order_relaxed);
    desc = build(p, r, &table[below], old, level + 1, whole);
    if (!desc) {
        frame_free(&p->frames, ptr_pa(table));
        return 0;
    }
    atomic_store_explicit(&table[below], desc, memory_order_relaxed);
    if (level == 2)
        s2_count_present(&table[below]);
    return desc_table(ptr_pa(table));
}

static void account(struct populator *p, const struct s2 *s, bool whole)
{
    int64_t pages = whole ? (int64_t)BLOCK_PAGES : 1;

    p->stats->populated_pages += (uint64_t)pages;
    atomic_fetch_add_explicit(&s->stats->touched, pages, memory_order_relaxed);
    if (whole)
        atomic_fetch_add_explicit(&s->stats->block, pages, memory_order_relaxed);
}

static bool promote(struct populator *p, struct s2 *s, _Atomic uint64_t *slot, ipa_t block)
{
    if (!s2_promote(s, slot, block, &p->limbo))
        return false;
    p->stats->promoted_blocks++;
    atomic_fetch_add_explicit(&s->stats->block, (int64_t)BLOCK_PAGES, memory_order_relaxed);
    return true;
}

/* Fills what request `r` is for and writes the descriptor. The descriptor is IN_FLIGHT with this request. */
static bool finish(struct populator *p, uint32_t number, bool whole_blocks)
{
    struct s2_request *r = &requests[number];
    struct s2 *s = r->s2;
    bool whole = whole_blocks;
    uint64_t desc = build(p, r, r->slot, r->old, r->level, &whole);

    s2_complete(r->slot, number, desc ? desc : r->old);
    if (desc && r->level == 3)
        s2_count_present(r->slot);
    if (desc)
        account(p, s, whole);
    wake(r);
    return desc != 0;
}

bool populate_serve(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];
    struct s2 *s = r->s2;
    ipa_t at = r->ipa;
    bool inline_fill = !this_core()->helper;
    bool ok;

    epoch_enter();
    ok = finish(p, number, inline_fill && !s->by_page);
    atomic_store_explicit(&r->busy, false, memory_order_release);
    if (ok && inline_fill) { /* nobody else will complete and promote */
        struct s2_entry e = s2_walk_block(s, at);

        if (e.level == 2)
            promote(p, s, e.slot, ipa(align_down(at.v, BLOCK_SIZE)));
    }
    epoch_leave();
    if (inline_fill)
        epoch_reap(&p->limbo, &p->frames);
    return ok;
}

/* Claims an absent page of a table, for nobody in particular. */
static bool claim(struct populator *p, struct s2 *s, _Atomic uint64_t *slot, uint64_t old, ipa_t at)
{
    struct s2_request *r = &requests[p->request];

    r->s2 = s;
    r->slot = slot;
    r->old = old;
    r->ipa = at;
    r->level = 3;
    r->write = false;
    return s2_begin(slot, old, p->request);
}

/*
 * Fills the next absent page of a table, from that of `at` on and around. A table that also holds what is no RAM has
 * nothing left to wait for in the end.
 */
static enum sweep_result complete(struct populator *p, struct s2 *s, _Atomic uint64_t *table, ipa_t at)
{
    ipa_t block = ipa(align_down(at.v, BLOCK_SIZE));
    bool all_ram = true, waiting = false;

    for (uint64_t n = 0; n < S2_ENTRIES; n++) {
        uint64_t i = (n + ((at.v - block.v) >> PAGE_SHIFT)) % S2_ENTRIES;
        uint64_t d = atomic_load_explicit(&table[i], memory_order_acquire);

        switch (desc_kind(d, 3)) {
        case DESC_PRESENT:
            break;
        case DESC_ABSENT_ZERO:
        case DESC_ABSENT:
            if (claim(p, s, &table[i], d, ipa_add(block, i * PAGE_SIZE)))
                return finish(p, p->request, false) ? SWEEP_FILLED : SWEEP_NOTHING;
            waiting = true;
            break;
        case DESC_MMIO:
        case DESC_NOWHERE:
            all_ram = false;
            break;
        default:
            waiting = true;
            break;
        }
    }
    return waiting || all_ram ? SWEEP_WAITING : SWEEP_NOTHING;
}

enum sweep_result populate_sweep(struct populator *p, struct s2 *s, ipa_t at)
{
    enum sweep_result result = SWEEP_NOTHING;
    struct s2_entry e;

    epoch_enter();
    /* The look at `frozen` before any at the tables: a sweep that s2_freeze() does not wait for has seen none of them. */
    if (atomic_load_explicit(&s->frozen, memory_order_acquire)) {
        epoch_leave();
        return SWEEP_NOTHING;
    }
    e = s2_walk_block(s, at);
    if (e.level == 2 && desc_kind(e.desc, 2) == DESC_TABLE_REF) {
        _Atomic uint64_t *table = pa_ptr(desc_pa(e.desc));
        uint64_t record = atomic_load_explicit(frame_record(desc_pa(e.desc)), memory_order_acquire);

        if (record & TABLE_RESERVED)
            result =
                promote(p, s, e.slot, ipa(align_down(at.v, BLOCK_SIZE))) ? SWEEP_PROMOTED : complete(p, s, table, at);
    }
    epoch_leave();
    return result;
}
