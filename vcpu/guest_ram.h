/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RAM of a vCPU's guest, for devices that are emulated on the core where the guest asked: a page that is absent is populated
 * as if the guest had touched it, which may take as long as that does. Nothing but RAM is ever reached.
 *
 * Own core, while serving an exit, outside an epoch. False: it is not all RAM, a page of it cannot be read, or the guest ends.
 */
#pragma once

#include "vcpu/vm.h"

WARN_UNUSED bool guest_ram_read(struct vcpu *v, ipa_t from, void *to, size_t bytes);
WARN_UNUSED bool guest_ram_write(struct vcpu *v, ipa_t to, const void *from, size_t bytes);

/* Whether [at, at + bytes) is RAM of the guest from end to end. */
static inline bool guest_ram_has(const struct vm *vm, ipa_t at, uint64_t bytes)
{
    return at.v - vm->ram_base.v < vm->ram_size && bytes <= vm->ram_size - (at.v - vm->ram_base.v);
}
