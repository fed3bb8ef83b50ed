/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* The fault state machine: each kind of descriptor at each level, with and without a helper. */
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)
#define DABT (UINT64_C(0x24) << 26)
#define WNR (1u << 6)
#define S1PTW (1u << 7)
#define PERMISSION_L3 0x0f
#define TRANSLATION_L3 0x07

static bool queued;

static void make(uint32_t vcpus, uint32_t helper_cores, bool by_page)
{
    world_make(&(struct world_config){.blocks = 64,
                                      .vcpus = vcpus,
                                      .helpers = helper_cores,
                                      .ram_base = RAM,
                                      .ram_size = GIB(1),
                                      .by_page = by_page});
    queued = false;
}

static int tear_down(void **state)
{
    (void)state;
    world_drop();
    return 0;
}

static enum s2_fault_result fault(uint32_t vcpu, uint64_t at, bool write)
{
    queued = false;
    return world_fault(vcpu, at, write, &queued);
}

/* The image's pages from `at` on. */
static void add_image(const uint8_t *bytes, uint64_t size, uint64_t at)
{
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = size};
    int n = s2_add_source(&world.s2, &src);

    CHECK(n > 0);
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(at), align_up(size, PAGE_SIZE), desc_absent((uint32_t)n, 0)));
}

static void check_zero(uint64_t at, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += PAGE_SIZE) {
        uint64_t d = world_page(at + i);
        const uint8_t *p = pa_ptr(desc_pa(d));

        CHECK(desc_kind(d, 3) == DESC_PRESENT && desc_writable(d));
        for (uint64_t k = 0; k < PAGE_SIZE; k++)
            CHECK(p[k] == 0);
    }
}

/* ---- where a fault lies */

static uint64_t asked_far, answer;
static unsigned asked;
static uint64_t translate(uint64_t far)
{
    asked_far = far;
    asked++;
    return answer;
}

static void locate(void **state)
{
    static const uint64_t poison[] = {0, 0x0badc0de0badc0d0, ~UINT64_C(0), 0x456780};
    uint64_t far = 0xffff800011223456;
    struct s2_fault f;

    (void)state;
    make(1, 0, false); /* for tear_down */
    fake_at_s1e1r = translate;
    asked = 0;
    for (size_t i = 0; i < ARRAY_SIZE(poison); i++) {
        f = s2_fault_decode(DABT | WNR | PERMISSION_L3, far, poison[i]);
        answer = UINT64_C(0xff) << 56 | 0x49abc000 | 0xb80; /* attributes, the page, bits that are no address */
        assert_true(s2_fault_locate(&f));
        assert_true(f.ipa_valid && f.ipa.v == 0x49abc456);
        assert_true(asked_far == far);
        assert_int_equal(asked, i + 1);
        /* The guest has unmapped it meanwhile. */
        f = s2_fault_decode(DABT | WNR | PERMISSION_L3, far, poison[i]);
        answer = 0x49abc000 | PAR_F;
        assert_false(s2_fault_locate(&f));
        assert_false(f.ipa_valid);
        asked--;
    }
    /* Where HPFAR is right nobody is asked: on a stage-1 walk FAR is the VA that was walked for, not the table. */
    asked = 0;
    f = s2_fault_decode(DABT | S1PTW | PERMISSION_L3, far, 0x456780);
    assert_true(s2_fault_locate(&f));
    assert_true(f.write && f.ipa.v == 0x45678000);
    f = s2_fault_decode(DABT | TRANSLATION_L3, far, 0x456780);
    assert_true(s2_fault_locate(&f));
    assert_true(f.ipa.v == 0x45678456);
    assert_int_equal(asked, 0);
}

/* ---- what is no RAM */

static void no_ram(void **state)
{
    static const struct {
        uint64_t at, size;
    } place[] = {{GIB(4), GIB(1)}, {0x08000000, BLOCK_SIZE}, {0x09000000, PAGE_SIZE}};
    uint32_t mmio = 0;

    (void)state;
    make(1, 0, false);
    for (size_t i = 0; i < ARRAY_SIZE(place); i++) {
        uint64_t at = place[i].at + place[i].size - 4;

        for (int write = 0; write < 2; write++)
            assert_int_equal(fault(0, at, write), S2_NOWHERE);
        CHECK(s2_set_range(&world.s2, &world.boot, ipa(place[i].at), place[i].size, desc_mmio((uint32_t)i + 5)));
        assert_int_equal(world_walk(at).level, i + 1);
        for (int write = 0; write < 2; write++) {
            assert_int_equal(s2_fault(&world.s2, &world.port[0], ipa(at), write, &mmio, &queued), S2_MMIO);
            assert_int_equal(mmio, i + 5);
        }
        CHECK(s2_set_range(&world.s2, &world.boot, ipa(place[i].at), place[i].size, desc_nowhere()));
        assert_int_equal(world_walk(at).level, i + 1);
        assert_int_equal(fault(0, at, false), S2_NOWHERE);
    }
    for (unsigned bit = 39; bit < 64; bit++)
        assert_int_equal(fault(0, BIT(bit) | RAM, true), S2_NOWHERE);
    assert_false(queued);
    assert_int_equal(world_audit().present, 0);
}

