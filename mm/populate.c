/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/populate.h"

#include "dev/gic.h"
#include "lib/arch.h"
#include "lib/log.h"
#include "mm/backing.h"
#include "mm/paging.h"
#include "mm/transition.h"

struct s2_request requests[REQUESTS_MAX] NOINIT;

static void requests_init(uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        atomic_store_explicit(&requests[i].waiters, 0, memory_order_relaxed);
        atomic_store_explicit(&requests[i].round, 0, memory_order_relaxed);
        atomic_store_explicit(&requests[i].busy, false, memory_order_relaxed);
    }
}

void port_init(struct s2_port *port, uint32_t index, struct helper *helper, struct report_vcpu *stats)
{
    port->first_request = index * PORT_REQUESTS;
    port->turn = PORT_REQUESTS - 1;
    requests_init(port->first_request, PORT_REQUESTS);
    port->helper = helper;
    port->stats = stats;
}

void populator_init(struct populator *p, uint32_t core, struct report_helper *stats)
{
    p->first_request = MAX_CORES * PORT_REQUESTS + core * OWN_REQUESTS;
    requests_init(p->first_request, OWN_REQUESTS);
    p->put_off = NO_REQUEST;
    p->stats = stats;
}

void frame_publish(void *frame, size_t bytes)
{
    dcache_clean_inval_poc(frame, bytes);
    icache_inval(frame, bytes);
}

void populate_signal(struct populator *p)
{
    p->gathers = false;
    if (p->waiters)
        gic_sgi_cores(p->waiters, SGI_KICK);
    p->waiters = 0;
}

static void wake(struct populator *p, struct s2_request *r)
{
    uint64_t waiters;

    /*
     * The descriptor, and whether the request is free, before the look at who waits: pairs with those in s2_wait_ticket(),
     * s2_ticket_ended() and s2_full_signal().
     */
    dmb_ish();
    waiters = atomic_exchange_explicit(&r->waiters, 0, memory_order_acq_rel);
    waiters &= ~BIT(this_core()->id); /* whoever fills its own page is awake */
    p->waiters |= waiters;
    if (!p->gathers)
        populate_signal(p);
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
 * The request's entry gives way to a table that says the same one level down, but for the one entry on the way to the page:
 * that is the request's now. So the other pages below are not kept waiting. False: out of memory.
 */
static bool descend(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];
    _Atomic uint64_t *table = build_table(p, r->old, r->level);
    _Atomic uint64_t *below, *slot = r->slot;

    if (!table)
        return false;
    below = s2_slot(table, r->ipa, r->level + 1);
    r->old = atomic_load_explicit(below, memory_order_relaxed);
    atomic_store_explicit(below, desc_in_flight(number), memory_order_relaxed);
    r->slot = below;
    r->level++;
    s2_complete(slot, number, desc_table(ptr_pa(table)));
    return true;
}

/* What page `i` of a request was before it was IN_FLIGHT. */
static uint64_t old_of(const struct s2_request *r, uint32_t i)
{
    return r->old == 0 ? 0 : desc_absent(desc_small(r->old), desc_large(r->old) + i);
}

/*
 * The request is over: nobody touches it after this but who asks for something new. Whoever waits for that by then is signalled
 * once too often, and looks again.
 */
static void let_go(struct populator *p, struct s2_request *r)
{
    atomic_store_explicit(&r->round, atomic_load_explicit(&r->round, memory_order_relaxed) + 1, memory_order_release);
    atomic_store_explicit(&r->busy, false, memory_order_release);
    wake(p, r);
}

/* The frame of a page that stands alone, and does not come after all. */
static void free_frame(struct populator *p, struct s2_request *r)
{
    if (r->frame.v)
        paging_give(r->s2->paging, p, r->frame);
    r->frame = pa(0);
}

static void give_up(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];

    free_frame(p, r);
    for (uint32_t i = 0; i < r->count; i++)
        s2_complete(&r->slot[i], number, old_of(r, i));
    let_go(p, r);
}

