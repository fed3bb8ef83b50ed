/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* How tables are made and read: against a flat array with one descriptor for each page. */
#include "tests/unit/support.h"

#define SPAN GIB(4) /* what the model covers, from IPA 0 */
#define PAGES (SPAN / PAGE_SIZE)

static struct frame_cache frames;
static struct s2 s;
static struct report_guest stats;

static void make(uint64_t blocks)
{
    struct range bank = {(uint64_t)(uintptr_t)arena_make(blocks), blocks * BLOCK_SIZE};

    cores_make(1);
    memset(&frames, 0, sizeof(frames));
    memset(&s, 0, sizeof(s));
    CHECK(frames_init(&bank, 1, NULL, 0, NULL));
    CHECK(s2_init(&s, 5, &frames, &stats));
}

static uint64_t page_of(const struct s2_entry *e, uint64_t at)
{
    uint64_t index = (at >> PAGE_SHIFT) & (BIT(9 * (3 - e->level)) - 1);

    if (desc_kind(e->desc, e->level) != DESC_ABSENT)
        return e->desc;
    return desc_absent(desc_small(e->desc), desc_large(e->desc) + index);
}

static void fresh(void **state)
{
    struct s2_entry e;

    (void)state;
    make(4);
    assert_true(s.vttbr == ((uint64_t)(uintptr_t)s.root | UINT64_C(5) << 48));
    assert_true((uint64_t)(uintptr_t)s.root % PAGE_SIZE == 0);
    for (uint64_t at = 0; at < BIT(39); at += GIB(1) - 1) {
        e = s2_walk(&s, ipa(at));
        assert_int_equal(desc_kind(e.desc, e.level), DESC_NOWHERE);
        assert_int_equal(e.level, 1);
        assert_true(e.slot == &s.root[at >> 30]);
    }
    /* Beyond the IPA space there is no slot, and nothing of the tables is read. */
    for (unsigned bit = 39; bit < 64; bit++) {
        e = s2_walk(&s, ipa(BIT(bit)));
        assert_null(e.slot);
        assert_int_equal(desc_kind(e.desc, e.level), DESC_NOWHERE);
        e = s2_walk_block(&s, ipa(BIT(bit)));
        assert_null(e.slot);
        assert_int_equal(desc_kind(e.desc, e.level), DESC_NOWHERE);
    }
    arena_drop();
}

static void coarse_entries(void **state)
{
    struct s2_entry e;
    uint64_t before;

    (void)state;
    make(4);
    before = frames.count;
    /* A guest of 4 GiB of zeroes at 1 GiB costs nothing but the root. */
    assert_true(s2_set_range(&s, &frames, ipa(GIB(1)), GIB(4), 0));
    assert_int_equal(frames.count, before);
    assert_int_equal(s2_walk(&s, ipa(GIB(2) + 0x12345)).level, 1);
    assert_int_equal(s2_walk(&s, ipa(GIB(2) + 0x12345)).desc, 0);
    /* An image of 1 GiB: a table of blocks, since a block is what is reserved. */
    assert_true(s2_set_range(&s, &frames, ipa(GIB(2)), GIB(1), desc_absent(1, 7)));
    assert_int_equal(frames.count, before - 1);
    e = s2_walk(&s, ipa(GIB(2) + 3 * BLOCK_SIZE + 0x5123));
    assert_int_equal(e.level, 2);
    assert_true(e.desc == desc_absent(1, 7 + 3 * BLOCK_PAGES));
    assert_true(desc_below(e.desc, 5) == desc_absent(1, 7 + 3 * BLOCK_PAGES + 5));
    /* One page of a device: two tables on the way, the rest as before. */
    assert_true(s2_set_range(&s, &frames, ipa(0x09000000), PAGE_SIZE, desc_mmio(3)));
    e = s2_walk(&s, ipa(0x09000ffc));
    assert_int_equal(e.level, 3);
    assert_true(e.desc == desc_mmio(3));
    assert_int_equal(s2_walk(&s, ipa(0x09001000)).desc, desc_nowhere());
    assert_int_equal(s2_walk(&s, ipa(0x08fff000)).level, 2);
    assert_int_equal(s2_walk(&s, ipa(0x09001000)).level, 3);
    /* The block of a page that has a table of its own, and of one that has none. */
    e = s2_walk_block(&s, ipa(0x09000000));
    assert_true(e.level == 2 && desc_kind(e.desc, 2) == DESC_TABLE_REF);
    e = s2_walk_block(&s, ipa(GIB(3)));
    assert_true(e.level == 1 && e.desc == 0);
    arena_drop();
}

static void refused(void **state)
{
    (void)state;
    make(4);
    assert_false(s2_set_range(&s, &frames, ipa(0x800), PAGE_SIZE, 0));
    assert_false(s2_set_range(&s, &frames, ipa(0), 0x800, 0));
    assert_false(s2_set_range(&s, &frames, ipa(BIT(39)), PAGE_SIZE, 0));
    assert_false(s2_set_range(&s, &frames, ipa(BIT(39) - PAGE_SIZE), 2 * PAGE_SIZE, 0));
    assert_false(s2_set_range(&s, &frames, ipa(PAGE_SIZE), ~UINT64_C(0) & ~(PAGE_SIZE - 1), 0));
    assert_true(s2_set_range(&s, &frames, ipa(BIT(39) - PAGE_SIZE), PAGE_SIZE, 0));
    assert_true(s2_set_range(&s, &frames, ipa(0), 0, desc_mmio(1)));
    assert_int_equal(s2_walk(&s, ipa(0)).desc, desc_nowhere());
    arena_drop();
}

