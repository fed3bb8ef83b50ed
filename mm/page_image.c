/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/page_image.h"

#include <lz4.h>

#include "lib/arch.h"
#include "lib/crc32.h"
#include "lib/string.h"

#define ZERO_PAGE_CRC 0xc71c0011u /* of 4096 zeroes */

static bool name_char_ok(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._+-", c);
}

static bool name_ok(const char *name)
{
    size_t n = 0;

    while (n < PAGE_IMAGE_NAME && name[n] && name_char_ok(name[n]))
        n++;
    if (n == 0)
        return false;
    while (n < PAGE_IMAGE_NAME && !name[n])
        n++;
    return n == PAGE_IMAGE_NAME && !name[n - 1];
}

/* Its index lies inside the image, behind the header. No sum here can wrap. */
static bool file_ok(const struct page_image_file *f, uint64_t image_size)
{
    const struct packed_file p = {f->size, f->index, image_size};
    uint64_t last;

    if (f->size == 0 || f->index < PAGE_SIZE || f->index % PAGE_SIZE != 0)
        return false;
    last = (packed_pages(&p) - 1) / PAGE_IMAGE_ENTRIES; /* below 2^44 */
    return image_size >= PAGE_SIZE && f->index <= image_size - PAGE_SIZE &&
           last <= (image_size - PAGE_SIZE - f->index) / PAGE_SIZE;
}

static bool directory_ok(const struct page_image_header *h)
{
    if (h->files == 0 || h->files > PAGE_IMAGE_FILES)
        return false;
    for (uint32_t i = 0; i < h->files; i++) {
        if (!name_ok(h->file[i].name) || !file_ok(&h->file[i], h->size))
            return false;
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(h->file[i].name, h->file[j].name) == 0)
                return false;
        }
    }
    return true;
}

enum page_image_result page_image_check(const struct page_image_header *h, uint64_t bytes)
{
    uint32_t crc;

    if (bytes < sizeof(*h) || h->magic != PAGE_IMAGE_MAGIC)
        return PAGE_IMAGE_NOT_ONE;
    if (h->version != PAGE_IMAGE_VERSION)
        return PAGE_IMAGE_OTHER_VERSION;
    crc = crc32(0, h, offsetof(struct page_image_header, crc));
    if (crc32(crc, h->file, sizeof(h->file)) != h->crc)
        return PAGE_IMAGE_BAD_HEADER;
    if (h->size > bytes)
        return PAGE_IMAGE_TRUNCATED;
    if (h->size % PAGE_IMAGE_SECTOR != 0 || h->size >> 48 || !directory_ok(h))
        return PAGE_IMAGE_BAD_DIRECTORY;
    return PAGE_IMAGE_OK;
}

enum page_image_result page_image_find(const struct page_image_header *h, const char *name, struct packed_file *out)
{
    for (uint32_t i = 0; i < h->files; i++) {
        if (strcmp(h->file[i].name, name) == 0) {
            *out = (struct packed_file){h->file[i].size, h->file[i].index, h->size};
            return PAGE_IMAGE_OK;
        }
    }
    return PAGE_IMAGE_NO_FILE;
}

enum page_image_result page_image_check_index(const struct page_image_index *x, uint64_t at)
{
    return crc32(crc32(0, &at, sizeof(at)), x->entry, sizeof(x->entry)) == x->crc ? PAGE_IMAGE_OK
                                                                                  : PAGE_IMAGE_BAD_INDEX;
}

static bool place_ok(const struct packed_page *p, uint64_t image_size)
{
    switch (p->kind) {
    case PAGE_IMAGE_ZERO:
        return p->length == 0 && p->offset == 0 && p->crc == ZERO_PAGE_CRC;
    case PAGE_IMAGE_RAW:
        if (p->length != PAGE_SIZE || p->offset % PAGE_IMAGE_SECTOR != 0)
            return false;
        break;
    case PAGE_IMAGE_LZ4:
        if (p->length == 0 || p->length >= PAGE_SIZE)
            return false;
        break;
    default:
        return false;
    }
    return p->offset >= PAGE_SIZE && p->offset <= image_size && p->length <= image_size - p->offset;
}

enum page_image_result page_image_locate(const struct packed_file *f, const struct page_image_index *x, uint64_t page,
                                         struct packed_page *out)
{
    const struct page_image_entry *e;
    uint64_t place;

    if (page >= packed_pages(f))
        return PAGE_IMAGE_BAD_ENTRY;
    e = &x->entry[page % PAGE_IMAGE_ENTRIES];
    place = e->place[0] | (uint64_t)e->place[1] << 32;
    *out = (struct packed_page){
        .kind = (enum page_image_kind)field_get(PAGE_IMAGE_KIND, place),
        .length = (uint32_t)field_get(PAGE_IMAGE_LENGTH, place),
        .offset = field_get(PAGE_IMAGE_OFFSET, place),
        .crc = e->crc,
    };
    return place_ok(out, f->image_size) ? PAGE_IMAGE_OK : PAGE_IMAGE_BAD_ENTRY;
}

enum page_image_result page_image_decode(const struct packed_page *p, const void *stored, void *page)
{
    int n;

    switch (p->kind) {
    case PAGE_IMAGE_ZERO:
        zero_pages(page, 1);
        return PAGE_IMAGE_OK;
    case PAGE_IMAGE_RAW:
        if (stored != page)
            memcpy(page, stored, PAGE_SIZE);
        break;
    case PAGE_IMAGE_LZ4:
        n = LZ4_decompress_safe(stored, page, (int)p->length, (int)PAGE_SIZE);
        if (n != (int)PAGE_SIZE) {
            zero_pages(page, 1);
            return PAGE_IMAGE_BAD_PAGE;
        }
        break;
    }
    return crc32(0, page, PAGE_SIZE) == p->crc ? PAGE_IMAGE_OK : PAGE_IMAGE_BAD_PAGE;
}

const char *page_image_text(enum page_image_result r)
{
    static const char *const text[] = {
        [PAGE_IMAGE_OK] = "a good page image",
        [PAGE_IMAGE_NOT_ONE] = "not a page image",
        [PAGE_IMAGE_OTHER_VERSION] = "a page image of another version",
        [PAGE_IMAGE_BAD_HEADER] = "damaged page image, checksum of its header",
        [PAGE_IMAGE_TRUNCATED] = "truncated page image",
        [PAGE_IMAGE_BAD_DIRECTORY] = "page image with a bad directory",
        [PAGE_IMAGE_NO_FILE] = "no such file in the page image",
        [PAGE_IMAGE_BAD_INDEX] = "damaged page image, checksum of its index",
        [PAGE_IMAGE_BAD_ENTRY] = "page image with a bad index",
        [PAGE_IMAGE_BAD_PAGE] = "damaged page image, checksum of a page",
    };

    return text[r];
}
