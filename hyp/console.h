/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical UART and who it speaks for: EL2's own lines, the guest's bytes unchanged, and input for the guest. A line
 * of EL2 begins at the start of a line, whatever the guest was in the middle of.
 */
#pragma once

#include "vcpu/vm.h"

/* Boot core: the UART is mapped. `intid` 0: no input. */
void console_init(pa_t uart, uint32_t intid);

/* The core that takes the UART's interrupt: input goes to `vm` from now on. */
void console_attach(struct vm *vm);
