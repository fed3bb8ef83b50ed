/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions that EL2 takes in EL1's name: what the hardware would have done on the exception's entry (DDI 0487 D1.3),
 * written to EL1's registers. Own core, while serving an exit; the return to the guest then lands in its vector.
 */
#pragma once

#include "lib/arch.h"
#include "vcpu/vm.h"

/* An undefined instruction: EC 0. `esr` is the syndrome of the trapped instruction, for its length. */
void inject_undefined(uint64_t esr);

/* A synchronous external abort for the access whose stage-2 abort `esr` reports; FAR_EL2 is still that of the access. */
void inject_external_abort(uint64_t esr);

/*
 * What pv/abi.h calls not present: a data abort with the fault status of an IMPLEMENTATION DEFINED fault (0x34), whatever the
 * access was, whose FAR is the token.
 */
void inject_not_present(uint64_t token);

/* A virtual SError, taken when the guest unmasks it. */
void inject_serror(void);

/* Steps over the instruction that `esr` is about, which EL2 has emulated; 64: when the guest is in AArch64 for certain. */
void skip_instruction(uint64_t esr);

static inline void skip_instruction64(uint64_t esr)
{
    sysreg_write(elr_el2, sysreg_read(elr_el2) + esr_instruction_size(esr));
    sysreg_write(spsr_el2, sysreg_read(spsr_el2) & ~(SPSR_BTYPE | SPSR_SS));
}

/* PSTATE of AArch32 after an instruction that did nothing to it: an IT block goes on (AArch32.ITAdvance). Pure. */
uint64_t skip_pstate32(uint64_t spsr);

/* PSTATE on entry to EL1h from `spsr`, and the offset of the vector. Pure. */
uint64_t inject_pstate(uint64_t spsr, uint64_t sctlr_el1, bool has_pan, bool has_ssbs);
uint64_t inject_vector(uint64_t spsr);

/* Boot core: notes which optional PSTATE bits exist. */
void inject_init(void);
