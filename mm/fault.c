/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/fault.h"

#include "dev/gic.h"
#include "lib/arch.h"
#include "mm/helper.h"
#include "mm/paging.h"
#include "mm/transition.h"

bool s2_fault_locate(struct s2_fault *f)
{
    uint64_t par;

    if (f->ipa_valid)
        return true;
    par = at_s1e1r(f->far);
    if (par & PAR_F)
        return false;
    f->ipa = ipa((par & PAR_PA) | (f->far & (PAGE_SIZE - 1)));
    f->ipa_valid = true;
    return true;
}

/* A ready frame from the pool, or the one that was left over when another vCPU was first. 0: none at hand. */
static uint64_t take(struct s2_port *port, struct ring *pool, uint64_t *spare, uint32_t full)
{
    uint64_t frame = *spare;

    *spare = 0;
    if (!frame && ring_pop(pool, &frame) && ring_count(pool) <= full / 2)
        helper_kick(port->helper); /* the pool runs low */
    return frame;
}

/* First touch of 2 MiB of zeroes while RAM is plentiful: a whole block. */
static bool map_block(struct s2 *s, struct s2_port *port, const struct s2_entry *e, ipa_t at)
{
    uint64_t block = take(port, &port->blocks, &port->spare_block, POOL_BLOCKS);

    if (!block)
        return false;
    if (!s2_map_ready(e->slot, desc_leaf(pa(block), 2, true))) {
        port->spare_block = block;
        return true;
    }
    frame_set_owner(pa(block), s->vmid, ipa(align_down(at.v, BLOCK_SIZE)));
    port->stats->touched += (int64_t)BLOCK_PAGES;
    port->stats->block += (int64_t)BLOCK_PAGES;
    return true;
}

/* The same page by page: a ready block is reserved, and one page of it mapped. */
static bool map_first_page(struct s2 *s, struct s2_port *port, const struct s2_entry *e, ipa_t at)
{
    uint64_t index = (at.v >> PAGE_SHIFT) & (S2_ENTRIES - 1);
    uint64_t block = take(port, &port->blocks, &port->spare_block, POOL_BLOCKS);
    uint64_t frame = take(port, &port->tables, &port->spare_table, POOL_TABLES);
    _Atomic uint64_t *table = pa_ptr(pa(frame));

    if (block && frame) {
        atomic_store_explicit(frame_record(pa(frame)), TABLE_RESERVED | TABLE_READY | block | 1, memory_order_relaxed);
        atomic_store_explicit(&table[index], desc_leaf(pa(block + index * PAGE_SIZE), 3, true), memory_order_relaxed);
        if (s2_map_ready(e->slot, desc_table(pa(frame)))) {
            port->stats->touched++;
            atomic_fetch_add_explicit(&s->begun, 1, memory_order_relaxed);
            helper_kick(port->helper); /* there is a block to complete */
            return true;
        }
        atomic_store_explicit(&table[index], 0, memory_order_relaxed);
    }
    port->spare_block = block;
    port->spare_table = frame;
    return block && frame;
}

/* An absent zero page in a block that is ready: the frame is at its natural offset, nothing to fill. */
static bool map_zero_page(struct s2_port *port, const struct s2_entry *e)
{
    uint64_t record = atomic_load_explicit(s2_table_record(e->slot), memory_order_acquire);
    uint64_t index = (ptr_pa(e->slot).v & (PAGE_SIZE - 1)) / sizeof(uint64_t);

    if (!(record & TABLE_READY))
        return false;
    if (s2_map_ready(e->slot, desc_leaf(pa((record & TABLE_BLOCK) + index * PAGE_SIZE), 3, true))) {
        s2_count_present(e->slot);
        port->stats->touched++;
    }
    return true;
}

/* The same where pages stand alone: any ready frame. */
static bool map_page_alone(struct s2_port *port, const struct s2_entry *e)
{
    uint64_t frame = take(port, &port->pages, &port->spare_page, POOL_PAGES);

    if (!frame)
        return false;
    if (s2_map_ready(e->slot, desc_leaf(pa(frame), 3, true)))
        port->stats->touched++;
    else
        port->spare_page = frame;
    return true;
}

/* First touch in 1 GiB of zeroes, or in 2 MiB where pages stand alone: an empty table for it. */
static bool map_empty_table(struct s2_port *port, const struct s2_entry *e)
{
    uint64_t frame = take(port, &port->tables, &port->spare_table, POOL_TABLES);

    if (!frame)
        return false;
    atomic_store_explicit(frame_record(pa(frame)), 0, memory_order_relaxed);
    if (!s2_map_ready(e->slot, desc_table(pa(frame))))
        port->spare_table = frame;
    return true;
}

