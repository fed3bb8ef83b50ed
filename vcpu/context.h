/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What of the core belongs to a vCPU: EL1's registers stay in the core as long as the vCPU does, so there is little to
 * switch; this sets them as a reset does, and EL2's controls as a guest needs them.
 */
#pragma once

#include "vcpu/vm.h"

/* Own core, once: traps, stage 2, timer access, virtual IDs. */
void context_hw_init(const struct vcpu *v, uint64_t vtcr);

/*
 * Own core: EL1 as after reset, next instruction at `entry` with `context` in x0, EL1h, everything masked. What another
 * vCPU or guest left in the core's registers is gone.
 */
void context_reset(struct vcpu *v, uint64_t entry, uint64_t context);

/* vcpu/enter.S: loads all registers from the frame on top of this core's stack and returns to the guest. */
NORETURN void vcpu_enter(struct frame *f);

/* The frame at the top of a core's stack. */
struct frame *core_frame(const struct core *c);
