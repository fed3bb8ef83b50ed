/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/give_back.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/*
 * vCPUs that give their memory back while others use it, and helpers fill, complete and promote it, each in its thread.
 *
 * An access holds its epoch from the walk to the last byte, in the place of a CPU whose accesses through the TLB are over
 * when a TLB round is. Some blocks are one vCPU's alone: it knows every word of them. Others are everybody's: there a word
 * is what was written to this very page, or what its source says, or zero; what another page held shows as neither.
 */
#include <pthread.h>

#include "dev/gic.h"
#include "mm/give_back.h"
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)
#define VCPUS 3u
#define SHARED 4u /* blocks, the first ones; then one for each vCPU */
#define BLOCKS (SHARED + VCPUS)
#define SIZE (BLOCKS * BLOCK_SIZE)

#define IMAGE_AT (BLOCK_SIZE + 5 * PAGE_SIZE)
#define IMAGE_SIZE (MIB(2) + 1234)

static _Thread_local uint64_t rnd;
static uint64_t first_seed;
static _Thread_local uint64_t mine[BLOCK_PAGES]; /* what the pages of this thread's own block hold */
static _Atomic uint64_t freed, kept, busies, waits, faults;

static uint64_t mark(uint64_t at)
{
    return (at / PAGE_SIZE + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t source_word(uint64_t at)
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

    atomic_fetch_add_explicit(&faults, 1, memory_order_relaxed);
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

static bool try_word(uint64_t at, uint64_t *store, uint64_t *out)
{
    bool done = false;

    epoch_enter();
    struct s2_entry e = s2_walk(&world.s2, ipa(RAM + at));
    if (desc_kind(e.desc, e.level) == DESC_PRESENT && (!store || desc_writable(e.desc))) {
        uint64_t offset = at & (e.level == 2 ? BLOCK_SIZE - 1 : PAGE_SIZE - 1);
        _Atomic uint64_t *word = pa_ptr(pa_add(desc_pa(e.desc), offset));

        *out = atomic_load_explicit(word, memory_order_relaxed);
        if (store)
            atomic_store_explicit(word, *store, memory_order_relaxed);
        done = true;
    }
    epoch_leave();
    return done;
}

/* The word's value before, and `*store` is what it is after. */
static uint64_t word(uint32_t me, uint64_t at, uint64_t *store)
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

static void in_shared(uint32_t me)
{
    uint64_t page = random_below(&rnd, SHARED * BLOCK_PAGES) * PAGE_SIZE;
    uint64_t at = page + 256 + 64 * me, m = mark(at), v;

    switch (random_below(&rnd, 4)) {
    case 0:
        v = word(me, at, &m);
        break;
    case 1:
        v = word(me, at, NULL);
        break;
    case 2: /* a word that no other vCPU uses, since EL2 copies bytes */
        at += 8;
        el2_word(me, at, &m);
        return;
    default:
        at += 8;
        v = el2_word(me, at, NULL);
    }
    CHECK(v == 0 || v == m || v == source_word(at));
}

static void in_own(uint32_t me)
{
    uint64_t n = random_below(&rnd, BLOCK_PAGES);
    uint64_t at = (SHARED + me) * BLOCK_SIZE + n * PAGE_SIZE + 8 * (n % 512), v = random64(&rnd);

    CHECK(word(me, at, random_below(&rnd, 2) ? &v : NULL) == mine[n]);
    if (word(me, at, NULL) == v)
        mine[n] = v;
}

static void give(uint32_t me)
{
    bool own = random_below(&rnd, 2);
    uint64_t at = own ? SHARED + me : random_below(&rnd, SHARED);
    uint64_t n = own ? 1 : 1 + random_below(&rnd, SHARED - at);
    struct give_back g;

    give_back_begin(&g, &world.s2, &world.inline_populator[me].frames);
    give_back_range(&g, ipa(RAM + at * BLOCK_SIZE), n * BLOCK_SIZE);
    give_back_end(&g);
    atomic_fetch_add_explicit(&freed, g.freed, memory_order_relaxed);
    atomic_fetch_add_explicit(&kept, g.asked - g.zero, memory_order_relaxed);
    if (own && g.zero)
        memset(mine, 0, sizeof(mine));
}

static void *vcpu(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;

    this_core_ptr = &cores[me];
    rnd = first_seed + me;
    memset(mine, 0, sizeof(mine));
    for (uint64_t n = 0; n < 12000; n++) {
        uint64_t what = random_below(&rnd, 64);

        if (what == 0)
            give(me);
        else if (what < 40)
            in_shared(me);
        else
            in_own(me);
    }
    for (uint64_t n = 0; n < BLOCK_PAGES; n++)
        CHECK(word(me, (SHARED + me) * BLOCK_SIZE + n * PAGE_SIZE + 8 * (n % 512), NULL) == mine[n]);
    return NULL;
}

static void *helper(void *arg)
{
    struct helper *h = arg;

    this_core_ptr = h->core;
    rnd = 1000 + h->core->id;
    helper_run(h);
}

static void slow(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op == FAKE_TLBI_VMALLS12 || op == FAKE_TLBI_IPA || (op == FAKE_CLEAN_INVAL && random_below(&rnd, 64) == 0))
        sched_yield();
}

static void run(uint32_t helper_cores, bool by_page)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 0x123);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};
    pthread_t thread[VCPUS], helper_thread[2];

    world_make(&(struct world_config){
        .blocks = 48, .vcpus = VCPUS, .helpers = helper_cores, .ram_base = RAM, .ram_size = SIZE, .by_page = by_page});
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + IMAGE_AT), align_up(IMAGE_SIZE, PAGE_SIZE),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    freed = kept = busies = waits = faults = 0;
    fake_wfi = core_wait;
    fake_arch_hook = slow;
    for (uint32_t i = 0; i < helper_cores; i++)
        CHECK(pthread_create(&helper_thread[i], NULL, helper, &helpers[i]) == 0);
    for (uintptr_t i = 0; i < VCPUS; i++)
        CHECK(pthread_create(&thread[i], NULL, vcpu, (void *)i) == 0);
    for (uint32_t i = 0; i < VCPUS; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&machine_off, true);
    for (uint32_t i = 0; i < helper_cores; i++) {
        gic_sgi(helpers[i].core, SGI_KICK);
        pthread_join(helper_thread[i], NULL);
    }
    fake_arch_hook = NULL;
    world_audit();
    printf("%u helpers%s: %llu pages freed, %llu kept, %llu faults, %llu waits, %llu met BUSY\n", helper_cores,
           by_page ? ", by page" : "", (unsigned long long)freed, (unsigned long long)kept, (unsigned long long)faults,
           (unsigned long long)waits, (unsigned long long)busies);
    CHECK(freed > 0);
    world_drop();
    image_drop();
}

static void threads(void **state)
{
    (void)state;
    first_seed = seed(3);
    for (uint32_t i = 0; i < 6; i++) {
        run(i % 3, i >= 3);
        first_seed += 100;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