/* A fault on a page of registers that is mapped: a fetch, or a walk of stage 1. Neither gets anywhere by trying again. */
static void device_page(void **state)
{
    (void)state;
    make(1, 0, false);
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(0x08010000), PAGE_SIZE, desc_device(pa(0x1000))));
    for (int write = 0; write < 2; write++)
        assert_int_equal(fault(0, 0x08010004, write), S2_NOWHERE);
}

static void busy(void **state)
{
    _Atomic uint64_t *slot;
    uint64_t old;

    (void)state;
    make(1, 1, false);
    world_settle();
    for (unsigned level = 1; level <= 3; level++) {
        if (level == 2)
            world.s2.by_page = true;
        if (level > 1) /* makes the tables on the way */
            assert_int_equal(fault(0, RAM + level * BLOCK_SIZE, true), S2_RESUME);
        slot = world_walk(RAM + level * BLOCK_SIZE).slot;
        if (level == 2)
            slot = s2_walk_block(&world.s2, ipa(RAM + level * BLOCK_SIZE)).slot;
        old = atomic_exchange(slot, desc_busy());
        for (int write = 0; write < 2; write++) {
            assert_int_equal(fault(0, RAM + level * BLOCK_SIZE + 8, write), S2_BUSY);
            assert_true(queued);
        }
        atomic_store(slot, old);
        assert_int_equal(fault(0, RAM + level * BLOCK_SIZE + 8, true), S2_RESUME);
    }
}

/* ---- zeroes */

/* From a filled pool: no request, no helper, the whole block. */
static void fast_block(void **state)
{
    struct s2_entry e;

    (void)state;
    make(1, 1, false);
    world_settle();
    assert_int_equal(ring_count(&world.port[0].blocks), POOL_BLOCKS);
    assert_int_equal(ring_count(&world.port[0].tables), POOL_TABLES);
    assert_int_equal(world_walk(RAM).level, 1); /* not even a table so far */
    assert_int_equal(world_audit().present, 0);

    assert_int_equal(fault(0, RAM + 0x345678, false), S2_RESUME);
    assert_false(queued);
    e = world_walk(RAM + 0x345678);
    assert_int_equal(e.level, 2);
    assert_int_equal(desc_kind(e.desc, 2), DESC_PRESENT);
    check_zero(RAM + BLOCK_SIZE, BLOCK_SIZE);
    assert_int_equal(report.vcpu[0].touched, BLOCK_PAGES);
    assert_int_equal(report.vcpu[0].block, BLOCK_PAGES);
    assert_int_equal(report.helper[0].requests, 0);
    assert_int_equal(sgi_count(0) + sgi_count(1), 0);
    assert_int_equal(world_audit().present, BLOCK_PAGES);
    /* The neighbours are as untouched as before. */
    assert_int_equal(world_page(RAM), 0);
    assert_int_equal(world_page(RAM + 2 * BLOCK_SIZE), 0);
    /* Another vCPU's late fault on it. */
    assert_int_equal(fault(0, RAM + 0x345000, true), S2_RESUME);
    assert_int_equal(report.vcpu[0].touched, BLOCK_PAGES);
}

/* The pool is half empty: the helper is woken, once it sleeps. */
static void low_pool_wakes(void **state)
{
    (void)state;
    make(1, 1, false);
    world_settle();
    atomic_store(&helpers[0].asleep, true);
    for (uint64_t i = 0; i < POOL_BLOCKS; i++) {
        assert_int_equal(fault(0, RAM + i * BLOCK_SIZE, true), S2_RESUME);
        assert_false(queued);
        assert_int_equal(sgi_count(1), i + 1 < POOL_BLOCKS / 2 ? 0 : i + 1 - (POOL_BLOCKS / 2 - 1));
    }
    assert_int_equal(ring_count(&world.port[0].blocks), 0);
    /* None left: an ordinary request. */
    assert_int_equal(fault(0, RAM + POOL_BLOCKS * BLOCK_SIZE, true), S2_WAIT);
    assert_true(queued);
    world_settle();
    assert_int_equal(ring_count(&world.port[0].blocks), POOL_BLOCKS);
    assert_int_equal(fault(0, RAM + POOL_BLOCKS * BLOCK_SIZE, true), S2_RESUME);
    assert_int_equal(world_audit().present, (POOL_BLOCKS + 1) * BLOCK_PAGES);
}

