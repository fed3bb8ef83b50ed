/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/page_image.c lib/crc32.c tests/unit/page_images.c tests/unit/fake/fake_arch.c */
/*
 * The reader of page images: what is whole comes out as it went in, and each way to be wrong has its own words. With
 * arguments FILE NAME OUT it takes file NAME out of the image FILE; its exit status is the reader's result.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lz4.h>

#include "lib/arch.h"
#include "lib/crc32.h"
#include "tests/unit/page_images.h"

#define ROOM MIB(4)

static struct sample image;

static int set_up(void **state)
{
    (void)state;
    image = (struct sample){.bytes = malloc(ROOM), .room = ROOM};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(image.bytes);
    return 0;
}

/* Bytes that compress, that do not, and zeroes, by turns of a page. */
static uint8_t *content(size_t size)
{
    uint8_t *p = malloc(size);

    for (size_t i = 0; i < size; i++) {
        switch (i / PAGE_SIZE % 4) {
        case 0:
            p[i] = (uint8_t)(i % 61 * (i / 512));
            break;
        case 2:
            p[i] = 0;
            break;
        default:
            p[i] = (uint8_t)rand();
        }
    }
    return p;
}

/* One file of four pages: LZ4, raw, zero, raw and not full. */
#define FOUR (3 * PAGE_SIZE + 100)

static void make_four(void)
{
    uint8_t *p = content(FOUR);

    sample_make(&image, &(struct sample_file){"four", p, FOUR}, 1);
    free(p);
}

static enum page_image_result check(uint64_t bytes)
{
    return page_image_check(sample_header(&image), bytes);
}

static const struct page_image_index *index_at(const struct sample *m, const struct packed_file *f, uint64_t page)
{
    return (const struct page_image_index *)(const void *)(m->bytes + packed_index_at(f, page));
}

/* A page as a reader gets it whose disk brings the sectors it asks for, and nothing else. */
static enum page_image_result read_page(const struct sample *m, const struct packed_file *f, uint64_t n, uint8_t *page)
{
    const struct page_image_index *x = index_at(m, f, n);
    enum page_image_result result = page_image_check_index(x, packed_index_at(f, n));
    struct packed_page p;
    uint8_t *stored;

    if (result == PAGE_IMAGE_OK)
        result = page_image_locate(f, x, n, &p);
    if (result != PAGE_IMAGE_OK)
        return result;
    assert_true(p.offset + p.length <= m->size);
    assert_true((p.offset % PAGE_IMAGE_SECTOR + p.length + PAGE_IMAGE_SECTOR - 1) / PAGE_IMAGE_SECTOR <=
                (p.kind == PAGE_IMAGE_RAW ? 8 : 9));
    stored = malloc(p.length + 1);
    memcpy(stored, m->bytes + p.offset, p.length);
    stored = realloc(stored, p.length ? p.length : 1);
    result = page_image_decode(&p, stored, page);
    free(stored);
    return result;
}

static void round_trip(void **state)
{
    static const size_t size[] = {1,    4095, PAGE_SIZE,       PAGE_SIZE + 1,      100 * PAGE_SIZE - 7,
                                  FOUR, 1,    341 * PAGE_SIZE, 341 * PAGE_SIZE + 1};
    struct sample_file file[ARRAY_SIZE(size)];
    char name[ARRAY_SIZE(size)][PAGE_IMAGE_NAME];
    uint8_t page[PAGE_SIZE] __attribute__((aligned(8)));

    (void)state;
    srand(1);
    for (size_t i = 0; i < ARRAY_SIZE(size); i++) {
        memset(name[i], 0, sizeof(name[i]));
        memset(name[i], 'a' + (int)i, i == 6 ? PAGE_IMAGE_NAME - 1 : 1 + i);
        file[i] = (struct sample_file){name[i], content(size[i]), size[i]};
    }
    sample_make(&image, file, ARRAY_SIZE(size));
    assert_int_equal(check(image.size), PAGE_IMAGE_OK);
    assert_int_equal(check(ROOM), PAGE_IMAGE_OK);
    for (size_t i = 0; i < ARRAY_SIZE(size); i++) {
        struct packed_file f;

        assert_int_equal(page_image_find(sample_header(&image), name[i], &f), PAGE_IMAGE_OK);
        assert_int_equal(f.size, size[i]);
        assert_int_equal(packed_pages(&f), (size[i] + PAGE_SIZE - 1) / PAGE_SIZE);
        for (uint64_t n = 0; n < packed_pages(&f); n++) {
            memset(page, 0xee, sizeof(page));
            assert_int_equal(read_page(&image, &f, n, page), PAGE_IMAGE_OK);
            for (size_t b = 0; b < PAGE_SIZE; b++) {
                size_t at = n * PAGE_SIZE + b;
                uint8_t right = at < size[i] ? ((const uint8_t *)file[i].bytes)[at] : 0;

                if (page[b] != right)
                    fail_msg("file %zu, byte %zu is %02x, not %02x", i, at, page[b], right);
            }
        }
        free((void *)(uintptr_t)file[i].bytes);
    }
}

