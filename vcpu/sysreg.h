/* SPDX-License-Identifier: BSD-2-Clause */
/* Trapped system registers. */
#pragma once

#include "vcpu/vm.h"

/* An exit with EC 0x18: emulates the access and steps over it, or injects an undefined instruction. */
void sysreg_trap(struct vcpu *v, uint64_t esr);
