/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/give_back.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* Pages that a guest gives back: what goes, what stays, how many TLB rounds it takes, and what comes in their place. */
#include "mm/give_back.h"
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)
#define SIZE MIB(256)
#define IMAGE_AT (MIB(2) + 5 * PAGE_SIZE)
#define IMAGE_SIZE (MIB(6) + 77)

static struct frame_cache cache;
static uint64_t rounds;
static void (*in_the_round)(void);

static void count_rounds(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op == FAKE_TLBI_VMALLS12) {
        rounds++;
        if (in_the_round)
            in_the_round();
    }
}

static int set_up(void **state)
{
    (void)state;
    world_make(&(struct world_config){.blocks = 200, .vcpus = 2, .helpers = 1, .ram_base = RAM, .ram_size = SIZE});
    memset(&cache, 0, sizeof(cache));
    fake_arch_hook = count_rounds;
    rounds = 0;
    in_the_round = NULL;
    world_settle();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_arch_hook = NULL;
    world_drop();
    return 0;
}

static struct give_back give_back(uint64_t at, uint64_t bytes)
{
    struct give_back g;

    give_back_begin(&g, &world.s2, &cache);
    give_back_range(&g, ipa(at), bytes);
    give_back_end(&g);
    CHECK(g.count == 0 && g.asked == bytes / PAGE_SIZE && g.freed <= g.zero && g.zero <= g.asked);
    return g;
}

static uint64_t level2(uint64_t at)
{
    struct s2_entry e;

    epoch_enter();
    e = s2_walk_block(&world.s2, ipa(at));
    epoch_leave();
    return e.desc;
}

static void fill(uint64_t at, uint64_t pages, uint8_t with)
{
    for (uint64_t i = 0; i < pages; i++)
        memset(world_touch(0, RAM + at + i * PAGE_SIZE, true), with, PAGE_SIZE);
}

/* Whole blocks: one round for all of them, their frames are free, the counters know, and they read as zero. */
static void blocks(void **state)
{
    uint64_t before;
    struct give_back g;

    (void)state;
    fill(MIB(16), 3 * BLOCK_PAGES, 0x5e);
    world_settle();
    CHECK(world_audit().present == 3 * BLOCK_PAGES);
    before = frames_free_blocks();
    rounds = 0;
    g = give_back(RAM + MIB(16), MIB(6));
    CHECK(g.zero == 3 * BLOCK_PAGES && g.freed == 3 * BLOCK_PAGES && g.rounds == 1 && rounds == 1);
    CHECK(frames_free_blocks() == before + 3);
    CHECK(world_audit().present == 0);
    for (uint64_t at = MIB(16); at < MIB(22); at += PAGE_SIZE) {
        CHECK(world_page(RAM + at) == 0);
    }
    for (uint64_t at = MIB(16); at < MIB(22); at += 333)
        CHECK(*world_touch(1, RAM + at, false) == 0);
    world_settle();
    CHECK(world_audit().present == 3 * BLOCK_PAGES);
}

/* What has no frame costs no round. The sweep brings nothing back. */
static void nothing_there(void **state)
{
    struct give_back g = give_back(RAM, SIZE);

    (void)state;
    CHECK(g.zero == SIZE / PAGE_SIZE && g.freed == 0 && g.rounds == 0 && rounds == 0);
    fill(MIB(32), 2 * BLOCK_PAGES, 1);
    give_back(RAM + MIB(32), MIB(4));
    atomic_fetch_add(&world.s2.begun, 1); /* another pass */
    world_settle();
    CHECK(world_audit().present == 0);
}

