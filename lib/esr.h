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

/* A stage-2 abort from a lower EL: why, and where. */
struct s2_fault {
    enum fault_kind kind;
    uint64_t far;   /* faulting VA; not valid when `far_valid` is false */
    ipa_t ipa;      /* page aligned on a stage-1 walk; meaningful when `ipa_valid` */
    bool ipa_valid; /* false: HPFAR is UNKNOWN for this fault and AT S1E1R on FAR has to find the IPA */
    bool far_valid;
    bool fetch;    /* instruction fetch */
    bool write;    /* needs write permission at stage 2 */
    bool s1ptw;    /* on a stage-1 table walk */
    bool cache_op; /* cache maintenance or address translation instruction */
};

/* What the instruction that caused a data abort does, if the syndrome tells (ISV). */
struct access {
    bool valid;
    bool cache_op; /* cache maintenance: never valid */
    bool write;
    bool sign_extend;
    bool reg64;   /* the register is an X register */
    uint8_t size; /* bytes: 1, 2, 4, 8 */
    uint8_t reg;  /* 0..31, 31 is the zero register */
};

/* ISS of an abort (D19.2.37, "ISS encoding for an exception from a Data Abort"). */
#define ISS_ISV BIT(24)
#define ISS_SAS FIELD(23, 22)
#define ISS_SSE BIT(21)
#define ISS_SRT FIELD(20, 16)
#define ISS_SF BIT(15)
#define ISS_FNV BIT(10)
#define ISS_CM BIT(8)
#define ISS_S1PTW BIT(7)
#define ISS_WNR BIT(6)
#define ISS_FSC FIELD(5, 0)
#define HPFAR_FIPA FIELD(43, 4)

static inline enum fault_kind fsc_kind(uint64_t fsc)
{
    static const uint8_t kinds[16] = {
        [0x0] = FAULT_TRANSLATION, /* address size: an IPA beyond what stage 2 maps */
        [0x1] = FAULT_TRANSLATION, [0x2] = FAULT_ACCESS_FLAG, [0x3] = FAULT_PERMISSION,
        [0x4] = FAULT_EXTERNAL, /* synchronous external, not on a walk */
        [0x5] = FAULT_EXTERNAL, /* on a walk, by level */
        [0x6] = FAULT_EXTERNAL, /* parity or ECC, the same two */
        [0x7] = FAULT_EXTERNAL,    [0x8] = FAULT_OTHER,       [0x9] = FAULT_OTHER,
        [0xa] = FAULT_OTHER,       [0xb] = FAULT_OTHER,       [0xc] = FAULT_OTHER,
        [0xd] = FAULT_OTHER,       [0xe] = FAULT_OTHER,       [0xf] = FAULT_OTHER,
    };

    return (enum fault_kind)kinds[fsc >> 2];
}

/* Inline, since it stands on the way of every fault and every device access. */
static inline struct s2_fault s2_fault_decode(uint64_t esr, uint64_t far, uint64_t hpfar)
{
    bool fetch = esr_ec(esr) == EC_IABT_LOW;
    bool s1ptw = (esr & ISS_S1PTW) != 0;
    enum fault_kind kind = fsc_kind(field_get(ISS_FSC, esr));
    struct s2_fault f = {
        .kind = kind,
        .far = far,
        .far_valid = !(esr & ISS_FNV),
        .fetch = fetch,
        .s1ptw = s1ptw,
        .cache_op = !fetch && (esr & ISS_CM),
    };

    /*
     * Every present page can be read and executed, so a permission fault wants to write, whatever WnR says: a store, DC
     * IVAC, or the walker itself setting the access flag or dirty state of a stage-1 entry. Otherwise WnR tells, but for
     * cache maintenance, which always reports a write, and on a walk, where it is about the access that needed it.
     */
    f.write = kind == FAULT_PERMISSION || (!fetch && !s1ptw && (esr & ISS_WNR) && !(esr & ISS_CM));

    /* HPFAR_EL2 is UNKNOWN on a permission fault that is not on a stage-1 walk (D19.2.55). */
    f.ipa_valid = kind != FAULT_PERMISSION || s1ptw;
    if (f.ipa_valid) {
        f.ipa = ipa(field_get(HPFAR_FIPA, hpfar) << PAGE_SHIFT);
        if (!s1ptw && f.far_valid)
            f.ipa.v |= far & (PAGE_SIZE - 1);
    }
    return f;
}

/* Bytes: 4, or 2 for a T32 instruction of that length. */
static inline uint64_t esr_instruction_size(uint64_t esr)
{
    return 2 + ((esr & ESR_IL) >> 24);
}

static inline bool esr_far_valid(uint64_t esr)
{
    return !(esr & ISS_FNV);
}

/* Of a translation fault the page it is about; of any other, the highest there can be. */
static inline ipa_t s2_fault_page(uint64_t esr, uint64_t hpfar)
{
    if ((field_get(ISS_FSC, esr) & ~3u) != 4)
        return ipa(UINT64_MAX);
    return ipa(field_get(HPFAR_FIPA, hpfar) << PAGE_SHIFT);
}

static inline struct access access_decode(uint64_t esr)
{
    return (struct access){
        .valid = (esr & (ISS_ISV | ISS_S1PTW)) == ISS_ISV, /* of an instruction abort bit 24 is RES0 */
        .cache_op = esr_ec(esr) == EC_DABT_LOW && (esr & (ISS_CM | ISS_S1PTW)) == ISS_CM,
        .write = (esr & ISS_WNR) != 0,
        .sign_extend = (esr & ISS_SSE) != 0,
        .reg64 = (esr & ISS_SF) != 0,
        .size = (uint8_t)(1u << field_get(ISS_SAS, esr)),
        .reg = (uint8_t)field_get(ISS_SRT, esr),
    };
}

/*
 * A trapped MSR, MRS or system instruction (EC 0x18). A register's number is what the syndrome says of it, in place: no
 * bit has to be moved to find out which one it is.
 */
struct sysreg_trap {
    uint32_t id;
    uint8_t reg;
    bool read;
};

#define SYSREG_ID(op0, op1, crn, crm, op2)                                                                   \
    (((uint32_t)(op0) << 20) | ((uint32_t)(op2) << 17) | ((uint32_t)(op1) << 14) | ((uint32_t)(crn) << 10) | \
     ((uint32_t)(crm) << 1))
#define SYSREG_ID_ALL SYSREG_ID(3, 7, 15, 15, 7)
#define SYSREG_CRM FIELD(4, 1)
#define SYSREG_OP2 FIELD(19, 17)

static inline struct sysreg_trap sysreg_trap_decode(uint64_t esr)
{
    return (struct sysreg_trap){
        .id = (uint32_t)esr & SYSREG_ID_ALL,
        .reg = (uint8_t)field_get(FIELD(9, 5), esr),
        .read = (esr & BIT(0)) != 0,
    };
}

/* Syndromes that EL2 makes for EL1 from that of the trap. */
uint64_t esr_make_unknown(uint64_t esr);
uint64_t esr_make_external_abort(uint64_t esr, bool from_el0);
uint64_t esr_make_not_present(bool from_el0); /* pv/abi.h */