/* An empty pool: one page by request, the rest by the sweep, which then joins them. */
static void queued_zero(void **state)
{
    (void)state;
    make(1, 1, false);
    assert_int_equal(fault(0, RAM + 0x5010, false), S2_WAIT);
    assert_true(queued);
    assert_int_equal(desc_kind(world_page(RAM + 0x5000), 3), DESC_IN_FLIGHT);
    assert_int_equal(sgi_count(0), 0);
    assert_int_equal(fault(0, RAM + 0x5010, false),
                     S2_WAIT); /* asked again: it still waits, and nothing is asked twice */
    assert_int_equal(byte_ring_count(&world.port[0].requests), 1);

    assert_true(world_step(0)); /* what somebody waits for comes before the pools */
    assert_int_equal(sgi_count(0), 1);
    assert_int_equal(fault(0, RAM + 0x5010, false), S2_RESUME);
    assert_false(queued);
    check_zero(RAM + 0x5000, PAGE_SIZE);
    assert_int_equal(world_audit().present, 1); /* and no page that nobody asked for */
    assert_int_equal(world_walk(RAM + 0x5000).level, 3);
    assert_int_equal(world_page(RAM + 0x6000), 0);
    assert_int_equal(report.helper[0].requests, 1);
    assert_int_equal(report.helper[0].populated_pages, 1);
    assert_int_equal(atomic_load(&report.guest[0].touched), 1);

    world_settle();
    assert_int_equal(report.helper[0].promoted_blocks, 1);
    assert_int_equal(world_walk(RAM + 0x5000).level, 2);
    assert_int_equal(world_audit().block, BLOCK_PAGES);
    assert_int_equal(world_audit().present, BLOCK_PAGES);
    check_zero(RAM, BLOCK_SIZE);
}

static void page_by_page(void **state)
{
    uint64_t record;
    struct s2_entry e;

    (void)state;
    make(2, 1, true);
    world_settle();
    atomic_store(&helpers[0].asleep, true);
    assert_int_equal(fault(0, RAM + 0x7008, false), S2_RESUME);
    assert_false(queued);
    e = world_walk(RAM + 0x7008);
    assert_int_equal(e.level, 3);
    check_zero(RAM + 0x7000, PAGE_SIZE);
    record = atomic_load(s2_table_record(e.slot));
    assert_true(record & TABLE_READY && record & TABLE_RESERVED);
    assert_int_equal(field_get(TABLE_PRESENT, record), 1);
    assert_int_equal(world_audit().present, 1);
    assert_int_equal(atomic_load(&world.s2.begun), 1);
    /* A block was begun: the helper is told, though the pool is nearly full. Else it would sleep on it. */
    assert_int_equal(sgi_count(2), 1);

    /* The next pages need no frame at all. */
    assert_int_equal(fault(1, RAM + 0x1ff000, true), S2_RESUME);
    assert_false(queued);
    assert_int_equal(fault(1, RAM + 0x0, true), S2_RESUME);
    assert_int_equal(report.vcpu[0].touched, 1);
    assert_int_equal(report.vcpu[1].touched, 2);
    assert_int_equal(ring_count(&world.port[1].blocks), POOL_BLOCKS);
    assert_int_equal(ring_count(&world.port[0].blocks), POOL_BLOCKS - 1);
    assert_int_equal(world_audit().present, 3);
    /* A page that nobody touched is not there, though its frame is ready. */
    assert_int_equal(world_page(RAM + 0x8000), 0);

    /* A second block, by the other vCPU. */
    assert_int_equal(fault(1, RAM + BLOCK_SIZE, true), S2_RESUME);
    assert_int_equal(atomic_load(&world.s2.begun), 2);
    world_settle();
    assert_int_equal(report.helper[0].promoted_blocks, 2);
    assert_int_equal(world_audit().block, 2 * BLOCK_PAGES);
    assert_int_equal(report.vcpu[0].touched + report.vcpu[1].touched, 4);
    check_zero(RAM, 2 * BLOCK_SIZE);
}

/* RAM is scarce: page by page, with what the pools still have. */
static void scarce(void **state)
{
    pa_t b;

    (void)state;
    make(1, 1, false);
    world_settle();
    while (frames_plentiful())
        assert_true(frames_alloc_block(&b));
    assert_int_equal(fault(0, RAM, true), S2_RESUME);
    assert_int_equal(world_walk(RAM).level, 3);
    assert_int_equal(world_audit().present, 1);
}

/* Another vCPU is first, between our look at the descriptor and the change: nothing is lost, nothing is there twice. */
static void others_first(uint32_t core)
{
    bool q = false;

    (void)core;
    gic_sgi_hook = NULL;
    CHECK(world_fault(1, RAM + 2 * BLOCK_SIZE + 0x9000, true, &q) == S2_RESUME);
}

