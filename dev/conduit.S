/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uint64_t conduit_smc(uint64_t function, uint64_t a1, uint64_t a2, uint64_t a3), and the same by HVC. What SMCCC 1.0 lets
 * the callee spoil (DEN0028 2.6: x4 to x17) any C function may spoil too.
 *
 * void conduit_smc_results(uint64_t x[4]): x0 to x3 in and out, for functions that return more than x0.
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

FUNC conduit_smc_results
    stp     x0, x30, [sp, #-16]!
    ldp     x2, x3, [x0, #16]
    ldp     x0, x1, [x0]
    smc     #0
    ldp     x4, x30, [sp], #16
    stp     x0, x1, [x4]
    stp     x2, x3, [x4, #16]
    ret
ENDFUNC conduit_smc_results
