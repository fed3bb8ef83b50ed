/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that together have more RAM than the machine: what is set up for them before any is built.
 */
#pragma once

#include "hyp/start.h"

/*
 * Boot core: takes the compressed store and the swap disk into service if a guest has a residency limit, or if one of them is
 * configured and the guests do not fit into the `blocks` of 2 MiB that the machine has. In that case guests without a limit get
 * one, in m->guests.
 */
void overcommit_start(struct machine *m, uint64_t blocks);

/* Blocks that this holds. */
uint32_t overcommit_blocks(void);
