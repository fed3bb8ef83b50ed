/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* Physical frames: what is handed out and what never is. */
#include <pthread.h>

#include "tests/unit/support.h"

#define BLOCKS 40

static uint64_t base;

static struct range blocks(uint64_t first, uint64_t count)
{
    return (struct range){base + first * BLOCK_SIZE, count * BLOCK_SIZE};
}

static int set_up(void **state)
{
    (void)state;
    cores_make(1);
    base = (uint64_t)(uintptr_t)arena_make(BLOCKS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_drop();
    return 0;
}

/* Takes all there is. Each in one of `banks`, clear of `reserved`, never twice. */
static uint64_t drain(const struct range *banks, size_t bank_count, const struct range *reserved, size_t reserved_count)
{
    bool seen[BLOCKS] = {false};
    uint64_t n = 0;
    pa_t b;

    while (frames_alloc_block(&b)) {
        bool inside = false;

        CHECK(b.v % BLOCK_SIZE == 0 && b.v >= base && b.v < base + BLOCKS * BLOCK_SIZE);
        CHECK(!seen[(b.v - base) / BLOCK_SIZE]);
        seen[(b.v - base) / BLOCK_SIZE] = true;
        for (size_t i = 0; i < bank_count; i++)
            inside = inside || (b.v >= banks[i].base && b.v + BLOCK_SIZE <= banks[i].base + banks[i].size);
        CHECK(inside);
        for (size_t i = 0; i < reserved_count; i++)
            CHECK(b.v + BLOCK_SIZE <= reserved[i].base || b.v >= reserved[i].base + reserved[i].size);
        CHECK(frames_owns_block(b));
        /* All of it may be written: nothing of the allocator's own lies in it. */
        memset(pa_ptr(b), 0xee, BLOCK_SIZE);
        for (uint64_t i = 0; i < BLOCK_PAGES; i += 37)
            CHECK(atomic_load(frame_record(pa_add(b, i * PAGE_SIZE))) == 0);
        n++;
    }
    CHECK(frames_free_blocks() == 0 && !frames_plentiful());
    return n;
}

static void one_bank(void **state)
{
    struct range bank = blocks(0, BLOCKS);

    (void)state;
    assert_true(frames_init(&bank, 1, NULL, 0, NULL));
    assert_int_equal(frames_free_blocks(), BLOCKS - 1); /* the maps take a part of one */
    assert_true(frames_plentiful());
    assert_int_equal(drain(&bank, 1, NULL, 0), BLOCKS - 1);
}

static void edges_and_holes(void **state)
{
    /* Neither end aligned; a hole between two banks; reservations of a byte, across a border, and touching ends. */
    struct range bank[] = {{base + 0x1000, 9 * BLOCK_SIZE}, {base + 12 * BLOCK_SIZE, 20 * BLOCK_SIZE + 0xfff}};
    struct range reserved[] = {
        {base + 2 * BLOCK_SIZE + 5, 1},       {base + 5 * BLOCK_SIZE - 1, 2},
        {base + 13 * BLOCK_SIZE, BLOCK_SIZE}, {base + 20 * BLOCK_SIZE - 0x1000, BLOCK_SIZE},
        {base + 60 * BLOCK_SIZE, BLOCK_SIZE}, /* no RAM of ours */
    };

    (void)state;
    assert_true(frames_init(bank, 2, reserved, ARRAY_SIZE(reserved), NULL));
    /* Bank 0: whole blocks 1 to 8 less 2, 4, 5 and the maps. Bank 1: 12 to 31 less 13, 19, 20 and the maps. */
    assert_int_equal(frames_free_blocks(), (8 - 3 - 1) + (20 - 3 - 1));
    assert_false(frames_owns_block(pa(base)));
    assert_false(frames_owns_block(pa(base + 2 * BLOCK_SIZE)));
    assert_true(frames_owns_block(pa(base + 3 * BLOCK_SIZE)));
    assert_false(frames_owns_block(pa(base + 4 * BLOCK_SIZE)));
    assert_false(frames_owns_block(pa(base + 10 * BLOCK_SIZE)));
    assert_false(frames_owns_block(pa(base + 13 * BLOCK_SIZE)));
    assert_false(frames_owns_block(pa(base + 33 * BLOCK_SIZE)));
    assert_int_equal(drain(bank, 2, reserved, ARRAY_SIZE(reserved)), 4 + 16);
}

static void maps_avoid_reservations(void **state)
{
    struct range bank = blocks(0, 16);
    /* Only block 6 is left for them: they lie at the upper end of what is free. */
    struct range reserved[] = {blocks(7, 9)};

    (void)state;
    assert_true(frames_init(&bank, 1, reserved, 1, NULL));
    assert_int_equal(frames_free_blocks(), 6);
    for (uint64_t a = base + 7 * BLOCK_SIZE; a < base + 16 * BLOCK_SIZE; a++)
        if (*(uint8_t *)(uintptr_t)a != ARENA_POISON)
            fail_msg("a reserved byte was written");
    assert_int_equal(drain(&bank, 1, reserved, 1), 6);
}

static void no_room(void **state)
{
    struct range bank = blocks(0, 4), all = blocks(0, 4), one = blocks(0, 1), three = blocks(0, 3);
    struct range small = {base + 0x1000, 2 * BLOCK_SIZE - 0x2000};

    (void)state;
    assert_false(frames_init(&bank, 1, &all, 1, NULL));
    assert_false(frames_init(&bank, 0, NULL, 0, NULL));
    assert_false(frames_init(&small, 1, NULL, 0, NULL)); /* not one whole block */
    assert_false(frames_init(&one, 1, NULL, 0, NULL));   /* its maps fill it */
    assert_false(frames_init(&bank, 1, &three, 1, NULL));
    pa_t b;
    assert_false(frames_alloc_block(&b));
}

/* Whoever maps the maps is asked before they are written. */
static struct range mapped;
static bool map_them(pa_t at, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        CHECK(((uint8_t *)pa_ptr(at))[i] == ARENA_POISON);
    mapped = (struct range){at.v, size};
    return true;
}
static bool map_nothing(pa_t at, uint64_t size)
{
    (void)at;
    (void)size;
    return false;
}

static void maps_are_mapped(void **state)
{
    struct range bank = blocks(0, 8);

    (void)state;
    assert_false(frames_init(&bank, 1, NULL, 0, map_nothing));
    assert_true(frames_init(&bank, 1, NULL, 0, map_them));
    assert_true(mapped.size >= 8 * PAGE_SIZE); /* the records of 8 blocks */
    for (uint64_t a = base; a < base + 8 * BLOCK_SIZE; a++)
        if (*(uint8_t *)(uintptr_t)a != ARENA_POISON && a - mapped.base >= mapped.size)
            fail_msg("a byte beside the maps was written");
    assert_int_equal(drain(&bank, 1, &mapped, 1), 7);
}

/* Start-up must not touch all RAM: the records are zeroed as blocks are claimed, so only the bitmaps are written. */
static void start_up_is_lazy(void **state)
{
    struct range bank = blocks(0, BLOCKS);
    uint64_t changed = 0;
    pa_t b;

    (void)state;
    assert_true(frames_init(&bank, 1, NULL, 0, NULL));
    for (uint64_t a = 0; a < BLOCKS * BLOCK_SIZE; a++)
        changed += *(uint8_t *)(uintptr_t)(base + a) != ARENA_POISON;
    assert_true(changed > 0 && changed <= PAGE_SIZE);
    assert_true(frames_alloc_block(&b));
    assert_true(atomic_load(frame_record(b)) == 0);
    assert_true(atomic_load(frame_record(pa_add(b, BLOCK_SIZE - PAGE_SIZE))) == 0);
}

static void freed_blocks_come_back(void **state)
{
    struct range bank = blocks(0, 8);
    pa_t got[8], again;
    uint64_t n = 0;

    (void)state;
    assert_true(frames_init(&bank, 1, NULL, 0, NULL));
    while (frames_alloc_block(&got[n]))
        n++;
    assert_int_equal(n, 7);
    frame_set_owner(got[3], 9, ipa(0x40200000));
    assert_true(atomic_load(frame_record(got[3])) == (0x40200000 | 9 << 1 | 1));
    frames_free_block(got[3]);
    assert_int_equal(frames_free_blocks(), 1);
    assert_true(frames_alloc_block(&again));
    assert_true(again.v == got[3].v);
    assert_true(atomic_load(frame_record(again)) == 0); /* nothing of its former life */
}

static pa_t victim;
static void free_twice(void)
{
    frames_free_block(victim);
    frames_free_block(victim);
}
static void free_once(void)
{
    frames_free_block(victim);
}
static void ask_record(void)
{
    frame_record(victim);
}

static void wrong_frees_panic(void **state)
{
    struct range bank = blocks(0, 16), reserved = blocks(3, 1);
    pa_t b;

    (void)state;
    assert_true(frames_init(&bank, 1, &reserved, 1, NULL));
    assert_true(frames_alloc_block(&b));
    victim = b;
    assert_false(panics(free_once));
    assert_true(panics(free_twice));
    victim = pa_add(b, PAGE_SIZE);
    assert_true(panics(free_once));
    victim = pa(reserved.base);
    assert_true(panics(free_once));
    victim = pa(base + 16 * BLOCK_SIZE); /* beyond the bank */
    assert_true(panics(free_once));
    assert_true(panics(ask_record));
    victim = pa(base - PAGE_SIZE);
    assert_true(panics(ask_record));
    victim = pa(0);
    assert_true(panics(ask_record));
}

static void small_frames(void **state)
{
    struct range bank = blocks(0, 4);
    struct frame_cache a = {0}, b = {0};
    static bool seen[4 * BLOCK_PAGES];
    pa_t f[3 * BLOCK_PAGES], one;
    uint64_t n = 0;

    (void)state;
    memset(seen, 0, sizeof(seen));
    assert_true(frames_init(&bank, 1, NULL, 0, NULL));
    while (n < ARRAY_SIZE(f) && frame_alloc(n & 1 ? &a : &b, &f[n])) {
        uint64_t index = (f[n].v - base) / PAGE_SIZE;

        assert_true(f[n].v % PAGE_SIZE == 0 && index < 4 * BLOCK_PAGES && !seen[index]);
        assert_true(atomic_load(frame_record(f[n])) == 0);
        seen[index] = true;
        memset(pa_ptr(f[n]), 0xee, PAGE_SIZE); /* the list goes through the records, not through the frames */
        n++;
    }
    /* Each cache split a block of its own, and the third went to the first that ran dry. */
    assert_true(n >= 2 * BLOCK_PAGES && n <= 3 * BLOCK_PAGES);
    assert_false(frame_alloc(&a, &one) && frame_alloc(&b, &one));
    for (uint64_t i = 0; i < 100; i++)
        frame_free(&a, f[i]);
    for (uint64_t i = 100; i > 0; i--) {
        assert_true(frame_alloc(&a, &one));
        assert_true(one.v == f[i - 1].v); /* the last in is the warmest */
    }
}

/* What one cache has too many of serves the others before a block is split. */
static void depot(void **state)
{
    static const uint64_t many = FRAME_CACHE_HIGH + 300;
    struct range bank = blocks(0, 8);
    struct frame_cache a = {0}, b = {0}, c = {0};
    static bool seen[8 * BLOCK_PAGES];
    pa_t f[FRAME_CACHE_HIGH + 300], one;
    uint64_t free;

    (void)state;
    memset(seen, 0, sizeof(seen));
    assert_true(frames_init(&bank, 1, NULL, 0, NULL));
    for (uint64_t i = 0; i < many; i++)
        assert_true(frame_alloc(&a, &f[i]));
    free = frames_free_blocks();
    for (uint64_t i = 0; i < many; i++) {
        frame_free(&b, f[i]);
        assert_in_range(b.count, 1, FRAME_CACHE_HIGH);
    }
    assert_int_equal(b.count, FRAME_CACHE_HIGH);
    for (uint64_t i = 0; i < many - FRAME_CACHE_HIGH; i++) {
        uint64_t index;

        assert_true(frame_alloc(&c, &one));
        index = (one.v - base) / PAGE_SIZE;
        assert_true(one.v % PAGE_SIZE == 0 && index < ARRAY_SIZE(seen) && !seen[index]);
        assert_true(atomic_load(frame_record(one)) == 0);
        seen[index] = true;
    }
    assert_int_equal(frames_free_blocks(), free);
    assert_true(frame_alloc(&c, &one)); /* now it has to */
    assert_int_equal(frames_free_blocks(), free - 1);
}

#define THREADS 4
static _Atomic uint32_t owner_of[BLOCKS];

static void *claimer(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg + 1;
    uint64_t state = me, held = 0;
    pa_t mine[8];

    for (int i = 0; i < 100000; i++) {
        if (held < ARRAY_SIZE(mine) && random_below(&state, 2)) {
            if (!frames_alloc_block(&mine[held]))
                continue;
            CHECK(atomic_exchange(&owner_of[(mine[held].v - base) / BLOCK_SIZE], me) == 0);
            CHECK(atomic_exchange(frame_record(mine[held]), me) == 0);
            held++;
        } else if (held) {
            uint64_t k = random_below(&state, held);

            CHECK(atomic_load(frame_record(mine[k])) == me);
            CHECK(atomic_exchange(&owner_of[(mine[k].v - base) / BLOCK_SIZE], 0) == me);
            frames_free_block(mine[k]);
            mine[k] = mine[--held];
        }
    }
    while (held) {
        atomic_store(&owner_of[(mine[--held].v - base) / BLOCK_SIZE], 0);
        frames_free_block(mine[held]);
    }
    return NULL;
}

static void claims_from_many_cores(void **state)
{
    struct range bank = blocks(0, 24);
    pthread_t thread[THREADS];

    (void)state;
    memset(owner_of, 0, sizeof(owner_of));
    assert_true(frames_init(&bank, 1, NULL, 0, NULL));
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, claimer, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(frames_free_blocks(), 23);
    assert_int_equal(drain(&bank, 1, NULL, 0), 23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_bank, set_up, tear_down),
        cmocka_unit_test_setup_teardown(edges_and_holes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(maps_avoid_reservations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(maps_are_mapped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(start_up_is_lazy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(freed_blocks_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_frees_panic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(small_frames, set_up, tear_down),
        cmocka_unit_test_setup_teardown(depot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(claims_from_many_cores, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
