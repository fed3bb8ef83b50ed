/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/backing.h"

#include "lib/log.h"
#include "mm/store.h"
#include "mm/swap.h"

#define WORDS (PAGE_SIZE / sizeof(uint64_t))

uint64_t backing_room_made;

static enum fill_result same_fill(const struct source *s, uint64_t word, void *frame, uint32_t count, uint32_t request)
{
    uint64_t *to = frame;

    (void)s, (void)count, (void)request;
    for (size_t i = 0; i < WORDS; i++)
        to[i] = word << 32 | word;
    return FILL_OK;
}

static const struct source_ops same_ops = {.name = "same-filled", .needs_helper = true, .run = 1, .fill = same_fill};

static const struct source sources[] = {{.ops = &same_ops}, {.ops = &source_store_ops}, {.ops = &source_swap_ops}};

const struct source *backing_source(uint32_t n)
{
    if (n < BACKING_FIRST || n - BACKING_FIRST >= ARRAY_SIZE(sources))
        panic("a page of source %u", n);
    return &sources[n - BACKING_FIRST];
}

/* Most pages differ in their first words. */
static bool same_filled(const uint64_t *page)
{
    uint64_t word = page[0];

    if (word >> 32 != (word & UINT32_MAX))
        return false;
    for (size_t i = 1; i < WORDS; i++) {
        if (page[i] != word)
            return false;
    }
    return true;
}

bool backing_put(const void *page, bool full, uint64_t *desc)
{
    const uint64_t *words = page;
    uint32_t object;
    uint64_t slot;

    if (same_filled(words)) {
        *desc = words[0] ? desc_absent(BACKING_SAME, words[0] & UINT32_MAX) : 0;
        return true;
    }
    if (full)
        return false;
    if (store_put(page, &object)) {
        *desc = desc_absent(BACKING_STORE, object);
        return true;
    }
    if (swap_put(page, &slot)) {
        *desc = desc_absent(BACKING_SWAP, slot);
        return true;
    }
    return false;
}

void backing_drop(uint64_t desc)
{
    if (!backing_holds(desc))
        return;
    if (desc_small(desc) == BACKING_STORE)
        store_free((uint32_t)desc_large(desc));
    else
        swap_free(desc_large(desc));
    backing_room_made++;
}

bool backing_scarce(enum backing kind)
{
    return kind == BACKING_STORE ? store_scarce() : swap_scarce();
}
