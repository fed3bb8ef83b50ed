/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypervisor control interface of the GICv3 (IHI 0069H 12.4): list registers and what controls them, for the core
 * that runs this code. On the build host tests/unit/fake/dev/gich.c stands in for it.
 */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

/* ICH_LR<n>_EL2 (12.4.7) */
#define LR_VINTID FIELD(31, 0)
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

uint64_t gich_lr_read(uint32_t n);
void gich_lr_write(uint32_t n, uint64_t v);
uint32_t gich_lr_count(void); /* from ICH_VTR_EL2 */
bool gich_has_tdir(void);

/*
 * Which list registers are empty; those that are, but ask for maintenance, are in EISR instead. Both are computed by the
 * hardware from the list registers: a write to one is seen here after an ISB only (DDI 0487 D13.2.1).
 */
uint64_t gich_elrsr(void);
uint64_t gich_eisr(void);

uint64_t gich_hcr_read(void);
void gich_hcr_write(uint64_t v);
uint64_t gich_vmcr_read(void);
void gich_vmcr_write(uint64_t v);

void gich_apr_clear(void); /* all active priorities: ICH_AP0R<n>_EL2, ICH_AP1R<n>_EL2 */
