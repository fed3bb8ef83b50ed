/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* Transitions under threads: promotion against writers, retired tables against readers, frames against one another. */
#include <pthread.h>

#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)
#define WRITERS 2u

static pthread_barrier_t gate;
static _Atomic bool over;
static _Thread_local uint64_t rnd;

static struct frame_cache frames;
static _Atomic uint64_t *level2;
static uint64_t block_pa;

static void set_up(void)
{
    pa_t l2, block;

    world_make(&(struct world_config){.blocks = 8, .vcpus = WRITERS + 1, .ram_base = RAM, .ram_size = GIB(1)});
    memset(&frames, 0, sizeof(frames));
    CHECK(frame_alloc(&frames, &l2) && frames_alloc_block(&block));
    zero_pages(pa_ptr(l2), 1);
    level2 = pa_ptr(l2);
    block_pa = block.v;
    world.s2.root[RAM >> GIB_SHIFT] = desc_table(l2);
    atomic_store(&over, false);
}

/* All of RAM's first block by pages, clean. Absent where `hole` says, though the record counts it as present. */
static void link_table(pa_t table, uint32_t hole)
{
    _Atomic uint64_t *t = pa_ptr(table);

    for (uint32_t i = 0; i < S2_ENTRIES; i++)
        atomic_store_explicit(&t[i], i == hole ? 0 : desc_leaf(pa(block_pa + i * PAGE_SIZE), 3, false),
                              memory_order_relaxed);
    atomic_store_explicit(frame_record(table), TABLE_RESERVED | block_pa | S2_ENTRIES, memory_order_relaxed);
    atomic_store_explicit(&level2[0], desc_table(table), memory_order_release);
}

/* Break-before-make takes its time on a real machine. */
static void slow(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op == FAKE_TLBI_VMALLS12 || op == FAKE_TLBI_IPA)
        for (uint64_t n = random_below(&rnd, 4); n > 0; n--)
            sched_yield();
}

/* ---- promotion under two writing vCPUs */

static uint64_t wrote[WRITERS][S2_ENTRIES]; /* in this round, by whom */
static _Atomic uint64_t stores_at_most;     /* by one writer in one round; in some nobody writes */
static uint64_t hits[WRITERS], to_dirty[WRITERS];

static _Atomic uint64_t *word(uint64_t frame)
{
    return pa_ptr(pa(frame));
}

/* What the CPU and the fault path do for one store: through whatever is mapped writable at that moment. */
static void store_once(uint32_t me, uint64_t page)
{
    uint64_t at = RAM + page * PAGE_SIZE;
    bool done = false;

    while (!done) {
        epoch_enter();
        struct s2_entry e = s2_walk(&world.s2, ipa(at));
        if (desc_kind(e.desc, e.level) == DESC_PRESENT) {
            if (desc_writable(e.desc)) {
                uint64_t offset = e.level == 2 ? page * PAGE_SIZE : 0;

                atomic_fetch_add_explicit(word(desc_pa(e.desc).v + offset), 1, memory_order_relaxed);
                wrote[me][page]++;
                done = true;
            } else if (s2_make_dirty(&world.s2, e.slot, e.desc, ipa(at))) {
                to_dirty[me]++;
            }
        } else if (desc_kind(e.desc, e.level) == DESC_BUSY) {
            sched_yield();
        } else {
            done = true; /* the hole */
        }
        epoch_leave();
    }
    hits[me]++;
}

static void *writer(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;

    this_core_ptr = &cores[me];
    rnd = me + 100;
    for (;;) {
        pthread_barrier_wait(&gate);
        if (atomic_load(&over))
            return NULL;
        for (uint64_t n = random_below(&rnd, 1 + atomic_load(&stores_at_most)); n > 0; n--)
            store_once(me, random_below(&rnd, S2_ENTRIES));
        pthread_barrier_wait(&gate);
    }
}

