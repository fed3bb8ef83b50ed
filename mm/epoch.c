/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/epoch.h"

#include "lib/log.h"

_Atomic uint64_t epoch_now = 1;

void epoch_retire(struct limbo *l, pa_t frame)
{
    if (!limbo_room(l))
        panic("limbo is full");
    /* The unlinking before the look at the other cores' announcements: pairs with epoch_enter(). */
    dmb_ish();
    uint32_t at = (l->head + l->count++) % LIMBO_MAX;
    l->entry[at].frame = frame;
    l->entry[at].epoch = atomic_fetch_add_explicit(&epoch_now, 1, memory_order_seq_cst);
}

static uint64_t oldest_reader(void)
{
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; i < core_count; i++) {
        uint64_t e = atomic_load_explicit(&cores[i].epoch, memory_order_acquire);

        if (e && e < oldest)
            oldest = e;
    }
    return oldest;
}

void epoch_wait(void)
{
    uint64_t now;

    dmb_ish(); /* what the caller has changed before the look at the announcements: pairs with epoch_enter() */
    now = atomic_fetch_add_explicit(&epoch_now, 1, memory_order_seq_cst);
    while (oldest_reader() <= now)
        cpu_relax();
}

uint32_t epoch_reap(struct limbo *l, struct frame_cache *c)
{
    uint32_t freed = 0;
    uint64_t oldest;

    if (!l->count)
        return 0;
    oldest = oldest_reader();
    while (l->count && l->entry[l->head].epoch < oldest) {
        frame_free(c, l->entry[l->head].frame);
        l->head = (l->head + 1) % LIMBO_MAX;
        l->count--;
        freed++;
    }
    return freed;
}
