/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/helper.h"

#include "dev/gic.h"
#include "lib/arch.h"
#include "lib/log.h"

#define LOOKS 16            /* between two YIELDs: an emulator with one thread runs another core then */
#define LOOKS_AT_TIME 8     /* of those, between two looks at the time, for which an emulator takes its lock */
#define AT_ONCE 8           /* reads that have ended, and one signal for all who wait for them */
#define POLL_NS 300000u     /* with reads on their way, before it sleeps: drives that take longer interrupt it */
#define STEPS 1024          /* between two looks at the time while it is busy, so that it is known for how long */
#define DEMANDS_IN_A_ROW 16 /* requests that are served while others wait for what is theirs already */

struct helper helpers[MAX_CORES];
uint32_t helper_count;

void helper_kick(struct helper *h)
{
    if (!h)
        return;
    /* The work before the look whether it sleeps: pairs with the barrier in may_sleep(). */
    dmb_ish();
    if (atomic_load_explicit(&h->asleep, memory_order_relaxed))
        gic_sgi(h->core, SGI_KICK);
}

/*
 * The sweep goes on behind the page that was asked for last: what a guest has just begun to read it goes on reading. The
 * pass counts as a new one, since blocks before it may have been left out.
 */
static void sweep_from(struct helper *h, const struct s2_request *r)
{
    for (uint32_t i = 0; i < h->space_count; i++) {
        if (h->spaces[i] != r->s2)
            continue;
        h->space = i;
        h->offset = r->ipa.v + PAGE_SIZE - r->s2->ram_base.v;
        if (h->offset >= r->s2->ram_size)
            h->offset = 0;
    }
    h->again = true;
    h->swept = h->rests = false;
}

/* What became of this guest's pages that were brought ahead. */
static struct ahead_counts ahead_counts(const struct helper *h, const struct paging *g)
{
    struct ahead_counts n = {.missed = g->stats->ahead.missed};

    for (uint32_t i = 0; i < h->port_count; i++) {
        if (h->ports[i]->paging == g)
            n.hits += atomic_load_explicit(&h->ports[i]->stats->ahead_hits, memory_order_relaxed);
    }
    return n;
}

/* What comes after the page that was asked for: by the sweep, or by the read-ahead of a guest with a limit. */
static void go_on_from(struct helper *h, const struct s2_request *r)
{
    struct paging *g = r->s2->paging;

    if (!g) {
        sweep_from(h, r);
        return;
    }
    if (r->old == 0)
        return;
    ahead_asked(&g->ahead, r->ipa.v - r->s2->ram_base.v, ahead_counts(h, g));
    g->stats->ahead.window = g->ahead.window;
}

/* (1) What a vCPU waits for. */
static bool serve_demand(struct helper *h)
{
    uint8_t at;

    for (uint32_t i = 0; i < h->port_count; i++) {
        struct s2_port *port = h->ports[(h->turn + i) % h->port_count];
        uint32_t number;

        if (!byte_ring_pop(&port->requests, &at))
            continue;
        number = port->first_request + at;
        h->turn = (h->turn + i + 1) % h->port_count; /* each vCPU in its turn, however fast one of them asks */
        h->pop.stats->requests++;
        go_on_from(h, &requests[number]);
        h->core->in_fault = true;
        if (populate_serve(&h->pop, number) ==
            SERVE_NO_MEMORY) /* the waiter is awake already: it asks again, and sees this */
            atomic_store_explicit(&port->failed, true, memory_order_release);
        h->core->in_fault = false;
        h->pop.stats->shared_locks = h->core->locks_in_fault;
        return true;
    }
    return false;
}

/* What reads have brought: a signal is dear, so those that end together share one. */
static bool serve_io(struct helper *h)
{
    uint32_t n = 0;

    if (!h->io)
        return false;
    h->io->notify(); /* of all that was asked for: nobody asks now */
    h->pop.gathers = true;
    while (n < AT_ONCE && h->io->serve(&h->pop))
        n++;
    populate_signal(&h->pop);
    return n;
}

static bool is_closed(const struct s2_port *port)
{
    return atomic_load_explicit(&port->closed, memory_order_acquire);
}

