/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* Each change of a descriptor, and when a table that was unlinked may be used again. */
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)

static struct limbo limbo;
static struct frame_cache frames;

/* The maintenance that was done, in order, and what the descriptor under `watched` said at that moment. */
static struct {
    enum fake_op op;
    uint64_t arg, desc;
} done[64];
static unsigned done_count;
static _Atomic uint64_t *watched;

static void record(enum fake_op op, uint64_t arg)
{
    CHECK(done_count < ARRAY_SIZE(done));
    done[done_count].op = op;
    done[done_count].arg = arg;
    done[done_count++].desc = watched ? atomic_load(watched) : 0;
}

static int set_up(void **state)
{
    (void)state;
    world_make(&(struct world_config){.blocks = 8, .vcpus = 2, .ram_base = RAM, .ram_size = GIB(1)});
    memset(&limbo, 0, sizeof(limbo));
    memset(&frames, 0, sizeof(frames));
    done_count = 0;
    watched = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_drop();
    return 0;
}

/* A table of 512 pages at RAM, those of `dirty` (bit per page) writable. Returns the entry that leads to it. */
static _Atomic uint64_t *full_table(const uint64_t dirty[8], pa_t *table_out, pa_t *block_out)
{
    _Atomic uint64_t *table, *level2;
    pa_t t, l2, block;

    CHECK(frame_alloc(&frames, &t) && frame_alloc(&frames, &l2) && frames_alloc_block(&block));
    zero_pages(pa_ptr(l2), 1);
    table = pa_ptr(t);
    for (uint32_t i = 0; i < S2_ENTRIES; i++)
        table[i] = desc_leaf(pa_add(block, i * PAGE_SIZE), 3, (dirty[i / 64] & BIT(i % 64)) != 0);
    atomic_store(frame_record(t), TABLE_RESERVED | block.v | S2_ENTRIES);
    level2 = pa_ptr(l2);
    level2[0] = desc_table(t);
    world.s2.root[RAM >> GIB_SHIFT] = desc_table(l2);
    *table_out = t;
    *block_out = block;
    return level2;
}

static const uint64_t clean[8] = {0};

static void begin_and_complete(void **state)
{
    _Atomic uint64_t slot = desc_absent(2, 77);

    (void)state;
    assert_false(s2_begin(&slot, 0, 9)); /* it is not what he saw */
    assert_true(slot == desc_absent(2, 77));
    assert_true(s2_begin(&slot, desc_absent(2, 77), 9));
    assert_true(slot == desc_in_flight(9));
    assert_false(s2_begin(&slot, desc_absent(2, 77), 10)); /* one winner */
    s2_complete(&slot, 9, desc_leaf(pa(0x5000), 3, false));
    assert_true(slot == desc_leaf(pa(0x5000), 3, false));
}

static _Atomic uint64_t stolen;
static void complete_stolen(void)
{
    s2_complete(&stolen, 4, desc_leaf(pa(0x5000), 3, false));
}

static void complete_by_another_panics(void **state)
{
    (void)state;
    stolen = desc_in_flight(4);
    assert_false(panics(complete_stolen));
    stolen = desc_in_flight(5);
    assert_true(panics(complete_stolen));
    stolen = 0;
    assert_true(panics(complete_stolen));
}

static void ready_frame(void **state)
{
    _Atomic uint64_t slot = 0;

    (void)state;
    assert_true(s2_map_ready(&slot, desc_leaf(pa(0x200000), 2, true)));
    assert_false(s2_map_ready(&slot, desc_leaf(pa(0x400000), 2, true)));
    assert_true(slot == desc_leaf(pa(0x200000), 2, true));
}

static void dirty_page(void **state)
{
    _Atomic uint64_t slot = desc_leaf(pa(0x5000), 3, false);

    (void)state;
    watched = &slot;
    fake_arch_hook = record;
    assert_true(s2_make_dirty(&world.s2, &slot, desc_leaf(pa(0x5000), 3, false), ipa(RAM + 0x3123)));
    assert_true(slot == desc_leaf(pa(0x5000), 3, true));
    /* By IPA, then what is combined with stage 1, each complete before the next; the new descriptor stands already. */
    assert_int_equal(done_count, 4);
    assert_int_equal(done[0].op, FAKE_TLBI_IPA);
    assert_true(done[0].arg >> PAGE_SHIFT == (RAM + 0x3123) >> PAGE_SHIFT);
    assert_int_equal(done[1].op, FAKE_DSB);
    assert_int_equal(done[2].op, FAKE_TLBI_VMALLE1);
    assert_int_equal(done[3].op, FAKE_DSB);
    for (unsigned i = 0; i < done_count; i++)
        assert_true(done[i].desc == desc_leaf(pa(0x5000), 3, true));

    /* Too late: nothing changes, nothing is flushed. */
    assert_false(s2_make_dirty(&world.s2, &slot, desc_leaf(pa(0x5000), 3, false), ipa(RAM)));
    assert_int_equal(done_count, 4);
}

