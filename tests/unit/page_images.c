/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/page_images.h"

#include <lz4.h>
#include <stdlib.h>

#include "lib/crc32.h"
#include "lib/string.h"

static void need(bool ok)
{
    if (!ok)
        abort();
}

struct page_image_entry sample_entry(enum page_image_kind kind, uint64_t offset, uint64_t length, uint32_t crc)
{
    uint64_t place = field_put(PAGE_IMAGE_KIND, kind) | field_put(PAGE_IMAGE_LENGTH, length) | offset;

    return (struct page_image_entry){{(uint32_t)place, (uint32_t)(place >> 32)}, crc};
}

static void pad(struct sample *m, size_t to)
{
    while (m->size % to)
        m->bytes[m->size++] = 0;
}

struct page_image_entry sample_put(struct sample *m, const void *page)
{
    static const uint8_t zeroes[PAGE_SIZE];
    uint32_t crc = crc32(0, page, PAGE_SIZE);
    enum page_image_kind kind = PAGE_IMAGE_LZ4;
    char block[PAGE_SIZE];
    int n;

    if (memcmp(page, zeroes, PAGE_SIZE) == 0)
        return sample_entry(PAGE_IMAGE_ZERO, 0, 0, crc);
    need(m->size + PAGE_SIZE + PAGE_IMAGE_SECTOR <= m->room);
    n = LZ4_compress_default(page, block, (int)PAGE_SIZE, (int)PAGE_SIZE - 1);
    if (n > 0) {
        memcpy(m->bytes + m->size, block, (size_t)n);
    } else {
        kind = PAGE_IMAGE_RAW;
        pad(m, PAGE_IMAGE_SECTOR);
        n = (int)PAGE_SIZE;
        memcpy(m->bytes + m->size, page, PAGE_SIZE);
    }
    m->size += (size_t)n;
    return sample_entry(kind, m->size - (size_t)n, (uint64_t)n, crc);
}

static struct page_image_index *index_page(const struct sample *m, uint32_t file, uint64_t page)
{
    return (struct page_image_index *)(void *)(m->bytes + sample_header(m)->file[file].index) +
           page / PAGE_IMAGE_ENTRIES;
}

struct page_image_entry *sample_entry_of(const struct sample *m, uint32_t file, uint64_t page)
{
    return &index_page(m, file, page)->entry[page % PAGE_IMAGE_ENTRIES];
}

void sample_seal(const struct sample *m)
{
    struct page_image_header *h = sample_header(m);

    if (m->size < PAGE_SIZE)
        return;
    for (uint32_t i = 0; i < h->files && i < PAGE_IMAGE_FILES; i++) {
        uint64_t at = h->file[i].index, left = h->file[i].size / PAGE_SIZE / PAGE_IMAGE_ENTRIES + 1;

        if (at < PAGE_SIZE || at % PAGE_SIZE != 0)
            continue;
        for (; left > 0 && at <= m->size - PAGE_SIZE; left--, at += PAGE_SIZE) {
            struct page_image_index *x = (struct page_image_index *)(void *)(m->bytes + at);

            x->crc = crc32(crc32(0, &at, sizeof(at)), x->entry, sizeof(x->entry));
        }
    }
    h->crc = crc32(crc32(0, h, offsetof(struct page_image_header, crc)), h->file, sizeof(h->file));
}

void sample_make(struct sample *m, const struct sample_file *files, uint32_t count)
{
    struct page_image_header *h = sample_header(m);

    need(count <= PAGE_IMAGE_FILES && m->room >= PAGE_SIZE);
    memset(m->bytes, 0, m->room);
    m->size = PAGE_SIZE;
    h->magic = PAGE_IMAGE_MAGIC;
    h->version = PAGE_IMAGE_VERSION;
    h->files = count;
    for (uint32_t i = 0; i < count; i++) {
        size_t pages = (files[i].size + PAGE_SIZE - 1) / PAGE_SIZE;

        memcpy(h->file[i].name, files[i].name, strnlen(files[i].name, PAGE_IMAGE_NAME - 1));
        h->file[i].size = files[i].size;
        h->file[i].index = m->size;
        m->size += (pages + PAGE_IMAGE_ENTRIES - 1) / PAGE_IMAGE_ENTRIES * PAGE_SIZE;
        need(m->size <= m->room);
    }
    for (uint32_t i = 0; i < count; i++) {
        for (size_t at = 0; at < files[i].size; at += PAGE_SIZE) {
            uint8_t page[PAGE_SIZE] = {0};
            size_t left = files[i].size - at;

            memcpy(page, (const uint8_t *)files[i].bytes + at, left < PAGE_SIZE ? left : PAGE_SIZE);
            *sample_entry_of(m, i, at / PAGE_SIZE) = sample_put(m, page);
        }
    }
    pad(m, PAGE_IMAGE_SECTOR);
    h->size = m->size;
    sample_seal(m);
}
