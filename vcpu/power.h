/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power states of vCPUs and the end of guests. A vCPU's power word changes by compare-and-swap only: of two CPU_ON for
 * one target exactly one wins. A guest that ends never takes another one with it.
 */
#pragma once

#include "vcpu/vm.h"

enum power_result { POWER_OK, POWER_ALREADY_ON, POWER_ON_PENDING };

/* Any vCPU's core. Starts `target` at `entry` with `context` in x0. */
WARN_UNUSED enum power_result vcpu_power_on(struct vcpu *target, uint64_t entry, uint64_t context);

/*
 * Own core only, while serving an exit: the vCPU will not return to the guest after this exit, but waits in EL2 for the
 * next CPU_ON.
 */
void vcpu_power_off(struct vcpu *v);

/*
 * Own core only: sleep until an interrupt for this vCPU is pending, then return to the guest (CPU_SUSPEND). `powered_down`:
 * whatever the guest left in its CPU interface, which has lost its power.
 */
void vcpu_suspend(struct vcpu *v, bool powered_down);

/* Own core only, while serving an exit: instead of returning, the vCPU starts at `entry` as after a CPU_ON. */
void vcpu_power_resume(struct vcpu *v, uint64_t entry, uint64_t context);

/*
 * Ends the whole guest with `status` (GUEST_OFF, GUEST_RESET or GUEST_DESTROYED); the first call counts. `reason` may be
 * NULL. The calling vCPU does not return to the guest after this exit; the others stop at their next exit, which a
 * signal brings about at once.
 */
void vm_end(struct vm *vm, enum report_guest_status status, const char *reason);

/*
 * The guest's vCPUs wait in EL2 from their next exit on, which a signal brings about, until vm_resume(). Interrupts for
 * them stay pending, the counter goes on. It can be reset and ended meanwhile. Any core.
 */
void vm_pause(struct vm *vm);

/* The same; false if it was paused already. */
WARN_UNUSED bool vm_pause_once(struct vm *vm);
void vm_resume(struct vm *vm);

/*
 * Own core: called before a return to the guest when v->unsettled is set. Waits for CPU_ON while the vCPU is off; parks it
 * when the guest ended. True: it begins a new life, so all its registers are in the frame now (vcpu_enter()).
 */
bool vcpu_settle(struct vcpu *v);

/* Boot core, at start: who is told that a guest has ended. When it was the last one, the call does not return. */
void power_on_end(void (*fn)(struct vm *vm, bool last));