static void lost_race(void **state)
{
    (void)state;
    for (int by_page = 0; by_page < 2; by_page++) {
        if (by_page)
            world_drop();
        make(2, 1, by_page);
        world_settle();
        assert_int_equal(fault(0, RAM, true), S2_RESUME); /* the tables on the way are there */
        while (ring_count(&world.port[0].blocks) > POOL_BLOCKS / 2 + 1) {
            uint64_t frame;

            assert_true(ring_pop(&world.port[0].blocks, &frame));
            frames_free_block(pa(frame));
        }
        atomic_store(&helpers[0].asleep, true);
        gic_sgi_hook = others_first; /* taking the next ready block signals the helper: there he comes */
        assert_int_equal(fault(0, RAM + 2 * BLOCK_SIZE, true), S2_RESUME);
        assert_null(gic_sgi_hook);
        gic_sgi_hook = NULL;
        assert_true(world.port[0].spare_block != 0);
        assert_int_equal(world.port[0].spare_table != 0, by_page);
        assert_int_equal(world_audit().present, by_page ? 2 : 2 * BLOCK_PAGES);

        /* What was left over is used next, and is still zeroes. */
        uint64_t spare = world.port[0].spare_block;
        assert_int_equal(fault(0, RAM + 3 * BLOCK_SIZE, true), S2_RESUME);
        assert_int_equal(desc_pa(world_page(RAM + 3 * BLOCK_SIZE)).v, spare);
        assert_true(world.port[0].spare_block == 0 && world.port[0].spare_table == 0);
        world_settle();
        assert_int_equal(world_audit().block, 3 * BLOCK_PAGES);
        check_zero(RAM + 2 * BLOCK_SIZE, 2 * BLOCK_SIZE);
    }
}

/* ---- an image */

static enum fake_op op[16];
static unsigned ops;
static void note(enum fake_op o, uint64_t arg)
{
    (void)arg;
    if (o == FAKE_TLBI_IPA || o == FAKE_TLBI_VMALLE1 || o == FAKE_TLBI_VMALLS12 || o == FAKE_DSB) {
        CHECK(ops < ARRAY_SIZE(op));
        op[ops++] = o;
    }
}

static void check_image(uint64_t at, uint64_t size)
{
    for (uint64_t i = 0; i < align_up(size, PAGE_SIZE); i++) {
        static const uint8_t *p;

        if (i % PAGE_SIZE == 0) {
            uint64_t d = world_page(at + i);

            CHECK(desc_kind(d, 3) == DESC_PRESENT);
            p = pa_ptr(desc_pa(d));
        }
        CHECK(p[i % PAGE_SIZE] == (i < size ? image_byte(i) : 0));
    }
}

static void clean_then_dirty(void **state)
{
    const uint8_t *bytes = image_make(MIB(6), 0);
    uint64_t d;

    (void)state;
    make(1, 1, false);
    add_image(bytes, MIB(6), RAM + BLOCK_SIZE);
    world_settle();
    assert_int_equal(world_audit().present, 0); /* nothing eagerly */

    /* A read: the page alone, read-only. */
    assert_int_equal(fault(0, RAM + BLOCK_SIZE + 0x3004, false), S2_WAIT);
    assert_true(queued);
    assert_true(world_step(0));
    assert_int_equal(fault(0, RAM + BLOCK_SIZE + 0x3004, false), S2_RESUME);
    d = world_page(RAM + BLOCK_SIZE + 0x3000);
    assert_int_equal(desc_kind(d, 3), DESC_PRESENT);
    assert_false(desc_writable(d));
    assert_memory_equal(pa_ptr(desc_pa(d)), bytes + 0x3000, PAGE_SIZE);
    assert_true((desc_pa(d).v & (BLOCK_SIZE - 1)) == 0x3000);
    assert_int_equal(world_audit().present, 1);
    assert_true(world_page(RAM + BLOCK_SIZE + 0x2000) == desc_absent(1, 2));
    assert_true(world_page(RAM + 2 * BLOCK_SIZE) == desc_absent(1, 512));

    /* A write to it: dirty, in place, at once. */
    ops = 0;
    fake_arch_hook = note;
    assert_int_equal(fault(0, RAM + BLOCK_SIZE + 0x3ffc, true), S2_RESUME);
    fake_arch_hook = NULL;
    assert_false(queued);
    assert_int_equal(ops, 4);
    assert_true(op[0] == FAKE_TLBI_IPA && op[1] == FAKE_DSB && op[2] == FAKE_TLBI_VMALLE1 && op[3] == FAKE_DSB);
    assert_true(world_page(RAM + BLOCK_SIZE + 0x3000) == (d | DESC_S2AP_W));
    assert_int_equal(world_audit().present, 1);

    /* A write first: dirty from the start, no detour over read-only. */
    assert_int_equal(fault(0, RAM + 2 * BLOCK_SIZE + 0x4000, true), S2_WAIT);
    fake_arch_hook = note;
    ops = 0;
    assert_true(world_step(0));
    fake_arch_hook = NULL;
    assert_int_equal(ops, 0);
    assert_int_equal(fault(0, RAM + 2 * BLOCK_SIZE + 0x4000, true), S2_RESUME);
    assert_true(desc_writable(world_page(RAM + 2 * BLOCK_SIZE + 0x4000)));
    assert_int_equal(world_audit().present, 2);

    /* The sweep: blocks begun, and those only. A dirty page makes its block dirty. */
    world_settle();
    assert_int_equal(world_audit().block, 2 * BLOCK_PAGES);
    assert_int_equal(report.helper[0].promoted_blocks, 2);
    assert_true(world_page(RAM + 3 * BLOCK_SIZE) == desc_absent(1, 1024));
    assert_int_equal(world_walk(RAM + 3 * BLOCK_SIZE).level, 2);
    assert_true(desc_writable(world_page(RAM + BLOCK_SIZE)));
    assert_memory_equal(pa_ptr(desc_pa(world_page(RAM + BLOCK_SIZE))), bytes,
                        2 * BLOCK_SIZE > MIB(6) ? MIB(6) : BLOCK_SIZE);

    /* The last block by reads only: it comes together clean, and becomes dirty as a whole. */
    assert_true(*world_touch(0, RAM + 3 * BLOCK_SIZE + 77, false) == image_byte(2 * BLOCK_SIZE + 77));
    world_settle();
    assert_int_equal(world_walk(RAM + 3 * BLOCK_SIZE).level, 2);
    assert_false(desc_writable(world_page(RAM + 3 * BLOCK_SIZE)));
    assert_int_equal(fault(0, RAM + 3 * BLOCK_SIZE + 5, true), S2_RESUME);
    assert_false(queued);
    assert_true(desc_writable(world_page(RAM + 4 * BLOCK_SIZE - PAGE_SIZE)));
    check_image(RAM + BLOCK_SIZE, MIB(6));
    image_drop();
}

