/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2 reads and writes guest memory here, and in a page that was pinned here, and nowhere else.
 *
 * The page may be taken away or joined into a block while we copy, so the core first says which frame it is about to
 * touch (its hazard slot), and only then looks whether the descriptor still leads there: whoever takes a page away makes
 * it BUSY first and then waits for the slots. A write makes the page dirty before the first byte.
 */
#pragma once

#include "mm/stage2.h"

enum guestmem_result {
    GUESTMEM_OK,
    GUESTMEM_ABSENT,  /* not populated (yet): fault it in with s2_fault() and try again */
    GUESTMEM_NOWHERE, /* no RAM there */
    GUESTMEM_ERROR,   /* RAM whose content cannot be read */
};

/*
 * What is 2, 4 or 8 bytes long and aligned to that is read or written in one access. `cached`: the guest's data cache is on.
 * Otherwise what it sees is DRAM, and the lines go there and back.
 */
WARN_UNUSED enum guestmem_result guestmem_read(struct s2 *s, ipa_t from, void *to, size_t bytes, bool cached);
WARN_UNUSED enum guestmem_result guestmem_write(struct s2 *s, ipa_t to, const void *from, size_t bytes, bool cached);

/*
 * The guest's page at `page` is in the same frame, and there, until this core calls guestmem_unpin(). It is the guest's all the
 * while, and dirty. A core has one such page at most; what it finds in it is cached, as what a guest with caches on sees is.
 */
WARN_UNUSED enum guestmem_result guestmem_pin(struct s2 *s, ipa_t page, void **out);
void guestmem_unpin(void);

/* Waits until no core touches the 4 KiB frame or 2 MiB block at `a`; its descriptor is BUSY already. */
void guestmem_quiesce(pa_t a, uint64_t bytes);

/* Whether a core touches any of it now. Its descriptor is BUSY already, so none begins to. */
bool guestmem_held(pa_t a, uint64_t bytes);
