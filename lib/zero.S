/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/asm.h"

    .text

/* void zero_pages(void *p, size_t pages): DC ZVA where allowed (DCZID_EL0.DZP clear), else stores. */
FUNC zero_pages
    lsl     x1, x1, #12
    add     x1, x0, x1
    mrs     x2, dczid_el0
    tbnz    x2, #4, 2f
    and     x2, x2, #0xf
    mov     x3, #4
    lsl     x3, x3, x2
    cmp     x3, #64
    b.ne    1f
0:  dc      zva, x0                 /* the usual size, four at a time: a page holds 64 */
    add     x2, x0, #64
    dc      zva, x2
    add     x2, x0, #128
    dc      zva, x2
    add     x2, x0, #192
    dc      zva, x2
    add     x0, x0, #256
    cmp     x0, x1
    b.lo    0b
    ret
1:  dc      zva, x0
    add     x0, x0, x3
    cmp     x0, x1
    b.lo    1b
    ret
2:  stp     xzr, xzr, [x0], #16
    stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    2b
    ret
ENDFUNC zero_pages
