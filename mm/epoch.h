/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When may a stage-2 table that was unlinked be used for something else? When every core that was reading stage-2
 * tables at that moment has stopped. A core announces the current epoch before it walks and withdraws it afterwards; it
 * never waits inside. A table retired in epoch e is free once each core is outside or in a later epoch.
 */
#pragma once

#include "lib/arch.h"
#include "lib/core.h"
#include "mm/frames.h"

extern _Atomic uint64_t epoch_now; /* starts at 1: 0 in a core means outside */

static inline void epoch_enter(void)
{
    struct core *c = this_core();

    atomic_store_explicit(&c->epoch, atomic_load_explicit(&epoch_now, memory_order_relaxed), memory_order_relaxed);
    /* The announcement before the first read of a table: pairs with the barrier in epoch_retire(). */
    dmb_ish();
}

static inline void epoch_leave(void)
{
    atomic_store_explicit(&this_core()->epoch, 0, memory_order_release);
}

/* Returns when every core that is in an epoch now has left it. Not to be called inside one. */
void epoch_wait(void);

#define LIMBO_MAX 64

/* Unlinked tables waiting for their epoch to pass; belongs to one core. */
struct limbo {
    struct {
        pa_t frame;
        uint64_t epoch;
    } entry[LIMBO_MAX];
    uint32_t head, count;
};

/* Room for one more? A caller without room tries again later. */
static inline bool limbo_room(const struct limbo *l)
{
    return l->count < LIMBO_MAX;
}

/* `frame` is unlinked from every table, and the TLB maintenance for that is complete. */
void epoch_retire(struct limbo *l, pa_t frame);

/* Moves what no core can still be reading to the cache. Returns how many. */
uint32_t epoch_reap(struct limbo *l, struct frame_cache *c);
