/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/source.h"

#include "lib/arch.h"
#include "lib/string.h"

static enum fill_result zero_fill(const struct source *s, uint64_t page, void *frames, uint32_t count, uint32_t request)
{
    (void)s, (void)page, (void)request;
    zero_pages(frames, count);
    return FILL_OK;
}

static enum fill_result image_fill(const struct source *s, uint64_t page, void *frame, uint32_t count, uint32_t request)
{
    uint64_t offset = page << PAGE_SHIFT;
    uint64_t n = offset < s->size ? s->size - offset : 0;

    (void)count, (void)request; /* a page at a time: more urgent ones can come between */
    if (n >= PAGE_SIZE) {
        memcpy(frame, pa_ptr(pa_add(s->base, offset)), PAGE_SIZE);
        return FILL_OK;
    }
    zero_pages(frame, 1);
    if (n)
        memcpy(frame, pa_ptr(pa_add(s->base, offset)), n);
    return FILL_OK;
}

const struct source_ops source_zero_ops = {.name = "zero", .run = 1, .fill = zero_fill};
const struct source_ops source_image_ops = {.name = "image", .run = 1, .fill = image_fill};
