/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulated devices: one load or store of a guest. */
#pragma once

#include "vcpu/vm.h"

/*
 * A load or store at `at`, where a descriptor of ours says device `kind` (enum mmio_kind, not MMIO_NONE): does what the
 * access with syndrome `esr` would have done there, and steps over it. An access that says too little of itself (no valid
 * syndrome), or cannot reach a device (fetch, stage-1 walk), gets an external abort; cache maintenance does nothing.
 */
void mmio_trap(struct vcpu *v, uint32_t kind, ipa_t at, uint64_t esr);
