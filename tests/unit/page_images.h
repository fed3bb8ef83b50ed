/* SPDX-License-Identifier: BSD-2-Clause */
/* Page images for the tests of their reader: made piece by piece, so that each piece can be made wrong. */
#pragma once

#include "mm/page_image.h"

/* An image that grows in a buffer of the test's. */
struct sample {
    uint8_t *bytes;
    size_t room, size;
};

/* `page` of 4096 bytes as it is stored in the image from now on: zero, LZ4 or, where that does not pay, raw. */
struct page_image_entry sample_put(struct sample *m, const void *page);

/* One image of all that the files hold, in order; its header and indexes are right. */
struct sample_file {
    const char *name;
    const void *bytes;
    size_t size;
};
void sample_make(struct sample *m, const struct sample_file *files, uint32_t count);

static inline struct page_image_header *sample_header(const struct sample *m)
{
    return (struct page_image_header *)(void *)m->bytes;
}

struct page_image_entry sample_entry(enum page_image_kind kind, uint64_t offset, uint64_t length, uint32_t crc);

/* Where the entry of a page stands. */
struct page_image_entry *sample_entry_of(const struct sample *m, uint32_t file, uint64_t page);

/* Makes the checksums of header and indexes right, as far as those lie inside the image. */
void sample_seal(const struct sample *m);
