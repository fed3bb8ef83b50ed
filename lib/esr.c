/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/esr.h"

#define FSC_EXTERNAL 0x10
#define FSC_LOCKDOWN 0x34      /* IMPLEMENTATION DEFINED fault (Lockdown): what we define is in pv/abi.h */
#define FSC_EXTERNAL_WALK 0x17 /* on a stage-1 walk; at which level the stage-2 syndrome does not say: the last */

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

uint64_t esr_make_not_present(bool from_el0)
{
    return field_put(ESR_EC, from_el0 ? EC_DABT_LOW : EC_DABT_SAME) | ESR_IL | FSC_LOCKDOWN;
}
