/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Physical memory: 2 MiB blocks and 4 KiB frames.
 *
 * Blocks are free bits in one bitmap per bank, claimed by compare-and-swap: no lock. 4 KiB frames come from a cache that
 * belongs to one core. A cache that has too many gives some to a depot that all share, one that runs dry takes from
 * there, and splits a block when the depot is empty too: frames that one core frees are not lost to the others. Only blocks that are RAM from end to end, and touch nothing
 * reserved, are ever handed out.
 *
 * Each frame has a record of 8 bytes, and the 512 records of a block fill a page. That page is zeroed when the block is
 * claimed, so start-up touches nothing of it. What a record holds depends on what the frame serves as:
 *
 *   free 4 KiB frame          the next free frame of its cache
 *   stage-2 table             the block reserved for its pages, how many of them are present (below)
 *   first of a guest's block  owner: guest and IPA
 *   guest's page that stands  where its content is too, while it is clean: the descriptor it came from (mm/paging.h)
 *   alone
 *   table on its way to the   the next of them, and its guest (mm/paging.h)
 *   helper
 */
#pragma once

#include <stdatomic.h>

#include "lib/bits.h"
#include "lib/core.h"
#include "lib/types.h"

struct frame_cache {
    uint64_t head; /* PA of the first free frame, 0 if none; linked through the records */
    uint64_t count;
};

/* Record of a stage-2 table of level 3. */
#define TABLE_PRESENT FIELD(9, 0) /* pages present, 0..512 */
#define TABLE_READY BIT(10)       /* the reserved block is zeroed, cleaned and invalidated from end to end */
#define TABLE_RESERVED BIT(11)
#define TABLE_BLOCK FIELD(47, 21) /* the block's PA, in place */

/* Record of a guest's frame. */
#define OWNER_GUEST FIELD(8, 1) /* VMID */
#define OWNER_IPA FIELD(47, 12) /* in place */
#define OWNER_VALID BIT(0)

struct range {
    uint64_t base, size;
};

/*
 * Boot core, once. `banks` is RAM; `reserved` is what is in it and must not be touched. The bitmaps and records are
 * carved out of the banks, and `map` is called before the first of their bytes is written (NULL: they are mapped).
 * Returns false when there is not one whole free block, or no place for the maps.
 */
WARN_UNUSED bool frames_init(const struct range *banks, size_t bank_count, const struct range *reserved,
                             size_t reserved_count, bool (*map)(pa_t base, uint64_t size));

/* Any core. */
WARN_UNUSED bool frames_alloc_block(pa_t *out);
void frames_free_block(pa_t block);
uint64_t frames_free_blocks(void);

/* Enough free blocks that a fault on zeroes may take a whole one. */
bool frames_plentiful(void);

#define FRAME_CACHE_HIGH 1024u /* more than these go to the depot */

/* The cache's own core. Contents of the frame are whatever they were. */
WARN_UNUSED bool frame_alloc(struct frame_cache *c, pa_t *out);
void frame_free(struct frame_cache *c, pa_t frame);

/* The record of an allocated frame; panics on an address that is no frame of ours. */
_Atomic uint64_t *frame_record(pa_t frame);

/* Notes whose page or block it is. */
static inline void frame_set_owner(pa_t frame, uint32_t vmid, ipa_t at)
{
    atomic_store_explicit(frame_record(frame), OWNER_VALID | field_put(OWNER_GUEST, vmid) | (at.v & OWNER_IPA),
                          memory_order_relaxed);
}

/* Whether EL2 may map this 2 MiB of physical memory as its own or guests' RAM. */
bool frames_owns_block(pa_t block);
