/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2's exception vectors. While a guest runs, SP_EL2 points at the frame on top of this core's stack, so an exit stores
 * there without a look at anything, and C works below it.
 *
 * Hypercalls and interrupts save what C may spoil and no more (x0 to x18, x30; the rest C keeps). What emulates
 * instructions may name any register, so there the frame is full. ELR_EL2 and SPSR_EL2 stay in their registers:
 * interrupts are taken at EL2 by polling only, so nothing nests.
 */
#include "lib/asm.h"

#define EC_HVC64 0x16

.macro SAVE_CALLER
    stp     x0, x1, [sp]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    str     x18, [sp, #144]
    str     x30, [sp, #240]
.endm

    .text

/* An exception of EL2's own: there should be none. The stack may be what is wrong, so the frame goes to a fresh one. */
.macro OWN_EXCEPTION kind
    .balign 128
    msr     daifset, #0xf
    mrs     x0, tpidr_el2
    ldr     x1, [x0, #CORE_STACK_TOP]
    mov     x2, sp
    mov     x3, x30
    sub     sp, x1, #FRAME_SIZE
    mov     x0, #\kind
    mov     x1, x2
    mov     x2, x3
    bl      trap_own
    b       .
.endm

.macro VECTOR target
    .balign 128
    SAVE_CALLER
    b       \target
.endm

    .balign 2048
    .global vectors
    .hidden vectors
vectors:
    OWN_EXCEPTION 0
    OWN_EXCEPTION 1
    OWN_EXCEPTION 2
    OWN_EXCEPTION 3
    OWN_EXCEPTION 0
    OWN_EXCEPTION 1
    OWN_EXCEPTION 2
    OWN_EXCEPTION 3
    VECTOR  guest_sync
    VECTOR  guest_irq
    VECTOR  guest_irq               /* FIQ: there is none that would be routed here, and a spurious one does no harm */
    VECTOR  guest_serror
    VECTOR  guest_sync              /* the same from AArch32, which here is EL0 */
    VECTOR  guest_irq
    VECTOR  guest_irq
    VECTOR  guest_serror

guest_sync:
    mrs     x0, esr_el2
    lsr     x2, x0, #26
    cmp     x2, #EC_HVC64
    b.ne    1f
    mov     x0, sp
    bl      trap_hvc
    b       return_caller
1:  str     x19, [sp, #152]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    bl      trap_sync
    ldr     x19, [sp, #152]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    b       return_caller

guest_irq:
    bl      trap_irq
    b       return_caller

guest_serror:
    bl      trap_serror

return_caller:
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldr     x18, [sp, #144]
    ldr     x30, [sp, #240]
    ldp     x0, x1, [sp]
    eret
    dsb     nsh                     /* no speculation past the return */
    isb