static bool map_zero(struct s2 *s, struct s2_port *port, const struct s2_entry *e, ipa_t at)
{
    if (s->paging)
        return e->level == 3 ? map_page_alone(port, e) : map_empty_table(port, e);
    switch (e->level) {
    case 1:
        return map_empty_table(port, e);
    case 2:
        return s->by_page || !frames_plentiful() ? map_first_page(s, port, e, at) : map_block(s, port, e, at);
    default:
        return map_zero_page(port, e);
    }
}

/* A request of the port's that is free: most often the one behind that which was used last. */
static bool find_request(struct s2_port *port, uint32_t *number)
{
    for (uint32_t i = 0; i < PORT_REQUESTS; i++) {
        port->turn = port->turn + 1 < PORT_REQUESTS ? port->turn + 1 : 0;
        *number = port->first_request + port->turn;
        if (!atomic_load_explicit(&requests[*number].busy, memory_order_acquire))
            return true;
    }
    return false;
}

/*
 * Asks for the page. The descriptor is IN_FLIGHT in our name, or somebody else changed it, when this returns. False: all
 * requests are on their way. Not to be waited for here: the helper may wait for this core to leave its epoch.
 */
static bool enqueue(struct s2 *s, struct s2_port *port, const struct s2_entry *e, ipa_t at, bool write)
{
    struct s2_request *r;
    uint32_t number;

    if (!find_request(port, &number))
        return false;
    r = &requests[number];
    r->s2 = s;
    r->slot = e->slot;
    r->old = e->desc;
    r->ipa = at;
    r->level = e->level;
    r->count = 1;
    r->write = write;
    r->ahead = false;
    r->frame = pa(0);
    atomic_store_explicit(&r->busy, true, memory_order_relaxed);
    if (!s2_begin(e->slot, e->desc, number)) {
        atomic_store_explicit(&r->busy, false, memory_order_relaxed);
        return true;
    }
    if (!port->helper) {
        epoch_leave();
        if (populate_serve(port->inline_populator, number) == SERVE_NO_MEMORY)
            atomic_store_explicit(&port->failed, true, memory_order_relaxed);
        epoch_enter();
        return true;
    }
    byte_ring_push(&port->requests, (uint8_t)(number - port->first_request)); /* larger than there are: it has room */
    helper_kick(port->helper);
    return true;
}

/* A page that has not been touched for a while. Its access flag is set, and no TLB holds it without (D8.4.5). */
static NOINLINE void rejuvenate(struct s2_port *port, const struct s2_entry *e)
{
    if (!s2_age(e->slot, e->desc, (e->desc | DESC_AF) & ~(DESC_OLD | DESC_AHEAD)))
        return;
    port->stats->rejuvenated++;
    if (e->desc & DESC_AHEAD)
        atomic_store_explicit(&port->stats->ahead_hits,
                              atomic_load_explicit(&port->stats->ahead_hits, memory_order_relaxed) + 1,
                              memory_order_relaxed);
}

/* One look at the descriptor. False: it changed under us, look again. */
static bool step(struct s2 *s, struct s2_port *port, ipa_t at, bool write, uint32_t *mmio, bool *queued,
                 enum s2_fault_result *result)
{
    struct s2_entry e = s2_walk(s, at);

    *result = S2_RESUME;
    switch (desc_kind(e.desc, e.level)) {
    case DESC_PRESENT:
        if (UNLIKELY(desc_is_device(e.desc))) { /* a fetch or a walk of stage 1 there: no RAM, whatever we do */
            *result = S2_NOWHERE;
            return true;
        }
        if (UNLIKELY(!desc_young(e.desc))) {
            rejuvenate(port, &e);
            return false;
        }
        if (write && desc_writable(e.desc))
            s2_forget_here(s, at); /* made so by another core: ours may not have noticed */
        return !write || desc_writable(e.desc) || s2_make_dirty(s, e.slot, e.desc, at);
    case DESC_ABSENT_ZERO:
        if (port->helper && map_zero(s, port, &e, at))
            return e.level == 3 || (e.level == 2 && !s->paging); /* an empty table helps nobody yet */
        /* fall through */
    case DESC_ABSENT:
        *queued = *queued || port->helper;
        if (enqueue(s, port, &e, at, write))
            return false;
        *result = S2_FULL;
        return true;
    case DESC_IN_FLIGHT:
        *result = S2_WAIT;
        *queued = true;
        return true;
    case DESC_BUSY:
        if (e.level == 3)
            s2_want_back(e.slot);
        *result = S2_BUSY;
        *queued = true;
        return true;
    case DESC_MMIO:
        *result = S2_MMIO;
        *mmio = desc_small(e.desc);
        return true;
    case DESC_ERROR:
        *result = S2_ERROR;
        return true;
    default:
        *result = S2_NOWHERE;
        return true;
    }
}

