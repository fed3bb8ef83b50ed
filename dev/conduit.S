/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uint64_t conduit_smc(uint64_t function, uint64_t a1, uint64_t a2, uint64_t a3), and the same by HVC. What SMCCC 1.0 lets
 * the callee spoil (DEN0028 2.6: x4 to x17) any C function may spoil too.
 */
#include "lib/asm.h"

    .text

FUNC conduit_smc
    smc     #0
    ret
ENDFUNC conduit_smc

FUNC conduit_hvc
    hvc     #0
    ret
ENDFUNC conduit_hvc
