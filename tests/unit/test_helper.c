/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c mm/release.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* The helper core: what it does first, whom it serves, and that it sleeps when there is nothing to do. */
#include <pthread.h>

#include "dev/gic.h"
#include "mm/release.h"
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)

static void make(uint32_t vcpus, uint32_t helper_cores, uint64_t ram_size)
{
    world_make(&(struct world_config){
        .blocks = 96, .vcpus = vcpus, .helpers = helper_cores, .ram_base = RAM, .ram_size = ram_size});
}

static int tear_down(void **state)
{
    (void)state;
    world_drop();
    return 0;
}

static enum s2_fault_result fault(uint32_t vcpu, uint64_t at)
{
    bool queued = false;

    return world_fault(vcpu, at, false, &queued);
}

/* Demand, then pools, then the sweep; and a new demand never waits for more than one page of anything else. */
static void order(void **state)
{
    uint64_t block = RAM;

    (void)state;
    make(1, 1, GIB(1));
    for (uint64_t n = 0; ring_count(&world.port[0].blocks) < POOL_BLOCKS; n++) {
        uint64_t zeroed = report.helper[0].zeroed_pages;

        CHECK(n < 10000);
        if (n % 97 == 5) { /* in the middle of filling a block of the pool */
            uint64_t pool = ring_count(&world.port[0].tables);

            world.s2.by_page = true;
            while (fault(0, block) == S2_RESUME) /* until the pools give nothing more */
                block += BLOCK_SIZE;
            pool = ring_count(&world.port[0].tables);
            zeroed = report.helper[0].zeroed_pages;
            CHECK(world_step(0));
            CHECK(desc_kind(world_page(block), 3) == DESC_PRESENT && sgi_take(0));
            CHECK(report.helper[0].zeroed_pages == zeroed && ring_count(&world.port[0].tables) == pool);
            block += BLOCK_SIZE;
            if (block > RAM + 20 * BLOCK_SIZE)
                break;
            continue;
        }
        CHECK(world_step(0));
        CHECK(report.helper[0].zeroed_pages <= zeroed + 1); /* page by page */
        /* Blocks have been begun, but while a pool wants something none is completed. */
        CHECK(report.helper[0].promoted_blocks == 0);
    }
    world_settle();
    assert_int_equal(ring_count(&world.port[0].blocks), POOL_BLOCKS);
    assert_int_equal(ring_count(&world.port[0].tables), POOL_TABLES);
    assert_int_equal(world_audit().block, world_audit().present);
    assert_int_equal(world_audit().present, (block - RAM) / BLOCK_SIZE * BLOCK_PAGES);
}

/* Three vCPUs that ask again at once: none of them starves. */
static void turns(void **state)
{
    uint64_t next[3] = {RAM, RAM + 5 * BLOCK_SIZE, RAM + 10 * BLOCK_SIZE}, served[3] = {0};

    (void)state;
    make(3, 1, GIB(1));
    for (int n = 0; n < 300; n++) {
        for (uint32_t i = 0; i < 3; i++) {
            enum s2_fault_result r;

            if (byte_ring_count(&world.port[i].requests))
                continue;
            while ((r = fault(i, next[i])) == S2_RESUME) {
                next[i] += PAGE_SIZE;
                served[i]++;
            }
            CHECK(r == S2_WAIT);
        }
        CHECK(world_step(0));
    }
    for (uint32_t i = 0; i < 3; i++)
        assert_in_range(served[i], 98, 101);
}

static uint32_t reads; /* that have ended, one after the other without an end */

static bool read_ended(struct populator *p)
{
    (void)p;
    reads++;
    return true;
}

static void nothing(void) {}

static const struct helper_io endless = {.serve = read_ended, .notify = nothing};

/* Two vCPUs that ask again at once: reads of others have their turn, and no more than that. */
static void reads_among_demand(void **state)
{
    uint64_t next[2] = {RAM, RAM + 5 * BLOCK_SIZE}, asked;
    uint32_t least = 340 / 17, each;

    (void)state;
    make(2, 1, GIB(1));
    helpers[0].io = &endless;
    reads = 0;
    CHECK(world_step(0));
    each = reads; /* of one look */
    asked = report.helper[0].requests;
    for (int n = 0; n < 340; n++) {
        for (uint32_t i = 0; i < 2; i++) {
            if (byte_ring_count(&world.port[i].requests))
                continue;
            while (fault(i, next[i]) == S2_RESUME)
                next[i] += PAGE_SIZE;
        }
        CHECK(world_step(0));
    }
    assert_int_equal(reads, each * (1 + least));
    assert_int_equal(report.helper[0].requests - asked, 340 - least);
}