static void no_such_file(void **state)
{
    static const char *const name[] = {"", "fou", "fours", "Four"};
    struct packed_file f;

    (void)state;
    make_four();
    for (size_t i = 0; i < ARRAY_SIZE(name); i++)
        assert_int_equal(page_image_find(sample_header(&image), name[i], &f), PAGE_IMAGE_NO_FILE);
    memset(sample_header(&image)->file[0].name, 0, PAGE_IMAGE_NAME); /* the next entry is not one */
    assert_int_equal(page_image_find(sample_header(&image), "four", &f), PAGE_IMAGE_NO_FILE);
}

/* A file that ends early is one that does not hold its image; below a page it is none at all. */
static void truncated(void **state)
{
    (void)state;
    make_four();
    for (uint64_t n = 0; n < image.size; n++)
        assert_int_equal(check(n), n < PAGE_SIZE ? PAGE_IMAGE_NOT_ONE : PAGE_IMAGE_TRUNCATED);
}

/* Every single bit of the header's page: one of the three first words, or the checksum. */
static void header_bits(void **state)
{
    (void)state;
    make_four();
    for (uint64_t bit = 0; bit < 8 * PAGE_SIZE; bit++) {
        enum page_image_result result = PAGE_IMAGE_BAD_HEADER;

        if (bit < 64)
            result = PAGE_IMAGE_NOT_ONE;
        else if (bit < 96)
            result = PAGE_IMAGE_OTHER_VERSION;
        image.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(check(image.size), result);
        image.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(check(image.size), PAGE_IMAGE_OK);
}

/* Checksums are no defence against who makes them right: a header that lies. */
#define LIE(change)                                                    \
    do {                                                               \
        struct page_image_header *h = sample_header(&image);           \
                                                                       \
        make_four();                                                   \
        change;                                                        \
        sample_seal(&image);                                           \
        assert_int_equal(check(image.size), PAGE_IMAGE_BAD_DIRECTORY); \
    } while (0)

static void hostile_headers(void **state)
{
    (void)state;
    LIE(h->files = 0);
    LIE(h->files = 2); /* the second has no name */
    LIE(h->files = PAGE_IMAGE_FILES + 1);
    LIE(h->files = UINT32_MAX);
    LIE(h->size = 0);
    LIE(h->size = 512);
    LIE(h->size = PAGE_SIZE);
    LIE(h->size -= 1);
    LIE(h->file[0].name[0] = '\0');
    LIE(h->file[0].name[4] = '/');
    LIE(h->file[0].name[1] = '\n');
    LIE(h->file[0].name[1] = (char)0xff);
    LIE(h->file[0].name[63] = 'x');
    LIE(memset(h->file[0].name, 'x', PAGE_IMAGE_NAME));
    LIE(h->file[0].size = 0);
    LIE(h->file[0].size = UINT64_MAX);
    LIE(h->file[0].size = UINT64_MAX / 2);
    LIE(h->file[0].size = image.size / PAGE_SIZE * PAGE_IMAGE_ENTRIES * PAGE_SIZE);
    LIE(h->file[0].index = 0);
    LIE(h->file[0].index += 512);
    LIE(h->file[0].index = align_up(image.size, PAGE_SIZE));
    LIE(h->file[0].index = align_down(image.size, PAGE_SIZE));
    LIE(h->file[0].index = align_down(UINT64_MAX, PAGE_SIZE));
    LIE(h->file[0].index = BIT(63));
    LIE(h->files = 2; h->file[1] = h->file[0]);

    make_four(); /* as large as it can be said to be, whatever else there is */
    sample_header(&image)->size = BIT(48);
    sample_seal(&image);
    assert_int_equal(check(image.size), PAGE_IMAGE_TRUNCATED);
    assert_int_equal(check(UINT64_MAX), PAGE_IMAGE_BAD_DIRECTORY);
}

static struct packed_file only_file(void)
{
    struct packed_file f;

    assert_int_equal(check(image.size), PAGE_IMAGE_OK);
    assert_int_equal(page_image_find(sample_header(&image), "four", &f), PAGE_IMAGE_OK);
    return f;
}

static void index_bits(void **state)
{
    struct packed_file f;

    (void)state;
    make_four();
    f = only_file();
    for (uint64_t bit = 0; bit < 8 * PAGE_SIZE; bit++) {
        image.bytes[f.index + bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(page_image_check_index(index_at(&image, &f, 0), f.index), PAGE_IMAGE_BAD_INDEX);
        image.bytes[f.index + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(page_image_check_index(index_at(&image, &f, 0), f.index), PAGE_IMAGE_OK);
    /* The right bytes in the wrong place. */
    assert_int_equal(page_image_check_index(index_at(&image, &f, 0), f.index + PAGE_SIZE), PAGE_IMAGE_BAD_INDEX);
}

static enum page_image_result locate(uint64_t page, struct page_image_entry e)
{
    struct packed_file f = only_file();
    struct packed_page p;

    if (page < packed_pages(&f))
        *sample_entry_of(&image, 0, page) = e;
    return page_image_locate(&f, index_at(&image, &f, 0), page, &p);
}

static void hostile_entries(void **state)
{
    const uint32_t zero = 0xc71c0011;
    uint64_t end;

    (void)state;
    make_four();
    end = image.size;
    assert_int_equal(locate(0, sample_entry(PAGE_IMAGE_LZ4, end - 1, 1, 0)), PAGE_IMAGE_OK);
    assert_int_equal(locate(0, sample_entry(PAGE_IMAGE_LZ4, PAGE_SIZE, 4095, 0)), PAGE_IMAGE_OK);
    assert_int_equal(locate(0, sample_entry(PAGE_IMAGE_RAW, end - PAGE_SIZE, PAGE_SIZE, 0)), PAGE_IMAGE_OK);
    assert_int_equal(locate(0, sample_entry(PAGE_IMAGE_ZERO, 0, 0, zero)), PAGE_IMAGE_OK);
    for (uint64_t kind = 0; kind < 8; kind++) {
        const struct page_image_entry bad[] = {
            sample_entry((enum page_image_kind)kind, end, 1, 0),
            sample_entry((enum page_image_kind)kind, end - 1, 2, 0),
            sample_entry((enum page_image_kind)kind, BIT(48) - 1, 4095, 0),
            sample_entry((enum page_image_kind)kind, BIT(48) - 512, PAGE_SIZE, 0),
            sample_entry((enum page_image_kind)kind, PAGE_SIZE - 1, 1, 0),
            sample_entry((enum page_image_kind)kind, 0, PAGE_SIZE, 0),
            sample_entry((enum page_image_kind)kind, PAGE_SIZE, 0, zero),
            sample_entry((enum page_image_kind)kind, PAGE_SIZE, PAGE_SIZE + 1, 0),
            sample_entry((enum page_image_kind)kind, PAGE_SIZE, 8191, 0),
            sample_entry((enum page_image_kind)kind, PAGE_SIZE + 1, PAGE_SIZE, 0),
            sample_entry((enum page_image_kind)kind, end - PAGE_SIZE + 512, PAGE_SIZE, 0),
            sample_entry((enum page_image_kind)kind, 0, 0, zero ^ 1),
            sample_entry((enum page_image_kind)kind, 0, 1, zero),
        };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
            assert_int_equal(locate(0, bad[i]), PAGE_IMAGE_BAD_ENTRY);
        if (kind != PAGE_IMAGE_LZ4)
            assert_int_equal(locate(0, sample_entry((enum page_image_kind)kind, PAGE_SIZE, 4095, 0)),
                             PAGE_IMAGE_BAD_ENTRY);
    }

    make_four(); /* no page behind the last one, though the index has room for it */
    *sample_entry_of(&image, 0, 4) = *sample_entry_of(&image, 0, 0);
    assert_int_equal(locate(3, *sample_entry_of(&image, 0, 3)), PAGE_IMAGE_OK);
    assert_int_equal(locate(4, *sample_entry_of(&image, 0, 3)), PAGE_IMAGE_BAD_ENTRY);
    assert_int_equal(locate(341, *sample_entry_of(&image, 0, 3)), PAGE_IMAGE_BAD_ENTRY);
    assert_int_equal(locate(UINT64_MAX, *sample_entry_of(&image, 0, 3)), PAGE_IMAGE_BAD_ENTRY);
}

/* The page as it is decoded; that all of it is written is looked at here. */
static enum page_image_result decode(enum page_image_kind kind, const void *stored, size_t length, uint32_t crc)
{
    struct packed_page p = {.kind = kind, .length = (uint32_t)length, .offset = PAGE_SIZE, .crc = crc};
    uint8_t *exact = malloc(length ? length : 1), *page[2] = {malloc(PAGE_SIZE), malloc(PAGE_SIZE)};
    enum page_image_result result;

    memcpy(exact, stored, length);
    memset(page[0], 0x55, PAGE_SIZE);
    memset(page[1], 0xaa, PAGE_SIZE);
    result = page_image_decode(&p, exact, page[0]);
    assert_int_equal(page_image_decode(&p, exact, page[1]), result);
    assert_memory_equal(page[0], page[1], PAGE_SIZE);
    free(exact);
    free(page[0]);
    free(page[1]);
    return result;
}

static void bad_pages(void **state)
{
    uint8_t *text = content(2 * PAGE_SIZE);
    uint8_t block[2 * PAGE_SIZE + 64] = {0};
    uint32_t crc = crc32(0, text, PAGE_SIZE);
    int n = LZ4_compress_default((char *)text, (char *)block, (int)PAGE_SIZE, (int)sizeof(block));

    (void)state;
    assert_true(n > 0 && n < (int)PAGE_SIZE);
    assert_int_equal(decode(PAGE_IMAGE_LZ4, block, (size_t)n, crc), PAGE_IMAGE_OK);
    assert_int_equal(decode(PAGE_IMAGE_LZ4, block, (size_t)n, crc ^ 0x80000000), PAGE_IMAGE_BAD_PAGE);
    for (size_t k = 0; k < (size_t)n; k++) /* a part of the block, or more than the block */
        assert_int_equal(decode(PAGE_IMAGE_LZ4, block, k, crc), PAGE_IMAGE_BAD_PAGE);
    for (size_t k = 1; k < 64; k++)
        assert_int_equal(decode(PAGE_IMAGE_LZ4, block, (size_t)n + k, crc), PAGE_IMAGE_BAD_PAGE);

    /* Blocks of other sizes than a page. */
    n = LZ4_compress_default((char *)text, (char *)block, (int)PAGE_SIZE - 1, (int)sizeof(block));
    assert_int_equal(decode(PAGE_IMAGE_LZ4, block, (size_t)n, crc32(0, text, PAGE_SIZE - 1)), PAGE_IMAGE_BAD_PAGE);
    memset(text, 0, 2 * PAGE_SIZE);
    n = LZ4_compress_default((char *)text, (char *)block, (int)PAGE_SIZE + 1, (int)sizeof(block));
    assert_int_equal(decode(PAGE_IMAGE_LZ4, block, (size_t)n, 0xc71c0011), PAGE_IMAGE_BAD_PAGE);

    for (unsigned round = 0; round < 20000; round++) { /* anything at all */
        size_t k = 1 + (size_t)rand() % 200;

        for (size_t i = 0; i < k; i++)
            block[i] = (uint8_t)(rand() % 3 ? rand() : 0xff);
        assert_int_equal(decode(PAGE_IMAGE_LZ4, block, k, 0x12345678), PAGE_IMAGE_BAD_PAGE);
    }
    assert_int_equal(decode(PAGE_IMAGE_RAW, text, PAGE_SIZE, 1), PAGE_IMAGE_BAD_PAGE);
    assert_int_equal(decode(PAGE_IMAGE_RAW, text, PAGE_SIZE, 0xc71c0011), PAGE_IMAGE_OK);
    assert_int_equal(decode(PAGE_IMAGE_ZERO, text, 0, 0xc71c0011), PAGE_IMAGE_OK);
    free(text);
}

/* A raw page may have been read right to where it belongs. */
static void in_place(void **state)
{
    uint8_t *page = content(PAGE_SIZE);
    struct packed_page p = {PAGE_IMAGE_RAW, (uint32_t)PAGE_SIZE, PAGE_SIZE, crc32(0, page, PAGE_SIZE)};

    (void)state;
    assert_int_equal(page_image_decode(&p, page, page), PAGE_IMAGE_OK);
    page[4000] ^= 0x10;
    assert_int_equal(page_image_decode(&p, page, page), PAGE_IMAGE_BAD_PAGE);
    free(page);
}

/* Whatever flips, a page is the right one or refused; checksums that were made right again leave that to the pages'. */
static void random_damage(void **state)
{
    uint8_t *whole = content(FOUR), page[PAGE_SIZE] __attribute__((aligned(8)));
    unsigned refused = 0;

    (void)state;
    srand(11);
    for (unsigned round = 0; round < 4000; round++) {
        struct packed_file f;
        struct sample damaged;

        sample_make(&image, &(struct sample_file){"four", whole, FOUR}, 1);
        damaged = (struct sample){malloc(image.size), image.size, image.size};
        memcpy(damaged.bytes, image.bytes, image.size);
        for (int i = 1 + rand() % 4; i > 0; i--)
            damaged.bytes[(size_t)rand() % (rand() % 2 ? damaged.size : 0x2100)] ^= (uint8_t)(1 << rand() % 8);
        if (rand() % 2)
            sample_seal(&damaged);
        if (page_image_check(sample_header(&damaged), damaged.size) != PAGE_IMAGE_OK ||
            page_image_find(sample_header(&damaged), "four", &f) != PAGE_IMAGE_OK) {
            refused++;
            free(damaged.bytes);
            continue;
        }
        for (uint64_t n = 0; n < packed_pages(&f) && n < 4; n++) {
            size_t used = FOUR - n * PAGE_SIZE < PAGE_SIZE ? FOUR - n * PAGE_SIZE : PAGE_SIZE;

            if (read_page(&damaged, &f, n, page) != PAGE_IMAGE_OK)
                refused++;
            else if (f.size == FOUR && sample_header(&damaged)->file[0].index == sample_header(&image)->file[0].index &&
                     sample_entry_of(&damaged, 0, n)->crc == sample_entry_of(&image, 0, n)->crc)
                assert_memory_equal(page, whole + n * PAGE_SIZE, used);
        }
        free(damaged.bytes);
    }
    free(whole);
    assert_true(refused > 1000);
}

static void words(void **state)
{
    (void)state;
    for (enum page_image_result a = PAGE_IMAGE_OK; a <= PAGE_IMAGE_BAD_PAGE; a++)
        for (enum page_image_result b = PAGE_IMAGE_OK; b < a; b++)
            assert_string_not_equal(page_image_text(a), page_image_text(b));
}

/* Writes the file out as far as it can be read. */
static enum page_image_result extract(const struct sample *m, const char *name, FILE *out)
{
    uint8_t page[PAGE_SIZE] __attribute__((aligned(8)));
    struct packed_file f;
    enum page_image_result result = page_image_check(sample_header(m), m->size);

    if (result == PAGE_IMAGE_OK)
        result = page_image_find(sample_header(m), name, &f);
    for (uint64_t n = 0; result == PAGE_IMAGE_OK && n < packed_pages(&f); n++) {
        uint64_t left = f.size - n * PAGE_SIZE;

        result = read_page(m, &f, n, page);
        if (result == PAGE_IMAGE_OK)
            fwrite(page, 1, left < PAGE_SIZE ? left : PAGE_SIZE, out);
    }
    return result;
}

static int take_out(const char *path, const char *name, const char *to)
{
    FILE *in = fopen(path, "rb"), *out = fopen(to, "wb");
    enum page_image_result result;
    struct sample m;

    if (!in || !out || fseek(in, 0, SEEK_END) != 0)
        return 100;
    m.size = m.room = (size_t)ftell(in);
    m.bytes = malloc(m.size ? m.size : 1);
    rewind(in);
    if (fread(m.bytes, 1, m.size, in) != m.size)
        return 100;
    result = extract(&m, name, out);
    printf("%s: %s\n", name, page_image_text(result));
    free(m.bytes);
    fclose(in);
    return fclose(out) == 0 ? (int)result : 100;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),      cmocka_unit_test(no_such_file), cmocka_unit_test(truncated),
        cmocka_unit_test(header_bits),     cmocka_unit_test(index_bits),   cmocka_unit_test(hostile_headers),
        cmocka_unit_test(hostile_entries), cmocka_unit_test(bad_pages),    cmocka_unit_test(in_place),
        cmocka_unit_test(random_damage),   cmocka_unit_test(words),
    };

    fake_no_crc32 = true; /* the table is faster here */
    if (argc == 4)
        return take_out(argv[1], argv[2], argv[3]);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
