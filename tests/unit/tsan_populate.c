/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/release.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/*
 * vCPUs that touch their memory through the tables while helpers fill, complete and promote it, each in its thread.
 *
 * An access does what a CPU does: it walks the tables, and a valid descriptor lets it at the frame. A fault asks, and
 * waits in WFI for its SGI; helpers sleep likewise. A signal orders nothing by itself, so what a vCPU sees of a page it
 * sees through the descriptor alone. At the end every store must be there, and nobody must have slept for ever.
 */
#include <pthread.h>

#include "dev/gic.h"
#include "mm/release.h"
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)
#define SIZE (MIB(10) + 7 * PAGE_SIZE)
#define PAGES (SIZE / PAGE_SIZE)
#define MAX_VCPUS 4

#define IMAGE_AT (5 * PAGE_SIZE)
#define IMAGE_SIZE (MIB(4) + 1234)

static _Thread_local uint64_t rnd;
static uint64_t stored[MAX_VCPUS][PAGES];
static _Atomic uint64_t accesses, waits, busies;
static _Atomic uint32_t naps;

static uint8_t expected(uint64_t offset)
{
    return offset >= IMAGE_AT && offset < IMAGE_AT + IMAGE_SIZE ? image_byte(offset - IMAGE_AT) : 0;
}

static uint64_t expected_word(uint64_t offset)
{
    uint64_t v = 0;

    for (uint64_t i = 0; i < 8; i++)
        v |= (uint64_t)expected(offset + i) << (8 * i);
    return v;
}

/* The first word of each page counts stores; the rest never changes. */
static bool try_access(uint64_t page, bool write)
{
    bool done = false;

    epoch_enter();
    struct s2_entry e = s2_walk(&world.s2, ipa(RAM + page * PAGE_SIZE));
    if (desc_kind(e.desc, e.level) == DESC_PRESENT && (!write || desc_writable(e.desc))) {
        uint64_t frame = desc_pa(e.desc).v + (e.level == 2 ? (page * PAGE_SIZE) & (BLOCK_SIZE - 1) : 0);
        uint64_t at = 8 + random_below(&rnd, PAGE_SIZE - 8);

        CHECK(*(uint8_t *)pa_ptr(pa(frame + at)) == expected(page * PAGE_SIZE + at));
        if (write)
            atomic_fetch_add_explicit((_Atomic uint64_t *)pa_ptr(pa(frame)), 1, memory_order_relaxed);
        done = true;
    }
    epoch_leave();
    return done;
}

static void access(uint32_t me, uint64_t page, bool write)
{
    while (!try_access(page, write)) {
        bool queued = false;
        uint32_t mmio;

        switch (s2_fault(&world.s2, &world.port[me], ipa(RAM + page * PAGE_SIZE), write, &mmio, &queued)) {
        case S2_RESUME:
            break;
        case S2_WAIT:
            if (!s2_wait_signal(&world.s2, ipa(RAM + page * PAGE_SIZE)))
                break;
            atomic_fetch_add_explicit(&waits, 1, memory_order_relaxed);
            core_wait();
            sgi_take(me);
            break;
        case S2_BUSY:
        case S2_FULL:
            atomic_fetch_add_explicit(&busies, 1, memory_order_relaxed);
            cpu_relax();
            break;
        default:
            CHECK(!"a fault on RAM that ends otherwise");
        }
    }
    if (write)
        stored[me][page]++;
}

static uint64_t first_seed, accesses_each;

static void *vcpu(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;

    this_core_ptr = &cores[me];
    rnd = first_seed + me;
    for (uint64_t n = 0; n < accesses_each; n++) {
        /* All at the same places at about the same time, so that they meet. */
        uint64_t page = (n * PAGES / accesses_each + random_below(&rnd, 700)) % PAGES;

        if (random_below(&rnd, 16) == 0)
            page = random_below(&rnd, PAGES);
        access(me, page, random_below(&rnd, 3) == 0);
        atomic_fetch_add_explicit(&accesses, 1, memory_order_relaxed);
    }
    return NULL;
}

static void *helper(void *arg)
{
    struct helper *h = arg;

    this_core_ptr = h->core;
    rnd = 1000 + h->core->id;
    helper_run(h);
}

static void nap(void)
{
    atomic_fetch_add_explicit(&naps, 1, memory_order_relaxed);
    core_wait();
}

/* Widens what takes long on a real machine. */
static void slow(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op == FAKE_TLBI_VMALLS12 || op == FAKE_TLBI_IPA || (op == FAKE_CLEAN_INVAL && random_below(&rnd, 64) == 0))
        sched_yield();
}

/* All that was begun is complete and joined, but for the last block, which is RAM in part. */
static bool complete(void)
{
    bool all = true;

    for (uint64_t at = 0; at + BLOCK_SIZE <= SIZE; at += BLOCK_SIZE) {
        epoch_enter();
        struct s2_entry e = s2_walk(&world.s2, ipa(RAM + at));
        all = all && e.level == 2 && desc_kind(e.desc, 2) == DESC_PRESENT;
        epoch_leave();
    }
    return all;
}

