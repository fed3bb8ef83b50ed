/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rings with one producer and one consumer, on different cores, no lock: `ring` of 64-bit words, `byte_ring` of small
 * numbers. The producer's store-release of `tail` publishes the entry; the consumer's store-release of `head` gives the place
 * back.
 */
#pragma once

#include <stdatomic.h>

#include "lib/types.h"

#define RING_SIZE 16u       /* a power of two, as is the other */
#define BYTE_RING_SIZE 128u /* as many bytes */

/*
 * count: how many entries lie in it: exact for either end as to what it may rely on. push is the producer's, pop the
 * consumer's.
 */
#define DEFINE_RING(ring, type, size)                                                                  \
    struct ring {                                                                                      \
        _Atomic uint32_t head __attribute__((aligned(CACHE_LINE))); /* next to take; the consumer's */ \
        _Atomic uint32_t tail __attribute__((aligned(CACHE_LINE))); /* next to fill; the producer's */ \
        type slot[size];                                                                               \
    };                                                                                                 \
                                                                                                       \
    static inline uint32_t ring##_count(struct ring *r)                                                \
    {                                                                                                  \
        return atomic_load_explicit(&r->tail, memory_order_acquire) -                                  \
               atomic_load_explicit(&r->head, memory_order_acquire);                                   \
    }                                                                                                  \
                                                                                                       \
    static inline bool ring##_push(struct ring *r, type v)                                             \
    {                                                                                                  \
        uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);                          \
                                                                                                       \
        if (tail - atomic_load_explicit(&r->head, memory_order_acquire) == (size))                     \
            return false;                                                                              \
        r->slot[tail % (size)] = v;                                                                    \
        atomic_store_explicit(&r->tail, tail + 1, memory_order_release);                               \
        return true;                                                                                   \
    }                                                                                                  \
                                                                                                       \
    static inline bool ring##_pop(struct ring *r, type *v)                                             \
    {                                                                                                  \
        uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);                          \
                                                                                                       \
        if (atomic_load_explicit(&r->tail, memory_order_acquire) == head)                              \
            return false;                                                                              \
        *v = r->slot[head % (size)];                                                                   \
        atomic_store_explicit(&r->head, head + 1, memory_order_release);                               \
        return true;                                                                                   \
    }

DEFINE_RING(ring, uint64_t, RING_SIZE)
DEFINE_RING(byte_ring, uint8_t, BYTE_RING_SIZE)