/* The pools of a vCPU that is no more come back, and nobody fills them again. */
static void closed_port(void **state)
{
    struct frame_cache frames = {0};
    uint64_t before;

    (void)state;
    make(2, 1, GIB(1));
    world_settle();
    before = frames_free_blocks();
    assert_int_equal(ring_count(&world.port[0].blocks), POOL_BLOCKS);
    port_close(&world.port[0], &frames);
    world_settle();
    assert_int_equal(ring_count(&world.port[0].blocks), 0);
    assert_int_equal(ring_count(&world.port[0].tables), 0);
    assert_int_equal(ring_count(&world.port[1].blocks), POOL_BLOCKS);
    assert_int_equal(frames_free_blocks(), before + POOL_BLOCKS);
    CHECK(!world_step(0));
}

/* One vCPU takes every block at once, as if its guest gave back what it gets: the other's pool is filled all the same. */
static void pools_in_turn(void **state)
{
    uint64_t frame, taken = 0;

    (void)state;
    make(2, 1, GIB(1));
    for (uint64_t i = 0; ring_count(&world.port[1].blocks) < POOL_BLOCKS; i++) {
        CHECK(i < 100 * POOL_BLOCKS * BLOCK_PAGES);
        CHECK(world_step(0));
        if (ring_pop(&world.port[0].blocks, &frame)) {
            frames_free_block(pa(frame));
            taken++;
        }
    }
    assert_in_range(taken, POOL_BLOCKS - 1, POOL_BLOCKS + 1);
}

static void untouched_stays_so(void **state)
{
    const uint8_t *bytes = image_make(MIB(8), 0);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = MIB(8)};

    (void)state;
    make(1, 1, GIB(1));
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM), MIB(8),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    world_settle();
    assert_int_equal(world_audit().present, 0);
    world_touch(0, RAM + MIB(4) + 0x123, false);
    world_touch(0, RAM + MIB(20), true);
    world_settle();
    assert_int_equal(world_audit().present, 2 * BLOCK_PAGES);
    assert_int_equal(world_audit().block, 2 * BLOCK_PAGES);
    for (uint64_t at = 0; at < MIB(30); at += MIB(2)) {
        uint64_t d = world_page(RAM + at);

        if (at == MIB(4) || at == MIB(20))
            assert_int_equal(desc_kind(d, 3), DESC_PRESENT);
        else
            assert_true(d == (at < MIB(8) ? desc_absent(1, at / PAGE_SIZE) : 0));
    }
    image_drop();
}

/* Another guest that this helper sweeps, and one without RAM. */
static void several_guests(void **state)
{
    static struct s2 second, none;
    static struct report_guest stats;
    struct s2 *first;

    (void)state;
    make(2, 1, MIB(16));
    memset(&second, 0, sizeof(second));
    memset(&none, 0, sizeof(none));
    CHECK(s2_init(&second, 2, &world.boot, &stats) && s2_init(&none, 3, &world.boot, &stats));
    CHECK(s2_set_range(&second, &world.boot, ipa(RAM), MIB(16), 0));
    second.ram_base = ipa(RAM);
    second.ram_size = MIB(16);
    second.by_page = true;
    first = helpers[0].spaces[0];
    helpers[0].spaces[0] = &none;
    helpers[0].spaces[1] = first;
    helpers[0].spaces[2] = &second;
    helpers[0].space_count = 3;
    world_settle();

    uint32_t mmio;
    bool queued = false;
    uint32_t was = core_enter(1);
    assert_int_equal(s2_fault(&second, &world.port[1], ipa(RAM + MIB(6)), true, &mmio, &queued), S2_RESUME);
    core_enter(was);
    struct s2_entry e = s2_walk(&second, ipa(RAM + MIB(6)));
    assert_int_equal(e.level, 3);
    world_settle();
    e = s2_walk(&second, ipa(RAM + MIB(6)));
    assert_true(e.level == 2 && desc_kind(e.desc, 2) == DESC_PRESENT);
    /* Its own counters, its own owner in the record. */
    assert_int_equal(atomic_load(&stats.block), BLOCK_PAGES);
    assert_int_equal(atomic_load(&report.guest[0].block), 0);
    assert_true(atomic_load(frame_record(desc_pa(e.desc))) == (OWNER_VALID | 2 << 1 | (RAM + MIB(6))));
    assert_int_equal(s2_walk(first, ipa(RAM + MIB(6))).desc, 0);
}

/* ---- asleep */

static _Atomic uint64_t naps;
static void nap(void)
{
    atomic_fetch_add(&naps, 1);
    core_wait();
}

