/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/guest_ram.h"

#include "lib/arch.h"
#include "mm/guestmem.h"
#include "vcpu/abort.h"

#define TRIES 64 /* a page that another vCPU gives back again and again is that guest's own doing */

/* Whether the accesses of the vCPU itself go through its data cache (DDI 0487 D7.5.4). */
static bool cached(void)
{
    return (sysreg_read(sctlr_el1) & (SCTLR_M | SCTLR_C)) == (SCTLR_M | SCTLR_C);
}

/* Within one page. */
static bool access(struct vcpu *v, ipa_t at, void *buf, size_t n, bool write)
{
    struct s2 *s = &v->vm->s2;

    for (uint32_t tries = 0; tries < TRIES; tries++) {
        enum guestmem_result result =
            write ? guestmem_write(s, at, buf, n, cached()) : guestmem_read(s, at, buf, n, cached());

        if (result != GUESTMEM_ABSENT)
            return result == GUESTMEM_OK;
        if (!abort_populate(v, at, write))
            return false;
    }
    return false;
}

static bool all(struct vcpu *v, ipa_t at, void *buf, size_t bytes, bool write)
{
    uint8_t *p = buf;

    if (!guest_ram_has(v->vm, at, bytes))
        return false;
    while (bytes) {
        size_t room = PAGE_SIZE - (at.v & (PAGE_SIZE - 1));
        size_t n = bytes < room ? bytes : room;

        if (!access(v, at, p, n, write))
            return false;
        at = ipa_add(at, n);
        p += n;
        bytes -= n;
    }
    return true;
}

bool guest_ram_read(struct vcpu *v, ipa_t from, void *to, size_t bytes)
{
    return all(v, from, to, bytes, false);
}

bool guest_ram_write(struct vcpu *v, ipa_t to, const void *from, size_t bytes)
{
    return all(v, to, (void *)(uintptr_t)from, bytes, true);
}
