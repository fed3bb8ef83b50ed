/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the content of a page comes from. A source is immutable while a guest uses it; disks and compressed images join
 * by another `struct source_ops`.
 */
#pragma once

#include "lib/types.h"

enum fill_result { FILL_OK, FILL_ERROR };

struct source;

struct source_ops {
    const char *name;
    bool needs_helper; /* it waits, or needs FP: never called on a vCPU core */
    /* Writes all 4096 bytes of `frame`. Bytes past the source's end are zero. */
    enum fill_result (*fill)(const struct source *s, uint64_t page, void *frame);
};

struct source {
    const struct source_ops *ops;
    pa_t base;     /* image: its first byte in RAM, any alignment */
    uint64_t size; /* bytes */
};

extern const struct source_ops source_zero_ops;  /* pages of zeroes */
extern const struct source_ops source_image_ops; /* bytes the boot loader left in RAM */
