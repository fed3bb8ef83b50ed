/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulated devices: one load or store of a guest. */
#pragma once

#include "vcpu/vm.h"

/*
 * Does what the access with syndrome `esr`, at `at` of device `kind`, would have done there. False: it says too little of
 * itself (no valid syndrome), or it is one that reaches no device (instruction fetch, stage-1 walk).
 */
WARN_UNUSED bool mmio_access(struct vcpu *v, uint32_t kind, ipa_t at, uint64_t esr);
