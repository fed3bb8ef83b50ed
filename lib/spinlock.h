/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fair lock for slow paths: console, virtual distributor, power state. None is ever taken on the way of a RAM fault;
 * what is taken there all the same is counted, and the count leaves with the statistics.
 */
#pragma once

#include "lib/arch.h"
#include "lib/core.h"

typedef struct {
    _Atomic uint32_t next, owner;
} spinlock_t;

static inline void spin_lock(spinlock_t *l)
{
    struct core *c = this_core();
    uint32_t ticket = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);

    if (c && c->in_fault)
        c->locks_in_fault++;
    while (atomic_load_explicit(&l->owner, memory_order_acquire) != ticket)
        cpu_relax();
}

/* Takes the lock if nobody has it or waits for it. */
static inline bool spin_try(spinlock_t *l)
{
    uint32_t ticket = atomic_load_explicit(&l->owner, memory_order_acquire);

    return atomic_compare_exchange_strong_explicit(&l->next, &ticket, ticket + 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void spin_unlock(spinlock_t *l)
{
    uint32_t owner = atomic_load_explicit(&l->owner, memory_order_relaxed);

    atomic_store_explicit(&l->owner, owner + 1, memory_order_release);
}