/* Only blocks that the range covers from end to end go; nothing beyond RAM is looked at, whatever the numbers. */
static void edges(void **state)
{
    static const struct {
        uint64_t at, bytes, zero;
    } cases[] = {
        {RAM + MIB(16) + PAGE_SIZE, MIB(2), 0},
        {RAM + MIB(16) + PAGE_SIZE, MIB(4), BLOCK_PAGES},
        {RAM + MIB(16), MIB(2) - 1, 0},
        {RAM + MIB(16) + 1, MIB(2), 0},
        {RAM + MIB(16), MIB(4) - PAGE_SIZE, BLOCK_PAGES},
        {RAM + MIB(16), 0, 0},
        {RAM - MIB(2), MIB(2), 0},
        {RAM - PAGE_SIZE, MIB(64), 0}, /* begins outside: all of it is refused */
        {0, UINT64_MAX, 0},
        {RAM + SIZE, MIB(2), 0},
        {UINT64_MAX, UINT64_MAX, 0},
        {UINT64_MAX - MIB(2) + 1, MIB(4), 0},
        {RAM + SIZE - PAGE_SIZE, UINT64_MAX, 0},
        {RAM + SIZE - MIB(2), UINT64_MAX, BLOCK_PAGES},
        {RAM + SIZE - MIB(4), MIB(4) + 5, 2 * BLOCK_PAGES},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct give_back g;

        fill(MIB(16), 2 * BLOCK_PAGES, 7);
        fill(SIZE - MIB(4), 2 * BLOCK_PAGES, 7);
        world_settle();
        g = give_back(cases[i].at, cases[i].bytes);
        CHECK(g.zero == cases[i].zero && g.freed == cases[i].zero);
        CHECK(world_audit().present == 4 * BLOCK_PAGES - cases[i].zero);
    }
}

/* Begun blocks: their table goes too, and so does content that was never fetched. */
static void tables_and_sources(void **state)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 3);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};
    uint64_t before = frames_free_blocks(), cached = cache.count;
    struct give_back g;

    (void)state;
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + IMAGE_AT), align_up(IMAGE_SIZE, PAGE_SIZE),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    CHECK(*world_touch(0, RAM + IMAGE_AT + 9, false) == image_byte(9));
    CHECK(desc_kind(level2(RAM + MIB(2)), 2) == DESC_TABLE_REF && desc_kind(level2(RAM + MIB(4)), 2) == DESC_ABSENT);
    for (int i = 0; i < 20; i++)
        world_step(0);
    g = give_back(RAM + MIB(2), MIB(8));
    CHECK(g.zero == 4 * BLOCK_PAGES && g.freed > 1 && g.freed < BLOCK_PAGES && g.rounds == 1);
    for (uint64_t at = MIB(2); at < MIB(10); at += BLOCK_SIZE)
        CHECK(level2(RAM + at) == 0);
    CHECK(frames_free_blocks() >= before - 1 && cache.count == cached + 2);
    CHECK(world_audit().present == 0);
    world_settle();
    CHECK(world_audit().present == 0);
    CHECK(*world_touch(0, RAM + IMAGE_AT + 9, false) == 0);
    image_drop();
}

/* Somebody waits for a page of the block: it stays, with its content, and comes to its end. */
static void on_its_way(void **state)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 0);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};
    bool queued = false;
    struct give_back g;

    (void)state;
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + IMAGE_AT), align_up(IMAGE_SIZE, PAGE_SIZE),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    CHECK(*world_touch(0, RAM + IMAGE_AT + 9, false) == image_byte(9));
    world_settle();
    CHECK(desc_kind(level2(RAM + MIB(2)), 2) == DESC_PRESENT);
    CHECK(world_fault(1, RAM + MIB(4), false, &queued) == S2_WAIT); /* IN_FLIGHT at level 2 */
    g = give_back(RAM + MIB(4), MIB(2));
    CHECK(g.zero == 0 && desc_kind(level2(RAM + MIB(4)), 2) == DESC_IN_FLIGHT);
    while (desc_kind(level2(RAM + MIB(4)), 2) != DESC_TABLE_REF)
        world_step(0);
    CHECK(world_fault(1, RAM + MIB(4) + 9 * PAGE_SIZE, false, &queued) == S2_WAIT); /* at level 3 */
    g = give_back(RAM + MIB(4), MIB(2));
    CHECK(g.zero == 0 && g.freed == 0 && desc_kind(level2(RAM + MIB(4)), 2) == DESC_TABLE_REF);
    CHECK(*world_touch(1, RAM + MIB(4) + 9 * PAGE_SIZE, false) == image_byte(MIB(4) + 9 * PAGE_SIZE - IMAGE_AT));
    world_settle(); /* the sweep goes on */
    CHECK(desc_kind(level2(RAM + MIB(4)), 2) == DESC_PRESENT);
    world_audit();
    image_drop();
}

