/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/source.h"

#include "lib/arch.h"
#include "lib/string.h"

static enum fill_result zero_fill(const struct source *s, uint64_t page, void *frame)
{
    (void)s;
    (void)page;
    zero_pages(frame, 1);
    return FILL_OK;
}

static enum fill_result image_fill(const struct source *s, uint64_t page, void *frame)
{
    uint64_t offset = page << PAGE_SHIFT;
    uint64_t n = offset < s->size ? s->size - offset : 0;

    if (n >= PAGE_SIZE) {
        memcpy(frame, pa_ptr(pa_add(s->base, offset)), PAGE_SIZE);
        return FILL_OK;
    }
    zero_pages(frame, 1);
    if (n)
        memcpy(frame, pa_ptr(pa_add(s->base, offset)), n);
    return FILL_OK;
}

const struct source_ops source_zero_ops = {.name = "zero", .fill = zero_fill};
const struct source_ops source_image_ops = {.name = "image", .fill = image_fill};
