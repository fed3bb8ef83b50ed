/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2's own map: VA = PA, granule 4 KiB, 48 bits, one set of tables for all cores. Nothing is both writable and
 * executable, and SCTLR_EL2.WXN says so once more. Mappings are only added, until el2map_seal() takes the right to
 * write what is constant from then on.
 *
 * The host's RAM is mapped in 2 MiB blocks, and only those that frames_owns_block() hands out: EL2's image, reserved
 * regions and the payloads of the boot loader are not in it.
 */
#pragma once

#include "lib/types.h"

enum el2map_kind { EL2MAP_RAM, EL2MAP_CONST, EL2MAP_DEVICE };

/* MAIR, TCR and SCTLR as boot/head.S writes them. */
struct el2map_regs {
    uint64_t mair, tcr, sctlr;
};

extern uint64_t el2map_root; /* PA of the level-0 table */
extern struct el2map_regs el2map_regs;

/* Boot core, MMU off: maps the image, and the page at `dtb` if that may be a device tree. `el`: where we are. */
void el2map_boot(uint64_t dtb, uint64_t el);

/* Boot core: maps [base, base + size), widened to pages. False: no room for tables, or mapped as something else. */
WARN_UNUSED bool el2map_add(pa_t base, uint64_t size, enum el2map_kind kind);

/* Boot core: maps the 2 MiB blocks of this bank that are ours. */
WARN_UNUSED bool el2map_ram(pa_t base, uint64_t size);

/* Boot core, last: .ro_after_init becomes read-only. */
void el2map_seal(void);