/* A page that is present, and that whoever filled it has yet to count. */
static void not_counted_yet(void **state)
{
    _Atomic uint64_t *record;
    struct s2_entry e;

    (void)state;
    world.s2.by_page = true;
    fill(MIB(8), 3, 9);
    e = world_walk(RAM + MIB(8));
    CHECK(e.level == 3);
    record = s2_table_record(e.slot);
    atomic_fetch_sub(record, 1);
    CHECK(give_back(RAM + MIB(8), MIB(2)).zero == 0);
    atomic_fetch_add(record, 1);
    CHECK(*world_touch(0, RAM + MIB(8), false) == 9);
    world_audit();
    CHECK(give_back(RAM + MIB(8), MIB(2)).zero == BLOCK_PAGES);
    world_audit();
}

/* What EL2 touches is kept: a block, or a page of a table. */
static void held(void **state)
{
    (void)state;
    fill(MIB(8), BLOCK_PAGES, 9);
    atomic_store(&cores[1].hazard, desc_pa(world_page(RAM + MIB(9))).v);
    CHECK(give_back(RAM + MIB(6), MIB(6)).freed == 0);
    CHECK(desc_kind(level2(RAM + MIB(8)), 2) == DESC_PRESENT && *world_touch(0, RAM + MIB(9), false) == 9);
    atomic_store(&cores[1].hazard, 0);
    CHECK(give_back(RAM + MIB(6), MIB(6)).freed == BLOCK_PAGES);
    world.s2.by_page = true;
    fill(MIB(8), 3, 9);
    atomic_store(&cores[1].hazard, desc_pa(world_page(RAM + MIB(8) + PAGE_SIZE)).v);
    CHECK(give_back(RAM + MIB(8), MIB(2)).freed == 0);
    atomic_store(&cores[1].hazard, 0);
    CHECK(give_back(RAM + MIB(8), MIB(2)).freed >= 3);
    world_audit();
}

/* In the middle of it everybody who comes by waits, awake, and asks for nothing. */
static void toucher(void)
{
    bool queued = false;
    uint8_t byte;

    CHECK(level2(RAM + MIB(8)) == desc_busy());
    CHECK(world_fault(1, RAM + MIB(8), true, &queued) == S2_BUSY);
    CHECK(!s2_wait_signal(&world.s2, ipa(RAM + MIB(8))));
    CHECK(guestmem_read(&world.s2, ipa(RAM + MIB(8)), &byte, 1, true) == GUESTMEM_ABSENT);
    world_settle();
}

static void in_the_middle(void **state)
{
    (void)state;
    fill(MIB(8), BLOCK_PAGES, 9);
    in_the_round = toucher;
    CHECK(give_back(RAM + MIB(8), MIB(2)).freed == BLOCK_PAGES);
    in_the_round = NULL;
    CHECK(*world_touch(1, RAM + MIB(8), true) == 0);
    world_audit();
}

/* More than a batch takes more rounds. A block that is named twice is given back once. */
static void batches(void **state)
{
    const uint64_t n = GIVE_BACK_BATCH + 6;
    struct give_back g;

    (void)state;
    for (uint64_t i = 0; i < n; i++)
        fill(i * BLOCK_SIZE, 1, 3);
    world_settle();
    g = give_back(RAM, n * BLOCK_SIZE);
    CHECK(g.rounds == 2 && g.freed == n * BLOCK_PAGES);
    fill(0, 2 * BLOCK_PAGES, 3);
    world_settle();
    give_back_begin(&g, &world.s2, &cache);
    for (int i = 0; i < 5; i++)
        give_back_range(&g, ipa(RAM), 2 * BLOCK_SIZE);
    give_back_end(&g);
    CHECK(g.freed == 2 * BLOCK_PAGES && g.zero == 10 * BLOCK_PAGES && g.rounds == 1);
    world_audit();
}

/* A machine whose memory was all taken can go on with what comes back. */
static void memory_again(void **state)
{
    (void)state;
    world_drop();
    world_make(&(struct world_config){.blocks = 30, .vcpus = 1, .helpers = 1, .ram_base = RAM, .ram_size = SIZE});
    memset(&cache, 0, sizeof(cache));
    for (int round = 0; round < 40; round++) {
        for (uint64_t i = 0; i < 10; i++)
            fill((uint64_t)round * MIB(2) + i * BLOCK_SIZE, 1 + (uint64_t)round % 3, 3);
        world_settle();
        give_back(RAM, SIZE);
        world_settle();
        CHECK(world_audit().present == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(edges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tables_and_sources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(on_its_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_counted_yet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_the_middle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_again, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
