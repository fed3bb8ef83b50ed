/* SPDX-License-Identifier: BSD-2-Clause */
/* What dev/gic.h says, on a GICv2; for dev/gic.h and dev/gic.c alone. */
#pragma once

#include "lib/core.h"
#include "lib/types.h"

WARN_UNUSED bool gicv2_init(pa_t gicd, pa_t gicc, uint64_t gicc_size);
uint32_t gicv2_identification(void); /* GICC_IIDR */
uint64_t gicv2_page_stride(void);    /* bytes from the first page of GICC, and of GICV, to the second */
WARN_UNUSED bool gicv2_core_init(void);
uint32_t gicv2_ack(void);
void gicv2_eoi(uint32_t intid);
void gicv2_deactivate(uint32_t intid);
void gicv2_sgi(const struct core *target, uint32_t sgi);
void gicv2_sgi_cores(uint64_t which, uint32_t sgi);
void gicv2_enable_ppi(uint32_t intid);
void gicv2_enable_spi(uint32_t intid, bool edge);
