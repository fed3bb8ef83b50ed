/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/page_image.c mm/packed.c lib/crc32.c tests/unit/page_images.c tests/unit/fake/fake_arch.c */
/*
 * The reader of page images on whatever comes: as it is, and, since few mutations get past a checksum, once more with
 * the checksums of header and indexes made right. Each piece that a step is given has a buffer of its own, so that the
 * address sanitizer sees a byte too many.
 */
#include <stdlib.h>

#include "lib/arch.h"
#include "lib/crc32.h"
#include "mm/packed.h"
#include "tests/unit/page_images.h"

#define PAGES 8u /* of a file that are looked at */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hold(bool promise)
{
    if (!promise)
        abort();
}

static void *exactly(const void *from, size_t n)
{
    void *p = malloc(n ? n : 1);

    hold(p != NULL);
    if (n)
        memcpy(p, from, n);
    return p;
}

static void read_page(const struct sample *m, const struct packed_file *f, uint64_t n)
{
    uint64_t at = packed_index_at(f, n);
    struct page_image_index *x;
    struct packed_page p;

    hold(at >= PAGE_SIZE && at % PAGE_SIZE == 0 && at <= m->size - PAGE_SIZE);
    x = exactly(m->bytes + at, sizeof(*x));
    /* Whoever has found the index bad stops here; what it says must not hurt all the same. */
    (void)!page_image_check_index(x, at);
    if (page_image_locate(f, x, n, &p) == PAGE_IMAGE_OK) {
        void *stored, *page = malloc(PAGE_SIZE);

        hold(p.length <= PAGE_SIZE && p.offset <= m->size && p.length <= m->size - p.offset);
        hold(p.kind == PAGE_IMAGE_ZERO ||
             (p.offset % PAGE_IMAGE_SECTOR + p.length + PAGE_IMAGE_SECTOR - 1) / PAGE_IMAGE_SECTOR <= 9);
        stored = exactly(m->bytes + p.offset, p.length);
        if (page_image_decode(&p, stored, page) == PAGE_IMAGE_OK)
            hold(crc32(0, page, PAGE_SIZE) == p.crc);
        free(page);
        free(stored);
    }
    free(x);
}

/* The source takes the image where it lies. */
static void open_source(const struct sample *m, const char *name)
{
    static uint8_t frame[PAGE_SIZE] __attribute__((aligned(4096)));
    struct source s;

    if (packed_open(&s, ptr_pa(m->bytes), m->size, name) != PAGE_IMAGE_OK)
        return;
    for (uint64_t n = 0; n < PAGES; n++)
        (void)s.ops->fill(&s, n, frame, 1, 0);
    (void)s.ops->fill(&s, s.size / PAGE_SIZE, frame, 1, 0);
}

static void read_all(const struct sample *m)
{
    struct page_image_header *h = exactly(m->bytes, m->size < PAGE_SIZE ? m->size : PAGE_SIZE);
    struct packed_file f;

    if (page_image_check(h, m->size) == PAGE_IMAGE_OK) {
        hold(page_image_find(h, "no such", &f) == PAGE_IMAGE_NO_FILE);
        for (uint32_t i = 0; i < h->files; i++) {
            hold(page_image_find(h, h->file[i].name, &f) == PAGE_IMAGE_OK && f.image_size <= m->size);
            for (uint64_t n = 0; n < packed_pages(&f) && n < PAGES; n++)
                read_page(m, &f, n);
            read_page(m, &f, packed_pages(&f) - 1);
            open_source(m, h->file[i].name);
        }
    }
    free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sample m = {.bytes = exactly(data, size), .room = size, .size = size};

    fake_no_crc32 = true; /* the table is faster here */
    read_all(&m);
    sample_seal(&m);
    read_all(&m);
    free(m.bytes);
    return 0;
}
