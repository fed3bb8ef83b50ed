/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's address space at stage 2: its tables, how they are made, how they are read.
 *
 * Tables change in mm/transition.c only, once the guest runs. Readers outside it stand in an epoch (mm/epoch.h).
 * Granule 4 KiB, start level 1, at most 39 bits of IPA: the root is one page, and an IPA beyond it is NOWHERE.
 */
#pragma once

#include "lib/report.h"
#include "lib/ring.h"
#include "mm/desc.h"
#include "mm/epoch.h"
#include "mm/frames.h"
#include "mm/source.h"

#define S2_IPA_BITS 39
#define S2_SOURCES 8
#define S2_SOURCE_ZERO 0 /* sources[0] of every guest */

struct paging;

struct s2 {
    uint64_t vttbr;         /* VMID and root table, as VTTBR_EL2 takes it */
    _Atomic uint64_t *root; /* level 1, 512 entries */
    uint32_t vmid;
    bool by_page;   /* zero faults map one page at a time even while RAM is plentiful */
    ipa_t ram_base; /* what the background sweep completes */
    uint64_t ram_size;
    struct source sources[S2_SOURCES];
    uint32_t source_count;
    struct report_guest *stats;
    struct paging *paging;  /* it has a residency limit, and its pages stand alone (mm/paging.h); NULL: it has none */
    _Atomic bool frozen;    /* the background sweep keeps out (mm/release.h) */
    _Atomic uint64_t begun; /* blocks begun so far: tells a sleeping helper that there is something to complete */
};

/* A descriptor, where it stands and at which level. */
struct s2_entry {
    _Atomic uint64_t *slot; /* NULL beyond the IPA space; desc is NOWHERE then */
    uint64_t desc;
    unsigned level;
};

static inline _Atomic uint64_t *s2_slot(_Atomic uint64_t *table, ipa_t at, unsigned level)
{
    return &table[(at.v >> (39 - 9 * level)) & (S2_ENTRIES - 1)];
}

/*
 * The descriptor that decides about `at`: a leaf, or the first invalid one on the way. The caller is in an epoch.
 * Loads are acquire: what a table held when it was linked is seen.
 */
static inline struct s2_entry s2_walk(const struct s2 *s, ipa_t at)
{
    struct s2_entry e = {NULL, desc_nowhere(), 1};

    if (UNLIKELY(at.v >> S2_IPA_BITS))
        return e;
    e.slot = s2_slot(s->root, at, 1);
    e.desc = atomic_load_explicit(e.slot, memory_order_acquire);
    if (desc_kind(e.desc, 1) != DESC_TABLE_REF)
        return e;
    e.level = 2;
    e.slot = s2_slot(pa_ptr(desc_pa(e.desc)), at, 2);
    e.desc = atomic_load_explicit(e.slot, memory_order_acquire);
    if (desc_kind(e.desc, 2) != DESC_TABLE_REF)
        return e;
    e.level = 3;
    e.slot = s2_slot(pa_ptr(desc_pa(e.desc)), at, 3);
    e.desc = atomic_load_explicit(e.slot, memory_order_acquire);
    return e;
}

/* The level-2 entry of the 2 MiB around `at`, or the invalid level-1 entry above it. The caller is in an epoch. */
static inline struct s2_entry s2_walk_block(const struct s2 *s, ipa_t at)
{
    struct s2_entry e = {NULL, desc_nowhere(), 1};

    if (at.v >> S2_IPA_BITS)
        return e;
    e.slot = s2_slot(s->root, at, 1);
    e.desc = atomic_load_explicit(e.slot, memory_order_acquire);
    if (desc_kind(e.desc, 1) != DESC_TABLE_REF)
        return e;
    e.level = 2;
    e.slot = s2_slot(pa_ptr(desc_pa(e.desc)), at, 2);
    e.desc = atomic_load_explicit(e.slot, memory_order_acquire);
    return e;
}

/* The record of the level-3 table that `slot` is an entry of. */
static inline _Atomic uint64_t *s2_table_record(const _Atomic uint64_t *slot)
{
    return frame_record(pa(align_down(ptr_pa(slot).v, PAGE_SIZE)));
}

/* Boot core, before the guest runs. All of the IPA space is NOWHERE at first. False: out of memory. */
WARN_UNUSED bool s2_init(struct s2 *s, uint32_t vmid, struct frame_cache *frames, struct report_guest *stats);

/*
 * Boot core, before the guest runs: every page of [base, base + size), both page aligned, becomes `desc`: 0, NOWHERE,
 * MMIO, or ABSENT (whose offset then counts up from the one given). False: out of memory, or beyond the IPA space.
 */
WARN_UNUSED bool s2_set_range(struct s2 *s, struct frame_cache *frames, ipa_t base, uint64_t size, uint64_t desc);

/* Adds a source. Returns its number, or -1 when there are too many. */
int s2_add_source(struct s2 *s, const struct source *src);

/* VTCR_EL2 for this layout, given ID_AA64MMFR0_EL1. */
uint64_t s2_vtcr(uint64_t mmfr0);
