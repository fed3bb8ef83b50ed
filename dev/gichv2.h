/* SPDX-License-Identifier: BSD-2-Clause */
/* The GICH frame of a GICv2 behind what dev/gich.h says, in that header's formats; for dev/gich.h and dev/gich.c alone. */
#pragma once

#include "lib/types.h"

/* `cpu_interface_id` is GICC_IIDR: which make it is. */
void gichv2_init(pa_t frame, uint32_t cpu_interface_id);
uint64_t gichv2_lr_read(uint32_t n);
void gichv2_lr_write(uint32_t n, uint64_t v);
bool gichv2_has_hw(void);
uint32_t gichv2_lr_count(void);
uint64_t gichv2_elrsr(void);
uint64_t gichv2_eisr(void);
uint64_t gichv2_hcr_read(void);
void gichv2_hcr_write(uint64_t v);
uint64_t gichv2_vmcr_read(void);
void gichv2_vmcr_write(uint64_t v);
void gichv2_apr_clear(void);
