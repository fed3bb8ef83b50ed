/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulated devices: one load or store of a guest. */
#pragma once

#include "vcpu/vm.h"

/*
 * Does what the access that `f` describes would have done on device `kind`. False: the access says too little of itself
 * (no syndrome), or comes from where no device is reached (instruction fetch, stage-1 walk).
 */
WARN_UNUSED bool mmio_access(struct vcpu *v, const struct s2_fault *f, uint32_t kind);
