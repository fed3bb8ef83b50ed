/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The source of a page image that the boot loader left in RAM: a page is decoded when a guest asks for it, on a helper
 * core, since liblz4 uses FP registers.
 */
#pragma once

#include "mm/source.h"

extern const struct source_ops source_packed_ops;

/*
 * Boot core: `*s` becomes the source of file `name` of the page image at `base`, of at most `bytes` bytes, all of them
 * readable. Header and index are checked here, a page is when it is filled.
 */
WARN_UNUSED enum page_image_result packed_open(struct source *s, pa_t base, uint64_t bytes, const char *name);
