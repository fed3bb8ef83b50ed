/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/packed.c mm/page_image.c lib/crc32.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/page_images.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* A page image in RAM as a source: opened or refused, page by page, and as a guest sees it. */
#include "mm/packed.h"

#include "tests/unit/page_images.h"
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)
#define FILE_PAGES 700u
#define FILE_SIZE (FILE_PAGES * PAGE_SIZE - 1000)

static struct sample image;
static uint8_t *bytes; /* of the file */

static int set_up(void **state)
{
    uint64_t r = 5;

    (void)state;
    image = (struct sample){.bytes = aligned_alloc(PAGE_SIZE, MIB(4)), .room = MIB(4)};
    bytes = malloc(FILE_SIZE);
    for (size_t i = 0; i < FILE_SIZE; i++) {
        size_t page = i / PAGE_SIZE;

        bytes[i] = page % 5 == 0 ? (uint8_t)random64(&r) : page % 5 == 1 ? 0 : (uint8_t)(page + i / 100);
    }
    sample_make(&image, (struct sample_file[]){{"other", bytes + PAGE_SIZE, 3 * PAGE_SIZE}, {"file", bytes, FILE_SIZE}},
                2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(bytes);
    free(image.bytes);
    return 0;
}

static enum page_image_result open_file(struct source *s, const char *name)
{
    return packed_open(s, ptr_pa(image.bytes), image.size, name);
}

static void check_page(const uint8_t *page, uint64_t n)
{
    for (uint64_t i = 0; i < PAGE_SIZE; i++)
        CHECK(page[i] == (n * PAGE_SIZE + i < FILE_SIZE ? bytes[n * PAGE_SIZE + i] : 0));
}

static void fills(void **state)
{
    static uint8_t frame[3 * PAGE_SIZE] __attribute__((aligned(4096)));
    struct source s;

    (void)state;
    assert_int_equal(open_file(&s, "file"), PAGE_IMAGE_OK);
    assert_true(s.ops == &source_packed_ops && s.ops->needs_helper);
    assert_int_equal(s.size, FILE_SIZE);
    for (uint64_t n = 0; n < FILE_PAGES + 3; n++) {
        memset(frame, 0xee, sizeof(frame));
        assert_int_equal(s.ops->fill(&s, n, frame + PAGE_SIZE, 1, 0), FILL_OK);
        check_page(frame + PAGE_SIZE, n);
        for (size_t i = 0; i < PAGE_SIZE; i++)
            CHECK(frame[i] == 0xee && frame[2 * PAGE_SIZE + i] == 0xee);
    }
    assert_int_equal(open_file(&s, "other"), PAGE_IMAGE_OK);
    assert_int_equal(s.ops->fill(&s, 2, frame, 1, 0), FILL_OK);
    check_page(frame, 3);
}

/* What follows the file's end in its last page is zero, whatever the image says, and be the checksum right. */
static void tail(void **state)
{
    static uint8_t frame[PAGE_SIZE] __attribute__((aligned(4096)));
    struct source s;

    (void)state;
    sample_header(&image)->file[1].size -= 100;
    sample_seal(&image);
    assert_int_equal(open_file(&s, "file"), PAGE_IMAGE_OK);
    assert_int_equal(s.ops->fill(&s, FILE_PAGES - 1, frame, 1, 0), FILL_OK);
    for (uint64_t i = 0; i < PAGE_SIZE; i++)
        CHECK(frame[i] == (i < PAGE_SIZE - 1100 ? bytes[(FILE_PAGES - 1) * PAGE_SIZE + i] : 0));
}

static void refused(void **state)
{
    struct source s;

    (void)state;
    assert_int_equal(open_file(&s, "fire"), PAGE_IMAGE_NO_FILE);
    assert_int_equal(packed_open(&s, pa_add(ptr_pa(image.bytes), 4), image.size - 4, "file"), PAGE_IMAGE_NOT_ONE);
    assert_int_equal(packed_open(&s, ptr_pa(image.bytes), 100, "file"), PAGE_IMAGE_NOT_ONE);
    assert_int_equal(packed_open(&s, ptr_pa(image.bytes), image.size - 1, "file"), PAGE_IMAGE_TRUNCATED);
    image.bytes[100] ^= 1;
    assert_int_equal(open_file(&s, "file"), PAGE_IMAGE_BAD_HEADER);
    image.bytes[100] ^= 1;
    for (uint64_t n = 0; n < FILE_PAGES; n += PAGE_IMAGE_ENTRIES) { /* each page of its index, and no other's */
        sample_entry_of(&image, 1, n)->crc ^= 1;
        assert_int_equal(open_file(&s, "file"), PAGE_IMAGE_BAD_INDEX);
        assert_int_equal(open_file(&s, "other"), PAGE_IMAGE_OK);
        sample_entry_of(&image, 1, n)->crc ^= 1;
    }
    assert_int_equal(open_file(&s, "file"), PAGE_IMAGE_OK);
}

static void bad_pages(void **state)
{
    static uint8_t frame[PAGE_SIZE] __attribute__((aligned(4096)));
    struct source s;

    (void)state;
    sample_entry_of(&image, 1, 7)->crc ^= 1;
    *sample_entry_of(&image, 1, 8) = sample_entry(PAGE_IMAGE_RAW, image.size, PAGE_SIZE, 0);
    sample_seal(&image);
    assert_int_equal(open_file(&s, "file"), PAGE_IMAGE_OK);
    for (uint64_t n = 0; n < 12; n++)
        assert_int_equal(s.ops->fill(&s, n, frame, 1, 0), n == 7 || n == 8 ? FILL_ERROR : FILL_OK);
}

/* A guest reads its RAM: all of it is the file, and every page came from the helper. */
static void populates(void **state)
{
    struct source s;
    int number;

    (void)state;
    world_make(&(struct world_config){.blocks = 32, .vcpus = 2, .helpers = 1, .ram_base = RAM, .ram_size = MIB(8)});
    assert_int_equal(open_file(&s, "file"), PAGE_IMAGE_OK);
    number = s2_add_source(&world.s2, &s);
    assert_true(number > 0);
    assert_true(
        s2_set_range(&world.s2, &world.boot, ipa(RAM), FILE_PAGES * PAGE_SIZE, desc_absent((uint32_t)number, 0)));
    for (uint64_t n = 0; n < FILE_PAGES; n += n % 3 + 1) {
        bool queued = false;

        if (desc_kind(world_page(RAM + n * PAGE_SIZE), 3) != DESC_PRESENT) {
            assert_int_equal(world_fault(n % 2, RAM + n * PAGE_SIZE, false, &queued), S2_WAIT);
            assert_true(queued);
        }
        check_page(world_touch(n % 2, RAM + n * PAGE_SIZE, false), n);
    }
    world_settle(); /* the sweep has done the rest */
    for (uint64_t n = 0; n < FILE_PAGES; n++) {
        assert_int_equal(desc_kind(world_walk(RAM + n * PAGE_SIZE).desc, world_walk(RAM + n * PAGE_SIZE).level),
                         DESC_PRESENT);
        check_page(world_touch(0, RAM + n * PAGE_SIZE, false), n);
    }
    world_audit();
    world_drop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fills, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(populates, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
