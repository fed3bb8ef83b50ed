// SPDX-License-Identifier: BSD-2-Clause
// The exception vectors: every entry saves a full frame (struct frame of exception.c) and calls exception_taken().

    .macro vector kind
    .balign 0x80
    // A test may have set SCTLR_EL1.EE; the frame and all data are little-endian.
    msr     tpidr_el0, x0
    mrs     x0, sctlr_el1
    tbz     x0, #25, 1f
    bic     x0, x0, #(1 << 25)
    msr     sctlr_el1, x0
    isb
1:  mrs     x0, tpidr_el0
    sub     sp, sp, #272
    stp     x0, x1, [sp]
    mov     x1, #\kind
    b       save_and_call
    .endm

    .text
    .balign 0x800
    .globl vectors
vectors:
    .irp    kind, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    vector  \kind
    .endr

save_and_call:
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    mrs     x2, elr_el1
    stp     x30, x2, [sp, #240]
    mrs     x2, spsr_el1
    str     x2, [sp, #256]
    mov     x0, sp
    bl      exception_taken
    ldr     x2, [sp, #256]
    msr     spsr_el1, x2
    ldp     x30, x2, [sp, #240]
    msr     elr_el1, x2
    ldp     x28, x29, [sp, #224]
    ldp     x26, x27, [sp, #208]
    ldp     x24, x25, [sp, #192]
    ldp     x22, x23, [sp, #176]
    ldp     x20, x21, [sp, #160]
    ldp     x18, x19, [sp, #144]
    ldp     x16, x17, [sp, #128]
    ldp     x14, x15, [sp, #112]
    ldp     x12, x13, [sp, #96]
    ldp     x10, x11, [sp, #80]
    ldp     x8, x9, [sp, #64]
    ldp     x6, x7, [sp, #48]
    ldp     x4, x5, [sp, #32]
    ldp     x2, x3, [sp, #16]
    ldp     x0, x1, [sp]
    add     sp, sp, #272
    eret

// bool attempt_call(void (*fn)(void *), void *arg, struct escape *escape): 0 if fn returned.
    .globl attempt_call
attempt_call:
    stp     x29, x30, [sp, #-16]!
    mov     x3, sp
    stp     x19, x20, [x2]
    stp     x21, x22, [x2, #16]
    stp     x23, x24, [x2, #32]
    stp     x25, x26, [x2, #48]
    stp     x27, x28, [x2, #64]
    str     x3, [x2, #80]
    mov     x3, x0
    mov     x0, x1
    blr     x3
    mov     w0, #0
    ldp     x29, x30, [sp], #16
    ret

// Where exception_taken() sends a fault inside attempt_call(), x0 = the escape: attempt_call() returns 1.
    .globl attempt_escape
attempt_escape:
    ldp     x19, x20, [x0]
    ldp     x21, x22, [x0, #16]
    ldp     x23, x24, [x0, #32]
    ldp     x25, x26, [x0, #48]
    ldp     x27, x28, [x0, #64]
    ldr     x1, [x0, #80]
    mov     sp, x1
    mov     w0, #1
    ldp     x29, x30, [sp], #16
    ret

// void smccc_call_*(struct regs *r): x0-x17 in and out.
    .macro smccc_call name, instruction
    .globl  smccc_call_\name
smccc_call_\name:
    stp     x29, x30, [sp, #-32]!
    stp     x18, x0, [sp, #16]
    mov     x18, x0
    ldp     x0, x1, [x18]
    ldp     x2, x3, [x18, #16]
    ldp     x4, x5, [x18, #32]
    ldp     x6, x7, [x18, #48]
    ldp     x8, x9, [x18, #64]
    ldp     x10, x11, [x18, #80]
    ldp     x12, x13, [x18, #96]
    ldp     x14, x15, [x18, #112]
    ldp     x16, x17, [x18, #128]
    \instruction
    ldr     x18, [sp, #24]
    stp     x0, x1, [x18]
    stp     x2, x3, [x18, #16]
    stp     x4, x5, [x18, #32]
    stp     x6, x7, [x18, #48]
    stp     x8, x9, [x18, #64]
    stp     x10, x11, [x18, #80]
    stp     x12, x13, [x18, #96]
    stp     x14, x15, [x18, #112]
    stp     x16, x17, [x18, #128]
    ldr     x18, [sp, #16]
    ldp     x29, x30, [sp], #32
    ret
    .endm

    smccc_call hvc_0, "hvc #0"
    smccc_call hvc_1, "hvc #1"
    smccc_call hvc_xen, "hvc #0xea1"
    smccc_call hvc_ffff, "hvc #0xffff"
    smccc_call smc_0, "smc #0"

    .section .note.GNU-stack, "", %progbits
