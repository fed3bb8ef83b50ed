/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap disk: cold pages in slots of 4 KiB.
 *
 * A page on its way to the disk is copied into a cluster of 16, and has left its frame then; the cluster is written when it is
 * full, in one request, and whoever wants one of its pages meanwhile has it from there. So nobody waits for a write. Slots of
 * a cluster follow one another; the first slot of the disk is not used, since the launcher's mark is there.
 *
 * A cluster that cannot be written keeps its pages, and nothing else is written from then on. Helper 0's.
 */
#pragma once

#include "dev/disk.h"
#include "lib/report.h"
#include "mm/populate.h"
#include "mm/source.h"

#define SWAP_CLUSTER 16u

/*
 * Boot core, once: swaps to `d`, which is nobody else's. NULL, or in words why not. `*blocks` is raised by the blocks of 2 MiB it
 * takes.
 */
WARN_UNUSED const char *swap_init(struct disk *d, struct report_swap *stats, uint32_t *blocks);

/* A copy of the page; `*slot` is where. False: the disk is full, or does not write any more, or too much is on its way. */
WARN_UNUSED bool swap_put(const void *page, uint64_t *slot);

void swap_free(uint64_t slot);

/* More pages may find room when a write that is on its way has ended. */
bool swap_writing(void);

/* Less than a quarter is left. */
bool swap_scarce(void);

/* One request of the swap disk has ended (disk_ended()). */
void swap_ended(struct populator *p, uint32_t tag, bool ok);

extern const struct source_ops source_swap_ops; /* a page is a slot's number */