/* The frame of the request's page: its own, or in the block of its table, at its natural offset. */
static pa_t frame_of(const struct s2_request *r)
{
    if (r->frame.v)
        return r->frame;
    uint64_t record = atomic_load_explicit(s2_table_record(r->slot), memory_order_relaxed);
    uint64_t index = (ptr_pa(r->slot).v & (PAGE_SIZE - 1)) / sizeof(uint64_t);

    return pa((record & TABLE_BLOCK) + index * PAGE_SIZE);
}

static void account(struct populator *p, const struct s2 *s, uint64_t pages)
{
    p->stats->populated_pages += pages;
    atomic_fetch_add_explicit(&s->stats->touched, (int64_t)pages, memory_order_relaxed);
}

/* A page that stands alone: the place it came from stays good for as long as it is clean. */
static void make_alone(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];
    struct report_paging *stats = r->s2->paging->stats;
    uint64_t source = r->old == 0 ? S2_SOURCE_ZERO : desc_small(r->old);
    bool dirty = r->old == 0 || r->write;
    uint64_t desc = desc_leaf(r->frame, 3, dirty);

    atomic_store_explicit(frame_record(r->frame), dirty ? 0 : r->old, memory_order_relaxed);
    if (dirty)
        backing_drop(r->old);
    stats->brought.same += source == BACKING_SAME;
    stats->brought.store += source == BACKING_STORE;
    stats->brought.swap += source == BACKING_SWAP;
    stats->brought.source += source != S2_SOURCE_ZERO && source < BACKING_FIRST;
    r->frame = pa(0);
    s2_complete(r->slot, number, r->ahead ? (desc & ~DESC_AF) | DESC_AHEAD : desc);
    account(p, r->s2, 1);
    let_go(p, r);
}

/* The frames hold what they should, and are fit for a guest. */
static void make_present(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];
    pa_t frame = frame_of(r);

    for (uint32_t i = 0; i < r->count; i++) {
        s2_complete(&r->slot[i], number,
                    desc_leaf(pa_add(frame, i * PAGE_SIZE), 3, old_of(r, i) == 0 || (r->write && i == 0)));
        s2_count_present(&r->slot[i]);
    }
    account(p, r->s2, r->count);
    let_go(p, r);
}

/* A run that fails is asked for again page by page, so that those pages are known that cannot be read. */
static void make_unreadable(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];

    if (r->count > 1) {
        p->alone += r->count;
        give_up(p, number);
        return;
    }
    p->stats->unreadable++;
    free_frame(p, r);
    s2_complete(r->slot, number, desc_error());
    let_go(p, r);
}

static void filled(struct populator *p, uint32_t number, enum fill_result result)
{
    const struct s2_request *r = &requests[number];

    if (result != FILL_OK) {
        make_unreadable(p, number);
        return;
    }
    frame_publish(pa_ptr(frame_of(r)), r->count * PAGE_SIZE);
    if (r->s2->paging)
        make_alone(p, number);
    else
        make_present(p, number);
}

void populate_filled(struct populator *p, uint32_t number, enum fill_result result)
{
    p->pending--;
    p->ended++;
    filled(p, number, result);
}

/* To the end of the line: they are served in the order they came. */
static void put_off(struct populator *p, uint32_t number)
{
    requests[number].next = NO_REQUEST;
    if (p->put_off == NO_REQUEST)
        p->put_off = number;
    else
        requests[p->put_off_at].next = number;
    p->put_off_at = number;
}

/* Begins to fill the pages of a request, whose entries stand at level 3 and whose frames are reserved. */
static enum fill_result fill(struct populator *p, uint32_t number)
{
    const struct s2_request *r = &requests[number];
    uint32_t n = r->old == 0 ? S2_SOURCE_ZERO : desc_small(r->old);
    const struct source *src = n < BACKING_FIRST ? &r->s2->sources[n] : backing_source(n);
    enum fill_result result = src->ops->fill(src, desc_large(r->old), pa_ptr(frame_of(r)), r->count, number);

    if (result == FILL_OK || result == FILL_ERROR)
        filled(p, number, result);
    else if (result == FILL_PENDING)
        p->pending++;
    return result;
}

