/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The compressed store: cold pages in RAM, each as one LZ4 block (liblz4) in a place of the next larger size.
 *
 * Its memory is taken when EL2 starts and never grows, so how much of RAM goes there is what the configuration says. It is
 * cut into slabs of 16 KiB, and a slab in use holds objects of one size, a 64th to a 5th of it. A page that compresses to
 * more than that, four fifths of a page, is not worth it.
 *
 * Helper 0's, and liblz4 uses FP registers.
 */
#pragma once

#include "lib/report.h"
#include "mm/source.h"

/* Boot core, once: `blocks` of 2 MiB, as far as there are so many. Returns how many it holds. */
uint32_t store_init(uint32_t blocks, struct report_store *stats);

/* A copy of the page; `*object` is its number. False: it does not compress, or there is no room. */
WARN_UNUSED bool store_put(const void *page, uint32_t *object);

void store_free(uint32_t object);

/* Less than a quarter is left. */
bool store_scarce(void);

extern const struct source_ops source_store_ops; /* a page is an object's number */
