/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MW_FN_RELEASE: a guest gives pages back (pv/abi.h). One call does as many blocks as share a round of TLB maintenance, so it
 * takes a bounded time, whatever the guest asks for: its interrupts are served between the calls.
 */
#include "pv/abi.h"
#include "pv/smccc.h"
#include "vcpu/give.h"
#include "vcpu/guest_ram.h"

uint64_t vendor_release(struct vcpu *v, struct frame *f, uint64_t first, uint64_t pages, uint64_t a3)
{
    uint64_t most = (align_down(first, BLOCK_SIZE) + GIVE_BACK_BATCH * BLOCK_SIZE - first) >> PAGE_SHIFT;
    struct give_back g;

    (void)a3;
    f->x[1] = 0;
    if (first % PAGE_SIZE || pages > v->vm->ram_size >> PAGE_SHIFT ||
        !guest_ram_has(v->vm, ipa(first), pages << PAGE_SHIFT))
        return (uint64_t)MW_INVALID_PARAMETER;
    if (pages > most)
        pages = most;
    give_begin(v, &g);
    give_back_range(&g, ipa(first), pages << PAGE_SHIFT);
    give_end(v, &g);
    f->x[1] = g.zero;
    return pages;
}
