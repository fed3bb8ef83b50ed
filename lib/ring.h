/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring of 64-bit words with one producer and one consumer, on different cores, no lock. The producer's store-release
 * of `tail` publishes the entry; the consumer's store-release of `head` gives the place back.
 */
#pragma once

#include <stdatomic.h>

#include "lib/types.h"

#define RING_SIZE 16u /* a power of two */

struct ring {
    _Atomic uint32_t head __attribute__((aligned(CACHE_LINE))); /* next to take; the consumer's */
    _Atomic uint32_t tail __attribute__((aligned(CACHE_LINE))); /* next to fill; the producer's */
    uint64_t slot[RING_SIZE];
};

/* How many entries lie in it: exact for either end as to what it may rely on. */
static inline uint32_t ring_count(struct ring *r)
{
    return atomic_load_explicit(&r->tail, memory_order_acquire) - atomic_load_explicit(&r->head, memory_order_acquire);
}

/* Producer. */
static inline bool ring_push(struct ring *r, uint64_t v)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

    if (tail - atomic_load_explicit(&r->head, memory_order_acquire) == RING_SIZE)
        return false;
    r->slot[tail % RING_SIZE] = v;
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return true;
}

/* Consumer. */
static inline bool ring_pop(struct ring *r, uint64_t *v)
{
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

    if (atomic_load_explicit(&r->tail, memory_order_acquire) == head)
        return false;
    *v = r->slot[head % RING_SIZE];
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return true;
}