static void *run(void *arg)
{
    struct helper *h = arg;

    this_core_ptr = h->core;
    helper_run(h);
}

static void until_asleep(const struct helper *h, uint64_t after)
{
    struct timespec ms = {.tv_nsec = 1000000};

    for (int i = 0; atomic_load(&naps) <= after || !atomic_load(&h->asleep); i++) {
        CHECK(i < 60000 && "the helper never sleeps");
        nanosleep(&ms, NULL);
    }
}

static void stop(struct helper *h, pthread_t thread)
{
    atomic_store(&machine_off, true);
    gic_sgi(h->core, SGI_KICK);
    pthread_join(thread, NULL);
}

/* vCPU 0 waits in its own WFI. */
static void touch(uint64_t at)
{
    enum s2_fault_result r;

    while ((r = fault(0, at)) != S2_RESUME) {
        CHECK(r == S2_WAIT || r == S2_BUSY || r == S2_FULL);
        if (r == S2_WAIT) {
            core_wait();
            sgi_take(0);
        }
    }
}

static void sleeps_and_wakes(void **state)
{
    struct helper *h = &helpers[0];
    struct timespec pause = {.tv_nsec = 50000000};
    pthread_t thread;
    uint64_t n;

    (void)state;
    make(1, 1, GIB(1));
    world.s2.by_page = true;
    atomic_store(&naps, 0);
    fake_wfi = nap;
    CHECK(pthread_create(&thread, NULL, run, h) == 0);
    until_asleep(h, 0);
    n = atomic_load(&naps);
    nanosleep(&pause, NULL);
    assert_int_equal(atomic_load(&naps), n); /* asleep, not polling */
    assert_int_equal(sgi_count(1), 0);
    for (uint64_t i = 0; i < 12; i++) {
        n = atomic_load(&naps);
        touch(RAM + i * BLOCK_SIZE); /* begins a block: it is completed without another word */
        until_asleep(h, n);
        CHECK(world_audit().block == (i + 1) * BLOCK_PAGES);
        CHECK(ring_count(&world.port[0].blocks) >= POOL_BLOCKS - 1);
    }
    stop(h, thread);
    assert_true(sgi_count(1) <= 12 * 3 + 1);
}

/* No memory for what the pools would like to hold: it sleeps all the same. */
static void sleeps_when_memory_is_out(void **state)
{
    struct helper *h = &helpers[0];
    struct timespec pause = {.tv_nsec = 50000000};
    pthread_t thread;
    pa_t b;

    (void)state;
    make(1, 1, GIB(1));
    while (frames_alloc_block(&b))
        ;
    atomic_store(&naps, 0);
    fake_wfi = nap;
    CHECK(pthread_create(&thread, NULL, run, h) == 0);
    until_asleep(h, 0);
    nanosleep(&pause, NULL);
    assert_int_equal(atomic_load(&naps), 1);
    /* And still answers, if only that there is none. */
    enum s2_fault_result r;
    while ((r = fault(0, RAM)) == S2_WAIT) {
        core_wait();
        sgi_take(0);
    }
    assert_int_equal(r, S2_NO_MEMORY);
    stop(h, thread);
}

/* A guest whose RAM ends in the middle of a block. */
static void sleeps_over_a_part(void **state)
{
    struct helper *h = &helpers[0];
    pthread_t thread;

    (void)state;
    make(1, 1, MIB(2) + 5 * PAGE_SIZE);
    atomic_store(&naps, 0);
    fake_wfi = nap;
    CHECK(pthread_create(&thread, NULL, run, h) == 0);
    until_asleep(h, 0);
    touch(RAM + MIB(2));
    touch(RAM);
    until_asleep(h, 1);
    stop(h, thread);
    assert_int_equal(world_audit().present, BLOCK_PAGES + 5);
}

static void no_helper_to_kick(void **state)
{
    (void)state;
    make(1, 1, GIB(1));
    helper_kick(NULL);
    helper_kick(&helpers[0]);
    assert_int_equal(sgi_count(1), 0); /* it is awake */
    atomic_store(&helpers[0].asleep, true);
    helper_kick(&helpers[0]);
    assert_int_equal(sgi_count(1), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(order),
        TEST(turns),
        TEST(reads_among_demand),
        TEST(closed_port),
        TEST(pools_in_turn),
        TEST(untouched_stays_so),
        TEST(several_guests),
        TEST(sleeps_and_wakes),
        TEST(sleeps_when_memory_is_out),
        TEST(sleeps_over_a_part),
        TEST(no_helper_to_kick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
