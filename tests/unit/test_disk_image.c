/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/disk_image.c mm/packed.c mm/page_image.c mm/release.c lib/crc32.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/page_images.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/*
 * A page image on a disk as a source. The disk is the test's: it ends what was begun when and how the test says, in any
 * order.
 */
#include "mm/disk_image.h"

#include "lib/log.h"
#include "mm/packed.h"
#include "tests/unit/page_images.h"
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)
#define FILE_PAGES 1100u
#define FILE_SIZE (FILE_PAGES * PAGE_SIZE - 1000)

static struct sample image;
static uint8_t *bytes; /* of the file */

/* ---- the disk */

static struct {
    struct pending {
        uint64_t sector;
        uint8_t *data;
        uint32_t bytes, tag;
        bool used, known, ended;
    } pending[DISK_REQUESTS];
    uint32_t under_way, begun;
    uint64_t staging; /* the block that parts of pages are read into, when one was */
    uint32_t direct;  /* reads of pages that went elsewhere since: to their frames */
    uint64_t sectors;
    uint64_t bad; /* a sector that cannot be read; UINT64_MAX: none */
    bool at_once; /* what is begun has ended by the next look */
    bool watched;
    uint64_t random;
} drive;

void log_line(const char *fmt, ...)
{
    (void)fmt;
}

enum disk_open_result disk_open(struct disk *d, const struct disk_place *place)
{
    if (place->intid == 1)
        return DISK_NONE;
    if (place->intid == 2)
        return DISK_LEGACY;
    d->sectors = drive.sectors;
    memcpy(d->name, "mw0", 4);
    return DISK_OPEN;
}

const char *disk_open_text(enum disk_open_result r)
{
    assert_int_equal(r, DISK_LEGACY);
    return "legacy";
}

bool disk_begin(struct disk *d, enum disk_op op, uint64_t sector, void *data, uint32_t n, uint32_t tag)
{
    struct pending *p = drive.pending;

    CHECK(op == DISK_READ && n && n % DISK_SECTOR == 0 && sector + n / DISK_SECTOR <= drive.sectors && !d->broken);
    while (p->used)
        p++;
    CHECK(p < drive.pending + DISK_REQUESTS);
    *p = (struct pending){.sector = sector, .data = data, .bytes = n, .tag = tag, .used = true};
    if (n % PAGE_SIZE)
        drive.staging = align_down((uint64_t)(uintptr_t)data, BLOCK_SIZE);
    else
        drive.direct += drive.staging && align_down((uint64_t)(uintptr_t)data, BLOCK_SIZE) != drive.staging;
    drive.under_way++;
    drive.begun++;
    return true;
}

static void end_all(void)
{
    for (uint32_t i = 0; i < DISK_REQUESTS; i++)
        drive.pending[i].ended = drive.pending[i].used && drive.pending[i].known;
}

bool disk_ended(struct disk *d, uint32_t *tag, bool *ok)
{
    uint64_t from = random_below(&drive.random, DISK_REQUESTS);

    (void)d;
    if (drive.at_once)
        end_all();
    for (uint32_t i = 0; i < DISK_REQUESTS; i++) {
        struct pending *p = &drive.pending[(from + i) % DISK_REQUESTS];

        if (!p->ended)
            continue;
        *ok = drive.bad < p->sector || drive.bad >= p->sector + p->bytes / DISK_SECTOR;
        *tag = p->tag;
        if (*ok)
            memcpy(p->data, image.bytes + p->sector * DISK_SECTOR, p->bytes);
        p->used = p->ended = false;
        drive.under_way--;
        return true;
    }
    return false;
}

void disk_notify(struct disk *d)
{
    (void)d;
    for (uint32_t i = 0; i < DISK_REQUESTS; i++)
        drive.pending[i].known = drive.pending[i].used;
}

bool disk_wait(struct disk *d)
{
    uint32_t tag;
    bool ok;

    disk_notify(d);
    end_all();
    CHECK(disk_ended(d, &tag, &ok) && tag == 0);
    return ok;
}