/* What waited for a frame of its guest's. */
static bool serve_starved(struct helper *h)
{
    for (uint32_t i = 0; i < h->paged_count; i++) {
        uint32_t number = paging_fed(h->paged[i]);

        if (number != NO_REQUEST) {
            populate_fed(&h->pop, number);
            return true;
        }
    }
    return false;
}

/* (2) A page that a guest with a limit will want next. */
static bool read_ahead(struct helper *h)
{
    uint64_t offset;

    for (uint32_t i = 0; i < h->paged_count; i++) {
        struct paging *g = h->paged[i];

        if (!g->ahead.left || !paging_has_room(g) || !populate_may_sweep(&h->pop))
            continue;
        if (!ahead_next(&g->ahead, &offset) || offset >= g->s->ram_size)
            continue;
        if (populate_ahead(&h->pop, g->s, ipa_add(g->s->ram_base, offset))) {
            g->ahead.brought++;
            g->stats->ahead.pages++;
        }
        return true;
    }
    return false;
}

/* (5) Reclaim: each guest with a limit in its turn. */
static bool reclaim(struct helper *h)
{
    for (uint32_t i = 0; i < h->paged_count; i++) {
        struct paging *g = h->paged[(h->paged_turn + i) % h->paged_count];

        if (paging_balance(g, &h->pop)) {
            h->paged_turn = (h->paged_turn + i + 1) % h->paged_count;
            return true;
        }
    }
    return false;
}

static bool reclaim_wants(const struct helper *h)
{
    for (uint32_t i = 0; i < h->paged_count; i++) {
        const struct paging *g = h->paged[i];

        if (paging_wants(g) || (g->ahead.left && paging_has_room(g) && populate_may_sweep(&h->pop)))
            return true;
        if (g->starved != NO_REQUEST &&
            (g->stats->resident < g->limit || atomic_load_explicit(&g->s->frozen, memory_order_acquire)))
            return true;
    }
    return h->paged_count && paging_buried();
}

/* What was ready for a vCPU that is no more goes back: of a closed port the helper is the consumer too. */
static bool empty_closed(struct helper *h)
{
    uint64_t frame;

    for (uint32_t i = 0; i < h->port_count; i++) {
        struct s2_port *port = h->ports[i];

        if (!is_closed(port))
            continue;
        if (ring_pop(&port->blocks, &frame)) {
            frames_free_block(pa(frame));
            return true;
        }
        if (ring_pop(&port->tables, &frame)) {
            frame_free(&h->pop.frames, pa(frame));
            return true;
        }
        if (ring_pop(&port->pages, &frame)) {
            paging_give(port->paging, &h->pop, pa(frame));
            return true;
        }
        if (port->spare_page) {
            paging_give(port->paging, &h->pop, pa(port->spare_page));
            port->spare_page = 0;
            return true;
        }
    }
    return false;
}

enum pool { POOL_OF_TABLES, POOL_OF_PAGES, POOL_OF_BLOCKS, POOLS };

/* The port whose pool of each kind is to be filled next, or NULL. Guests with a limit have single pages at hand, others blocks. */
static void look_at_pools(struct helper *h, struct s2_port *wants[POOLS])
{
    for (uint32_t i = 0; i < POOLS; i++)
        wants[i] = NULL;
    for (uint32_t i = 0; i < h->port_count; i++) {
        uint32_t n = h->pool_turn + i;
        struct s2_port *port = h->ports[n < h->port_count ? n : n - h->port_count];

        if (is_closed(port))
            continue;
        if (!wants[POOL_OF_TABLES] && ring_count(&port->tables) < POOL_TABLES)
            wants[POOL_OF_TABLES] = port;
        if (!port->paging) {
            if (!wants[POOL_OF_BLOCKS] && ring_count(&port->blocks) < POOL_BLOCKS)
                wants[POOL_OF_BLOCKS] = port;
        } else if (!wants[POOL_OF_PAGES] && ring_count(&port->pages) < POOL_PAGES && paging_has_room(port->paging)) {
            wants[POOL_OF_PAGES] = port;
        }
    }
}

static bool pools_want(struct helper *h)
{
    struct s2_port *wants[POOLS];

    look_at_pools(h, wants);
    /* Without memory there is nothing to do about it, and that is no reason to stay awake. */
    if ((wants[POOL_OF_TABLES] || wants[POOL_OF_PAGES]) && (h->pop.frames.count || frames_free_blocks()))
        return true;
    return wants[POOL_OF_BLOCKS] && (h->is_filling || frames_plentiful());
}

