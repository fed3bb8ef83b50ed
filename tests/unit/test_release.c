/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/release.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* A guest's address space back to nothing, and the next guest in the same frames. */
#include "mm/release.h"
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)
#define SIZE (MIB(20) + 3 * PAGE_SIZE)
#define IMAGE_SIZE (MIB(5) + 99)

static struct frame_cache freed;

static int tear_down(void **state)
{
    (void)state;
    world_drop();
    return 0;
}

static void lay_out(const uint8_t *bytes)
{
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};

    if (world.s2.source_count == 1)
        CHECK(s2_add_source(&world.s2, &src) == 1);
    CHECK(s2_set_range(&world.s2, &freed, ipa(RAM), SIZE, 0));
    CHECK(s2_set_range(&world.s2, &freed, ipa(RAM + BLOCK_SIZE), align_up(IMAGE_SIZE, PAGE_SIZE), desc_absent(1, 0)));
    CHECK(s2_set_range(&world.s2, &freed, ipa(0x09000000), PAGE_SIZE, desc_mmio(1)));
}

static void forget_counters(void)
{
    atomic_store(&report.guest[0].touched, 0);
    atomic_store(&report.guest[0].block, 0);
    for (uint32_t i = 0; i < world.vcpus; i++)
        report.vcpu[i].touched = report.vcpu[i].block = 0;
}

static uint8_t expected(uint64_t at)
{
    return at >= BLOCK_SIZE && at < BLOCK_SIZE + IMAGE_SIZE ? image_byte(at - BLOCK_SIZE) : 0;
}

/* Blocks, begun blocks, empty tables and devices: all of it goes, nothing twice, and nothing of it shows again. */
static void all_comes_back(void **state)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 0x11);
    uint64_t r = seed(5), blocks = 0;

    (void)state;
    world_make(&(struct world_config){.blocks = 60, .vcpus = 2, .helpers = 1, .ram_base = RAM, .ram_size = SIZE});
    memset(&freed, 0, sizeof(freed));
    lay_out(bytes);
    for (int life = 0; life < 12; life++) {
        world.s2.by_page = life & 1;
        for (uint64_t n = random_below(&r, 60); n > 0; n--) {
            uint64_t at = random_below(&r, SIZE);
            uint8_t *p = world_touch((uint32_t)random_below(&r, 2), RAM + at, true);

            CHECK(*p == expected(at) || *p == 0x5e);
            memset((uint8_t *)align_down((uint64_t)(uintptr_t)p, PAGE_SIZE), 0x5e, PAGE_SIZE); /* a secret */
        }
        if (life % 3)
            world_settle();
        else
            for (uint64_t n = random_below(&r, 900); n > 0; n--)
                world_step(0);
        world_audit();
        s2_freeze(&world.s2);
        CHECK(port_idle(&world.port[0]) && port_idle(&world.port[1]));
        s2_release(&world.s2, &freed);
        for (uint64_t at = 0; at < BIT(39); at += GIB(1)) {
            struct s2_entry e = world_walk(at);

            CHECK(e.level == 1 && e.desc == desc_nowhere());
        }
        forget_counters();
        CHECK(world_audit().present == 0);
        lay_out(bytes);
        s2_thaw(&world.s2);
        world_settle();
        CHECK(world_audit().present == 0); /* nothing of the former life is begun */
        /* Pools and caches fill up once; from then on each life leaves as many free blocks as the one before. */
        if (life == 4)
            blocks = frames_free_blocks();
        CHECK(life <= 4 || frames_free_blocks() + 1 >= blocks);
    }
    for (uint64_t at = 0; at < SIZE; at += PAGE_SIZE) {
        const uint8_t *p = world_touch(0, RAM + at, false);

        for (uint64_t i = 0; i < PAGE_SIZE; i++)
            CHECK(p[i] == expected(at + i));
    }
    world_settle();
    assert_int_equal(world_audit().present, SIZE / PAGE_SIZE);
    image_drop();
}

/* What the TLBs held of it is gone before the first frame is free. */
static uint64_t free_then;
static unsigned flushes;
static void note(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op != FAKE_TLBI_VMALLS12)
        return;
    CHECK(frames_free_blocks() == free_then);
    CHECK(!(atomic_load(&world.s2.root[RAM >> GIB_SHIFT]) & DESC_VALID));
    flushes++;
}

static void flushed_first(void **state)
{
    (void)state;
    world_make(&(struct world_config){.blocks = 60, .vcpus = 1, .helpers = 1, .ram_base = RAM, .ram_size = SIZE});
    world_settle();
    for (uint64_t at = 0; at < SIZE; at += BLOCK_SIZE)
        world_touch(0, RAM + at, true);
    world_settle();
    free_then = frames_free_blocks();
    flushes = 0;
    s2_freeze(&world.s2);
    fake_arch_hook = note;
    s2_release(&world.s2, &world.boot);
    fake_arch_hook = NULL;
    assert_int_equal(flushes, 1);
    assert_int_equal(frames_free_blocks(), free_then + 11);
}

static void frozen_is_not_swept(void **state)
{
    struct audit a;

    (void)state;
    world_make(&(struct world_config){
        .blocks = 60, .vcpus = 1, .helpers = 1, .ram_base = RAM, .ram_size = SIZE, .by_page = true});
    world_touch(0, RAM, true);
    a = world_audit();
    s2_freeze(&world.s2);
    world_settle();
    assert_int_equal(world_audit().present, a.present);
    s2_thaw(&world.s2);
}

static void release_it(void)
{
    s2_release(&world.s2, &world.boot);
}

static void not_while_in_flight(void **state)
{
    bool queued = false;

    (void)state;
    world_make(&(struct world_config){.blocks = 60, .vcpus = 1, .helpers = 1, .ram_base = RAM, .ram_size = SIZE});
    world_touch(0, RAM, true);
    assert_int_equal(world_fault(0, RAM + 4 * BLOCK_SIZE, true, &queued), S2_WAIT);
    s2_freeze(&world.s2);
    assert_false(port_idle(&world.port[0]));
    assert_true(panics(release_it));
    while (!port_idle(&world.port[0]))
        assert_true(world_step(0));
    s2_release(&world.s2, &world.boot);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(all_comes_back),
        TEST(flushed_first),
        TEST(frozen_is_not_swept),
        TEST(not_while_in_flight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