bool populate_put_off(struct populator *p)
{
    uint32_t number = p->put_off;

    if (number == NO_REQUEST)
        return false;
    p->put_off = requests[number].next; /* before: what is filled at once is somebody else's after that */
    if (fill(p, number) != FILL_BUSY)
        return true;
    requests[number].next = p->put_off;
    if (p->put_off == NO_REQUEST)
        p->put_off_at = number;
    p->put_off = number;
    return false;
}

static enum serve_result begin_fill(struct populator *p, uint32_t number)
{
    switch (fill(p, number)) {
    case FILL_BUSY:
        put_off(p, number);
        return SERVE_PENDING;
    case FILL_PENDING:
        return SERVE_PENDING;
    default:
        return SERVE_DONE;
    }
}

/* A page of a guest with a limit. */
static enum serve_result serve_alone(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];
    struct paging *g = r->s2->paging;

    if (!paging_take(g, p, r->ahead ? PAGING_PREPARE : PAGING_DEMAND, &r->frame)) {
        if (r->ahead) {
            give_up(p, number);
            return SERVE_DONE;
        }
        paging_starve(g, number);
        wake(p, r); /* who waits for it is to know, since he may be told to wait no longer */
        return SERVE_PENDING;
    }
    if (!r->ahead)
        paging_remember(g, r->slot);
    return begin_fill(p, number);
}

/* A page at level 3. */
static enum serve_result serve_page(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];
    uint64_t record;

    if (r->s2->paging)
        return serve_alone(p, number);
    if (!reserve(s2_table_record(r->slot), r->s2, &record)) {
        give_up(p, number);
        return SERVE_NO_MEMORY;
    }
    if (r->old == 0 && record & TABLE_READY) {
        make_present(p, number);
        return SERVE_DONE;
    }
    return begin_fill(p, number);
}

/* 2 MiB of zeroes as one block. Without a helper there is no sweep to complete one that was begun. */
static enum serve_result serve_block(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];
    uint64_t desc = build_block(p, r->s2, r->ipa);

    if (!desc) {
        give_up(p, number);
        return SERVE_NO_MEMORY;
    }
    s2_complete(r->slot, number, desc);
    account(p, r->s2, BLOCK_PAGES);
    atomic_fetch_add_explicit(&r->s2->stats->block, (int64_t)BLOCK_PAGES, memory_order_relaxed);
    let_go(p, r);
    return SERVE_DONE;
}

/* The descriptor is IN_FLIGHT with this request. */
static enum serve_result serve(struct populator *p, uint32_t number, bool whole_blocks)
{
    struct s2_request *r = &requests[number];

    while (r->level < 3) {
        if (whole_blocks && r->level == 2 && r->old == 0)
            return serve_block(p, number);
        if (!descend(p, number)) {
            give_up(p, number);
            return SERVE_NO_MEMORY;
        }
    }
    return serve_page(p, number);
}

static bool promote(struct populator *p, struct s2 *s, _Atomic uint64_t *slot, ipa_t block)
{
    if (!s2_promote(s, slot, block, &p->limbo))
        return false;
    p->stats->promoted_blocks++;
    atomic_fetch_add_explicit(&s->stats->block, (int64_t)BLOCK_PAGES, memory_order_relaxed);
    return true;
}

enum serve_result populate_serve(struct populator *p, uint32_t number)
{
    struct s2 *s = requests[number].s2;
    ipa_t at = requests[number].ipa;
    bool inline_fill = !this_core()->helper;
    enum serve_result result;

    if (s->paging)
        paging_make_room(s->paging, p);
    epoch_enter();
    result = serve(p, number, inline_fill && !s->by_page);
    if (result == SERVE_DONE && inline_fill) { /* nobody else will complete and promote */
        struct s2_entry e = s2_walk_block(s, at);

        if (e.level == 2)
            promote(p, s, e.slot, ipa(align_down(at.v, BLOCK_SIZE)));
    }
    epoch_leave();
    if (inline_fill)
        epoch_reap(&p->limbo, &p->frames);
    return result;
}

static uint32_t own_request(const struct populator *p)
{
    for (uint32_t i = 0; i < OWN_REQUESTS; i++) {
        if (!atomic_load_explicit(&requests[p->first_request + i].busy, memory_order_relaxed))
            return p->first_request + i;
    }
    return NO_REQUEST;
}

