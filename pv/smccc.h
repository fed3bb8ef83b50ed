/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SMC Calling Convention (DEN0028): one set of const tables serves HVC with any immediate and trapped SMC alike. What
 * is not in them returns NOT_SUPPORTED, and what the feature calls answer is read from them, so the two cannot
 * disagree.
 */
#pragma once

#include "vcpu/vm.h"

#define SMCCC_SUCCESS 0
#define SMCCC_NOT_SUPPORTED (-1)
#define SMCCC_NOT_REQUIRED (-2)
#define SMCCC_INVALID_PARAMETER (-3)

/*
 * 1.2: x4 to x17 come back unless they are results. Not 1.3, whose hint bit is about SVE that no guest has; the bit
 * is ignored all the same.
 */
#define SMCCC_VERSION_1_2 0x10002

/* Function identifiers (DEN0028): bit 31 fast, bit 30 SMC64, 29:24 owner, 16 hint, 15:0 number. */
#define SMCCC_SMC64 BIT(30)
#define SMCCC_HINT BIT(16)

#define SMCCC_FN_VERSION 0x80000000u
#define SMCCC_FN_ARCH_FEATURES 0x80000001u
#define SMCCC_FN_WORKAROUND_1 0x80008000u
#define SMCCC_FN_WORKAROUND_2 0x80007fffu
#define SMCCC_FN_WORKAROUND_3 0x80003fffu
#define KVM_FN_FEATURES 0x86000000u

/*
 * A function. `a1` to `a3` are x1 to x3, truncated to 32 bits for an SMC32 call; one that takes or returns more finds
 * it in the frame. What it returns goes to x0, where errors are 64 bits wide: -1 is all ones.
 */
typedef uint64_t smccc_fn(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3);

/* The function with this identifier (hint bit clear) as a guest of that identity finds it, NULL if there is none. */
smccc_fn *smccc_find(enum vm_identity identity, uint32_t id);

/*
 * Serves the call whose function id is in x0 of the frame. x0 (to x3 where the function says so) are the results; x4 to
 * x17 come back as they were. A vCPU's own core.
 */
void smccc_call(struct vcpu *v, struct frame *f);

/* pv/workaround.c */
smccc_fn smccc_workaround_1, smccc_workaround_2, smccc_workaround_3;

/* pv/vendor.c */
smccc_fn vendor_uid, vendor_revision, vendor_features, vendor_info;

/* pv/apf.c */
smccc_fn vendor_apf_enable, vendor_apf_disable, vendor_apf_wait, vendor_hint;

/* pv/kvm.c: what KVM answers, for guests that are to take us for it */
smccc_fn kvm_uid, kvm_features, kvm_ptp;

/* pv/release.c */
smccc_fn vendor_release;
