/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Syndrome decoding: the only place where bits of ESR_EL2 and HPFAR_EL2 are taken apart (DDI 0487 D19.2.37, D19.2.55).
 * Pure, and tested on the build host.
 */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

enum esr_ec {
    EC_UNKNOWN = 0x00,
    EC_WFX = 0x01,
    EC_CP15_32 = 0x03,
    EC_CP15_64 = 0x04,
    EC_CP14_32 = 0x05,
    EC_CP14_LDC = 0x06,
    EC_FP = 0x07,
    EC_PAC = 0x09,
    EC_CP14_64 = 0x0c,
    EC_ILLEGAL = 0x0e,
    EC_HVC32 = 0x12,
    EC_SMC32 = 0x13,
    EC_SVC64 = 0x15,
    EC_HVC64 = 0x16,
    EC_SMC64 = 0x17,
    EC_SYSREG = 0x18,
    EC_SVE = 0x19,
    EC_IABT_LOW = 0x20,
    EC_IABT_SAME = 0x21,
    EC_DABT_LOW = 0x24,
    EC_DABT_SAME = 0x25,
    EC_SERROR = 0x2f,
    EC_BRK = 0x3c,
    EC_COUNT = 64,
};

#define ESR_EC FIELD(31, 26)
#define ESR_IL BIT(25)
static inline enum esr_ec esr_ec(uint64_t esr)
{
    return (enum esr_ec)field_get(ESR_EC, esr);
}

enum fault_kind { FAULT_TRANSLATION, FAULT_ACCESS_FLAG, FAULT_PERMISSION, FAULT_EXTERNAL, FAULT_OTHER };

/* A stage-2 abort from a lower EL. */
struct s2_fault {
    enum fault_kind kind;
    uint64_t far;      /* faulting VA; not valid when `far_valid` is false */
    ipa_t ipa;         /* page aligned but for accesses with a valid FAR; meaningful when `ipa_valid` */
    bool ipa_valid;    /* false: HPFAR is UNKNOWN for this fault and AT S1E1R on FAR has to find the IPA */
    bool far_valid;
    bool fetch;        /* instruction fetch */
    bool write;        /* needs write permission at stage 2: a store, or the walker's own access by S1PTW permission fault */
    bool s1ptw;        /* on a stage-1 table walk */
    bool cache_op;     /* cache maintenance or address translation instruction */
    bool syndrome;     /* the fields below are valid (ISV) */
    bool sign_extend;
    bool reg64;        /* the register is an X register */
    uint8_t size;      /* bytes: 1, 2, 4, 8 */
    uint8_t reg;       /* 0..31, 31 is the zero register */
};

struct s2_fault s2_fault_decode(uint64_t esr, uint64_t far, uint64_t hpfar);

/* A trapped MSR, MRS or system instruction (EC 0x18). `id` is made by SYSREG_ID. */
struct sysreg_trap {
    uint32_t id;
    uint8_t reg;
    bool read;
};

#define SYSREG_ID(op0, op1, crn, crm, op2) \
    ((uint32_t)(((op0) << 14) | ((op1) << 11) | ((crn) << 7) | ((crm) << 3) | (op2)))

struct sysreg_trap sysreg_trap_decode(uint64_t esr);

/* Syndromes that EL2 makes for EL1 from that of the trap. */
uint64_t esr_make_unknown(uint64_t esr);
uint64_t esr_make_external_abort(uint64_t esr, bool from_el0);
