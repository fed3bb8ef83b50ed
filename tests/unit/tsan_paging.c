/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/give_back.c mm/release.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/paged_world.c tests/unit/support.c */
/*
 * vCPUs at work on five times the pages that their guest may hold, each in its thread, while the helper takes pages away and
 * brings them back. Each vCPU has words of its own in every page, and knows what they hold: no write is lost.
 *
 * An access holds its epoch from the walk to the last byte, in the place of a CPU whose accesses through the TLB are over when
 * a TLB round is.
 */
#include <pthread.h>

#include "dev/gic.h"
#include "mm/give_back.h"
#include "tests/unit/paged_world.h"

#define RAM UINT64_C(0x40000000)
#define SIZE MIB(6)
#define PAGES (SIZE / PAGE_SIZE)
#define LIMIT 300u
#define VCPUS 3u
#define GIVEN \
    (2 * BLOCK_PAGES) /* the pages from here on are given back now and then, by vCPU 0, and used by it alone */
#define IMAGE_AT (9 * PAGE_SIZE)
#define IMAGE_SIZE (MIB(1) + 1234)

static _Thread_local uint64_t rnd;
static uint64_t first_seed;
static _Thread_local uint64_t mine[PAGES];
static _Atomic uint64_t accesses, waits, busies, given;

static uint64_t place(uint32_t me, uint64_t n)
{
    return n * PAGE_SIZE + 64 * me + 1024 * (n % 3);
}

static uint64_t from_source(uint64_t at)
{
    uint64_t v = 0;

    for (uint64_t i = 0; i < 8; i++) {
        if (at + i >= IMAGE_AT && at + i < IMAGE_AT + IMAGE_SIZE)
            v |= (uint64_t)image_byte(at + i - IMAGE_AT) << (8 * i);
    }
    return v;
}