/* Neither the source's start nor its end on a page, nor its place on a block; zeroes around it. */
static void ragged_image(void **state)
{
    uint64_t size = BLOCK_SIZE + 5 * PAGE_SIZE + 123, at = RAM + BLOCK_SIZE - 3 * PAGE_SIZE;
    const uint8_t *bytes = image_make(size, 0x765);

    (void)state;
    for (uint32_t helper_cores = 0; helper_cores < 2; helper_cores++) {
        if (helper_cores)
            world_drop();
        make(1, helper_cores, true);
        add_image(bytes, size, at);
        world_settle();
        for (uint64_t i = 0; i < align_up(size, PAGE_SIZE); i += PAGE_SIZE)
            world_touch(0, at + i, false);
        check_image(at, size);
        world_touch(0, at - 1, false);
        check_zero(at - PAGE_SIZE, PAGE_SIZE);
        world_touch(0, at + align_up(size, PAGE_SIZE), false);
        check_zero(at + align_up(size, PAGE_SIZE), PAGE_SIZE);
        if (!helper_cores)
            assert_int_equal(world_audit().present, 512 + 6 + 2);
        world_settle();
        check_image(at, size);
        if (helper_cores)
            assert_int_equal(world_audit().block, 3 * BLOCK_PAGES);
    }
    image_drop();
}

/* ---- waiting together */

static void joined(void **state)
{
    const uint8_t *bytes = image_make(MIB(2), 0);

    (void)state;
    make(4, 1, false);
    add_image(bytes, MIB(2), RAM);
    world_settle();
    assert_int_equal(fault(0, RAM, false), S2_WAIT);
    assert_int_equal(fault(1, RAM + 8, true), S2_WAIT);
    assert_true(queued);
    assert_int_equal(fault(3, RAM + 16, false), S2_WAIT);
    /* Below a level-2 descriptor in flight everything waits for the one request. */
    assert_int_equal(fault(1, RAM + 0x7000, true), S2_WAIT);
    assert_int_equal(byte_ring_count(&world.port[1].requests) + byte_ring_count(&world.port[3].requests), 0);
    assert_true(world_step(0));
    assert_int_equal(sgi_count(0), 1);
    assert_int_equal(sgi_count(1), 1);
    assert_int_equal(sgi_count(2), 0);
    assert_int_equal(sgi_count(3), 1);
    /* The first asked for reading, the second writes: it is dirty when he asks again. */
    assert_false(desc_writable(world_page(RAM)));
    assert_int_equal(fault(1, RAM + 8, true), S2_RESUME);
    assert_true(desc_writable(world_page(RAM)));
    assert_int_equal(fault(3, RAM + 16, false), S2_RESUME);
    assert_int_equal(report.helper[0].populated_pages, 1);
    assert_int_equal(world_audit().present, 1);
    image_drop();
}

/* The sweep is filling the very page: its request too has waiters. */
static uint64_t filled_now;
static void fault_while_filled(enum fake_op o, uint64_t arg)
{
    bool q = false;

    if (o != FAKE_CLEAN_INVAL || arg != filled_now)
        return;
    fake_arch_hook = NULL;
    CHECK(world_fault(0, RAM, true, &q) == S2_WAIT && q);
}

static void join_the_sweep(void **state)
{
    const uint8_t *bytes = image_make(MIB(2), 0);

    (void)state;
    make(1, 1, false);
    add_image(bytes, MIB(2), RAM);
    world_settle();
    world_touch(0, RAM + 0x5000, false);
    assert_int_equal(sgi_count(0), 1);
    filled_now = desc_pa(world_page(RAM + 0x5000)).v - 0x5000;
    fake_arch_hook = fault_while_filled;
    while (fake_arch_hook)
        assert_true(world_step(0));
    assert_int_equal(sgi_count(0), 2);
    assert_int_equal(fault(0, RAM, true), S2_RESUME);
    assert_true(desc_writable(world_page(RAM)));
    image_drop();
}

