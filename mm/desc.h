/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stage-2 descriptor says all about a page (doc/architecture.md, "two words").
 *
 * Hardware looks at bit 0 of an invalid descriptor and at nothing else (DDI 0487 D8.3), so the rest of it is ours: one
 * read classifies a fault. An invalid descriptor at level 1 or 2 stands for everything below it. Granule 4 KiB.
 *
 *   valid       table, 2 MiB block or 4 KiB page. Writable means dirty: a clean page is mapped read-only.
 *   0           ABSENT, reads as zero: a zeroed page is a table of 512 absent pages
 *   ABSENT      not populated; page `offset` of source `source` (an entry above level 3: the first of many)
 *   IN_FLIGHT   somebody is filling it: request `id`
 *   BUSY        break-before-make or eviction under way: a toucher waits, and asks for a page on its way out
 *   MMIO        emulated device `kind`
 *   NOWHERE     nothing there: external abort
 *   ERROR       its content cannot be read: external abort, on this page only
 */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

#define S2_ENTRIES 512u

#define DESC_VALID BIT(0)
#define DESC_TABLE BIT(1) /* at level 3: page */
#define DESC_TYPE FIELD(1, 0)
#define DESC_ADDR FIELD(47, 12)

/* Stage-2 attributes (D8.3.2, D8.6). MemAttr 0b1111: Normal, write-back inner and outer. */
#define DESC_MEMATTR_WB field_put(FIELD(5, 2), 0xf)
#define DESC_S2AP_R BIT(6)
#define DESC_S2AP_W BIT(7)
#define DESC_SH_INNER field_put(FIELD(9, 8), 3)
#define DESC_AF BIT(10)
/* Bits for software's use (D8.3.2), in guests with a residency limit (mm/paging.h). */
#define DESC_OLD BIT(55)   /* not touched for a generation, with AF clear */
#define DESC_AHEAD BIT(56) /* brought before anyone asked, and not touched yet */
#define DESC_LEAF (DESC_VALID | DESC_MEMATTR_WB | DESC_S2AP_R | DESC_SH_INNER | DESC_AF)

/* MemAttr 0b0001: Device-nGnRE, whatever the guest's stage 1 makes of it; never executable (D8.4.2, D8.6.5). */
#define DESC_MEMATTR FIELD(5, 2)
#define DESC_MEMATTR_DEVICE field_put(DESC_MEMATTR, 1)
#define DESC_XN BIT(54)

/* Invalid descriptors. */
#define DESC_KIND FIELD(3, 1)
#define DESC_SMALL FIELD(11, 4)  /* source or device kind */
#define DESC_LARGE FIELD(63, 12) /* page offset or request id */

enum desc_kind {
    DESC_ABSENT_ZERO, /* the word is 0 */
    DESC_ABSENT,
    DESC_IN_FLIGHT,
    DESC_BUSY,
    DESC_MMIO,
    DESC_NOWHERE,
    DESC_ERROR,
    DESC_PRESENT,   /* block or page: not a kind that stands in a descriptor, as the next */
    DESC_TABLE_REF, /* levels 1 and 2 */
};

static inline enum desc_kind desc_kind(uint64_t d, unsigned level)
{
    if (d & DESC_VALID)
        return level < 3 && (d & DESC_TABLE) ? DESC_TABLE_REF : DESC_PRESENT;
    return (enum desc_kind)field_get(DESC_KIND, d);
}

static inline uint64_t desc_invalid(enum desc_kind kind, uint64_t small, uint64_t large)
{
    return field_put(DESC_KIND, kind) | field_put(DESC_SMALL, small) | field_put(DESC_LARGE, large);
}

static inline uint64_t desc_absent(uint32_t source, uint64_t page)
{
    return desc_invalid(DESC_ABSENT, source, page);
}

static inline uint64_t desc_in_flight(uint32_t request)
{
    return desc_invalid(DESC_IN_FLIGHT, 0, request);
}

static inline uint64_t desc_busy(void)
{
    return desc_invalid(DESC_BUSY, 0, 0);
}

/* A page on its way out that somebody has touched meanwhile. */
static inline uint64_t desc_busy_wanted(void)
{
    return desc_invalid(DESC_BUSY, 0, 1);
}

static inline uint64_t desc_mmio(uint32_t kind)
{
    return desc_invalid(DESC_MMIO, kind, 0);
}

static inline uint64_t desc_nowhere(void)
{
    return desc_invalid(DESC_NOWHERE, 0, 0);
}

static inline uint64_t desc_error(void)
{
    return desc_invalid(DESC_ERROR, 0, 0);
}

static inline uint64_t desc_table(pa_t table)
{
    return table.v | DESC_TABLE | DESC_VALID;
}

/* Level 2: a 2 MiB block, level 3: a page. `dirty` makes it writable. */
static inline uint64_t desc_leaf(pa_t a, unsigned level, bool dirty)
{
    return a.v | DESC_LEAF | (level == 3 ? DESC_TABLE : 0) | (dirty ? DESC_S2AP_W : 0);
}

/* Level 3: a page of device registers that the guest accesses directly. */
static inline uint64_t desc_device(pa_t a)
{
    return a.v | DESC_VALID | DESC_TABLE | DESC_MEMATTR_DEVICE | DESC_S2AP_R | DESC_S2AP_W | DESC_AF | DESC_XN;
}

static inline bool desc_is_device(uint64_t leaf)
{
    return (leaf & DESC_MEMATTR) == DESC_MEMATTR_DEVICE;
}

static inline pa_t desc_pa(uint64_t d)
{
    return pa(d & DESC_ADDR);
}

static inline bool desc_writable(uint64_t d)
{
    return (d & DESC_S2AP_W) != 0;
}

/* What the guest's accesses set: a page without it faults, which sets it, and TLBs do not hold it (D8.4.5). */
static inline bool desc_young(uint64_t d)
{
    return (d & DESC_AF) != 0;
}

static inline uint32_t desc_small(uint64_t d)
{
    return (uint32_t)field_get(DESC_SMALL, d);
}

static inline uint64_t desc_large(uint64_t d)
{
    return field_get(DESC_LARGE, d);
}

/* The descriptor of page `index` below an invalid, unpopulated descriptor of level 2. */
static inline uint64_t desc_below(uint64_t d, uint32_t index)
{
    return d == 0 ? 0 : desc_absent(desc_small(d), desc_large(d) + index);
}