bool disk_watch(struct disk *d)
{
    (void)d;
    drive.watched = true;
    return true;
}

void disk_unwatch(struct disk *d)
{
    (void)d;
    drive.watched = false;
}

void disk_interrupt(struct disk *d, uint32_t intid)
{
    (void)d, (void)intid;
}

void disk_attach(const struct disk *d)
{
    (void)d;
}

/* ---- the world around it */

static int set_up(void **state)
{
    uint64_t r = 9;

    (void)state;
    image = (struct sample){.bytes = aligned_alloc(PAGE_SIZE, MIB(8)), .room = MIB(8)};
    bytes = malloc(FILE_SIZE);
    for (size_t i = 0; i < FILE_SIZE; i++) {
        size_t page = i / PAGE_SIZE;

        bytes[i] = page % 5 == 0 || page / 32 % 8 == 1 ? (uint8_t)random64(&r)
                   : page % 7 == 1                     ? 0
                                                       : (uint8_t)(page + i / 100);
    }
    sample_make(&image, (struct sample_file[]){{"other", bytes + PAGE_SIZE, 3 * PAGE_SIZE}, {"file", bytes, FILE_SIZE}},
                2);
    memset(&drive, 0, sizeof(drive));
    drive.random = seed(11);
    drive.sectors = image.size / DISK_SECTOR;
    drive.bad = UINT64_MAX;
    world_make(&(struct world_config){.blocks = 64, .vcpus = 4, .helpers = 1, .ram_base = RAM, .ram_size = MIB(64)});
    disk_images_start((struct disk_place[]){{pa(0), 1}, {pa(0), 2}, {pa(0), 48}}, 3);
    helpers[0].io = &disk_images_io;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_drop();
    disk_images_forget();
    free(bytes);
    free(image.bytes);
    return 0;
}

/* The file lies at the start of the guest's RAM. */
static void map_file(void)
{
    struct source s;
    int number;

    assert_null(disk_image_open(&s, "mw0", "file"));
    number = s2_add_source(&world.s2, &s);
    assert_true(number > 0);
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM), FILE_PAGES * PAGE_SIZE, desc_absent((uint32_t)number, 0)));
}

static void check_page(const uint8_t *page, uint64_t n)
{
    for (uint64_t i = 0; i < PAGE_SIZE; i++)
        CHECK(page[i] == (n * PAGE_SIZE + i < FILE_SIZE ? bytes[n * PAGE_SIZE + i] : 0));
}

static enum desc_kind kind_of(uint64_t page)
{
    struct s2_entry e = world_walk(RAM + page * PAGE_SIZE);

    return desc_kind(e.desc, e.level);
}

static uint64_t at_of(uint64_t page)
{
    return RAM + page * PAGE_SIZE;
}

static enum s2_fault_result ask(uint32_t vcpu, uint64_t page)
{
    bool queued = false;

    return world_fault(vcpu, at_of(page), false, &queued);
}

/* ---- tests */

static void reads_all(void **state)
{
    (void)state;
    map_file();
    drive.at_once = true;
    drive.begun = 0;
    for (uint64_t n = 0; n < FILE_PAGES; n += n % 37 + 1)
        check_page(world_touch((uint32_t)n % 4, at_of(n), false), n);
    world_settle(); /* the sweep has done the rest */
    for (uint64_t n = 0; n < FILE_PAGES; n++) {
        assert_int_equal(kind_of(n), DESC_PRESENT);
        check_page(world_touch(0, at_of(n), false), n);
    }
    assert_int_equal(world_audit().block, world_audit().present);
    assert_true(drive.begun < FILE_PAGES / 4); /* runs, not pages */
    assert_true(drive.direct > 5);             /* those of raw pages without a copy */
    assert_int_equal(drive.under_way, 0);
    assert_int_equal(helpers[0].pop.pending, 0);
}

