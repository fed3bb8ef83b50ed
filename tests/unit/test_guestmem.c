/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* EL2's own reads and writes of guest memory. */
#include <pthread.h>

#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)

static const uint8_t *bytes;

/* 4 MiB of an image, then zeroes; 16 MiB in all, less a page. */
static int set_up(void **state)
{
    struct source src;

    (void)state;
    bytes = image_make(MIB(4), 0);
    world_make(&(struct world_config){
        .blocks = 32, .vcpus = 2, .helpers = 1, .ram_base = RAM, .ram_size = MIB(16) - PAGE_SIZE});
    src = (struct source){.ops = &source_image_ops, .base = ptr_pa(bytes), .size = MIB(4)};
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM), MIB(4),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(0x09000000), PAGE_SIZE, desc_mmio(1)));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_drop();
    image_drop();
    return 0;
}

static enum guestmem_result get(uint64_t at, void *to, size_t n)
{
    enum guestmem_result r = guestmem_read(&world.s2, ipa(at), to, n, true);

    CHECK(atomic_load(&this_core()->hazard) == 0 && atomic_load(&this_core()->epoch) == 0);
    return r;
}

static enum guestmem_result put(uint64_t at, const void *from, size_t n)
{
    enum guestmem_result r = guestmem_write(&world.s2, ipa(at), from, n, true);

    CHECK(atomic_load(&this_core()->hazard) == 0 && atomic_load(&this_core()->epoch) == 0);
    return r;
}

/* Fields that both sides use at the same time go whole; others byte by byte, wherever the buffer lies. */
static void fields(void **state)
{
    uint8_t out[24], in[24];

    (void)state;
    world_touch(0, RAM + MIB(8), true);
    for (size_t n = 1; n <= 9; n++) {
        for (size_t at = 0; at < 9; at++) {
            for (size_t buffer = 0; buffer < 8; buffer++) {
                uint8_t *p = (uint8_t *)pa_ptr(desc_pa(world_page(RAM + MIB(8))));

                for (size_t i = 0; i < sizeof(out); i++) {
                    out[i] = (uint8_t)(100 + 10 * n + at + buffer + i);
                    in[i] = p[i] = 0;
                }
                assert_int_equal(put(RAM + MIB(8) + at, out + buffer, n), GUESTMEM_OK);
                assert_memory_equal(p + at, out + buffer, n);
                assert_true(at == 0 || p[at - 1] == 0);
                assert_int_equal(p[at + n], 0);
                assert_int_equal(get(RAM + MIB(8) + at, in + buffer, n), GUESTMEM_OK);
                assert_memory_equal(in + buffer, out + buffer, n);
                assert_true(buffer == 0 || in[buffer - 1] == 0);
                assert_int_equal(in[buffer + n], 0);
            }
        }
    }
}

static void what_is_not_there(void **state)
{
    uint8_t b[16] = {1, 2, 3};

    (void)state;
    assert_int_equal(get(RAM, b, 1), GUESTMEM_ABSENT);
    assert_int_equal(put(RAM, b, 1), GUESTMEM_ABSENT);
    assert_int_equal(get(RAM + MIB(8), b, 1), GUESTMEM_ABSENT);
    assert_int_equal(get(RAM - 8, b, 8), GUESTMEM_NOWHERE);
    assert_int_equal(put(RAM + MIB(16) - PAGE_SIZE, b, 1), GUESTMEM_NOWHERE);
    assert_int_equal(get(0x09000010, b, 4), GUESTMEM_NOWHERE); /* a device is no memory */
    /* Nor is one that the guest reaches directly: EL2 has no map of it. */
    assert_true(s2_set_range(&world.s2, &world.boot, ipa(0x08010000), PAGE_SIZE, desc_device(pa(0x1000))));
    assert_int_equal(get(0x08010010, b, 4), GUESTMEM_NOWHERE);
    assert_int_equal(put(0x08010010, b, 4), GUESTMEM_NOWHERE);
    assert_int_equal(put(BIT(39), b, 4), GUESTMEM_NOWHERE);
    assert_int_equal(get(~UINT64_C(0) - 3, b, 16), GUESTMEM_NOWHERE);
    assert_int_equal(get(BIT(63), b, 16), GUESTMEM_NOWHERE);
    /* Of no bytes there is nothing to say. */
    assert_int_equal(get(BIT(63), b, 0), GUESTMEM_OK);
    assert_int_equal(b[0], 1);

    /* Somebody is at it: the caller faults it in and waits there. */
    world_touch(0, RAM, false);
    _Atomic uint64_t *slot = world_walk(RAM).slot;
    uint64_t d = atomic_exchange(slot, desc_busy());
    assert_int_equal(get(RAM, b, 1), GUESTMEM_ABSENT);
    atomic_store(slot, desc_in_flight(3));
    assert_int_equal(put(RAM, b, 1), GUESTMEM_ABSENT);
    atomic_store(slot, d);
    assert_int_equal(world_audit().present, 1);
}