static void out_of_memory(void **state)
{
    struct frame_cache none = {0};
    pa_t b;
    uint64_t at = 0;

    (void)state;
    make(3);
    while (frames_alloc_block(&b))
        ;
    while (s2_set_range(&s, &frames, ipa(at), PAGE_SIZE, desc_mmio(1)))
        at += GIB(1);
    assert_true(at > 0 && at < BIT(39) && frames.count == 0);
    /* What could not be set still says what it said. */
    assert_int_equal(s2_walk(&s, ipa(at)).desc, desc_nowhere());
    assert_int_equal(s2_walk(&s, ipa(at - GIB(1))).desc, desc_mmio(1));
    struct s2 other;
    assert_false(s2_init(&other, 6, &none, &stats));
    arena_drop();
}

static void sources(void **state)
{
    struct source image = {.ops = &source_image_ops, .base = pa(0x1234), .size = 99};

    (void)state;
    make(3);
    for (int i = 1; i < S2_SOURCES; i++)
        assert_int_equal(s2_add_source(&s, &image), i);
    assert_int_equal(s2_add_source(&s, &image), -1);
    assert_ptr_equal(s.sources[S2_SOURCE_ZERO].ops, &source_zero_ops);
    assert_true(s.sources[7].size == 99 && s.sources[7].base.v == 0x1234);
    arena_drop();
}

/* VTCR_EL2 as the Arm ARM lays it out (D19.2.160), for each PARange. */
static void translation_control(void **state)
{
    static const unsigned t0sz[] = {32, 28, 25, 25, 25, 25, 25, 25};
    static const unsigned ps[] = {0, 1, 2, 3, 4, 5, 5, 5};

    (void)state;
    for (unsigned range = 0; range < 8; range++) {
        uint64_t v = s2_vtcr(0xfffffff0 | range);

        assert_int_equal(v & 0x3f, t0sz[range]);
        assert_int_equal(v >> 6 & 3, 1); /* SL0: level 1 */
        assert_int_equal(v >> 8 & 3, 1); /* walks write-back */
        assert_int_equal(v >> 10 & 3, 1);
        assert_int_equal(v >> 12 & 3, 3); /* inner shareable */
        assert_int_equal(v >> 14 & 3, 0); /* 4 KiB */
        assert_int_equal(v >> 16 & 7, ps[range]);
        assert_true(v == ((v & 0x7ffff) | UINT64_C(1) << 31));
    }
}

static uint64_t any_boundary(uint64_t *r)
{
    static const uint64_t unit[] = {PAGE_SIZE, PAGE_SIZE, BLOCK_SIZE, BLOCK_SIZE, GIB(1)};
    uint64_t u = unit[random_below(r, ARRAY_SIZE(unit))];
    uint64_t at = random_below(r, SPAN / u + 1) * u;
    uint64_t off = random_below(r, 5) * PAGE_SIZE; /* often a little beside a boundary */

    switch (random_below(r, 3)) {
    case 0:
        return at >= off ? at - off : at;
    case 1:
        return at + off <= SPAN ? at + off : at;
    default:
        return at;
    }
}

static uint64_t any_desc(uint64_t *r)
{
    switch (random_below(r, 5)) {
    case 0:
        return 0;
    case 1:
        return desc_nowhere();
    case 2:
        return desc_mmio((uint32_t)random_below(r, 256));
    default:
        return desc_absent((uint32_t)random_below(r, 256), random_below(r, BIT(40)));
    }
}

static void against_model(void **state)
{
    uint64_t r = seed(20240601);
    uint64_t *model = malloc(PAGES * sizeof(*model));

    (void)state;
    assert_non_null(model);
    for (int round = 0; round < 6; round++) {
        make(32);
        for (uint64_t i = 0; i < PAGES; i++)
            model[i] = desc_nowhere();
        for (int n = 0; n < 300; n++) {
            uint64_t from = any_boundary(&r), to = any_boundary(&r), desc = any_desc(&r);

            if (random_below(&r, 2)) /* a short one: else the last few would be all that is left */
                to = from + random_below(&r, 1200) * PAGE_SIZE;
            if (to > SPAN)
                to = SPAN;
            if (from > to) {
                uint64_t t = from;

                from = to;
                to = t;
            }
            CHECK(s2_set_range(&s, &frames, ipa(from), to - from, desc));
            for (uint64_t at = from; at < to; at += PAGE_SIZE)
                model[at / PAGE_SIZE] = desc_kind(desc, 3) == DESC_ABSENT
                                            ? desc_absent(desc_small(desc), desc_large(desc) + (at - from) / PAGE_SIZE)
                                            : desc;
            for (int i = 0; i < 2000; i++) {
                uint64_t at = random_below(&r, SPAN);
                struct s2_entry e = s2_walk(&s, ipa(at));

                CHECK(page_of(&e, at) == model[at / PAGE_SIZE]);
            }
        }
        for (uint64_t at = 0; at < SPAN; at += PAGE_SIZE) {
            struct s2_entry e = s2_walk(&s, ipa(at | (at >> 13 & 0xfff)));

            CHECK(page_of(&e, at) == model[at / PAGE_SIZE]);
            CHECK(*e.slot == e.desc && e.level >= 1 && e.level <= 3);
        }
        CHECK(desc_kind(s2_walk(&s, ipa(SPAN)).desc, 1) == DESC_NOWHERE);
        arena_drop();
    }
    free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh),         cmocka_unit_test(coarse_entries),      cmocka_unit_test(refused),
        cmocka_unit_test(sources),       cmocka_unit_test(translation_control), cmocka_unit_test(out_of_memory),
        cmocka_unit_test(against_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