/* A helper with reads on their way sleeps, and a demand is begun at once, ahead of all that sweeps. */
static void demand_does_not_wait(void **state)
{
    uint32_t before;

    (void)state;
    map_file();
    assert_int_equal(ask(0, 3), S2_WAIT);
    world_settle();
    assert_int_equal(drive.under_way, 1 + OWN_REQUESTS);
    before = drive.begun;
    for (uint32_t v = 1; v < 4; v++) {
        assert_int_equal(ask(v, 600 + 100 * v), S2_WAIT);
        CHECK(world_step(0));
        assert_int_equal(drive.begun, before + v);
    }
    assert_int_equal(kind_of(900), DESC_IN_FLIGHT);
    for (uint32_t i = 0; i < DISK_REQUESTS; i++) /* the last one asked for comes first */
        drive.pending[i].ended = drive.pending[i].used && drive.pending[i].bytes <= 2 * PAGE_SIZE;
    world_settle();
    for (uint32_t v = 0; v < 4; v++)
        check_page(world_touch(v, at_of(v ? 600 + 100 * v : 3), false), v ? 600 + 100 * v : 3);
    drive.at_once = true;
    world_settle();
    assert_int_equal(drive.under_way, 0);
    assert_int_equal(world_audit().block, world_audit().present);
}

/* What cannot be read is one page; those in the same run can, and the guest gets an error on that one only. */
static void read_error(void **state)
{
    const struct page_image_entry *e = sample_entry_of(&image, 1, 40); /* raw: it shares no sector */
    uint64_t place = e->place[0] | (uint64_t)e->place[1] << 32;

    (void)state;
    assert_int_equal(field_get(PAGE_IMAGE_KIND, place), PAGE_IMAGE_RAW);
    map_file();
    drive.bad = field_get(PAGE_IMAGE_OFFSET, place) / DISK_SECTOR + 3;
    drive.at_once = true;
    check_page(world_touch(0, at_of(36), false), 36);
    world_settle();
    for (uint64_t n = 0; n < 512; n++) {
        assert_int_equal(kind_of(n), n == 40 ? DESC_ERROR : DESC_PRESENT);
        if (n != 40)
            check_page(world_touch(0, at_of(n), false), n);
    }
    assert_int_equal(ask(1, 40), S2_ERROR);
    assert_int_equal(report.helper[0].unreadable, 1);
}

/* An index may have the pages anywhere, and the same one twice; one outside is an error of its page. */
static void scattered(void **state)
{
    uint64_t r = 4;

    (void)state;
    for (uint64_t n = 0; n < FILE_PAGES - 1; n++) { /* the last page is not whole: it stays */
        uint64_t other = random_below(&r, FILE_PAGES - 1);
        struct page_image_entry *a = sample_entry_of(&image, 1, n), *b = sample_entry_of(&image, 1, other), t = *a;
        uint8_t page[PAGE_SIZE];

        *a = *b;
        *b = t;
        memcpy(page, bytes + n * PAGE_SIZE, PAGE_SIZE);
        memcpy(bytes + n * PAGE_SIZE, bytes + other * PAGE_SIZE, PAGE_SIZE);
        memcpy(bytes + other * PAGE_SIZE, page, PAGE_SIZE);
    }
    *sample_entry_of(&image, 1, 70) = *sample_entry_of(&image, 1, 71);
    memcpy(bytes + 70 * PAGE_SIZE, bytes + 71 * PAGE_SIZE, PAGE_SIZE);
    *sample_entry_of(&image, 1, 80) = sample_entry(PAGE_IMAGE_RAW, image.size, PAGE_SIZE, 0);
    sample_entry_of(&image, 1, 81)->crc ^= 1;
    sample_seal(&image);
    map_file();
    drive.at_once = true;
    for (uint64_t n = 0; n < FILE_PAGES; n += 90)
        check_page(world_touch(0, at_of(n), false), n);
    world_settle();
    for (uint64_t n = 0; n < FILE_PAGES; n++) {
        assert_int_equal(kind_of(n), n == 80 || n == 81 ? DESC_ERROR : DESC_PRESENT);
        if (n != 80 && n != 81)
            check_page(world_touch(0, at_of(n), false), n);
    }
}