/* A frame for a table, which only EL2 and the table walk look at. */
static bool fill_tables(struct helper *h, struct s2_port *port)
{
    pa_t frame;

    if (!frame_alloc(&h->pop.frames, &frame))
        return false;
    zero_pages(pa_ptr(frame), 1);
    ring_push(&port->tables, frame.v);
    return true;
}

static bool fill_pages(struct helper *h, struct s2_port *port)
{
    pa_t frame;

    if (!paging_take(port->paging, &h->pop, PAGING_PREPARE, &frame))
        return false;
    zero_pages(pa_ptr(frame), 1);
    frame_publish(pa_ptr(frame), PAGE_SIZE);
    h->pop.stats->zeroed_pages++;
    ring_push(&port->pages, frame.v);
    return true;
}

/* The next page of a block. */
static bool fill_blocks(struct helper *h, struct s2_port *port)
{
    pa_t frame;

    if (!h->is_filling) {
        if (!frames_plentiful() || !frames_alloc_block(&h->filling))
            return false;
        h->is_filling = true;
        h->filled = 0;
    }
    frame = pa_add(h->filling, h->filled * PAGE_SIZE);
    zero_pages(pa_ptr(frame), 1);
    dcache_clean_inval_poc(pa_ptr(frame), PAGE_SIZE);
    h->pop.stats->zeroed_pages++;
    if (++h->filled == BLOCK_PAGES) {
        icache_inval(pa_ptr(h->filling), BLOCK_SIZE);
        ring_push(&port->blocks, h->filling.v);
        h->pool_turn = (h->pool_turn + 1) % h->port_count; /* a guest that gives back all it gets is not to have all */
        h->is_filling = false;
    }
    return true;
}

/* (3) The pools. */
static bool fill_pools(struct helper *h)
{
    struct s2_port *wants[POOLS];

    look_at_pools(h, wants);
    return (wants[POOL_OF_TABLES] && fill_tables(h, wants[POOL_OF_TABLES])) ||
           (wants[POOL_OF_PAGES] && fill_pages(h, wants[POOL_OF_PAGES])) ||
           (wants[POOL_OF_BLOCKS] && fill_blocks(h, wants[POOL_OF_BLOCKS]));
}

static uint64_t blocks_begun(const struct helper *h)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < h->space_count; i++)
        n += atomic_load_explicit(&h->spaces[i]->begun, memory_order_relaxed);
    return n;
}

/* The sweep goes on to the next block; at the end of a pass it decides whether another one is due. */
static void advance(struct helper *h)
{
    h->offset = align_down(h->offset, BLOCK_SIZE) + BLOCK_SIZE;
    if (h->offset < h->spaces[h->space]->ram_size)
        return;
    h->offset = 0;
    if (++h->space < h->space_count)
        return;
    h->space = 0;
    h->swept = !h->again && h->begun == blocks_begun(h);
    h->rests = h->again && !h->moved && h->pop.pending && h->ended == h->pop.ended && h->begun == blocks_begun(h);
    h->begun = blocks_begun(h);
    h->ended = h->pop.ended;
    h->again = h->moved = false;
}

/* Nothing for the sweep to do until a block is begun or, if it rests, a page has come. */
static bool sweep_sleeps(const struct helper *h)
{
    if (h->begun != blocks_begun(h))
        return false;
    return h->swept || (h->rests && h->ended == h->pop.ended);
}

/* (4) The background sweep: one page, or one promotion, of a block that a guest has begun. */
static bool sweep(struct helper *h)
{
    if (!h->space_count || sweep_sleeps(h))
        return false;
    if (!populate_may_sweep(&h->pop))
        return false; /* all of them are on their way: whatever ends them wakes this core */
    h->swept = h->rests = false;
    switch (populate_sweep(&h->pop, h->spaces[h->space], ipa_add(h->spaces[h->space]->ram_base, h->offset))) {
    case SWEEP_WAITING:
        h->again = true;
        advance(h);
        break;
    case SWEEP_PROMOTED:
        h->moved = true;
        advance(h);
        break;
    case SWEEP_NOTHING:
        advance(h);
        break;
    case SWEEP_FILLED: /* the next page, around at the block's end */
        h->moved = true;
        h->offset = align_down(h->offset, BLOCK_SIZE) + (h->offset + PAGE_SIZE) % BLOCK_SIZE;
        break;
    }
    return true;
}