/*
 * A request number is used again for the same page (the first attempt found no memory): whoever joined the former life
 * and looks at the descriptor in the next one must still be signalled.
 */
static void joined_a_former_life(void **state)
{
    struct s2_request *r = &requests[0];

    (void)state;
    make(2, 1, false);
    atomic_fetch_or(&r->waiters, BIT(1)); /* core 1 is between its two looks in join() */
    assert_int_equal(fault(0, RAM, false), S2_WAIT);
    assert_true(desc_large(world_walk(RAM).desc) == 0);
    assert_true(world_step(0));
    assert_int_equal(sgi_count(0), 1);
    assert_int_equal(sgi_count(1), 1);
}

/* ---- pages on their way while the vCPU does something else */

static void tickets(void **state)
{
    const uint8_t *bytes = image_make(MIB(4), 0);
    struct s2_ticket one, two, none;

    (void)state;
    make(2, 1, false);
    add_image(bytes, MIB(4), RAM);
    assert_int_equal(fault(0, RAM + 0x5000, false), S2_WAIT);
    core_enter(0);
    assert_false(s2_wait_ticket(&world.s2, ipa(RAM + MIB(2)), &none)); /* nobody has asked for it */
    assert_true(s2_wait_ticket(&world.s2, ipa(RAM + 0x5000), &one));
    assert_false(s2_ticket_ended(&one));
    /* It has signalled, and goes on (it waits for a frame): the next look puts our name back. */
    atomic_store(&requests[one.number].waiters, 0);
    assert_false(s2_ticket_ended(&one));
    assert_true(atomic_load(&requests[one.number].waiters) == BIT(0));
    assert_true(world_step(0));
    assert_int_equal(sgi_count(0), 1);
    core_enter(0);
    assert_true(s2_ticket_ended(&one));
    assert_false(s2_wait_ticket(&world.s2, ipa(RAM + 0x5000), &none)); /* it is there */
    assert_false(s2_is_unreadable(&world.s2, ipa(RAM + 0x5000)));
    assert_int_equal(fault(0, RAM + 0x5000, false), S2_RESUME);
    /* The same request for another page: the old ticket stays ended. */
    requests[one.number].busy = false;
    world.port[0].turn = one.number + PORT_REQUESTS - 1;
    assert_int_equal(fault(0, RAM + MIB(2), false), S2_WAIT);
    core_enter(0);
    assert_true(s2_wait_ticket(&world.s2, ipa(RAM + MIB(2)), &two));
    assert_true(two.number == one.number && two.round != one.round);
    assert_true(s2_ticket_ended(&one) && !s2_ticket_ended(&two));
    image_drop();
}

static void hints(void **state)
{
    const uint8_t *bytes = image_make(MIB(2), 0);
    uint32_t begun = 0;

    (void)state;
    make(1, 1, false);
    add_image(bytes, MIB(2), RAM);
    core_enter(0);
    assert_true(s2_hint(&world.s2, &world.port[0], ipa(RAM + MIB(64)))); /* zeroes: nothing to bring */
    assert_int_equal(byte_ring_count(&world.port[0].requests), 0);
    assert_true(s2_hint(&world.s2, &world.port[0], ipa(RAM + 0x3000)));
    assert_int_equal(byte_ring_count(&world.port[0].requests), 1);
    assert_true(world_step(0));
    core_enter(0);
    assert_int_equal(fault(0, RAM + 0x3000, false), S2_RESUME);
    /* Not so many that a fault would find no request. */
    while (begun < BLOCK_PAGES && s2_hint(&world.s2, &world.port[0], ipa(RAM + 0x4000 + begun * PAGE_SIZE)))
        begun++;
    assert_int_equal(begun, PORT_REQUESTS / 2);
    assert_int_equal(fault(0, RAM + 0x100000, false), S2_WAIT);
    image_drop();
}

/* A guest can use up all of them: the next fault waits without holding up the helper, and is served when one is free. */
static void no_request(void **state)
{
    const uint8_t *bytes = image_make(MIB(2), 0);
    uint32_t signals;

    (void)state;
    make(1, 1, false);
    add_image(bytes, MIB(2), RAM);
    assert_int_equal(fault(0, RAM, false), S2_WAIT); /* the table's */
    assert_true(world_step(0));
    for (uint64_t i = 1; i <= PORT_REQUESTS; i++)
        assert_int_equal(fault(0, RAM + i * PAGE_SIZE, false), S2_WAIT);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fault(0, RAM + 0x100000, false), S2_FULL);
        core_enter(0);
        assert_true(s2_full_signal(&world.port[0]));
        assert_true(atomic_load(&cores[0].epoch) == 0);
    }
    signals = sgi_count(0);
    assert_true(world_step(0)); /* one of them: its core gets the signal that it asked for */
    assert_int_equal(sgi_count(0), signals + 1);
    core_enter(0);
    assert_false(s2_full_signal(&world.port[0]));
    assert_int_equal(fault(0, RAM + 0x100000, false), S2_WAIT);
    world_settle();
    assert_int_equal(fault(0, RAM + 0x100000, false), S2_RESUME);
    image_drop();
}