static void run(uint32_t vcpus, uint32_t helper_cores, bool by_page)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 0x123);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};
    struct timespec ms = {.tv_nsec = 1000000};
    pthread_t thread[MAX_VCPUS], helper_thread[2];
    struct audit a;

    world_make(&(struct world_config){
        .blocks = 48, .vcpus = vcpus, .helpers = helper_cores, .ram_base = RAM, .ram_size = SIZE, .by_page = by_page});
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + IMAGE_AT), align_up(IMAGE_SIZE, PAGE_SIZE),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    memset(stored, 0, sizeof(stored));
    accesses = waits = busies = 0;
    naps = 0;
    first_seed++;
    accesses_each = 20000;
    fake_wfi = nap;
    fake_arch_hook = slow;
    for (uint32_t i = 0; i < helper_cores; i++)
        CHECK(pthread_create(&helper_thread[i], NULL, helper, &helpers[i]) == 0);
    for (uintptr_t i = 0; i < vcpus; i++)
        CHECK(pthread_create(&thread[i], NULL, vcpu, (void *)i) == 0);
    for (uint32_t i = 0; i < vcpus; i++)
        pthread_join(thread[i], NULL);
    /* Nobody signals the helpers any more: they go on by themselves until all is done. */
    for (int i = 0; helper_cores && !complete(); i++) {
        CHECK(i < 60000 && "the sweep does not end");
        nanosleep(&ms, NULL);
    }
    atomic_store(&machine_off, true);
    for (uint32_t i = 0; i < helper_cores; i++) {
        gic_sgi(helpers[i].core, SGI_KICK);
        pthread_join(helper_thread[i], NULL);
    }
    fake_arch_hook = NULL;

    a = world_audit();
    if (helper_cores)
        CHECK(a.block == SIZE / BLOCK_SIZE * BLOCK_PAGES);
    for (uint64_t page = 0; page < PAGES; page++) {
        uint64_t d = world_page(RAM + page * PAGE_SIZE), sum = expected_word(page * PAGE_SIZE);
        const uint8_t *p = pa_ptr(desc_pa(d));
        bool written = false;

        for (uint32_t i = 0; i < vcpus; i++) {
            sum += stored[i][page];
            written = written || stored[i][page];
        }
        if (desc_kind(d, 3) != DESC_PRESENT) {
            CHECK(!written);
            continue;
        }
        CHECK(*(const uint64_t *)p == sum);
        CHECK(!written || desc_writable(d));
        for (uint64_t i = 8; i < PAGE_SIZE; i++)
            CHECK(p[i] == expected(page * PAGE_SIZE + i));
    }
    for (uint64_t i = 0; i < IMAGE_SIZE; i++)
        CHECK(bytes[i] == image_byte(i));
    printf("%u vCPUs, %u helpers%s: %llu accesses, %llu waits, %llu met BUSY, helpers slept %u times\n", vcpus,
           helper_cores, by_page ? ", by page" : "", (unsigned long long)accesses, (unsigned long long)waits,
           (unsigned long long)busies, naps);
    world_drop();
    image_drop();
}

static void one_helper(void **state)
{
    (void)state;
    run(3, 1, false);
    run(3, 1, true);
}

static void two_helpers(void **state)
{
    (void)state;
    run(4, 2, false);
    run(4, 2, true);
}

static void no_helper(void **state)
{
    (void)state;
    run(4, 0, false);
    run(4, 0, true);
}

/* A guest that starts again and again, under helpers that are filling and joining its pages when it stops. */
static void starts_again(void **state)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 0);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};
    pthread_t thread[3], helper_thread[2];
    struct frame_cache freed = {0};

    (void)state;
    world_make(&(struct world_config){.blocks = 60, .vcpus = 3, .helpers = 2, .ram_base = RAM, .ram_size = SIZE});
    CHECK(s2_add_source(&world.s2, &src) == 1);
    memset(stored, 0, sizeof(stored));
    fake_arch_hook = slow;
    accesses_each = 700;
    for (uint32_t i = 0; i < 2; i++)
        CHECK(pthread_create(&helper_thread[i], NULL, helper, &helpers[i]) == 0);
    for (int life = 0; life < 30; life++) {
        s2_freeze(&world.s2);
        for (uint32_t i = 0; i < 3; i++)
            while (!port_idle(&world.port[i]))
                sched_yield();
        if (life)
            s2_release(&world.s2, &freed);
        world.s2.by_page = life & 1;
        CHECK(s2_set_range(&world.s2, &freed, ipa(RAM), SIZE, 0));
        CHECK(s2_set_range(&world.s2, &freed, ipa(RAM + IMAGE_AT), align_up(IMAGE_SIZE, PAGE_SIZE), desc_absent(1, 0)));
        s2_thaw(&world.s2);
        first_seed++;
        for (uintptr_t i = 0; i < 3; i++)
            CHECK(pthread_create(&thread[i], NULL, vcpu, (void *)i) == 0);
        for (uint32_t i = 0; i < 3; i++)
            pthread_join(thread[i], NULL);
        /* Each life began with what the image and zeroes say. */
        epoch_enter();
        for (uint64_t page = 0; page < PAGES; page++) {
            uint64_t offset = page * PAGE_SIZE, sum = expected_word(offset);
            struct s2_entry e = s2_walk(&world.s2, ipa(RAM + offset));

            for (uint32_t i = 0; i < 3; i++) {
                sum += stored[i][page];
                stored[i][page] = 0;
            }
            if (desc_kind(e.desc, e.level) == DESC_PRESENT)
                CHECK(atomic_load((_Atomic uint64_t *)pa_ptr(
                          pa_add(desc_pa(e.desc), e.level == 2 ? offset & (BLOCK_SIZE - 1) : 0))) == sum);
        }
        epoch_leave();
    }
    atomic_store(&machine_off, true);
    for (uint32_t i = 0; i < 2; i++) {
        gic_sgi(helpers[i].core, SGI_KICK);
        pthread_join(helper_thread[i], NULL);
    }
    fake_arch_hook = NULL;
    world_drop();
    image_drop();
}

