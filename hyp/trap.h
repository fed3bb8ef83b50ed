/* SPDX-License-Identifier: BSD-2-Clause */
/* Where hyp/vectors.S calls C. */
#pragma once

#include "vcpu/vm.h"

void trap_hvc(struct frame *f); /* x19 to x29 are not in the frame */
void trap_sync(struct frame *f, uint64_t esr);
void trap_irq(struct frame *f);
void trap_serror(struct frame *f);
NORETURN void trap_own(uint64_t kind, uint64_t sp, uint64_t lr);