static void reads(void **state)
{
    static uint8_t b[3 * PAGE_SIZE];
    uint64_t at = MIB(2) - PAGE_SIZE - 100; /* four pages, two blocks */

    (void)state;
    assert_int_equal(get(RAM + at, b, sizeof(b)), GUESTMEM_ABSENT);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(get(RAM + at, b, sizeof(b)), GUESTMEM_ABSENT);
        world_touch(0, RAM + at + i * PAGE_SIZE, false);
    }
    memset(b, 0, sizeof(b));
    assert_int_equal(get(RAM + at, b, sizeof(b)), GUESTMEM_OK);
    assert_memory_equal(b, bytes + at, sizeof(b));
    assert_false(desc_writable(world_page(RAM + at))); /* reading leaves it clean */
    /* From a block. */
    world_settle();
    assert_int_equal(world_walk(RAM + at).level, 2);
    memset(b, 0, sizeof(b));
    assert_int_equal(get(RAM + at, b, sizeof(b)), GUESTMEM_OK);
    assert_memory_equal(b, bytes + at, sizeof(b));
    assert_int_equal(get(RAM + at, b, 1), GUESTMEM_OK);
}

static uint64_t frame;
static unsigned maintenance, cleaned;
static void not_yet_written(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op == FAKE_TLBI_IPA || op == FAKE_TLBI_VMALLE1) {
        CHECK(desc_writable(world_page(RAM + 0x2000)));
        CHECK(*(uint8_t *)pa_ptr(pa(frame + 0x10)) == image_byte(0x2010)); /* dirty before the first byte */
        maintenance++;
    }
}

static void writes(void **state)
{
    static uint8_t b[PAGE_SIZE], got[PAGE_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(b); i++)
        b[i] = (uint8_t)(i * 7 + 1);
    world_touch(0, RAM + 0x2000, false);
    world_touch(0, RAM + 0x3000, true);
    frame = desc_pa(world_page(RAM + 0x2000)).v;
    maintenance = 0;
    fake_arch_hook = not_yet_written;
    assert_int_equal(put(RAM + 0x2010, b, sizeof(b)), GUESTMEM_OK);
    fake_arch_hook = NULL;
    assert_int_equal(maintenance, 2);
    assert_int_equal(get(RAM + 0x2010, got, sizeof(got)), GUESTMEM_OK);
    assert_memory_equal(b, got, sizeof(b));
    /* Its neighbours are the image's still, and so is the image. */
    assert_int_equal(get(RAM + 0x2000, got, 16), GUESTMEM_OK);
    assert_memory_equal(got, bytes + 0x2000, 16);
    assert_int_equal(get(RAM + 0x3010, got, 100), GUESTMEM_OK);
    assert_memory_equal(got, bytes + 0x3010, 100);
    assert_int_equal(world_audit().present, 2);

    /* A clean block becomes dirty as a whole. */
    world_touch(0, RAM + MIB(2), false);
    world_settle();
    assert_false(desc_writable(world_page(RAM + MIB(2))));
    assert_int_equal(put(RAM + MIB(4) - 3, b, 3), GUESTMEM_OK);
    assert_true(desc_writable(world_page(RAM + MIB(2))));
    assert_int_equal(get(RAM + MIB(4) - 4, got, 4), GUESTMEM_OK);
    assert_true(got[0] == image_byte(MIB(4) - 4) && got[1] == b[0] && got[3] == b[2]);

    /* It stops where RAM stops. */
    world_touch(0, RAM + MIB(16) - 2 * PAGE_SIZE, true);
    assert_int_equal(put(RAM + MIB(16) - PAGE_SIZE - 2, b, 4), GUESTMEM_NOWHERE);
}

