/* SPDX-License-Identifier: BSD-2-Clause */
/* Where hyp/vectors.S calls C. */
#pragma once

#include "vcpu/vm.h"

void trap_hvc(struct frame *f); /* x19 to x29 are not in the frame */
void trap_sync(uint64_t esr);   /* the frame is full: vcpu->frame */
void trap_irq(void);
void trap_serror(void);
NORETURN void trap_own(uint64_t kind, uint64_t sp, uint64_t lr);
