/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the content of a page comes from. A source is immutable while a guest uses it; each kind is a
 * `struct source_ops`.
 *
 * A source that has to wait for its bytes begins to fetch them and returns FILL_PENDING; when they are there, its own
 * code calls populate_filled() (mm/populate.h) on the core that asked. So one core has many pages on their way at once.
 */
#pragma once

#include "mm/page_image.h"

enum fill_result {
    FILL_OK,
    FILL_ERROR,   /* it cannot be read: nothing that the frames hold is to be seen */
    FILL_PENDING, /* begun */
    FILL_BUSY,    /* nothing was done: too much is under way. Try again when something of it has ended */
};

struct source;

struct source_ops {
    const char *name;
    bool needs_helper; /* it waits, or needs FP: never called on a vCPU core */
    uint32_t run;      /* pages at the most that one fill can fetch; nobody waits for any but the first */
    /*
     * Writes all bytes of `count` frames, which lie side by side, with as many pages from `page` on. Bytes past the
     * source's end are zero. `request` is what populate_filled() wants to know.
     */
    enum fill_result (*fill)(const struct source *s, uint64_t page, void *frames, uint32_t count, uint32_t request);
};

struct disk_image;

struct source {
    const struct source_ops *ops;
    pa_t base;               /* image: its first byte in RAM, any alignment; packed: that of the page image */
    uint64_t size;           /* bytes */
    struct packed_file file; /* packed, disk: which of the page image */
    struct disk_image *disk; /* disk: the page image (mm/disk_image.h) */
    uint32_t first_index;    /* disk: where in RAM the file's index pages begin, counted in those of all its files */
};

extern const struct source_ops source_zero_ops;  /* pages of zeroes */
extern const struct source_ops source_image_ops; /* bytes the boot loader left in RAM */
