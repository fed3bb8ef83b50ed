/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page images: several named files in one, each page of them on its own, compressed or not (doc/image-format.md is the
 * format; tools/mwlib/pageimage.py is its other side).
 *
 * Reading one goes in steps, and nothing here does I/O or keeps state, so that whoever has the bytes on a disk fetches
 * them piece by piece: the header, an index page, a page. An image is somebody else's word: whatever is in it, a
 * step ends, stays inside what it was given, and says what is wrong.
 *
 * page_image_decode() is liblz4's work, which uses FP registers: helper cores, and the boot core before its first guest.
 */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

#define PAGE_IMAGE_MAGIC UINT64_C(0x007365676170776d) /* "mwpages" in memory */
#define PAGE_IMAGE_VERSION 1u
#define PAGE_IMAGE_FILES 42u
#define PAGE_IMAGE_NAME 64u     /* bytes, the NUL among them */
#define PAGE_IMAGE_ENTRIES 341u /* pages that an index page tells of */
#define PAGE_IMAGE_SECTOR 512u

struct page_image_file {
    char name[PAGE_IMAGE_NAME]; /* padded with zeroes */
    uint64_t size;              /* bytes */
    uint64_t index;             /* offset of its first index page; they follow one another */
    uint64_t reserved[2];
};

/* The first page of an image. */
struct page_image_header {
    uint64_t magic;
    uint32_t version;
    uint32_t files; /* how many of file[] there are */
    uint64_t size;  /* bytes of the image, a multiple of sectors */
    uint32_t reserved[9];
    uint32_t crc; /* of the page without these four bytes */
    struct page_image_file file[PAGE_IMAGE_FILES];
};

/* A page. Three words of 32 bits, so that an index page holds them without a gap. */
struct page_image_entry {
    uint32_t place[2]; /* together, the low word first: the fields below */
    uint32_t crc;      /* of the page's 4096 bytes */
};

#define PAGE_IMAGE_OFFSET FIELD(47, 0)
#define PAGE_IMAGE_LENGTH FIELD(60, 48)
#define PAGE_IMAGE_KIND FIELD(63, 61)

enum page_image_kind {
    PAGE_IMAGE_ZERO = 1, /* not stored */
    PAGE_IMAGE_RAW = 2,  /* 4096 bytes, from a sector on */
    PAGE_IMAGE_LZ4 = 3,  /* one LZ4 block, anywhere */
};

struct page_image_index {
    struct page_image_entry entry[PAGE_IMAGE_ENTRIES];
    uint32_t crc; /* of this index page's own offset in the image, as 64 bits, and of the entries */
};

_Static_assert(sizeof(struct page_image_header) == PAGE_SIZE && sizeof(struct page_image_index) == PAGE_SIZE,
               "doc/image-format.md");
_Static_assert(offsetof(struct page_image_header, crc) == 60 && offsetof(struct page_image_header, file) == 64,
               "doc/image-format.md");

enum page_image_result {
    PAGE_IMAGE_OK,
    PAGE_IMAGE_NOT_ONE,       /* no magic */
    PAGE_IMAGE_OTHER_VERSION, /* one that is not known here */
    PAGE_IMAGE_BAD_HEADER,    /* its checksum is wrong */
    PAGE_IMAGE_TRUNCATED,     /* it should be longer than what is there */
    PAGE_IMAGE_BAD_DIRECTORY, /* a name, size or place that cannot be */
    PAGE_IMAGE_NO_FILE,       /* none of that name */
    PAGE_IMAGE_BAD_INDEX,     /* the checksum of an index page is wrong */
    PAGE_IMAGE_BAD_ENTRY,     /* a place or kind that cannot be, or no such page */
    PAGE_IMAGE_BAD_PAGE,      /* it does not decode to 4096 bytes with the right checksum */
};

/* A file in an image whose header was found good. */
struct packed_file {
    uint64_t size;       /* bytes */
    uint64_t index;      /* offset of its first index page */
    uint64_t image_size; /* bytes */
};

/* Where a page is. What is to be read lies inside the image, and in at most 9 sectors; in 8 if it is raw. */
struct packed_page {
    enum page_image_kind kind;
    uint32_t length; /* bytes; 0 if it is not stored */
    uint64_t offset;
    uint32_t crc;
};

/* Is this the header of an image that fits into `bytes`? `h` is aligned to 8 bytes, as whole pages of an image are. */
WARN_UNUSED enum page_image_result page_image_check(const struct page_image_header *h, uint64_t bytes);

/* The file `name`. The header was found good. */
WARN_UNUSED enum page_image_result page_image_find(const struct page_image_header *h, const char *name,
                                                   struct packed_file *out);

static inline uint64_t packed_pages(const struct packed_file *f)
{
    return f->size / PAGE_SIZE + (f->size % PAGE_SIZE != 0);
}

/* Offset in the image of the index page that tells of `page`. */
static inline uint64_t packed_index_at(const struct packed_file *f, uint64_t page)
{
    return f->index + page / PAGE_IMAGE_ENTRIES * PAGE_SIZE;
}

/* Is `x` what belongs to offset `at`? To be asked once, when it has arrived. */
WARN_UNUSED enum page_image_result page_image_check_index(const struct page_image_index *x, uint64_t at);

/* Where page `page` is, by the index page from packed_index_at(). */
WARN_UNUSED enum page_image_result page_image_locate(const struct packed_file *f, const struct page_image_index *x,
                                                     uint64_t page, struct packed_page *out);

/*
 * Makes the page of what is stored: `stored` holds the `length` bytes from `offset` of the image on, and may be `page`
 * itself if it is raw. All 4096 bytes of `page` are written, whatever the result; it is aligned to 8 bytes.
 */
WARN_UNUSED enum page_image_result page_image_decode(const struct packed_page *p, const void *stored, void *page);

/* The result in words. */
const char *page_image_text(enum page_image_result r);
