/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical GICv3 as EL2 uses it (IHI 0069H): EOImode 1, so that priority drop and deactivation are apart and a
 * guest's EOI can deactivate a timer interrupt through a list register.
 */
#pragma once

#include "lib/core.h"
#include "lib/types.h"

/* SGIs between physical cores. */
#define SGI_KICK 0 /* look again: a page is there, an interrupt is pending, the guest has ended */

#define GIC_SPURIOUS 1023

/* Device-tree facts: bases of the frames. Fails when it is no GICv3 or a core has no redistributor. */
WARN_UNUSED bool gic_init(pa_t gicd, pa_t gicr, uint64_t gicr_size);
WARN_UNUSED bool gic_core_init(void); /* on each core */

uint32_t gic_ack(void);       /* the highest pending interrupt, now active; GIC_SPURIOUS if none */
void gic_eoi(uint32_t intid); /* priority drop only */
void gic_deactivate(uint32_t intid);
void gic_sgi(const struct core *target, uint32_t sgi);
void gic_enable_ppi(uint32_t intid);            /* on this core */
void gic_enable_spi(uint32_t intid, bool edge); /* to this core */