enum s2_fault_result s2_fault(struct s2 *s, struct s2_port *port, ipa_t at, bool write, uint32_t *mmio, bool *queued)
{
    enum s2_fault_result result;
    bool settled;

    do {
        if (atomic_load_explicit(&port->failed, memory_order_relaxed))
            return S2_NO_MEMORY;
        epoch_enter();
        settled = step(s, port, at, write, mmio, queued, &result);
        epoch_leave();
    } while (!settled);
    return result;
}

bool s2_hint(struct s2 *s, struct s2_port *port, ipa_t at)
{
    uint32_t unused = 0;
    bool begun = true;
    struct s2_entry e;

    for (uint32_t i = 0; i < PORT_REQUESTS; i++)
        unused += !atomic_load_explicit(&requests[port->first_request + i].busy, memory_order_relaxed);
    if (unused <= PORT_REQUESTS / 2)
        return false; /* faults come first */
    epoch_enter();
    e = s2_walk(s, at);
    if (desc_kind(e.desc, e.level) == DESC_ABSENT)
        begun = enqueue(s, port, &e, at, false);
    epoch_leave();
    return begun;
}

bool s2_wait_ticket(struct s2 *s, ipa_t at, struct s2_ticket *t)
{
    bool on_its_way = false;
    struct s2_entry e;

    epoch_enter();
    e = s2_walk(s, at);
    if (desc_kind(e.desc, e.level) == DESC_IN_FLIGHT) {
        struct s2_request *r;

        t->number = (uint32_t)(desc_large(e.desc) % REQUESTS_MAX);
        r = &requests[t->number];
        atomic_fetch_or_explicit(&r->waiters, BIT(this_core()->id), memory_order_acq_rel);
        /* Our name on the list before the look at the descriptor: pairs with the barrier in wake(). */
        dmb_ish();
        /* A round that ends before the descriptor is seen is one too many for the ticket: it ends too early, not never. */
        t->round = atomic_load_explicit(&r->round, memory_order_acquire);
        on_its_way = atomic_load_explicit(e.slot, memory_order_acquire) == e.desc;
    }
    epoch_leave();
    return on_its_way;
}

bool s2_wait_signal(struct s2 *s, ipa_t at)
{
    struct s2_ticket t;

    return s2_wait_ticket(s, at, &t);
}

bool s2_full_signal(struct s2_port *port)
{
    struct s2_request *r = &requests[port->first_request];

    for (uint32_t i = 0; i < PORT_REQUESTS; i++)
        atomic_fetch_or_explicit(&r[i].waiters, BIT(this_core()->id), memory_order_acq_rel);
    /* Our name on the lists before the look: pairs with the barrier in wake(). */
    dmb_ish();
    for (uint32_t i = 0; i < PORT_REQUESTS; i++) {
        if (!atomic_load_explicit(&r[i].busy, memory_order_acquire))
            return false;
    }
    return true;
}

bool s2_ticket_ended(const struct s2_ticket *t)
{
    struct s2_request *r = &requests[t->number];
    uint64_t me = BIT(this_core()->id);

    if (atomic_load_explicit(&r->round, memory_order_acquire) != t->round)
        return true;
    if (atomic_load_explicit(&r->waiters, memory_order_relaxed) & me)
        return false;
    /* It has signalled, and is not over: it waits for a frame. */
    atomic_fetch_or_explicit(&r->waiters, me, memory_order_acq_rel);
    dmb_ish(); /* as above */
    return atomic_load_explicit(&r->round, memory_order_acquire) != t->round;
}

bool s2_is_unreadable(struct s2 *s, ipa_t at)
{
    struct s2_entry e;

    epoch_enter();
    e = s2_walk(s, at);
    epoch_leave();
    return desc_kind(e.desc, e.level) == DESC_ERROR;
}