/* ---- between the look at a word and its change */

static bool happened;
static void helper_works(void)
{
    happened = true;
    CHECK(world_step(0));
}

/* The page comes while we put our name on the list: whoever signalled may have looked before. */
static void done_before_joined(void **state)
{
    const uint8_t *bytes = image_make(MIB(2), 0);

    (void)state;
    make(10, 1, false);
    add_image(bytes, MIB(2), RAM);
    assert_int_equal(fault(9, RAM, false), S2_WAIT);
    happened = false;
    before_write(&requests[9 * PORT_REQUESTS].waiters, helper_works); /* nothing but requests in that page */
    assert_int_equal(fault(1, RAM, false), S2_RESUME);
    assert_true(happened);
    assert_int_equal(sgi_count(9), 1);
    image_drop();
}

/* The same where it is a request that we wait for: one is over, and another that is not will not tell us of it. */
static void free_before_asked(void **state)
{
    const uint8_t *bytes = image_make(MIB(2), 0);

    (void)state;
    make(10, 1, false);
    add_image(bytes, MIB(2), RAM);
    assert_int_equal(fault(9, RAM, false), S2_WAIT);
    assert_true(world_step(0));
    for (uint64_t i = 1; i <= PORT_REQUESTS; i++)
        assert_int_equal(fault(9, RAM + i * PAGE_SIZE, false), S2_WAIT);
    happened = false;
    core_enter(9);
    before_write(&requests[9 * PORT_REQUESTS].waiters, helper_works);
    assert_false(s2_full_signal(&world.port[9]));
    assert_true(happened);
    image_drop();
}

static void helper_settles(void)
{
    happened = true;
    world_settle();
}

/* The page is joined into its block as it becomes dirty. */
static void joined_before_dirty(void **state)
{
    const uint8_t *bytes = image_make(MIB(2), 0);

    (void)state;
    make(1, 1, false);
    add_image(bytes, MIB(2), RAM);
    world_settle();
    world_touch(0, RAM + 0x3000, false);
    happened = false;
    before_write(world_walk(RAM + 0x3000).slot, helper_settles);
    assert_int_equal(fault(0, RAM + 0x3000, true), S2_RESUME);
    assert_true(happened);
    assert_int_equal(world_walk(RAM).level, 2);
    assert_true(desc_writable(world_walk(RAM).desc));
    assert_int_equal(world_audit().block, BLOCK_PAGES);
    image_drop();
}

/* Another vCPU asks for the same page, or the sweep takes it: one request only, and the loser's is free again. */
static void asks_too(void)
{
    bool q = false;

    happened = true;
    CHECK(world_fault(1, RAM + 0x3000, true, &q) == S2_WAIT);
}

static void asked_by_two(void **state)
{
    const uint8_t *bytes = image_make(MIB(2), 0);

    (void)state;
    make(2, 1, false);
    add_image(bytes, MIB(2), RAM);
    world_settle();
    world_touch(0, RAM + 0x5000, false);
    happened = false;
    before_write(world_walk(RAM + 0x3000).slot, asks_too);
    assert_int_equal(fault(0, RAM + 0x3000, false), S2_WAIT);
    assert_true(happened);
    assert_int_equal(byte_ring_count(&world.port[0].requests), 0);
    assert_int_equal(byte_ring_count(&world.port[1].requests), 1);
    assert_false(atomic_load(&requests[0].busy));
    assert_true(world_step(0));
    assert_true(sgi_take(0) && sgi_take(1));
    assert_int_equal(fault(0, RAM + 0x3000, false), S2_RESUME);
    assert_true(desc_writable(world_page(RAM + 0x3000)));
    assert_int_equal(world_audit().present, 2);

    /* The sweep, which goes on behind what was asked for last, finds it first. */
    happened = false;
    before_write(world_walk(RAM + 0x4000).slot, helper_works);
    assert_int_equal(fault(0, RAM + 0x4000, true), S2_RESUME);
    assert_true(happened && desc_writable(world_page(RAM + 0x4000)));
    assert_int_equal(world_audit().present, 3);
    image_drop();
}

/* ---- without a helper */

static void inline_zero(void **state)
{
    (void)state;
    make(1, 0, false);
    assert_int_equal(fault(0, RAM + 0x5008, false), S2_RESUME);
    assert_int_equal(world_walk(RAM).level, 2);
    assert_int_equal(world_audit().block, BLOCK_PAGES);
    check_zero(RAM, BLOCK_SIZE);
    assert_int_equal(world_page(RAM + BLOCK_SIZE), 0);
    assert_int_equal(fault(0, RAM + BLOCK_SIZE, true), S2_RESUME);
    assert_int_equal(world_audit().block, 2 * BLOCK_PAGES);
    assert_int_equal(sgi_count(0), 0);
}

