/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first instructions: image header, relocation, EL2's MMU, and the way in for the other cores.
 *
 * Entered as the arm64 boot protocol says (Linux, Documentation/arm64/booting.rst): MMU and data cache off, at any
 * 2 MiB aligned address, x0 the address of the host's device tree, or anything. At EL1 or EL3 the same code gets the MMU
 * on, so that C can say on the console what is wrong (boot/main.c).
 */
#include "lib/asm.h"

/* The header, with gaps that linker.ld fills with sizes. */
    .section .head.entry, "ax"
    .global _start
    .type _start, %function
_start:
    b       start
    .long   0
    .quad   0                       /* text_offset */
                                    /* image_size: linker.ld */
    .section .head.magic, "a"
    .quad   0xa                     /* little-endian, 4 KiB pages, anywhere in RAM */
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0
    .ascii  "eanwhile"              /* lib/image.h from here */
                                    /* hypervisor_size, report_offset: linker.ld */
    .section .head.config, "a"
    .quad   0                       /* config_offset: tools/mw, when it packs */
    .quad   0                       /* config_size: the same */

    .text

/*
 * dc OP over [x9, x10) by the smallest line of the system, two at a time: instructions of the start are counted. Clobbers
 * x9, x11, x12. With the MMU off stores go to Device memory, and with those maintenance is not ordered but by a barrier (DDI
 * 0487, "Ordering and completion of data and instruction cache instructions").
 */
.macro CACHE_RANGE op
    dsb     sy
    mrs     x11, ctr_el0
    ubfx    x11, x11, #16, #4
    mov     x12, #4
    lsl     x12, x12, x11
    sub     x11, x12, #1
    bic     x9, x9, x11
1:  dc      \op, x9
    add     x9, x9, x12
    dc      \op, x9                 /* one past the end does no harm */
    add     x9, x9, x12
    cmp     x9, x10
    b.lo    1b
    dsb     sy
.endm

/*
 * Turns the MMU of exception level \el on, with the tables at x0 and the MAIR, TCR and SCTLR values at x1. Clobbers
 * x2 to x4.
 */
.macro MMU_ON el
    ldp     x2, x3, [x1]
    ldr     x4, [x1, #16]
    msr     mair_el\el, x2
    msr     tcr_el\el, x3
    msr     ttbr0_el\el, x0
    isb
    ic      iallu
.if \el == 1
    tlbi    vmalle1
.else
    tlbi    alle\el
.endif
    dsb     sy
    isb
    msr     sctlr_el\el, x4
    isb
.endm

start:
    msr     daifset, #0xf
    mov     x20, x0
    mrs     x21, cntpct_el0
    ADRL    x19, _start

    /* Where the image was linked at 0, it now says x19: R_AARCH64_RELATIVE is 1027. */
    ADRL    x1, _rela_start
    ADRL    x2, _rela_end
1:  cmp     x1, x2
    b.hs    3f
    ldp     x3, x4, [x1], #16
    ldr     x5, [x1], #8
    cmp     w4, #1027
    b.ne    2f
    add     x5, x5, x19
    str     x5, [x19, x3]
    b       1b
2:  wfi                             /* a relocation of another kind: the link was wrong, and there is no console yet */
    b       2b
3:
    /*
     * What is written from here on with the caches off must not be overwritten later by a line that was dirty before,
     * nor read through one that was clean: write such lines back now, and drop them again before the MMU is on.
     */
    ADRL    x9, _rela_end           /* relocation has written from here on */
    ADRL    x10, boot_stack_end
    CACHE_RANGE civac

    ADRL    x1, _bss_start
    ADRL    x2, _bss_end
1:  stp     xzr, xzr, [x1], #16
    stp     xzr, xzr, [x1], #16
    stp     xzr, xzr, [x1], #16
    stp     xzr, xzr, [x1], #16
    cmp     x1, x2
    b.lo    1b

    ADRL    x1, cores
    mov     x0, x1
    ADRL    x2, boot_stack_end
    str     x2, [x1, #CORE_STACK_TOP]
    bl      set_core

    /* The canary: no good secret before there is a better one, but another one at each start. */
    ADRL    x1, __stack_chk_guard
    eor     x2, x21, x21, lsl #17
    eor     x2, x2, x19, lsl #24
    bic     x2, x2, #0xff           /* a string that runs over it ends at the zero byte */
    str     x2, [x1]

    mov     x0, x20
    mrs     x1, currentel
    lsr     x1, x1, #2
    bl      el2map_boot

    ADRL    x9, _rela_end
    ADRL    x10, boot_stack_end
    CACHE_RANGE civac
    bl      mmu_on

    mov     x0, x20
    mov     x1, x21
    mov     x2, x19
    bl      boot_main
    b       .

/* x0: this core's struct core. Takes its stack and makes it the current core. */
set_core:
    hint    #34
    ldr     x1, [x0, #CORE_STACK_TOP]
    sub     x1, x1, #FRAME_SIZE
    mov     sp, x1
    mrs     x1, currentel
    cmp     x1, #(2 << 2)
    b.ne    1f
    msr     tpidr_el2, x0
    mov     x1, #(1 << 31)          /* HCR_EL2.RW alone: E2H and TGE would give TCR_EL2 and TLBI other meanings */
    msr     hcr_el2, x1
    isb
    mov     x1, #0x33ff             /* CPTR_EL2: FP is not trapped, libfdt is built with it */
    msr     cptr_el2, x1
    ADRL    x1, vectors
    msr     vbar_el2, x1
1:  isb
    ret

/* At whichever exception level this is. */
mmu_on:
    hint    #34
    ADRL    x0, el2map_root
    ldr     x0, [x0]
    ADRL    x1, el2map_regs
    mrs     x2, currentel
    cmp     x2, #(2 << 2)
    b.eq    2f
    b.hi    3f
    MMU_ON  1
    mov     x0, #(3 << 20)
    msr     cpacr_el1, x0           /* libfdt is built with FP */
    isb
    ret
2:  MMU_ON  2
    ret
3:  MMU_ON  3
    msr     cptr_el3, xzr
    isb
    ret

/* The other cores, by PSCI CPU_ON: EL2, MMU off, x0 the physical address of the core's struct core. */
FUNC secondary_entry
    msr     daifset, #0xf
    mov     x20, x0
    bl      set_core
    bl      mmu_on
    mov     x0, x20
    bl      core_main
    b       .
ENDFUNC secondary_entry

/* The boot core's stack lies first, so that one range covers what is written with the caches off. */
    .section .noinit.stacks, "aw", %nobits
    .balign 4096
    .global core_stacks, boot_stack_end
    .hidden core_stacks, boot_stack_end
core_stacks:
    .skip   CORE_STACK_GUARD
    .skip   CORE_STACK_SIZE
boot_stack_end:
    .skip   31 * (CORE_STACK_GUARD + CORE_STACK_SIZE)