/* All that a disk can have under way at once is: the next one waits for its turn, and is not lost. */
static void no_room(void **state)
{
    static uint8_t frames[PAGE_SIZE] __attribute__((aligned(4096)));
    struct source s;

    (void)state;
    assert_null(disk_image_open(&s, "mw0", "file"));
    for (uint32_t i = 0; i < DISK_FETCHES; i++)
        assert_int_equal(s.ops->fill(&s, 5, frames, 1, 0), FILL_PENDING);
    assert_int_equal(s.ops->fill(&s, 5, frames, 1, 0), FILL_BUSY);
    assert_int_equal(s.ops->fill(&s, FILE_PAGES + 5, frames, 1, 0), FILL_BUSY);
    assert_int_equal(drive.under_way, DISK_FETCHES);
}

static void behind_the_end(void **state)
{
    static uint8_t frames[2 * PAGE_SIZE] __attribute__((aligned(4096)));
    struct source s;

    (void)state;
    assert_null(disk_image_open(&s, "mw0", "file"));
    memset(frames, 0xee, sizeof(frames));
    assert_int_equal(s.ops->fill(&s, FILE_PAGES, frames, 2, 0), FILL_OK);
    for (size_t i = 0; i < sizeof(frames); i++)
        CHECK(frames[i] == 0);
    memset(frames, 0xee, sizeof(frames));
    assert_true(disk_image_first_page(&s, frames));
    check_page(frames, 0);
    assert_int_equal(frames[PAGE_SIZE], 0xee);
}

/* In words, since they go into the refusal of the guest. */
static void refused(void **state)
{
    struct source s;

    (void)state;
    assert_string_equal(disk_image_open(&s, "mw1", "file"), "there is no such disk");
    assert_string_equal(disk_image_open(&s, "mw0", "fire"), page_image_text(PAGE_IMAGE_NO_FILE));
    sample_entry_of(&image, 1, 400)->crc ^= 1;
    assert_string_equal(disk_image_open(&s, "mw0", "file"), page_image_text(PAGE_IMAGE_BAD_INDEX));
    drive.bad = (sample_header(&image)->file[1].index + PAGE_SIZE) / DISK_SECTOR;
    assert_string_equal(disk_image_open(&s, "mw0", "file"), "its index cannot be read");
    assert_null(disk_image_open(&s, "mw0", "other"));
}

static void start_again(uint64_t sectors)
{
    disk_images_forget();
    drive.sectors = sectors;
    disk_images_start(&(struct disk_place){pa(0), 48}, 1);
}

static void not_an_image(void **state)
{
    uint64_t all = drive.sectors;
    struct source s;

    (void)state;
    start_again(all - 1);
    assert_string_equal(disk_image_open(&s, "mw0", "file"), page_image_text(PAGE_IMAGE_TRUNCATED));
    start_again(7);
    assert_string_equal(disk_image_open(&s, "mw0", "file"), page_image_text(PAGE_IMAGE_NOT_ONE));
    start_again(all);
    drive.bad = 0;
    assert_string_equal(disk_image_open(&s, "mw0", "file"), "its header cannot be read");
    drive.bad = UINT64_MAX;
    image.bytes[200] ^= 1;
    assert_string_equal(disk_image_open(&s, "mw0", "file"), page_image_text(PAGE_IMAGE_BAD_HEADER));
    image.bytes[200] ^= 1;
    assert_null(disk_image_open(&s, "mw0", "file"));
    assert_true(disk_images_blocks() >= 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(reads_all), TEST(demand_does_not_wait), TEST(read_error), TEST(scattered),
        TEST(no_room),   TEST(behind_the_end),       TEST(refused),    TEST(not_an_image),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