static void inline_by_page(void **state)
{
    (void)state;
    make(2, 0, true);
    for (uint64_t i = 0; i < BLOCK_PAGES; i++) {
        uint64_t at = RAM + ((i * 77 + 5) % BLOCK_PAGES) * PAGE_SIZE;

        assert_int_equal(fault(i & 1, at, i & 2), S2_RESUME);
        if (i + 1 < BLOCK_PAGES)
            check_zero(at, PAGE_SIZE);
        assert_int_equal(world_audit().present, i + 1);
        assert_int_equal(world_walk(at).level, i + 1 < BLOCK_PAGES ? 3 : 2);
    }
    /* The last one joined them: there is nobody else to do it. */
    assert_int_equal(world_audit().block, BLOCK_PAGES);
    check_zero(RAM, BLOCK_SIZE);
    assert_int_equal(world.inline_stats[0].promoted_blocks + world.inline_stats[1].promoted_blocks, 1);
}

static void inline_image(void **state)
{
    const uint8_t *bytes = image_make(MIB(4), 0);
    uint64_t d;

    (void)state;
    make(1, 0, false);
    add_image(bytes, MIB(4), RAM);
    assert_int_equal(fault(0, RAM + 0x3000, false), S2_RESUME);
    d = world_page(RAM + 0x3000);
    assert_true(desc_kind(d, 3) == DESC_PRESENT && !desc_writable(d));
    assert_int_equal(world_audit().present, 1);
    assert_int_equal(fault(0, RAM + 0x3000, true), S2_RESUME);
    assert_true(desc_writable(world_page(RAM + 0x3000)));
    assert_int_equal(fault(0, RAM + 0x4000, true), S2_RESUME);
    assert_true(desc_writable(world_page(RAM + 0x4000)));
    for (uint64_t i = 0; i < MIB(2); i += PAGE_SIZE)
        assert_int_equal(fault(0, RAM + i, false), S2_RESUME);
    assert_int_equal(world_walk(RAM).level, 2);
    assert_true(desc_writable(world_page(RAM)));
    for (uint64_t i = MIB(2); i < MIB(4); i += PAGE_SIZE)
        assert_int_equal(fault(0, RAM + i, false), S2_RESUME);
    assert_false(desc_writable(world_page(RAM + MIB(2))));
    assert_int_equal(world_audit().block, 2 * BLOCK_PAGES);
    check_image(RAM, MIB(4));
    image_drop();
}

/* ---- memory runs out */

static void drain(void)
{
    pa_t b;

    while (frames_alloc_block(&b))
        ;
}

static void no_memory(void **state)
{
    enum s2_fault_result result;
    uint64_t at = RAM;
    unsigned tries = 0;

    (void)state;
    make(2, 1, false);
    world_settle();
    drain();
    /* What the pools hold is used up; then the guest that asks is told. Nobody hangs, nothing panics. */
    for (;; at += BLOCK_SIZE) {
        result = fault(0, at, true);
        while (result == S2_WAIT) {
            CHECK(tries++ < 10000);
            for (uint64_t n = 0; !sgi_take(0); n++) {
                CHECK(n < 1000);
                world_step(0);
            }
            result = fault(0, at, true);
        }
        if (result != S2_RESUME)
            break;
        CHECK(at < RAM + GIB(1));
    }
    assert_int_equal(result, S2_NO_MEMORY);
    assert_int_equal(fault(0, RAM, true), S2_NO_MEMORY);
    /* The other vCPU's pages are still there, and the helper comes to rest. */
    assert_int_equal(fault(1, RAM, true), S2_RESUME);
    world_settle();
    world_audit();
}

static void no_memory_inline(void **state)
{
    const uint8_t *bytes = image_make(MIB(4), 0);

    (void)state;
    make(1, 0, false);
    add_image(bytes, MIB(4), RAM);
    assert_int_equal(fault(0, RAM, false), S2_RESUME);
    drain();
    assert_int_equal(fault(0, RAM + 0x1000, false), S2_RESUME); /* its frame is reserved already */
    assert_int_equal(fault(0, RAM + MIB(2), false), S2_NO_MEMORY);
    assert_true(world_page(RAM + MIB(2)) == desc_absent(1, 512)); /* as it was */
    assert_int_equal(world_audit().present, 2);
    image_drop();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(locate),
        TEST(no_ram),
        TEST(device_page),
        TEST(busy),
        TEST(fast_block),
        TEST(low_pool_wakes),
        TEST(queued_zero),
        TEST(page_by_page),
        TEST(scarce),
        TEST(lost_race),
        TEST(clean_then_dirty),
        TEST(ragged_image),
        TEST(joined),
        TEST(join_the_sweep),
        TEST(joined_a_former_life),
        TEST(tickets),
        TEST(hints),
        TEST(no_request),
        TEST(done_before_joined),
        TEST(free_before_asked),
        TEST(joined_before_dirty),
        TEST(asked_by_two),
        TEST(inline_zero),
        TEST(inline_by_page),
        TEST(inline_image),
        TEST(no_memory),
        TEST(no_memory_inline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