/* While it copies the core says which frame; with the guest's caches off the lines go to memory and come from there. */
static void watch_hazard(enum fake_op op, uint64_t arg)
{
    if (op != FAKE_CLEAN_INVAL)
        return;
    CHECK(atomic_load(&this_core()->hazard) == frame);
    CHECK(align_down(arg, PAGE_SIZE) == frame && (arg & (PAGE_SIZE - 1)) == 0x20);
    CHECK(atomic_load(&this_core()->epoch) != 0);
    CHECK((*(uint8_t *)pa_ptr(pa(arg)) == 0x77) == (cleaned == 2));
    cleaned++;
}

static void caches_off(void **state)
{
    uint8_t b[8];

    (void)state;
    memset(b, 0x77, sizeof(b));
    *world_touch(0, RAM + MIB(8) + 0x3020, true) = 0x55;
    frame = desc_pa(world_page(RAM + MIB(8) + 0x3000)).v;
    cleaned = 0;
    fake_arch_hook = watch_hazard;
    assert_int_equal(guestmem_read(&world.s2, ipa(RAM + MIB(8) + 0x3020), b, 8, false), GUESTMEM_OK);
    assert_int_equal(cleaned, 1);
    assert_int_equal(b[0], 0x55);
    memset(b, 0x77, sizeof(b));
    assert_int_equal(guestmem_write(&world.s2, ipa(RAM + MIB(8) + 0x3020), b, 8, false), GUESTMEM_OK);
    assert_int_equal(cleaned, 3);
    /* On: no maintenance at all. */
    assert_int_equal(put(RAM + MIB(8) + 0x3020, b, 8), GUESTMEM_OK);
    assert_int_equal(cleaned, 3);
    fake_arch_hook = NULL;
    assert_int_equal(atomic_load(&cores[0].hazard), 0);
}

/* The page goes between the first look and the second: nothing is written to the frame it had. */
static _Atomic uint64_t *slot;
static void take_away(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op != FAKE_TLBI_VMALLE1)
        return;
    fake_arch_hook = NULL;
    atomic_store(slot, desc_busy());
    CHECK(atomic_load(&this_core()->hazard) == 0);
}

static void taken_away(void **state)
{
    uint8_t b = 0x99;

    (void)state;
    world_touch(0, RAM + 0x2000, false);
    slot = world_walk(RAM + 0x2000).slot;
    frame = desc_pa(world_page(RAM + 0x2000)).v;
    uint8_t was = *(uint8_t *)pa_ptr(pa(frame));
    fake_arch_hook = take_away;
    assert_int_equal(put(RAM + 0x2000, &b, 1), GUESTMEM_ABSENT);
    assert_null(fake_arch_hook);
    assert_int_equal(*(uint8_t *)pa_ptr(pa(frame)), was);
}

static _Atomic bool quiet;
static void *quiesce(void *arg)
{
    (void)arg;
    this_core_ptr = &cores[1];
    guestmem_quiesce(pa(frame), BLOCK_SIZE);
    atomic_store(&quiet, true);
    return NULL;
}

static void waits_for_touchers(void **state)
{
    struct timespec ms = {.tv_nsec = 20000000};
    pthread_t thread;

    (void)state;
    frame = BLOCK_SIZE * 7;
    /* Frames beside it hold nobody up. */
    atomic_store(&cores[0].hazard, frame - PAGE_SIZE);
    guestmem_quiesce(pa(frame), BLOCK_SIZE);
    atomic_store(&cores[0].hazard, frame + BLOCK_SIZE);
    guestmem_quiesce(pa(frame), BLOCK_SIZE);
    guestmem_quiesce(pa(frame), PAGE_SIZE);
    static const uint64_t inside[] = {0, BLOCK_SIZE - PAGE_SIZE};
    for (size_t i = 0; i < ARRAY_SIZE(inside); i++) {
        atomic_store(&quiet, false);
        atomic_store(&cores[0].hazard, frame + inside[i]);
        CHECK(pthread_create(&thread, NULL, quiesce, NULL) == 0);
        nanosleep(&ms, NULL);
        assert_false(atomic_load(&quiet));
        atomic_store(&cores[0].hazard, 0);
        pthread_join(thread, NULL);
        assert_true(atomic_load(&quiet));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(fields),     TEST(what_is_not_there),  TEST(reads), TEST(writes), TEST(caches_off),
        TEST(taken_away), TEST(waits_for_touchers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
