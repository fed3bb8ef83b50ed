/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest that has ended leaves behind. Its cores wait in EL2 for ever and serve physical interrupts; the last of its
 * vCPUs to leave gives its frames back, while the other guests run on. Counters stay as they were at the end.
 */
#pragma once

#include "vcpu/vm.h"

/* Own core, once, from vcpu_settle(): the guest has ended. */
void vcpu_retire(struct vcpu *v);