bool populate_may_sweep(const struct populator *p)
{
    return own_request(p) != NO_REQUEST;
}

/* As many pages behind the first as their source fetches at once, as long as nobody else has begun one. */
static void claim_run(struct populator *p, struct s2_request *r, uint32_t number, uint32_t room)
{
    uint32_t run = r->old == 0 ? 1 : r->s2->sources[desc_small(r->old)].ops->run;

    if (p->alone) {
        p->alone--;
        return;
    }
    run = run < room ? run : room;
    while (r->count < run) {
        _Atomic uint64_t *slot = &r->slot[r->count];
        uint64_t want = old_of(r, r->count);

        if (atomic_load_explicit(slot, memory_order_relaxed) != want || !s2_begin(slot, want, number))
            break;
        r->count++;
    }
}

void populate_fed(struct populator *p, uint32_t number)
{
    struct s2_request *r = &requests[number];

    if (atomic_load_explicit(&r->s2->frozen, memory_order_acquire))
        give_up(p, number);
    else
        (void)serve_alone(p, number);
}

/* A request for an absent page at level 3, for nobody in particular. */
static bool claim_one(struct populator *p, struct s2 *s, _Atomic uint64_t *slot, uint64_t old, ipa_t at, uint32_t *out)
{
    uint32_t number = own_request(p);
    struct s2_request *r;

    if (number == NO_REQUEST)
        return false;
    r = &requests[number];
    r->s2 = s;
    r->slot = slot;
    r->old = old;
    r->ipa = at;
    r->level = 3;
    r->count = 1;
    r->write = false;
    r->ahead = s->paging != NULL;
    r->frame = pa(0);
    atomic_store_explicit(&r->busy, true, memory_order_relaxed);
    if (!s2_begin(slot, old, number)) {
        atomic_store_explicit(&r->busy, false, memory_order_relaxed);
        return false;
    }
    *out = number;
    return true;
}

/* The same with as many pages behind it as are worth fetching together; `room` are left in the table from `slot` on. */
static bool claim(struct populator *p, struct s2 *s, _Atomic uint64_t *slot, uint64_t old, ipa_t at, uint32_t room,
                  uint32_t *out)
{
    if (!claim_one(p, s, slot, old, at, out))
        return false;
    claim_run(p, &requests[*out], *out, room);
    return true;
}

bool populate_ahead(struct populator *p, struct s2 *s, ipa_t at)
{
    bool begun = false;
    struct s2_entry e;
    uint32_t number;

    epoch_enter();
    if (!atomic_load_explicit(&s->frozen, memory_order_acquire)) {
        e = s2_walk(s, at);
        begun = e.level == 3 && desc_kind(e.desc, 3) == DESC_ABSENT && claim_one(p, s, e.slot, e.desc, at, &number);
        if (begun)
            (void)serve_alone(p, number);
    }
    epoch_leave();
    return begun;
}

/*
 * Fills the next absent page of a table, from that of `at` on and around. A table that also holds what is no RAM, or cannot
 * be read, has nothing left to wait for in the end.
 */
static enum sweep_result complete(struct populator *p, struct s2 *s, _Atomic uint64_t *table, ipa_t at)
{
    ipa_t block = ipa(align_down(at.v, BLOCK_SIZE));
    bool all_ram = true, waiting = false;
    uint32_t number;

    for (uint64_t n = 0; n < S2_ENTRIES; n++) {
        uint64_t i = (n + ((at.v - block.v) >> PAGE_SHIFT)) % S2_ENTRIES;
        uint64_t d = atomic_load_explicit(&table[i], memory_order_acquire);

        switch (desc_kind(d, 3)) {
        case DESC_PRESENT:
            break;
        case DESC_ABSENT_ZERO:
        case DESC_ABSENT:
            if (claim(p, s, &table[i], d, ipa_add(block, i * PAGE_SIZE), (uint32_t)(S2_ENTRIES - i), &number))
                return serve(p, number, false) == SERVE_NO_MEMORY ? SWEEP_NOTHING : SWEEP_FILLED;
            waiting = true;
            break;
        case DESC_MMIO:
        case DESC_NOWHERE:
        case DESC_ERROR:
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
