/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages that a guest gives back: what they hold is dead, they read as zero from now on, and their frames are free.
 *
 * The unit is the block of 2 MiB. Of a range, the blocks that lie in it from end to end are given back; the rest of it is
 * kept as it is. Part of a block would free nothing, since a block is reserved as a whole (mm/frames.h), and would cost
 * the guest its block; and the background sweep, which completes what is begun, would bring the pages back. Also kept is
 * what is no RAM, what EL2 is touching, and what somebody is populating: all of this is a hint.
 *
 * Many blocks share one round of TLB maintenance. They are BUSY until it is over, and whoever touches one of them spins:
 * so a caller does nothing else between give_back_begin() and give_back_end(), least of all touch guest memory.
 */
#pragma once

#include "mm/stage2.h"

#define GIVE_BACK_BATCH 64u /* blocks in one round: as much as a Linux guest reports at a time */

struct give_back {
    struct s2 *s;
    struct frame_cache *frames;
    uint64_t asked;  /* pages of all ranges, in RAM or not */
    uint64_t zero;   /* of those, pages that read as zero now and have no frame */
    uint64_t freed;  /* of those, pages that were present until now */
    uint64_t rounds; /* of TLB maintenance */
    uint32_t count;
    struct {
        _Atomic uint64_t *slot;
        uint64_t desc;
    } taken[GIVE_BACK_BATCH];
};

/* A vCPU's own core, outside an epoch. Tables that go are put into `frames`, the core's cache. */
void give_back_begin(struct give_back *g, struct s2 *s, struct frame_cache *frames);

/* Any address and length. It looks at each block once, and does so a bounded number of times. */
void give_back_range(struct give_back *g, ipa_t at, uint64_t bytes);

/* Nothing is BUSY any more, and no access to what was given back is under way on any core, when this returns. */
void give_back_end(struct give_back *g);