static void promotion_under_writers(void **state)
{
    const uint64_t rounds = 2000;
    uint64_t joined = 0, refused = 0, clean = 0;
    struct limbo limbo = {0};
    pthread_t thread[WRITERS];
    uint64_t r = seed(7);
    pa_t table;

    (void)state;
    set_up();
    memset(pa_ptr(pa(block_pa)), 0, BLOCK_SIZE);
    fake_arch_hook = slow;
    core_enter(WRITERS);
    pthread_barrier_init(&gate, NULL, WRITERS + 1);
    for (uintptr_t i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&thread[i], NULL, writer, (void *)i) == 0);
    for (uint64_t n = 0; n < rounds; n++) {
        uint32_t hole = random_below(&r, 4) ? S2_ENTRIES : (uint32_t)random_below(&r, S2_ENTRIES);
        bool any = false;

        memset(wrote, 0, sizeof(wrote));
        atomic_store(&stores_at_most, n % 8 ? 60 : 0);
        CHECK(frame_alloc(&frames, &table));
        link_table(table, hole);
        pthread_barrier_wait(&gate);
        for (uint64_t k = random_below(&r, 12); k > 0; k--)
            sched_yield();
        epoch_enter();
        bool ok = s2_promote(&world.s2, &level2[0], ipa(RAM), &limbo);
        epoch_leave();
        pthread_barrier_wait(&gate);

        CHECK(ok == (hole == S2_ENTRIES));
        for (uint64_t page = 0; page < S2_ENTRIES; page++) {
            uint64_t at = page * PAGE_SIZE, count = wrote[0][page] + wrote[1][page];
            struct s2_entry e = s2_walk(&world.s2, ipa(RAM + at));

            /* Every store is there, and the page knows it: this is what a clean page's frame would be thrown away by. */
            CHECK(atomic_exchange(word(block_pa + at), 0) == count);
            if (count)
                CHECK(desc_writable(e.desc));
            CHECK(desc_kind(e.desc, e.level) == (page == hole ? DESC_ABSENT_ZERO : DESC_PRESENT));
            any = any || count;
            if (!ok)
                CHECK(count || !desc_writable(e.desc)); /* what was clean came back clean */
        }
        if (ok)
            CHECK(desc_writable(atomic_load(&level2[0])) == any);
        joined += ok;
        refused += !ok;
        clean += ok && !any;
        while (!epoch_reap(&limbo, &frames) && limbo.count)
            ;
        if (!ok)
            frame_free(&frames, table);
    }
    atomic_store(&over, true);
    pthread_barrier_wait(&gate);
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&gate);
    printf("%llu joined (%llu of them clean), %llu refused, %llu stores, %llu made dirty\n", (unsigned long long)joined,
           (unsigned long long)clean, (unsigned long long)refused, (unsigned long long)(hits[0] + hits[1]),
           (unsigned long long)(to_dirty[0] + to_dirty[1]));
    CHECK(joined && refused && clean && to_dirty[0] + to_dirty[1]);
    fake_arch_hook = NULL;
    world_drop();
}

/* ---- writers that found the table before it went, and come as it is taken apart */

static _Atomic uint32_t ready;
static _Atomic bool missed; /* it is over already */
static bool made[WRITERS][S2_ENTRIES];

static void *late_writer(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;

    this_core_ptr = &cores[me];
    rnd = me;
    for (;;) {
        pthread_barrier_wait(&gate);
        if (atomic_load(&over))
            return NULL;
        epoch_enter();
        _Atomic uint64_t *table = s2_walk(&world.s2, ipa(RAM)).slot;
        CHECK(desc_kind(atomic_load(table), 3) == DESC_PRESENT);
        atomic_fetch_add(&ready, 1);
        while (desc_kind(atomic_load_explicit(&level2[0], memory_order_relaxed), 2) != DESC_BUSY &&
               !atomic_load(&missed))
            ;
        /* From the other end, so that we meet, or all over. */
        uint64_t stride = random_below(&rnd, 2) ? 511 : 1 + 2 * random_below(&rnd, 256);
        for (uint64_t i = 0; i < S2_ENTRIES; i++) {
            uint64_t page = (510 + i * stride) % S2_ENTRIES;

            made[me][page] =
                s2_make_dirty(&world.s2, &table[page], desc_leaf(pa(block_pa + page * PAGE_SIZE), 3, false),
                              ipa(RAM + page * PAGE_SIZE));
        }
        epoch_leave();
        pthread_barrier_wait(&gate);
    }
}

/* The last page is absent, so all goes back, page by page: whoever was told that a page is dirty finds it so. */
static void late_writers(void **state)
{
    struct limbo limbo = {0};
    pthread_t thread[WRITERS];
    uint64_t won = 0, lost = 0;
    pa_t table;

    (void)state;
    set_up();
    core_enter(WRITERS);
    pthread_barrier_init(&gate, NULL, WRITERS + 1);
    CHECK(frame_alloc(&frames, &table));
    for (uintptr_t i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&thread[i], NULL, late_writer, (void *)i) == 0);
    /* On a busy host it can take many rounds until one of them runs just when the table is taken apart. */
    for (int n = 0; n < 1000 || (!lost && n < 100000); n++) {
        link_table(table, S2_ENTRIES - 1);
        atomic_store(&ready, 0);
        atomic_store(&missed, false);
        pthread_barrier_wait(&gate);
        while (atomic_load(&ready) != WRITERS)
            sched_yield();
        epoch_enter();
        CHECK(!s2_promote(&world.s2, &level2[0], ipa(RAM), &limbo));
        epoch_leave();
        atomic_store(&missed, true);
        pthread_barrier_wait(&gate);
        for (uint32_t i = 0; i + 1 < S2_ENTRIES; i++) {
            bool dirty = desc_writable(atomic_load((_Atomic uint64_t *)pa_ptr(table) + i));

            CHECK(!(made[0][i] && made[1][i])); /* one of them made it so */
            CHECK(dirty == (made[0][i] || made[1][i]));
            won += dirty;
            lost += !dirty;
        }
    }
    atomic_store(&over, true);
    pthread_barrier_wait(&gate);
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&gate);
    printf("%llu pages made dirty, %llu too late\n", (unsigned long long)won, (unsigned long long)lost);
    CHECK(won && lost);
    world_drop();
}

