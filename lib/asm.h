/* SPDX-License-Identifier: BSD-2-Clause */
/* For assembly: functions with landing pads, and the numbers that C checks by static assertion (hyp/start.c). */
#pragma once

#define CORE_STACK_SIZE 16384 /* and a guard page below, which is not mapped */
#define CORE_STACK_GUARD 4096
#define FRAME_SIZE 256
#define CORE_STACK_TOP 32 /* offsetof(struct core, stack_top) */

#ifdef __ASSEMBLER__
/* clang-format off */
.macro FUNC name
    .global \name
    .hidden \name
    .type \name, %function
    .balign 4
\name:
    hint #34 /* BTI c */
.endm

.macro ENDFUNC name
    .size \name, . - \name
.endm

/* The address of a symbol anywhere in the image, whatever the load address. */
.macro ADRL reg, sym
    adrp \reg, \sym
    add \reg, \reg, :lo12:\sym
.endm
/* clang-format on */
#endif