/* One vCPU, one helper, nothing else to do: each request finds the helper asleep or about to be, and so the other way. */
static void ping_pong(void **state)
{
    const uint64_t pages = 6000;
    const uint8_t *bytes = image_make(pages * PAGE_SIZE, 0);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = pages * PAGE_SIZE};
    pthread_t thread;

    (void)state;
    world_make(&(struct world_config){.blocks = 40, .vcpus = 1, .helpers = 1, .ram_base = RAM, .ram_size = MIB(32)});
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM), pages * PAGE_SIZE,
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    helpers[0].space_count = 0; /* no sweep: it would do the vCPU's work */
    naps = 0;
    fake_wfi = nap;
    CHECK(pthread_create(&thread, NULL, helper, &helpers[0]) == 0);
    for (uint64_t page = 0; page < pages; page++) {
        uint32_t mmio;
        bool queued = false;

        while (s2_fault(&world.s2, &world.port[0], ipa(RAM + page * PAGE_SIZE), false, &mmio, &queued) == S2_WAIT) {
            if (s2_wait_signal(&world.s2, ipa(RAM + page * PAGE_SIZE))) {
                core_wait();
                sgi_take(0);
            }
        }
        CHECK(queued);
        if (page % 3 == 0)
            sched_yield();
    }
    atomic_store(&machine_off, true);
    gic_sgi(helpers[0].core, SGI_KICK);
    pthread_join(thread, NULL);
    printf("the helper slept %u times for %llu requests, %llu signals\n", naps,
           (unsigned long long)report.helper[0].requests, (unsigned long long)sgi_count(1));
    CHECK(report.helper[0].requests == pages && world_audit().present == pages);
    CHECK(naps > 10);
    world_drop();
    image_drop();
}

/*
 * Two vCPUs that want the same page, one after another and never anything else: whoever finds the other's request must
 * be on its list, or have seen that it was done. No later traffic would wake the one who was missed.
 */
static pthread_barrier_t gate;
static const uint64_t shared_pages = 4000;

static void *sharer(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;

    this_core_ptr = &cores[me];
    rnd = me;
    for (uint64_t page = 0; page < shared_pages; page++) {
        uint32_t mmio;
        bool queued = false;

        pthread_barrier_wait(&gate);
        for (uint64_t n = random_below(&rnd, 4000); n > 0; n--)
            __asm__ volatile("");
        while (s2_fault(&world.s2, &world.port[me], ipa(RAM + page * PAGE_SIZE), false, &mmio, &queued) == S2_WAIT) {
            if (s2_wait_signal(&world.s2, ipa(RAM + page * PAGE_SIZE))) {
                core_wait();
                sgi_take(me);
            }
        }
    }
    return NULL;
}

static void same_page(void **state)
{
    const uint8_t *bytes = image_make(shared_pages * PAGE_SIZE, 0);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = shared_pages * PAGE_SIZE};
    pthread_t thread, vcpus[2];

    (void)state;
    world_make(&(struct world_config){.blocks = 40, .vcpus = 2, .helpers = 1, .ram_base = RAM, .ram_size = MIB(32)});
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM), shared_pages * PAGE_SIZE,
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    helpers[0].space_count = 0;
    pthread_barrier_init(&gate, NULL, 2);
    CHECK(pthread_create(&thread, NULL, helper, &helpers[0]) == 0);
    for (uintptr_t i = 0; i < 2; i++)
        CHECK(pthread_create(&vcpus[i], NULL, sharer, (void *)i) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(vcpus[i], NULL);
    atomic_store(&machine_off, true);
    gic_sgi(helpers[0].core, SGI_KICK);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&gate);
    CHECK(report.helper[0].requests == shared_pages && world_audit().present == shared_pages);
    world_drop();
    image_drop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ping_pong),   cmocka_unit_test(same_page), cmocka_unit_test(one_helper),
        cmocka_unit_test(two_helpers), cmocka_unit_test(no_helper), cmocka_unit_test(starts_again),
    };

    first_seed = seed(3);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
