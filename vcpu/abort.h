/* SPDX-License-Identifier: BSD-2-Clause */
/* Stage-2 aborts: from the syndrome to a page, a device access, or an exception for the guest. */
#pragma once

#include "vcpu/vm.h"

/* An exit with EC 0x20 or 0x24. Own core. */
void abort_trap(struct vcpu *v, uint64_t esr);

/*
 * Own core, while serving an exit, outside an epoch: RAM of the guest at `at`, as if the guest had touched it, so that EL2 may
 * in its name. Waits as long as the guest would. False: it will not be there: no RAM, unreadable, or the guest ends.
 */
WARN_UNUSED bool abort_populate(struct vcpu *v, ipa_t at, bool write);

/*
 * The same for a guest that has called to wait: until the page is there, will not be, or an interrupt of its own is pending.
 * False: it cannot be read.
 */
bool abort_wait(struct vcpu *v, ipa_t at);

/*
 * Own core, before it waits for a page or lets its guest wait: looks after a while, and again, whether the guest has waited for
 * room as long as it may. Then it is paused, and a line says so.
 */
void abort_starving(struct vcpu *v);
