/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical GIC as EL2 uses it, of version 2 (IHI 0048B) or 3 (IHI 0069H) as the machine has it: with EOImode 1, so
 * that priority drop and deactivation are apart and a guest's EOI can deactivate a timer interrupt through a list
 * register. dev/gicv2.c and dev/gicv3.c do the work. Which of them is a branch rather than a table of functions: it is on
 * the way of every interrupt, and predicted.
 */
#pragma once

#ifndef HOST_TEST
#include "dev/gicv2.h"
#include "dev/gicv3.h"
#endif
#include "lib/core.h"
#include "lib/types.h"

/* SGIs between physical cores. */
#define SGI_KICK 0 /* look again: a page is there, an interrupt is pending, the guest has ended */

#define GIC_SPURIOUS 1023
#define GICV2_CPUS 8 /* a bit each in GICD_ITARGETSR */

enum gic_version { GIC_V2 = 2, GIC_V3 };

/* Where the frames are, as the device tree says. */
struct gic_frames {
    enum gic_version version;
    pa_t gicd;
    pa_t gicr; /* version 3 */
    uint64_t gicr_size;
    pa_t gicc, gich, gicv; /* version 2 */
    uint64_t gicc_size;
};

/* Boot core. Fails when it is no GIC of that version; gic_core_init(): when the core has no part in it. */
WARN_UNUSED bool gic_init(const struct gic_frames *f);
WARN_UNUSED bool gic_core_init(void); /* on each core */

/* On a GICv2: the page of GICV that is to be page n, 0 or 1, of a guest's GICC. Its vCPUs access it directly. */
pa_t gic_guest_page(uint32_t n);

/*
 * The highest pending interrupt, now active; GIC_SPURIOUS if none. What comes back is what gic_eoi() and
 * gic_deactivate() want: the INTID, to which a GICv2 adds the sender of an SGI in bits 12 to 10.
 */
#ifdef HOST_TEST
uint32_t gic_ack(void);
void gic_eoi(uint32_t intid);
void gic_deactivate(uint32_t intid);
#else
extern bool gic_is_v2;

static inline uint32_t gic_ack(void)
{
    return UNLIKELY(gic_is_v2) ? gicv2_ack() : gicv3_ack();
}

static inline void gic_eoi(uint32_t intid) /* priority drop only */
{
    if (UNLIKELY(gic_is_v2))
        gicv2_eoi(intid);
    else
        gicv3_eoi(intid);
}

static inline void gic_deactivate(uint32_t intid)
{
    if (UNLIKELY(gic_is_v2))
        gicv2_deactivate(intid);
    else
        gicv3_deactivate(intid);
}
#endif

void gic_sgi(const struct core *target, uint32_t sgi);
void gic_sgi_cores(uint64_t which, uint32_t sgi); /* a bit for each of `cores`, by its id; not this one */
void gic_enable_ppi(uint32_t intid);              /* on this core */
void gic_enable_spi(uint32_t intid, bool edge);   /* to this core */
