/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the content of a page goes that has to leave RAM, and comes back from: a word that fills it, the compressed store,
 * the swap disk. Each is a source as any other (mm/source.h), common to all guests, with a number above theirs.
 *
 * Helper 0 alone works here, so there is no lock. It alone serves the guests whose pages leave.
 */
#pragma once

#include "mm/desc.h"
#include "mm/source.h"

enum backing {
    BACKING_SAME = 0xfd, /* the offset is a word of 32 bits that fills the page */
    BACKING_STORE,       /* number of an object (mm/store.h) */
    BACKING_SWAP,        /* number of a slot (mm/swap.h) */
};

#define BACKING_FIRST BACKING_SAME

/* Source `n` of a descriptor, from BACKING_FIRST on. */
const struct source *backing_source(uint32_t n);

/*
 * Finds a place for the content of `page`, which was cleaned and invalidated to the PoC. `*desc` is what the page's descriptor
 * says from now on: 0 if it is all zeroes, else ABSENT. `full`: only one that takes no room. False: there is no place.
 */
WARN_UNUSED bool backing_put(const void *page, bool full, uint64_t *desc);

/* Nobody wants any more what an invalid descriptor leads to. Those of guests' own sources are left alone. */
void backing_drop(uint64_t desc);

/* Whether it is a place of ours, which has to be dropped. */
static inline bool backing_holds(uint64_t desc)
{
    return desc_kind(desc, 3) == DESC_ABSENT && desc_small(desc) > BACKING_SAME;
}

/* Most of the room is taken: places of pages that are present are better dropped. */
bool backing_scarce(enum backing kind);

/* Rises whenever room was made: who has found none may look again. */
extern uint64_t backing_room_made;
