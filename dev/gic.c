/* SPDX-License-Identifier: BSD-2-Clause */
#include "dev/gic.h"

#include "dev/gich.h"
#include "lib/spinlock.h"

bool gic_is_v2 RO_AFTER_INIT;
static pa_t gicv RO_AFTER_INIT;
static spinlock_t spi_lock; /* a register of the distributor holds the trigger or targets of several SPIs */

bool gic_init(const struct gic_frames *f)
{
    gic_is_v2 = f->version == GIC_V2;
    if (!gic_is_v2)
        return gicv3_init(f->gicd, f->gicr, f->gicr_size);
    gicv = f->gicv;
    if (!gicv2_init(f->gicd, f->gicc, f->gicc_size))
        return false;
    gich_use_v2(f->gich, gicv2_identification());
    return true;
}

pa_t gic_guest_page(uint32_t n)
{
    return pa_add(gicv, n * gicv2_page_stride());
}

bool gic_core_init(void)
{
    return gic_is_v2 ? gicv2_core_init() : gicv3_core_init();
}

void gic_sgi(const struct core *target, uint32_t sgi)
{
    if (UNLIKELY(gic_is_v2))
        gicv2_sgi(target, sgi);
    else
        gicv3_sgi(target, sgi);
}

void gic_sgi_cores(uint64_t which, uint32_t sgi)
{
    if (gic_is_v2)
        gicv2_sgi_cores(which, sgi);
    else
        gicv3_sgi_cores(which, sgi);
}

void gic_enable_ppi(uint32_t intid)
{
    if (gic_is_v2)
        gicv2_enable_ppi(intid);
    else
        gicv3_enable_ppi(intid);
}

void gic_enable_spi(uint32_t intid, bool edge)
{
    spin_lock(&spi_lock);
    if (gic_is_v2)
        gicv2_enable_spi(intid, edge);
    else
        gicv3_enable_spi(intid, edge);
    spin_unlock(&spi_lock);
}
