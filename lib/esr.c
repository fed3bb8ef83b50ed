/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/esr.h"

/* ISS of an abort (DDI 0487 D19.2.37, "ISS encoding for an exception from a Data Abort"). */
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

#define FSC_EXTERNAL 0x10
#define FSC_EXTERNAL_WALK 0x17 /* on a stage-1 walk; at which level the stage-2 syndrome does not say: the last */

#define HPFAR_FIPA FIELD(43, 4)

static enum fault_kind fsc_kind(uint64_t fsc)
{
    switch (fsc >> 2) {
    case 0x0: /* address size: an IPA beyond what stage 2 maps */
    case 0x1:
        return FAULT_TRANSLATION;
    case 0x2:
        return FAULT_ACCESS_FLAG;
    case 0x3:
        return FAULT_PERMISSION;
    case 0x4: /* synchronous external, not on a walk */
    case 0x5: /* on a walk, by level */
    case 0x6: /* parity or ECC */
    case 0x7:
        return FAULT_EXTERNAL;
    default:
        return FAULT_OTHER;
    }
}

struct s2_fault s2_fault_decode(uint64_t esr, uint64_t far, uint64_t hpfar)
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
        .syndrome = !fetch && (esr & ISS_ISV) && !s1ptw,
        .sign_extend = (esr & ISS_SSE) != 0,
        .reg64 = (esr & ISS_SF) != 0,
        .size = (uint8_t)(1u << field_get(ISS_SAS, esr)),
        .reg = (uint8_t)field_get(ISS_SRT, esr),
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

struct sysreg_trap sysreg_trap_decode(uint64_t esr)
{
    return (struct sysreg_trap){
        .id = SYSREG_ID(field_get(FIELD(21, 20), esr), field_get(FIELD(16, 14), esr), field_get(FIELD(13, 10), esr),
                        field_get(FIELD(4, 1), esr), field_get(FIELD(19, 17), esr)),
        .reg = (uint8_t)field_get(FIELD(9, 5), esr),
        .read = (esr & BIT(0)) != 0,
    };
}

uint64_t esr_make_unknown(uint64_t esr)
{
    return field_put(ESR_EC, EC_UNKNOWN) | (esr & ESR_IL);
}

uint64_t esr_make_external_abort(uint64_t esr, bool from_el0)
{
    bool fetch = esr_ec(esr) == EC_IABT_LOW;
    uint64_t fsc = esr & ISS_S1PTW ? FSC_EXTERNAL_WALK : FSC_EXTERNAL;

    if (fetch)
        return field_put(ESR_EC, from_el0 ? EC_IABT_LOW : EC_IABT_SAME) | ESR_IL | fsc;
    /* IL is 1 unless ISV says that the length is known (D19.2.37); direction and cache maintenance stay as they were. */
    return field_put(ESR_EC, from_el0 ? EC_DABT_LOW : EC_DABT_SAME) | (esr & ISS_ISV ? esr & ESR_IL : ESR_IL) |
           (esr & (ISS_WNR | ISS_CM)) | fsc;
}
