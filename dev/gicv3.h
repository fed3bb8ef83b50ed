/* SPDX-License-Identifier: BSD-2-Clause */
/* What dev/gic.h says, on a GICv3; for dev/gic.h and dev/gic.c alone. */
#pragma once

#include "lib/arch.h"
#include "lib/core.h"
#include "lib/types.h"

WARN_UNUSED bool gicv3_init(pa_t gicd, pa_t gicr, uint64_t gicr_size);
WARN_UNUSED bool gicv3_core_init(void);

static inline uint32_t gicv3_ack(void)
{
    uint32_t intid = (uint32_t)sysreg_read(ICC_IAR1_EL1) & 0xffffff;

    dsb_sy(); /* the acknowledge takes effect before what the handler does (IHI 0069H 4.1.2) */
    return intid >= 1020 && intid < 1024 ? 1023 : intid;
}

static inline void gicv3_eoi(uint32_t intid)
{
    sysreg_write(ICC_EOIR1_EL1, intid);
    isb();
}

static inline void gicv3_deactivate(uint32_t intid)
{
    sysreg_write(ICC_DIR_EL1, intid);
    isb();
}

void gicv3_sgi(const struct core *target, uint32_t sgi);
void gicv3_sgi_cores(uint64_t which, uint32_t sgi);
void gicv3_enable_ppi(uint32_t intid);
void gicv3_enable_spi(uint32_t intid, bool edge);
