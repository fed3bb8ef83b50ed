/* SPDX-License-Identifier: BSD-2-Clause */
/* Stage-2 aborts: from the syndrome to a page, a device access, or an exception for the guest. */
#pragma once

#include "vcpu/vm.h"

/* An exit with EC 0x20 or 0x24. Own core. */
void abort_trap(struct vcpu *v, uint64_t esr);
