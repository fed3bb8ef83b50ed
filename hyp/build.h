/* SPDX-License-Identifier: BSD-2-Clause */
/* One guest, from its description to an address space that its first instruction can be fetched from. */
#pragma once

#include "hyp/start.h"
#include "vcpu/vm.h"

/*
 * Boot core. Fills `vm`, which is zeroed but for id, vcpus and stats; nothing of its RAM is filled. Returns NULL, or why
 * the guest is refused.
 */
WARN_UNUSED const char *build_guest(struct vm *vm, const struct guest_config *c, const struct machine *m,
                                    struct frame_cache *frames);

/* 2 MiB blocks that a guest may come to use, tables and ready frames included. */
uint64_t build_blocks(const struct guest_config *c, bool with_helpers);
