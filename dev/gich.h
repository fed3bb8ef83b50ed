/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypervisor control interface: list registers and what controls them, for the core that runs this code. The formats
 * are those of the GICv3's system registers (IHI 0069H 12.4); where the machine has a GICv2, dev/gichv2.c translates. On
 * the build host tests/unit/fake/dev/gich.c stands in for it.
 */
#pragma once

#ifndef HOST_TEST
#include "dev/gichv2.h"
#include "lib/sysreg.h"
#endif
#include "lib/bits.h"
#include "lib/types.h"

/* ICH_LR<n>_EL2 (12.4.7) */
#define LR_VINTID FIELD(31, 0)
#define LR_SOURCE FIELD(12, 10) /* GICv2 only, of an SGI: the sender. INTIDs are below 1024 then */
#define LR_PINTID FIELD(44, 32)
#define LR_EOI BIT(41) /* with HW = 0: maintenance interrupt when the guest deactivates it */
#define LR_PRIORITY FIELD(55, 48)
#define LR_GROUP1 BIT(60)
#define LR_HW BIT(61)
#define LR_PENDING BIT(62)
#define LR_ACTIVE BIT(63)
#define LR_STATE (LR_PENDING | LR_ACTIVE)

/* ICH_HCR_EL2 (12.4.3) */
#define ICH_HCR_EN BIT(0)
#define ICH_HCR_LRENPIE BIT(2)  /* maintenance when EOIcount is not 0 */
#define ICH_HCR_NPIE BIT(3)     /* maintenance when no list register is pending */
#define ICH_HCR_VGRP0EIE BIT(4) /* maintenance when the guest has group 0 enabled in its CPU interface */
#define ICH_HCR_VGRP0DIE BIT(5) /* ... disabled */
#define ICH_HCR_VGRP1EIE BIT(6)
#define ICH_HCR_VGRP1DIE BIT(7)
#define ICH_HCR_TDIR BIT(14) /* trap ICC_DIR_EL1; where ICH_VTR_EL2.TDS is set */
#define ICH_HCR_EOICOUNT FIELD(31, 27)

/* ICH_VMCR_EL2 (12.4.9) */
#define ICH_VMCR_VENG0 BIT(0)
#define ICH_VMCR_VENG1 BIT(1)
#define ICH_VMCR_VEOIM BIT(9)
#define ICH_VMCR_VPMR FIELD(31, 24)

/* ICH_VTR_EL2 (12.4.10) */
#define ICH_VTR_LISTREGS FIELD(4, 0)
#define ICH_VTR_TDS BIT(19)
#define ICH_VTR_PREBITS FIELD(28, 26)

/* Boot core, before anything else here: the machine has a GICv2, whose GICH frame this is. */
void gich_use_v2(pa_t frame, uint32_t cpu_interface_id);

uint64_t gich_lr_read(uint32_t n);
#ifdef HOST_TEST
void gich_lr_write(uint32_t n, uint64_t v);
#else
extern bool gich_is_v2;

void gich_lr_write_any(uint32_t n, uint64_t v);

/* The first is the one that ticks and SGIs use. */
static inline void gich_lr_write(uint32_t n, uint64_t v)
{
    if (n == 0 && !gich_is_v2)
        sysreg_write(ICH_LR0_EL2, v);
    else
        gich_lr_write_any(n, v);
}
#endif
uint32_t gich_lr_count(void); /* 16 at most */
/*
 * Whether the guest's EOI of an interrupt with HW = 1 can be relied on to deactivate the physical one. Where not, it is
 * put in as one with HW = 0 that asks for maintenance, and EL2 deactivates.
 */
bool gich_has_hw(void);
bool gich_has_tdir(void); /* a GICv2 has no trap for the guest's deactivations */

/*
 * Which list registers are empty; those that are, but ask for maintenance, are in EISR instead. Both are computed by the
 * hardware from the list registers: a write to one is seen here after an ISB only (DDI 0487 D13.2.1).
 */
#ifdef HOST_TEST
uint64_t gich_elrsr(void);
#else
static inline uint64_t gich_elrsr(void)
{
    return UNLIKELY(gich_is_v2) ? gichv2_elrsr() : sysreg_read(ICH_ELRSR_EL2);
}
#endif
uint64_t gich_eisr(void);

uint64_t gich_hcr_read(void);
void gich_hcr_write(uint64_t v);
uint64_t gich_vmcr_read(void);
void gich_vmcr_write(uint64_t v);

void gich_apr_clear(void); /* all active priorities */
