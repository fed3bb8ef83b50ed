/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest with a residency limit, for tests: what its cold pages need beside what tests/unit/support.h has. The swap disk is
 * the test's: an array in memory, on which requests end in any order, and late.
 */
#pragma once

#include "mm/backing.h"
#include "mm/store.h"
#include "mm/swap.h"
#include "tests/unit/support.h"

struct swap_drive {
    uint64_t random;
    uint32_t under_way;
    uint32_t laziness; /* of so many looks one finds that something has ended */
    bool fails_to_write, fails_to_read;
    uint64_t reads, writes;
};
extern struct swap_drive swap_drive;

/*
 * After world_make(): a store of so many blocks, and a swap disk of so many pages; 0: none. Helper 0 serves the disk.
 */
void paged_world_make(uint32_t store_blocks, uint64_t swap_pages);
void paged_world_drop(void);

/*
 * Nobody is at work. Frames, objects and slots against what the tables and records say: nothing is lost, nothing is counted
 * twice.
 */
void paged_world_audit(void);
