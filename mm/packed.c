/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/packed.h"

#include "lib/arch.h"
#include "lib/string.h"

static const struct page_image_index *index_of(pa_t base, const struct packed_file *f, uint64_t page)
{
    return pa_ptr(pa_add(base, packed_index_at(f, page)));
}

/* The index was found good when the source was opened, and what the boot loader left does not change. */
static enum fill_result packed_fill(const struct source *s, uint64_t page, void *frame, uint32_t count,
                                    uint32_t request)
{
    uint64_t offset = page << PAGE_SHIFT;
    struct packed_page p;

    (void)count, (void)request; /* a page at a time: more urgent ones can come between */
    if (offset >= s->size) {
        zero_pages(frame, 1);
        return FILL_OK;
    }
    if (page_image_locate(&s->file, index_of(s->base, &s->file, page), page, &p) != PAGE_IMAGE_OK ||
        page_image_decode(&p, pa_ptr(pa_add(s->base, p.offset)), frame) != PAGE_IMAGE_OK)
        return FILL_ERROR;
    if (s->size - offset < PAGE_SIZE)
        memset((uint8_t *)frame + (s->size - offset), 0, PAGE_SIZE - (s->size - offset));
    return FILL_OK;
}

enum page_image_result packed_open(struct source *s, pa_t base, uint64_t bytes, const char *name)
{
    enum page_image_result result = PAGE_IMAGE_NOT_ONE;
    struct packed_file f;

    if (base.v % sizeof(uint64_t) == 0)
        result = page_image_check(pa_ptr(base), bytes);
    if (result == PAGE_IMAGE_OK)
        result = page_image_find(pa_ptr(base), name, &f);
    if (result != PAGE_IMAGE_OK)
        return result;
    for (uint64_t page = 0; page < packed_pages(&f); page += PAGE_IMAGE_ENTRIES) {
        result = page_image_check_index(index_of(base, &f, page), packed_index_at(&f, page));
        if (result != PAGE_IMAGE_OK)
            return result;
    }
    *s = (struct source){.ops = &source_packed_ops, .base = base, .size = f.size, .file = f};
    return PAGE_IMAGE_OK;
}

const struct source_ops source_packed_ops = {.name = "packed", .needs_helper = true, .run = 1, .fill = packed_fill};
