/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ID registers as guests read them (trapped by HCR_EL2.TID3): what the boot core has, less what a guest is not given. A
 * field is shown when it is known here to need nothing of EL2; unknown and later ones read as zero.
 */
#pragma once

#include "lib/types.h"

/* Boot core, once. */
void idregs_init(void);

/* S3_0_C0_C<crm>_<op2>, crm 1 to 7. */
uint64_t idregs_read(uint32_t crm, uint32_t op2);

/* The value a guest gets for the hardware's `raw`. Pure. */
uint64_t idregs_filter(uint32_t crm, uint32_t op2, uint64_t raw);