static void populate(uint32_t me, uint64_t at, bool write)
{
    bool queued = false;
    uint32_t mmio;

    switch (s2_fault(&world.s2, &world.port[me], ipa(RAM + at), write, &mmio, &queued)) {
    case S2_RESUME:
        break;
    case S2_WAIT:
        if (!s2_wait_signal(&world.s2, ipa(RAM + at)))
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

static bool try_word(uint64_t at, const uint64_t *store, uint64_t *out)
{
    bool done = false;
    struct s2_entry e;

    epoch_enter();
    e = s2_walk(&world.s2, ipa(RAM + at));
    if (desc_kind(e.desc, e.level) == DESC_PRESENT && desc_young(e.desc) && (!store || desc_writable(e.desc))) {
        _Atomic uint64_t *word = pa_ptr(pa_add(desc_pa(e.desc), at & (PAGE_SIZE - 1)));

        *out = atomic_load_explicit(word, memory_order_relaxed);
        if (store)
            atomic_store_explicit(word, *store, memory_order_relaxed);
        done = true;
    }
    epoch_leave();
    return done;
}

static uint64_t word(uint32_t me, uint64_t at, const uint64_t *store)
{
    uint64_t value;

    while (!try_word(at, store, &value))
        populate(me, at, store != NULL);
    return value;
}

/* EL2's own access, in the vCPU's name. */
static uint64_t el2_word(uint32_t me, uint64_t at, uint64_t *store)
{
    uint64_t value = 0;

    while ((store ? guestmem_write(&world.s2, ipa(RAM + at), store, 8, true)
                  : guestmem_read(&world.s2, ipa(RAM + at), &value, 8, true)) != GUESTMEM_OK)
        populate(me, at, store != NULL);
    return value;
}

static uint64_t any_page(uint32_t me)
{
    uint64_t n = random_below(&rnd, me == 0 ? PAGES : GIVEN);

    return random_below(&rnd, 2) ? n : n % (LIMIT / 2);
}

static void access(uint32_t me, uint64_t n)
{
    uint64_t at = place(me, n), v = random_below(&rnd, 3) ? random64(&rnd) : 0;
    bool write = random_below(&rnd, 3) == 0;

    if (random_below(&rnd, 4) == 0) {
        CHECK(el2_word(me, at, NULL) == mine[n]);
        if (write)
            el2_word(me, at, &v);
    } else {
        CHECK(word(me, at, write ? &v : NULL) == mine[n]);
    }
    if (write)
        mine[n] = v;
    atomic_fetch_add_explicit(&accesses, 1, memory_order_relaxed);
}

static void give(void)
{
    struct give_back g;

    give_back_begin(&g, &world.s2, &world.inline_populator[0].frames);
    give_back_range(&g, ipa(RAM + GIVEN * PAGE_SIZE), BLOCK_SIZE);
    give_back_end(&g);
    if (!g.zero)
        return;
    atomic_fetch_add_explicit(&given, 1, memory_order_relaxed);
    memset(&mine[GIVEN], 0, BLOCK_PAGES * sizeof(mine[0]));
}

static void *vcpu(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;

    this_core_ptr = &cores[me];
    rnd = first_seed + me;
    for (uint64_t n = 0; n < PAGES; n++)
        mine[n] = from_source(place(me, n));
    for (uint64_t i = 0; i < 10000; i++) {
        if (me == 0 && random_below(&rnd, 400) == 0)
            give();
        access(me, any_page(me));
    }
    for (uint64_t n = 0; n < (me == 0 ? PAGES : GIVEN); n++)
        CHECK(word(me, place(me, n), NULL) == mine[n]);
    return NULL;
}

static void *helper(void *arg)
{
    struct helper *h = arg;

    this_core_ptr = h->core;
    rnd = 1000;
    helper_run(h);
}

static void slow(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op == FAKE_TLBI_VMALLS12 || op == FAKE_TLBI_IPA || (op == FAKE_CLEAN_INVAL && random_below(&rnd, 16) == 0))
        sched_yield();
}

static void run(uint32_t store_blocks, uint64_t swap_pages)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 0x123);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};
    const struct report_paging *stats = &report.guest[0].paging;
    pthread_t thread[VCPUS], helper_thread;

    world_make(&(struct world_config){
        .blocks = 24, .vcpus = VCPUS, .helpers = 1, .ram_base = RAM, .ram_size = SIZE, .limit = LIMIT});
    paged_world_make(store_blocks, swap_pages);
    ahead_init(&world.paging.ahead, world.paging.limit, false);
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + IMAGE_AT), align_up(IMAGE_SIZE, PAGE_SIZE),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    accesses = waits = busies = given = 0;
    fake_wfi = core_wait;
    fake_arch_hook = slow;
    CHECK(pthread_create(&helper_thread, NULL, helper, &helpers[0]) == 0);
    for (uintptr_t i = 0; i < VCPUS; i++)
        CHECK(pthread_create(&thread[i], NULL, vcpu, (void *)i) == 0);
    for (uint32_t i = 0; i < VCPUS; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&machine_off, true);
    gic_sgi(helpers[0].core, SGI_KICK);
    pthread_join(helper_thread, NULL);
    fake_arch_hook = NULL;
    world_settle();
    paged_world_audit();
    printf("store %u, swap %lu: %lu accesses, %lu waits, %lu met BUSY, %lu given back; evicted: %lu clean, %lu zero, "
           "%lu stored, "
           "%lu swapped, %lu put back\n",
           store_blocks, swap_pages, accesses, waits, busies, given, stats->evicted.clean, stats->evicted.zero,
           stats->evicted.store, stats->evicted.swap, stats->evicted.wanted);
    CHECK(given && stats->evicted.clean && stats->evicted.zero && (stats->evicted.store || stats->evicted.swap));
    paged_world_drop();
    image_drop();
}

static void threads(void **state)
{
    (void)state;
    first_seed = seed(3);
    for (uint32_t i = 0; i < 3; i++) {
        run(i == 1 ? 0 : 2, i == 0 ? 0 : PAGES + 300);
        first_seed += 100;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
