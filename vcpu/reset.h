/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest starts again, alone: its vCPUs leave it one by one, what helpers still fill for it is awaited, its frames go
 * back, and its address space is laid out anew from what build_guest() noted (vm->layout). Device tree and sources are
 * those of the first start. Nobody else stops for it.
 */
#pragma once

#include "vcpu/vm.h"

/* Notes a range of the layout. False: there is no room for more. Boot core. */
WARN_UNUSED bool vm_layout_add(struct vm *vm, ipa_t at, uint64_t size, uint64_t desc);

/* Lays the empty address space out. `frames` is the caller's cache. False: out of memory. */
WARN_UNUSED bool vm_layout_apply(struct vm *vm, struct frame_cache *frames);

/* The boot vCPU is to start at the guest's entry, the others are off. The vCPUs are stopped. */
void vm_power_reset(struct vm *vm);

/*
 * Any vCPU of the guest, while serving an exit (PSCI SYSTEM_RESET): all its vCPUs, the caller too, come to
 * vm_reset_stop() on their way back to the guest.
 */
void vm_reset(struct vm *vm);

/* Own core, from vcpu_settle() while a reset is under way: returns when it is done, or the guest has ended instead. */
void vm_reset_stop(struct vcpu *v);