/* ---- a retired table is poisoned when it is used again; no reader may see poison */

#define POISON (UINT64_C(0xdead) << 48 | 0x5000 | 0x3) /* valid, if anyone takes it for a descriptor */

static _Atomic uint64_t walks;

static void spin(uint64_t n)
{
    while (n-- > 0)
        __asm__ volatile("");
}

static void *reader(void *arg)
{
    uint64_t n = 0, r;

    this_core_ptr = &cores[(uintptr_t)arg];
    r = (uintptr_t)arg;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        uint64_t page = random_below(&r, S2_ENTRIES);

        epoch_enter();
        for (int look = 0; look < 4; look++) {
            struct s2_entry e = s2_walk(&world.s2, ipa(RAM + page * PAGE_SIZE));

            CHECK(e.level >= 2);
            for (int again = 0; again < 3; again++) { /* it may be held as long as the epoch lasts */
                uint64_t d = atomic_load_explicit(e.slot, memory_order_acquire);

                if (desc_kind(d, e.level) == DESC_PRESENT)
                    CHECK(desc_pa(d).v == block_pa + (e.level == 3 ? page * PAGE_SIZE : 0));
                else
                    CHECK(d == desc_busy() || (e.level == 2 && desc_kind(d, 2) == DESC_TABLE_REF));
                if (again == 1 && (n & 31) == 0)
                    sched_yield();
                spin(random_below(&r, 600));
            }
        }
        epoch_leave();
        n++;
    }
    atomic_fetch_add(&walks, n);
    return NULL;
}

static void no_reader_sees_poison(void **state)
{
    struct limbo limbo = {0};
    pthread_t thread[WRITERS];
    uint64_t reaped = 0, most = 0, r = seed(9);
    pa_t table;

    (void)state;
    set_up();
    core_enter(WRITERS);
    CHECK(frame_alloc(&frames, &table));
    link_table(table, S2_ENTRIES);
    for (uintptr_t i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&thread[i], NULL, reader, (void *)i) == 0);
    for (uint64_t n = 0; n < 3000; n++) {
        spin(random_below(&r, 3000)); /* somebody gets hold of the table */
        epoch_enter();
        CHECK(s2_promote(&world.s2, &level2[0], ipa(RAM), &limbo));
        epoch_leave();
        if (limbo.count > most)
            most = limbo.count;
        do {
            uint32_t k = epoch_reap(&limbo, &frames);

            reaped += k;
            for (uint64_t f = frames.head; k > 0; k--, f = atomic_load(frame_record(pa(f)))) {
                for (uint32_t i = 0; i < S2_ENTRIES; i++)
                    atomic_store_explicit((_Atomic uint64_t *)pa_ptr(pa(f)) + i, POISON, memory_order_relaxed);
            }
            if (!limbo_room(&limbo))
                sched_yield();
        } while (!limbo_room(&limbo));
        CHECK(frame_alloc(&frames, &table));
        link_table(table, S2_ENTRIES);
        if (n % 8 == 0)
            sched_yield();
    }
    atomic_store(&over, true);
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(thread[i], NULL);
    printf("%llu walks, %llu tables used again, at most %llu waiting\n", (unsigned long long)atomic_load(&walks),
           (unsigned long long)reaped, (unsigned long long)most);
    CHECK(reaped > 1000 && atomic_load(&walks) > 1000);
    world_drop();
}

/* ---- EL2's own accesses against whoever takes the page away */

static _Atomic uint64_t copies;

static void *copier(void *arg)
{
    uint64_t mark[8];

    this_core_ptr = &cores[(uintptr_t)arg];
    for (uint64_t n = 1; !atomic_load_explicit(&over, memory_order_relaxed); n++) {
        for (size_t i = 0; i < ARRAY_SIZE(mark); i++)
            mark[i] = n << 8 | (uintptr_t)arg;
        /* Each copier has a line of its own in the page. */
        if (guestmem_write(&world.s2, ipa(RAM + 0x3000 + 64 * (uintptr_t)arg), mark, sizeof(mark), true) == GUESTMEM_OK)
            atomic_fetch_add_explicit(&copies, 1, memory_order_relaxed);
        else
            sched_yield();
    }
    return NULL;
}

