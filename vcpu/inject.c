/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/inject.h"

#include "lib/arch.h"

#define PSTATE_NZCV FIELD(31, 28)

static bool has_pan RO_AFTER_INIT;
static bool has_ssbs RO_AFTER_INIT;

void inject_init(void)
{
    has_pan = field_get(ID_AA64MMFR1_PAN, sysreg_read(id_aa64mmfr1_el1)) != 0;
    has_ssbs = field_get(ID_AA64PFR1_SSBS, sysreg_read(id_aa64pfr1_el1)) != 0;
}

uint64_t skip_pstate32(uint64_t spsr)
{
    uint64_t it = field_get(SPSR32_IT_HIGH, spsr) << 2 | field_get(SPSR32_IT_LOW, spsr);

    it = it & 7 ? (it & 0xe0) | (it << 1 & 0x1f) : 0;
    spsr &= ~(SPSR32_IT_HIGH | SPSR32_IT_LOW | SPSR_SS);
    return spsr | field_put(SPSR32_IT_HIGH, it >> 2) | field_put(SPSR32_IT_LOW, it & 3);
}

void skip_instruction(uint64_t esr)
{
    uint64_t spsr = sysreg_read(spsr_el2);

    skip_instruction64(esr);
    if (spsr & SPSR_NRW)
        sysreg_write(spsr_el2, skip_pstate32(spsr));
}

uint64_t inject_pstate(uint64_t spsr, uint64_t sctlr_el1, bool pan, bool ssbs)
{
    /* SS, IL, BTYPE, UAO and nRW become 0, TCO stays 0 with MTE hidden (D1.3.1, AArch64.TakeException). */
    uint64_t pstate = (spsr & (PSTATE_NZCV | SPSR_PAN | SPSR_DIT)) | SPSR_DAIF | SPSR_M_EL1H;

    if (pan && !(sctlr_el1 & SCTLR_SPAN))
        pstate |= SPSR_PAN;
    if (ssbs && (sctlr_el1 & SCTLR_DSSBS))
        pstate |= SPSR_SSBS;
    return pstate;
}

uint64_t inject_vector(uint64_t spsr)
{
    if (spsr & SPSR_NRW)
        return 0x600; /* from AArch32 EL0 */
    switch (field_get(SPSR_M, spsr)) {
    case SPSR_M_EL1T:
        return 0x000;
    case SPSR_M_EL1H:
        return 0x200;
    default:
        return 0x400;
    }
}

static void inject_sync(uint64_t esr)
{
    uint64_t spsr = sysreg_read(spsr_el2);

    sysreg_write(esr_el1, esr);
    sysreg_write(spsr_el1, spsr);
    sysreg_write(elr_el1, sysreg_read(elr_el2));
    sysreg_write(elr_el2, sysreg_read(vbar_el1) + inject_vector(spsr));
    sysreg_write(spsr_el2, inject_pstate(spsr, sysreg_read(sctlr_el1), has_pan, has_ssbs));
}

static bool from_el0(void)
{
    return field_get(SPSR_M, sysreg_read(spsr_el2)) == SPSR_M_EL0T;
}

void inject_undefined(uint64_t esr)
{
    inject_sync(esr_make_unknown(esr));
}

void inject_external_abort(uint64_t esr)
{
    if (esr_far_valid(esr))
        sysreg_write(far_el1, sysreg_read(far_el2));
    inject_sync(esr_make_external_abort(esr, from_el0()));
}

void inject_not_present(uint64_t token)
{
    sysreg_write(far_el1, token);
    inject_sync(esr_make_not_present(from_el0()));
}

void inject_serror(void)
{
    sysreg_write(hcr_el2, sysreg_read(hcr_el2) | HCR_VSE);
    isb(); /* an ERET may read HCR_EL2 before it synchronizes (D24.1.2.2) */
}
