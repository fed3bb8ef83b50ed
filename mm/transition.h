/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every change of a stage-2 descriptor once the guest runs. Each is a compare-and-swap on the one word; whoever loses
 * walks again. The callers are in an epoch.
 *
 *   0, ABSENT  -> IN_FLIGHT   s2_begin()      the winner alone fills it
 *   IN_FLIGHT  -> any         s2_complete()   by that winner
 *   0          -> present     s2_map_ready()  a zeroed frame at hand: no detour
 *   present    -> dirty       s2_make_dirty()
 *   table      -> block       s2_promote()    through BUSY: break-before-make
 *   ABSENT     -> 0           s2_drop()       nobody wants its content any more
 *   block, table -> BUSY      s2_take()       by mm/give_back.c, which alone ends it:
 *   BUSY       -> 0, or back  s2_taken()      after s2_forget_all(): invalid for good, or the very descriptor it was
 *
 * In guests with a residency limit, where pages stand alone (mm/paging.h):
 *   present    -> present     s2_age()        its access flag and what software notes beside it
 *   page       -> BUSY        s2_take()       by mm/paging.c, which alone ends it:
 *   BUSY       -> BUSY        s2_want_back()  somebody touched it
 *   BUSY       -> ABSENT, 0, or back  s2_evicted()
 */
#pragma once

#include "mm/stage2.h"

WARN_UNUSED bool s2_begin(_Atomic uint64_t *slot, uint64_t old, uint32_t request);
void s2_complete(_Atomic uint64_t *slot, uint32_t request, uint64_t desc);
WARN_UNUSED bool s2_map_ready(_Atomic uint64_t *slot, uint64_t desc);

/*
 * What this core's TLB holds of a page goes. Others may hold it as read-only still: a write there faults, finds the page
 * writable, and forgets it there. Signalling all cores for each page would cost more than these few faults.
 */
void s2_forget_here(const struct s2 *s, ipa_t at);

/* A clean page or block becomes writable; what this core's TLB held of it is gone when this returns true. */
WARN_UNUSED bool s2_make_dirty(const struct s2 *s, _Atomic uint64_t *slot, uint64_t desc, ipa_t at);

/* One more page present in the level-3 table of `slot`. Returns how many there are now. */
uint32_t s2_count_present(_Atomic uint64_t *slot);

/*
 * Joins the table at level-2 entry `slot` into one block, if all its 512 pages are present. No page moves: they stand at
 * their natural offset in the block reserved for them. The table goes to the limbo.
 */
WARN_UNUSED bool s2_promote(const struct s2 *s, _Atomic uint64_t *slot, ipa_t block, struct limbo *limbo);

/* All that the TLBs of all cores hold of a guest, both stages: cheaper than 512 pages by IPA. Complete on return. */
void s2_forget_all(const struct s2 *s);

/* The content of what is absent below `slot` is dead: it reads as zero from now on. Nothing of it is in any TLB. */
WARN_UNUSED bool s2_drop(_Atomic uint64_t *slot, uint64_t old);

/*
 * Takes a block or table at a level-2 entry out of every walker's reach. The winner owns it until s2_taken(), with `desc` either
 * 0 or the descriptor that it took. Who touches it meanwhile waits, awake: so there is no sleeping in between.
 */
WARN_UNUSED bool s2_take(_Atomic uint64_t *slot, uint64_t old);
void s2_taken(_Atomic uint64_t *slot, uint64_t desc);

/* The access flag of a page, and DESC_OLD and DESC_AHEAD beside it. Setting AF needs no TLB maintenance; clearing it does. */
WARN_UNUSED bool s2_age(_Atomic uint64_t *slot, uint64_t old, uint64_t desc);

/* Somebody has touched a page on its way out. */
void s2_want_back(_Atomic uint64_t *slot);

/* The end of an eviction. `desc` is the page's place elsewhere, or the descriptor it was. */
void s2_evicted(_Atomic uint64_t *slot, uint64_t desc);
