// SPDX-License-Identifier: BSD-2-Clause
// Entry of the first CPU (x0 = DTB) and of the others (x0 = struct cpu_start).

    .section .text.start, "ax"
    .globl _start
_start:
    msr     daifset, #0xf
    adrp    x1, stacks + 0x4000             // STACK_SIZE: CPU 0 has the lowest stack
    add     sp, x1, :lo12:stacks + 0x4000
    adrp    x1, vectors
    add     x1, x1, :lo12:vectors
    msr     vbar_el1, x1
    isb
    mov     x29, xzr
    mov     x30, xzr
    bl      guest_start
1:  wfi
    b       1b

    .text
    .globl secondary_entry
secondary_entry:
    mrs     x1, CurrentEL
    mrs     x2, daif
    mrs     x3, sctlr_el1
    mrs     x4, SPSel
    stp     x0, x1, [x0, #32]               // context, current_el
    stp     x2, x3, [x0, #48]               // daif, sctlr
    str     x4, [x0, #64]                   // spsel
    orr     x5, x19, x20
    orr     x6, x21, x22
    orr     x7, x23, x24
    orr     x8, x25, x26
    orr     x9, x27, x28
    orr     x10, x29, x30
    orr     x5, x5, x6
    orr     x7, x7, x8
    orr     x9, x9, x10
    orr     x5, x5, x7
    orr     x5, x5, x9
    str     x5, [x0, #80]                   // kept
    mov     x5, #1
    str     x5, [x0, #72]                   // entered
    msr     daifset, #0xf
    ldr     x1, [x0, #16]                   // stack
    mov     sp, x1
    adrp    x1, vectors
    add     x1, x1, :lo12:vectors
    msr     vbar_el1, x1
    isb
    mov     x29, xzr
    mov     x30, xzr
    bl      secondary_main
1:  wfi
    b       1b

    .section .stacks, "aw", %nobits
    .balign 4096
    .globl stacks
stacks:
    .space  9 * 0x4000                      // MAX_CPUS * STACK_SIZE

    .section .note.GNU-stack, "", %progbits
