/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/release.h"

#include "lib/arch.h"
#include "lib/log.h"
#include "mm/helper.h"
#include "mm/paging.h"

void s2_freeze(struct s2 *s)
{
    atomic_store_explicit(&s->frozen, true, memory_order_relaxed);
    epoch_wait(); /* who has not seen it yet is in an epoch that has begun */
    if (s->paging) {
        dmb_ish(); /* pairs with may_evict() */
        while (atomic_load_explicit(&s->paging->evicting, memory_order_acquire))
            cpu_relax();
        helper_kick(this_core()->helper); /* what waits for a frame waits no longer */
    }
    for (uint32_t i = MAX_CORES * PORT_REQUESTS; i < MAX_CORES * PORT_REQUESTS + core_count * OWN_REQUESTS; i++) {
        /* What a sweep has begun to fetch. It may have gone to another space meanwhile: then it is none of this one. */
        while (atomic_load_explicit(&requests[i].busy, memory_order_acquire) && requests[i].s2 == s)
            cpu_relax();
    }
}

void s2_thaw(struct s2 *s)
{
    atomic_store_explicit(&s->frozen, false, memory_order_release);
}

bool port_idle(const struct s2_port *port)
{
    for (uint32_t i = 0; i < PORT_REQUESTS; i++) {
        if (atomic_load_explicit(&requests[port->first_request + i].busy, memory_order_acquire))
            return false;
    }
    return true;
}

void port_close(struct s2_port *port, struct frame_cache *frames)
{
    if (port->spare_block)
        frames_free_block(pa(port->spare_block));
    if (port->spare_table)
        frame_free(frames, pa(port->spare_table));
    port->spare_block = 0;
    port->spare_table = 0; /* a spare page is the helper's to free, since it counts (mm/paging.h) */
    atomic_store_explicit(&port->closed, true, memory_order_release); /* the rings' consumer is the helper now */
    helper_kick(port->helper);
}

/*
 * The pages of a level-3 table lie in the block reserved for it: the block goes as a whole, and the table with it. Where they
 * stand alone the helper frees them.
 */
static void free_pages(const struct s2 *s, ipa_t at, pa_t table, struct frame_cache *frames)
{
    if (s->paging && at.v >= s->ram_base.v) { /* below there are pages of EL2's, and devices */
        paging_bury(s, table);
        return;
    }
    uint64_t record = atomic_load_explicit(frame_record(table), memory_order_relaxed);

    if (record & TABLE_RESERVED)
        frames_free_block(pa(record & TABLE_BLOCK));
    frame_free(frames, table);
}

/* A level-2 table and all below it, from `at` on. */
static void free_table(const struct s2 *s, ipa_t at, pa_t table, struct frame_cache *frames)
{
    _Atomic uint64_t *entries = pa_ptr(table);

    for (uint32_t i = 0; i < S2_ENTRIES; i++) {
        uint64_t d = atomic_load_explicit(&entries[i], memory_order_relaxed);
        enum desc_kind kind = desc_kind(d, 2);

        if (kind == DESC_TABLE_REF)
            free_pages(s, ipa_add(at, i * BLOCK_SIZE), desc_pa(d), frames);
        else if (kind == DESC_PRESENT)
            frames_free_block(desc_pa(d));
        else if (kind == DESC_IN_FLIGHT || kind == DESC_BUSY)
            panic("descriptor %lx in a space that is released", d);
    }
    frame_free(frames, table);
}

void s2_release(struct s2 *s, struct frame_cache *frames)
{
    uint64_t tables[S2_ENTRIES / 64] = {0}; /* bit per root entry: a table hung there */
    uint64_t other;

    /* Out of every walker's reach first, then freed: the root's entries keep their address without the valid bit. */
    for (uint32_t i = 0; i < S2_ENTRIES; i++) {
        if (desc_kind(atomic_load_explicit(&s->root[i], memory_order_relaxed), 1) == DESC_TABLE_REF) {
            atomic_fetch_and_explicit(&s->root[i], ~DESC_VALID, memory_order_relaxed);
            tables[i / 64] |= BIT(i % 64);
        }
    }
    other = vttbr_switch(s->vttbr);
    dsb_ishst();
    tlbi_vmalls12e1is();
    dsb_ish();
    vttbr_switch(other);
    for (uint32_t i = 0; i < S2_ENTRIES; i++) {
        if (tables[i / 64] & BIT(i % 64))
            free_table(s, ipa(i * GIB(1)), desc_pa(atomic_load_explicit(&s->root[i], memory_order_relaxed)), frames);
        atomic_store_explicit(&s->root[i], desc_nowhere(), memory_order_relaxed);
    }
    dsb_ishst();
    if (s->paging)
        helper_kick(this_core()->helper);
}