static void taken_from_copiers(void **state)
{
    pthread_t thread[WRITERS];
    _Atomic uint64_t *slot;
    uint64_t taken = 0;
    pa_t table;

    (void)state;
    set_up();
    memset(pa_ptr(pa(block_pa)), 0, BLOCK_SIZE);
    core_enter(WRITERS);
    CHECK(frame_alloc(&frames, &table));
    link_table(table, S2_ENTRIES);
    slot = (_Atomic uint64_t *)pa_ptr(table) + 3;
    for (uintptr_t i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&thread[i], NULL, copier, (void *)i) == 0);
    for (uint64_t n = 0; n < 3000; n++) {
        uint64_t *frame = pa_ptr(pa(block_pa + 0x3000));
        uint64_t d = atomic_load(slot);

        if (!atomic_compare_exchange_strong(slot, &d, desc_busy()))
            continue;
        guestmem_quiesce(pa(block_pa + 0x3000), PAGE_SIZE);
        /* Nobody else is at it now: plain accesses, so ThreadSanitizer sees any that is, and half a copy shows. */
        for (size_t i = 0; i < 8 * WRITERS; i++)
            CHECK(frame[i] == frame[i & ~UINT64_C(7)]);
        memset(frame, 0, 64 * WRITERS);
        if (n % 4 == 0)
            sched_yield();
        for (size_t i = 0; i < 8 * WRITERS; i++)
            CHECK(frame[i] == 0);
        atomic_store_explicit(slot, desc_leaf(pa(block_pa + 0x3000), 3, n & 1), memory_order_release);
        taken++;
        if (n % 3 == 0)
            sched_yield();
    }
    atomic_store(&over, true);
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(thread[i], NULL);
    printf("%llu copies, taken away %llu times\n", (unsigned long long)atomic_load(&copies), (unsigned long long)taken);
    CHECK(atomic_load(&copies) > 100 && taken > 100);
    world_drop();
}

/* ---- blocks and frames: plain writes by whoever holds one */

/* More than a cache keeps: the rest goes through the depot, where the others find it. */
static void many_frames(struct frame_cache *cache, uint64_t me)
{
    static _Thread_local pa_t f[FRAME_CACHE_HIGH + 200];
    uint64_t n = 0;

    while (n < ARRAY_SIZE(f) && frame_alloc(cache, &f[n])) {
        *(uint64_t *)pa_ptr(f[n]) = me << 32 | n;
        atomic_store_explicit(frame_record(f[n]), me, memory_order_relaxed);
        n++;
    }
    while (n > 0) {
        n--;
        CHECK(*(uint64_t *)pa_ptr(f[n]) == (me << 32 | n));
        CHECK(atomic_load_explicit(frame_record(f[n]), memory_order_relaxed) == me);
        frame_free(cache, f[n]);
    }
}

static void *taker(void *arg)
{
    uint64_t me = (uintptr_t)arg, held = 0, r = me + 1;
    struct frame_cache cache = {0};
    pa_t mine[4], small;

    for (int n = 0; n < 20000; n++) {
        if (held < ARRAY_SIZE(mine) && random_below(&r, 2)) {
            if (!frames_alloc_block(&mine[held]))
                continue;
            *(uint64_t *)pa_ptr(mine[held]) = me;
            atomic_store_explicit(frame_record(mine[held]), me, memory_order_relaxed);
            held++;
        } else if (held) {
            held--;
            CHECK(*(uint64_t *)pa_ptr(mine[held]) == me);
            CHECK(atomic_load_explicit(frame_record(mine[held]), memory_order_relaxed) == me);
            frames_free_block(mine[held]);
        }
        if (n % 64 == 0 && frame_alloc(&cache, &small)) {
            *(uint64_t *)pa_ptr(small) = me;
            frame_free(&cache, small);
        }
        if (n % 4000 == 0)
            many_frames(&cache, me);
    }
    while (held)
        frames_free_block(mine[--held]);
    return NULL;
}

static void frames_change_hands(void **state)
{
    uint8_t *base = arena_make(20);
    struct range bank = {(uint64_t)(uintptr_t)base, 20 * BLOCK_SIZE};
    pthread_t thread[4];

    (void)state;
    cores_make(4);
    CHECK(frames_init(&bank, 1, NULL, 0, NULL));
    for (uintptr_t i = 0; i < ARRAY_SIZE(thread); i++)
        CHECK(pthread_create(&thread[i], NULL, taker, (void *)(i + 1)) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(thread); i++)
        pthread_join(thread[i], NULL);
    /* What was split stays so; what was held as blocks is back. */
    assert_in_range(frames_free_blocks(), 19 - 4 * 3, 19 - 4);
    arena_drop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promotion_under_writers), cmocka_unit_test(late_writers),
        cmocka_unit_test(no_reader_sees_poison),   cmocka_unit_test(taken_from_copiers),
        cmocka_unit_test(frames_change_hands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
