/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/helper.h"

#include "dev/gic.h"
#include "lib/arch.h"
#include "lib/log.h"

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

/* (1) What a vCPU waits for. */
static bool serve_demand(struct helper *h)
{
    uint64_t number;

    for (uint32_t i = 0; i < h->port_count; i++) {
        struct s2_port *port = h->ports[(h->turn + i) % h->port_count];

        if (!ring_pop(&port->requests, &number))
            continue;
        h->turn = (h->turn + i + 1) % h->port_count; /* each vCPU in its turn, however fast one of them asks */
        h->pop.stats->requests++;
        sweep_from(h, &requests[number]);
        h->core->in_fault = true;
        if (populate_serve(&h->pop, (uint32_t)number) ==
            SERVE_NO_MEMORY) /* the waiter is awake already: it asks again, and sees this */
            atomic_store_explicit(&port->failed, true, memory_order_release);
        h->core->in_fault = false;
        h->pop.stats->shared_locks = h->core->locks_in_fault;
        return true;
    }
    return false;
}

static bool serve_io(struct helper *h)
{
    return h->io && h->io->serve(&h->pop);
}

static bool is_closed(const struct s2_port *port)
{
    return atomic_load_explicit(&port->closed, memory_order_acquire);
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
    }
    return false;
}

static struct s2_port *port_wanting(struct helper *h, bool blocks)
{
    for (uint32_t i = 0; i < h->port_count; i++) {
        struct s2_port *port = h->ports[(h->pool_turn + i) % h->port_count];

        if (is_closed(port))
            continue;
        if (blocks ? ring_count(&port->blocks) < POOL_BLOCKS : ring_count(&port->tables) < POOL_TABLES)
            return port;
    }
    return NULL;
}

static bool pools_want(struct helper *h)
{
    /* Without memory there is nothing to do about it, and that is no reason to stay awake. */
    if (port_wanting(h, false) && (h->pop.frames.count || frames_free_blocks()))
        return true;
    return port_wanting(h, true) && (h->is_filling || frames_plentiful());
}

/* (3) The pools: a frame for a table, or the next page of a block. */
static bool fill_pools(struct helper *h)
{
    struct s2_port *port = port_wanting(h, false);
    pa_t frame;

    if (port && frame_alloc(&h->pop.frames, &frame)) {
        zero_pages(pa_ptr(frame), 1);
        ring_push(&port->tables, frame.v);
        return true;
    }
    port = port_wanting(h, true);
    if (!port)
        return false;
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

bool helper_step(struct helper *h)
{
    epoch_reap(&h->pop.limbo, &h->pop.frames);
    return serve_demand(h) || serve_io(h) || populate_put_off(&h->pop) || empty_closed(h) || fill_pools(h) || sweep(h);
}

static bool may_sleep(struct helper *h)
{
    atomic_store_explicit(&h->asleep, true, memory_order_relaxed);
    /* Our announcement before the last look for work: pairs with the barrier in helper_kick(). */
    dmb_ish();
    for (uint32_t i = 0; i < h->port_count; i++) {
        struct s2_port *port = h->ports[i];

        if (ring_count(&port->requests))
            return false;
        if (is_closed(port) && (ring_count(&port->blocks) || ring_count(&port->tables)))
            return false;
    }
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
        h->io->unwatch(); /* the device's line is down before its interrupt ends */
    while ((intid = gic_ack()) != GIC_SPURIOUS) {
        gic_eoi(intid);
        gic_deactivate(intid);
    }
}

void helper_run(struct helper *h)
{
    if (h->io)
        h->io->attach();
    for (;;) {
        ticks_t from = counter_ticks();

        while (helper_step(h))
            ;
        h->pop.stats->busy_ns += ticks_ns(counter_ticks().v - from.v);
        sleep(h);
    }
}