static void promotion(void **state)
{
    uint64_t dirty[8] = {0, 0, 0, BIT(17), 0, 0, 0, 0};
    pa_t table, block;
    _Atomic uint64_t *slot = full_table(dirty, &table, &block);

    (void)state;
    watched = slot;
    fake_arch_hook = record;
    memset(pa_ptr(block), 0x3c, BLOCK_SIZE);
    assert_true(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
    /* One dirty page makes a dirty block. */
    assert_true(*slot == desc_leaf(block, 2, true));
    /* Break, forget, make: nobody could get a translation from before while it was made. */
    assert_int_equal(done_count, 2);
    assert_int_equal(done[0].op, FAKE_TLBI_VMALLS12);
    assert_true(done[0].desc == desc_busy());
    assert_int_equal(done[1].op, FAKE_DSB);
    assert_true(done[1].desc == desc_busy());
    /* Nothing moved. */
    for (uint64_t i = 0; i < BLOCK_SIZE; i++)
        CHECK(((uint8_t *)pa_ptr(block))[i] == 0x3c);
    assert_true(atomic_load(frame_record(block)) == (OWNER_VALID | field_put(OWNER_GUEST, 1) | RAM));
    assert_int_equal(limbo.count, 1);
    assert_true(limbo.entry[limbo.head].frame.v == table.v);
    /* Once is enough. */
    assert_false(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
    assert_int_equal(limbo.count, 1);
}

static void clean_promotion(void **state)
{
    pa_t table, block;
    _Atomic uint64_t *slot = full_table(clean, &table, &block);

    (void)state;
    assert_true(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
    assert_true(*slot == desc_leaf(block, 2, false));
    /* And the block becomes dirty as a page does. */
    assert_true(s2_make_dirty(&world.s2, slot, desc_leaf(block, 2, false), ipa(RAM + 0x1ff000)));
    assert_true(*slot == desc_leaf(block, 2, true));
}

static void not_yet(void **state)
{
    pa_t table, block;
    _Atomic uint64_t *slot = full_table(clean, &table, &block);
    uint64_t before = *slot;

    (void)state;
    fake_arch_hook = record;
    atomic_store(frame_record(table), TABLE_RESERVED | block.v | (S2_ENTRIES - 1));
    assert_false(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
    atomic_store(frame_record(table), S2_ENTRIES); /* no block of its own */
    assert_false(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
    atomic_store(frame_record(table), TABLE_RESERVED | block.v | S2_ENTRIES);
    limbo.count = LIMBO_MAX;
    assert_false(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
    limbo.count = 0;
    assert_true(*slot == before);
    assert_int_equal(done_count, 0); /* no guest paid for any of this */

    /* Entries that are no table. */
    static const enum desc_kind kind[] = {DESC_ABSENT_ZERO, DESC_BUSY, DESC_MMIO, DESC_NOWHERE};
    for (size_t i = 0; i < ARRAY_SIZE(kind); i++) {
        *slot = desc_invalid(kind[i], 0, 0);
        assert_false(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
        assert_true(*slot == desc_invalid(kind[i], 0, 0));
    }
    assert_int_equal(limbo.count, 0);
}

/* The count says 512 but one page is not there: all goes back as it was, dirty state included. */
static void joined_in_vain(void **state)
{
    uint64_t dirty[8] = {BIT(0) | BIT(63), BIT(1), 0, 0, 0, 0, BIT(40), BIT(62)};
    static uint64_t before[S2_ENTRIES];
    pa_t table, block;
    _Atomic uint64_t *slot = full_table(dirty, &table, &block), *pages = pa_ptr(table);
    uint64_t entry = *slot;
    static const uint64_t odd[] = {0, DESC_VALID}; /* absent, or standing elsewhere */

    (void)state;
    for (size_t k = 0; k < ARRAY_SIZE(odd); k++) {
        for (uint32_t at = 0; at < S2_ENTRIES; at += 73) {
            uint64_t good = pages[at];

            pages[at] = odd[k] ? desc_leaf(pa_add(block, ((at + 1) % 512) * PAGE_SIZE), 3, false) : 0;
            for (uint32_t i = 0; i < S2_ENTRIES; i++)
                before[i] = pages[i];
            assert_false(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
            assert_true(*slot == entry);
            for (uint32_t i = 0; i < S2_ENTRIES; i++)
                assert_true(pages[i] == before[i]);
            pages[at] = good;
        }
    }
    assert_int_equal(limbo.count, 0);
    assert_true(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
    assert_true(*slot == desc_leaf(block, 2, true));
}

/*
 * Another vCPU that found the page before the table was taken away makes it dirty while it is: either the block knows,
 * or the attempt fails and that vCPU walks again.
 */
static _Atomic uint64_t *late_slot;
static uint64_t late_desc;
static bool late_ok;

static void late_writer(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op != FAKE_TLBI_VMALLS12)
        return;
    fake_arch_hook = NULL;
    late_ok = s2_make_dirty(&world.s2, late_slot, late_desc, ipa(RAM));
}

static void dirty_while_busy(void **state)
{
    pa_t table, block;
    _Atomic uint64_t *slot = full_table(clean, &table, &block);

    (void)state;
    late_slot = (_Atomic uint64_t *)pa_ptr(table) + 300;
    late_desc = *late_slot;
    fake_arch_hook = late_writer;
    assert_true(s2_promote(&world.s2, slot, ipa(RAM), &limbo));
    assert_true(late_ok);
    assert_true(*slot == desc_leaf(block, 2, true));
    /* Afterwards nobody who still holds the table gets anywhere. */
    assert_false(s2_make_dirty(&world.s2, late_slot, late_desc, ipa(RAM)));
    assert_false(s2_make_dirty(&world.s2, late_slot, late_desc | DESC_S2AP_W, ipa(RAM)));
}

static void epochs(void **state)
{
    struct frame_cache spare = {0};
    pa_t f[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_true(frame_alloc(&frames, &f[i]));
    assert_int_equal(epoch_reap(&limbo, &spare), 0);

    /* Nobody reads: at once. */
    epoch_retire(&limbo, f[0]);
    assert_int_equal(epoch_reap(&limbo, &spare), 1);
    assert_true(spare.head == f[0].v && spare.count == 1);

    /* Core 1 was reading when it went, core 0 began afterwards: until core 1 is out. */
    core_enter(1);
    epoch_enter();
    core_enter(0);
    epoch_retire(&limbo, f[1]);
    epoch_enter();
    assert_int_equal(epoch_reap(&limbo, &spare), 0);
    core_enter(1);
    epoch_leave();
    epoch_enter(); /* a new visit does not count */
    core_enter(0);
    assert_int_equal(epoch_reap(&limbo, &spare), 1);
    assert_true(spare.head == f[1].v);

    /* In the order of retirement, as far as the oldest reader lets. */
    epoch_leave();
    core_enter(1);
    epoch_leave();
    epoch_retire(&limbo, f[2]);
    core_enter(0);
    epoch_enter();
    epoch_retire(&limbo, f[3]);
    assert_int_equal(epoch_reap(&limbo, &spare), 1);
    assert_true(spare.head == f[2].v);
    assert_int_equal(limbo.count, 1);
    epoch_leave();
    assert_int_equal(epoch_reap(&limbo, &spare), 1);
    assert_true(spare.head == f[3].v && limbo.count == 0);
}

static void limbo_overflows(void)
{
    for (unsigned i = 0; i <= LIMBO_MAX; i++)
        epoch_retire(&limbo, pa(PAGE_SIZE));
}

static void limbo_limit(void **state)
{
    struct frame_cache spare = {0};
    pa_t f;

    (void)state;
    assert_true(panics(limbo_overflows));
    /* Round and round. */
    for (unsigned i = 0; i < 5 * LIMBO_MAX; i++) {
        assert_true(limbo_room(&limbo));
        assert_true(frame_alloc(&frames, &f));
        epoch_retire(&limbo, f);
        if (i % 7 == 6)
            assert_int_equal(epoch_reap(&limbo, &spare), 7);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(begin_and_complete),
        TEST(complete_by_another_panics),
        TEST(ready_frame),
        TEST(dirty_page),
        TEST(promotion),
        TEST(clean_promotion),
        TEST(not_yet),
        TEST(joined_in_vain),
        TEST(dirty_while_busy),
        TEST(epochs),
        TEST(limbo_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