/* What nobody has any more goes back to those who look for memory. */
static bool free_memory(struct helper *h)
{
    return empty_closed(h) || (h->paged_count && paging_undertake(&h->pop));
}

/* What was asked for before, and may have come: a read's content, a place to read to, a frame. */
static bool serve_waiting(struct helper *h)
{
    return serve_io(h) || populate_put_off(&h->pop) || serve_starved(h);
}

static bool anybody_starves(const struct helper *h)
{
    for (uint32_t i = 0; i < h->paged_count; i++) {
        if (h->paged[i]->starved != NO_REQUEST)
            return true;
    }
    return false;
}

/* The vCPUs of one guest can ask without an end: what another one waits for has its turn all the same, and what frees it. */
static bool serve_in_turn(struct helper *h)
{
    if (h->in_a_row < DEMANDS_IN_A_ROW)
        return false;
    h->in_a_row = 0;
    return serve_waiting(h) || free_memory(h) || (anybody_starves(h) && reclaim(h));
}

bool helper_step(struct helper *h)
{
    epoch_reap(&h->pop.limbo, &h->pop.frames);
    if (serve_in_turn(h))
        return true;
    if (serve_demand(h)) {
        h->in_a_row++;
        return true;
    }
    h->in_a_row = 0;
    return serve_waiting(h) || read_ahead(h) || free_memory(h) || fill_pools(h) || reclaim(h) || sweep(h);
}

static bool may_sleep(struct helper *h)
{
    atomic_store_explicit(&h->asleep, true, memory_order_relaxed);
    /* Our announcement before the last look for work: pairs with the barrier in helper_kick(). */
    dmb_ish();
    for (uint32_t i = 0; i < h->port_count; i++) {
        struct s2_port *port = h->ports[i];

        if (byte_ring_count(&port->requests))
            return false;
        if (is_closed(port) &&
            (ring_count(&port->blocks) || ring_count(&port->tables) || ring_count(&port->pages) || port->spare_page))
            return false;
    }
    if (reclaim_wants(h))
        return false;
    if (pools_want(h) || (h->space_count && !sweep_sleeps(h) && populate_may_sweep(&h->pop)))
        return false;
    return !h->io || h->io->watch();
}

static void sleep(struct helper *h)
{
    uint32_t intid;

    if (may_sleep(h))
        wfi();
    atomic_store_explicit(&h->asleep, false, memory_order_relaxed);
    if (h->io)
        h->io->unwatch();
    while ((intid = gic_ack()) != GIC_SPURIOUS) {
        if (h->io)
            h->io->interrupt(intid); /* the device's line is down before its interrupt ends */
        gic_eoi(intid);
        gic_deactivate(intid);
    }
}

/*
 * While reads are on their way the next one is often a moment away: to sleep and be woken by it takes longer than that, twice
 * over, and so does being woken by who asks for the next page. `now`: when it last had something to do. True: it has done a step.
 */
static bool look_for_a_while(struct helper *h, ticks_t now)
{
    ticks_t from = now;

    while (h->pop.pending && ticks_ns(now.v - from.v) < POLL_NS) {
        for (int i = 0; i < LOOKS * LOOKS_AT_TIME; i++) {
            if (helper_step(h))
                return true;
            if (i % LOOKS == LOOKS - 1)
                cpu_relax();
        }
        now = counter_ticks();
    }
    return false;
}

/* What there is to do. Returns when there was nothing more. */
static ticks_t work(struct helper *h)
{
    ticks_t from = counter_ticks(), now;
    bool busy;

    do {
        uint32_t steps = 0;

        while ((busy = helper_step(h)) && ++steps < STEPS)
            ;
        now = counter_ticks();
        h->pop.stats->busy_ns += ticks_ns(now.v - from.v);
        from = now;
    } while (busy);
    return now;
}

void helper_run(struct helper *h)
{
    if (h->io)
        h->io->attach();
    for (;;) {
        if (!look_for_a_while(h, work(h)))
            sleep(h);
    }
}
