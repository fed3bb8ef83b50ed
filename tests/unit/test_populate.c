/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c mm/release.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/* Sources, what is done to a frame before a guest sees it, and the steps of the sweep. */
#include "mm/release.h"
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)

static void make(uint32_t helper_cores, uint64_t ram_size)
{
    world_make(&(struct world_config){
        .blocks = 32, .vcpus = 2, .helpers = helper_cores, .ram_base = RAM, .ram_size = ram_size});
}

static int tear_down(void **state)
{
    (void)state;
    world_drop();
    return 0;
}

static uint32_t add_image(const uint8_t *bytes, uint64_t size)
{
    return (uint32_t)s2_add_source(&world.s2,
                                   &(struct source){.ops = &source_image_ops, .base = ptr_pa(bytes), .size = size});
}

/* ---- sources */

static void zero_source(void **state)
{
    static uint8_t frame[3 * PAGE_SIZE] __attribute__((aligned(4096)));
    struct source s = {.ops = &source_zero_ops};

    (void)state;
    memset(frame, 0xff, sizeof(frame));
    assert_int_equal(s.ops->fill(&s, 12345, frame + PAGE_SIZE, 1, 0), FILL_OK);
    for (size_t i = 0; i < sizeof(frame); i++)
        assert_int_equal(frame[i], i / PAGE_SIZE == 1 ? 0 : 0xff);
    assert_false(source_zero_ops.needs_helper || source_image_ops.needs_helper);
}

/* The source can only be read, and lies so that a byte too many read from its last page would be a fault. */
static void image_source(void **state)
{
    static uint8_t frame[3 * PAGE_SIZE] __attribute__((aligned(4096)));
    static const uint64_t size[] = {1, 4095, 4096, 4097, 3 * PAGE_SIZE - 1, 5 * PAGE_SIZE + 100};

    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(size); n++) {
        uint64_t off = align_up(size[n], PAGE_SIZE) - size[n];
        const uint8_t *bytes = image_make(size[n], off);
        struct source s = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = size[n]};
        uint64_t pages = align_up(size[n], PAGE_SIZE) / PAGE_SIZE;

        for (uint64_t page = 0; page < pages + 2; page++) {
            memset(frame, 0xff, sizeof(frame));
            assert_int_equal(s.ops->fill(&s, page, frame + PAGE_SIZE, 1, 0), FILL_OK);
            for (uint64_t i = 0; i < PAGE_SIZE; i++) {
                uint64_t at = page * PAGE_SIZE + i;

                CHECK(frame[PAGE_SIZE + i] == (at < size[n] ? image_byte(at) : 0));
                CHECK(frame[i] == 0xff && frame[2 * PAGE_SIZE + i] == 0xff);
            }
        }
        image_drop();
    }
}

/* ---- a frame on its way to a guest */

static struct {
    enum fake_op op;
    uint64_t arg, desc;
} seen[4096];
static unsigned seen_count;
static uint64_t watched;

static void note(enum fake_op op, uint64_t arg)
{
    if (op == FAKE_DSB)
        return;
    CHECK(seen_count < ARRAY_SIZE(seen));
    seen[seen_count].op = op;
    seen[seen_count].arg = arg;
    seen[seen_count++].desc = world_walk(watched).desc;
}

static bool happened(enum fake_op op, uint64_t arg, unsigned *at)
{
    for (; *at < seen_count; ++*at) {
        if (seen[*at].op == op && seen[*at].arg == arg)
            return true;
    }
    return false;
}

/* Content, data cache, instruction cache, then the descriptor. */
static void published_first(void **state)
{
    const uint8_t *bytes = image_make(MIB(2), 0);
    static const uint64_t place[] = {RAM + 0x3000, RAM + BLOCK_SIZE + 0x5000}; /* image, zeroes */

    (void)state;
    for (uint32_t helper_cores = 0; helper_cores < 2; helper_cores++) {
        if (helper_cores)
            world_drop();
        make(helper_cores, GIB(1));
        world.s2.by_page = true;
        CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM), MIB(2), desc_absent(add_image(bytes, MIB(2)), 0)));
        for (size_t i = 0; i < ARRAY_SIZE(place); i++) {
            bool queued = false;
            unsigned at = 0;
            uint64_t frame;

            seen_count = 0;
            watched = place[i];
            fake_arch_hook = note;
            if (world_fault(0, place[i], false, &queued) == S2_WAIT)
                assert_true(world_step(0));
            fake_arch_hook = NULL;
            assert_int_equal(desc_kind(world_page(place[i]), 3), DESC_PRESENT);
            frame = desc_pa(world_page(place[i])).v;
            assert_true(happened(FAKE_CLEAN_INVAL, frame, &at));
            assert_int_equal(desc_kind(seen[at].desc, 2), DESC_IN_FLIGHT);
            assert_true(happened(FAKE_ICACHE, frame, &at));
            assert_int_equal(desc_kind(seen[at].desc, 2), DESC_IN_FLIGHT);
        }
    }
    image_drop();
}

/* The pools: every page zeroed, then cleaned; instructions forgotten; then, and not before, it can be taken. */
static unsigned blocks_ready[4096];
static void note_pool(enum fake_op op, uint64_t arg)
{
    CHECK(seen_count < ARRAY_SIZE(seen));
    blocks_ready[seen_count] = ring_count(&world.port[0].blocks);
    seen[seen_count].op = op;
    seen[seen_count++].arg = arg;
}

static void pool_published_first(void **state)
{
    uint64_t block;

    (void)state;
    make(1, GIB(1));
    while (ring_count(&world.port[0].tables) < POOL_TABLES || ring_count(&world.port[1].tables) < POOL_TABLES)
        assert_true(world_step(0));
    seen_count = 0;
    fake_arch_hook = note_pool;
    while (ring_count(&world.port[0].blocks) == 0)
        assert_true(world_step(0));
    fake_arch_hook = NULL;
    assert_true(ring_pop(&world.port[0].blocks, &block));
    for (uint64_t i = 0; i < BLOCK_PAGES; i++) {
        unsigned at = 0;

        assert_true(happened(FAKE_ZERO, block + i * PAGE_SIZE, &at));
        assert_true(happened(FAKE_CLEAN_INVAL, block + i * PAGE_SIZE, &at));
        /* Whichever way the instruction cache goes, page by page or at the end. */
        assert_true(seen[seen_count - 1].op == FAKE_ICACHE);
    }
    for (unsigned i = 0; i < seen_count; i++)
        assert_int_equal(blocks_ready[i], 0);
    for (uint64_t i = 0; i < BLOCK_SIZE; i++)
        CHECK(((uint8_t *)pa_ptr(pa(block)))[i] == 0);
    assert_int_equal(report.helper[0].zeroed_pages, BLOCK_PAGES);
}

/* ---- the sweep, step by step */

static enum sweep_result sweep(uint64_t block)
{
    uint32_t was = core_enter(2);
    enum sweep_result result = populate_sweep(&helpers[0].pop, &world.s2, ipa(block));

    core_enter(was);
    return result;
}

static void sweep_steps(void **state)
{
    const uint8_t *bytes = image_make(MIB(4), 0);
    bool queued = false;

    (void)state;
    make(1, GIB(1));
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM), MIB(4), desc_absent(add_image(bytes, MIB(4)), 0)));
    /* Not begun, whatever it is: untouched. */
    assert_int_equal(sweep(RAM), SWEEP_NOTHING);
    assert_int_equal(sweep(RAM + MIB(8)), SWEEP_NOTHING);
    assert_int_equal(sweep(0), SWEEP_NOTHING);
    assert_int_equal(sweep(BIT(39)), SWEEP_NOTHING);
    assert_true(world_page(RAM) == desc_absent(1, 0));

    assert_int_equal(world_fault(0, RAM + 0x100000, true, &queued), S2_WAIT);
    assert_int_equal(sweep(RAM), SWEEP_NOTHING); /* its table is not there yet */
    assert_true(world_step(0));
    for (uint64_t i = 1; i < BLOCK_PAGES; i++) {
        assert_int_equal(sweep(RAM), SWEEP_FILLED);
        assert_int_equal(world_audit().present, i + 1);
    }
    /* Clean pages and the one that was written: as they were asked for. */
    assert_true(desc_writable(world_page(RAM + 0x100000)) && !desc_writable(world_page(RAM + 0x101000)));
    assert_int_equal(sweep(RAM), SWEEP_PROMOTED);
    assert_int_equal(sweep(RAM), SWEEP_NOTHING);
    assert_int_equal(world_walk(RAM).level, 2);
    assert_true(desc_writable(world_walk(RAM).desc));
    assert_int_equal(world_walk(RAM + MIB(2)).level, 2);
    assert_true(world_page(RAM + MIB(2)) == desc_absent(1, 512));
    assert_memory_equal(pa_ptr(desc_pa(world_page(RAM))), bytes, BLOCK_SIZE);
    image_drop();
}

/* Somebody else is at a page of the block: not done yet, come again. */
static void sweep_waits(void **state)
{
    _Atomic uint64_t *slot;
    bool queued = false;

    (void)state;
    make(1, GIB(1));
    assert_int_equal(world_fault(0, RAM + 0x100000, true, &queued), S2_WAIT);
    assert_true(world_step(0));
    slot = world_walk(RAM + 0x3000).slot;
    assert_int_equal(*slot, 0);
    static const enum desc_kind kind[] = {DESC_IN_FLIGHT, DESC_BUSY};
    for (size_t i = 0; i < ARRAY_SIZE(kind); i++) {
        atomic_store(slot, desc_invalid(kind[i], 0, 0));
        while (sweep(RAM) == SWEEP_FILLED)
            ;
        assert_int_equal(sweep(RAM), SWEEP_WAITING);
        assert_int_equal(atomic_load(slot), desc_invalid(kind[i], 0, 0));
    }
    atomic_store(slot, 0);
    assert_int_equal(sweep(RAM), SWEEP_FILLED);
    /* All there, but nowhere to put the table: later. */
    helpers[0].pop.limbo.count = LIMBO_MAX;
    assert_int_equal(sweep(RAM), SWEEP_WAITING);
    helpers[0].pop.limbo.count = 0;
    assert_int_equal(sweep(RAM), SWEEP_PROMOTED);
}

/* A block that is RAM in part only can never be joined: in the end there is nothing to do about it. */
static void sweep_of_a_part(void **state)
{
    uint64_t size = MIB(4) - 3 * PAGE_SIZE;

    (void)state;
    make(1, size);
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + 0x7000), PAGE_SIZE, desc_mmio(1)));
    world_touch(0, RAM, true);
    world_touch(0, RAM + MIB(2), true);
    while (sweep(RAM) == SWEEP_FILLED || sweep(RAM + MIB(2)) == SWEEP_FILLED)
        ;
    assert_int_equal(sweep(RAM), SWEEP_NOTHING);
    assert_int_equal(sweep(RAM + MIB(2)), SWEEP_NOTHING);
    assert_int_equal(world_audit().present, size / PAGE_SIZE - 1);
    assert_int_equal(world_audit().block, 0);
    world_settle(); /* and the helper comes to rest over it */
    assert_int_equal(world_page(RAM + size), desc_nowhere());
    assert_int_equal(world_page(RAM + 0x7000), desc_mmio(1));
}

/* A table that went is not used again while a core that may have seen it is still reading. */
static void retired_table_rests(void **state)
{
    uint64_t table, cached;

    (void)state;
    make(1, GIB(1));
    world_touch(0, RAM, true);
    table = align_down((uint64_t)(uintptr_t)world_walk(RAM).slot, PAGE_SIZE);
    core_enter(1);
    epoch_enter();
    core_enter(0);
    world_settle();
    assert_int_equal(world_walk(RAM).level, 2);
    assert_int_equal(helpers[0].pop.limbo.count, 1);
    cached = helpers[0].pop.frames.count;
    for (uint64_t f = helpers[0].pop.frames.head; f; f = atomic_load(frame_record(pa(f))))
        assert_true(f != table);
    core_enter(1);
    epoch_leave();
    core_enter(0);
    assert_false(world_step(0));
    assert_int_equal(helpers[0].pop.limbo.count, 0);
    assert_int_equal(helpers[0].pop.frames.count, cached + 1);
    assert_true(helpers[0].pop.frames.head == table);
}

/* Two who reserve a block for one table at once: one block, the other goes back. */
static uint64_t other_page;
static bool stolen;
static void reserve_meanwhile(enum fake_op op, uint64_t arg)
{
    bool queued = false;

    (void)arg;
    if (op != FAKE_ZERO) /* the records of the block that the first one has just taken */
        return;
    fake_arch_hook = NULL;
    stolen = true;
    CHECK(world_fault(1, other_page, false, &queued) == S2_RESUME);
}

static void reserved_twice(void **state)
{
    uint64_t before;
    bool queued = false;

    (void)state;
    make(0, GIB(1));
    /* A table without a block: RAM ends in the middle of it. */
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + PAGE_SIZE), PAGE_SIZE, desc_nowhere()));
    world.s2.by_page = true;
    before = frames_free_blocks();
    other_page = RAM + 0x9000;
    stolen = false;
    fake_arch_hook = reserve_meanwhile;
    assert_int_equal(world_fault(0, RAM, true, &queued), S2_RESUME);
    assert_true(stolen);
    assert_int_equal(frames_free_blocks(), before - 1);
    assert_int_equal(atomic_load(&world.s2.begun), 1);
    assert_int_equal(world_audit().present, 2);
}

/* ---- a source that has to wait for its bytes */

#define SLOW_MAX 64u

static struct {
    uint64_t page;
    uint8_t *frames;
    uint32_t count, request;
} slow[SLOW_MAX];
static uint32_t slow_count, slow_depth;

static enum fill_result slow_fill(const struct source *s, uint64_t page, void *frames, uint32_t count, uint32_t request)
{
    (void)s;
    if (slow_count == slow_depth)
        return FILL_BUSY;
    slow[slow_count].page = page;
    slow[slow_count].frames = frames;
    slow[slow_count].count = count;
    slow[slow_count++].request = request;
    return FILL_PENDING;
}

static const struct source_ops slow_ops = {.name = "slow", .needs_helper = true, .run = 8, .fill = slow_fill};

static uint8_t slow_byte(uint64_t page, uint64_t i)
{
    return (uint8_t)(page * 7 + i + 1);
}

/* The bytes of fetch `n` arrive, or do not. */
static void arrives(uint32_t n, bool ok)
{
    uint32_t request = slow[n].request;
    uint32_t was = core_enter(2);

    for (uint64_t i = 0; ok && i < slow[n].count * PAGE_SIZE; i++)
        slow[n].frames[i] = slow_byte(slow[n].page + i / PAGE_SIZE, i % PAGE_SIZE);
    slow[n] = slow[--slow_count];
    populate_filled(&helpers[0].pop, request, ok ? FILL_OK : FILL_ERROR);
    core_enter(was);
}

/* The whole of RAM is the source's. */
static void make_slow(uint64_t size, uint32_t depth)
{
    make(1, size);
    slow_count = 0;
    slow_depth = depth;
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM), size,
                       desc_absent((uint32_t)s2_add_source(&world.s2, &(struct source){.ops = &slow_ops}), 0)));
}

static void holds(uint64_t page)
{
    uint64_t d = world_page(RAM + page * PAGE_SIZE);

    assert_int_equal(desc_kind(d, 3), DESC_PRESENT);
    for (uint64_t i = 0; i < PAGE_SIZE; i++)
        CHECK(((uint8_t *)pa_ptr(desc_pa(d)))[i] == slow_byte(page, i));
}

/* What demand asked for, and nothing of the sweep. */
static void serve_demands(void)
{
    while (byte_ring_count(&world.port[0].requests) + byte_ring_count(&world.port[1].requests))
        assert_true(world_step(0));
}

/* Two vCPUs in one block, neither of which waits for the other; the bytes come in the other order. */
static void many_on_their_way(void **state)
{
    bool queued = false;

    (void)state;
    make_slow(MIB(8), SLOW_MAX);
    assert_int_equal(world_fault(0, RAM + 0x5000, false, &queued), S2_WAIT);
    serve_demands();
    assert_int_equal(world_fault(1, RAM + 0x7000, true, &queued), S2_WAIT);
    serve_demands();
    assert_int_equal(slow_count, 2);
    assert_int_equal(world_fault(0, RAM + 0x5000, false, &queued), S2_WAIT);
    assert_int_equal(desc_kind(world_page(RAM + 0x5000), 3), DESC_IN_FLIGHT);
    assert_int_equal(desc_kind(world_page(RAM + 0x6000), 3), DESC_ABSENT);
    sgi_take(0), sgi_take(1);
    arrives(1, true);
    assert_true(sgi_take(1) && !sgi_take(0));
    assert_int_equal(world_fault(1, RAM + 0x7000, true, &queued), S2_RESUME);
    assert_int_equal(desc_kind(world_page(RAM + 0x5000), 3), DESC_IN_FLIGHT);
    arrives(0, true);
    assert_true(sgi_take(0));
    assert_int_equal(world_fault(0, RAM + 0x5000, false, &queued), S2_RESUME);
    holds(5), holds(7);
    assert_true(desc_writable(world_page(RAM + 0x7000)) && !desc_writable(world_page(RAM + 0x5000)));
    assert_int_equal(world_audit().present, 2);
    assert_true(port_idle(&world.port[0]) && port_idle(&world.port[1]));
}

/* Requests that end together: whoever waits may see each at once, and is signalled when all of them are over. */
static void end_together(void **state)
{
    bool queued = false;

    (void)state;
    make_slow(MIB(8), SLOW_MAX);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(world_fault(i, RAM + 0x5000 + i * 0x2000, false, &queued), S2_WAIT);
        serve_demands();
    }
    assert_int_equal(slow_count, 2);
    sgi_take(0), sgi_take(1);
    helpers[0].pop.gathers = true;
    arrives(1, true);
    assert_int_equal(world_fault(1, RAM + 0x7000, false, &queued), S2_RESUME);
    arrives(0, true);
    assert_true(!sgi_take(0) && !sgi_take(1));
    populate_signal(&helpers[0].pop);
    assert_true(sgi_take(0) && sgi_take(1));
    populate_signal(&helpers[0].pop); /* once */
    assert_true(!sgi_take(0) && !sgi_take(1));
    assert_int_equal(world_fault(0, RAM + 0x5000, false, &queued), S2_RESUME);
    holds(5), holds(7);
}

/* A page that cannot be read is one, and its neighbours are not. */
static void unreadable_page(void **state)
{
    uint32_t mmio;
    bool queued = false;
    uint8_t byte;

    (void)state;
    make_slow(MIB(2), SLOW_MAX);
    assert_int_equal(world_fault(0, RAM + 0x5000, false, &queued), S2_WAIT);
    serve_demands();
    arrives(0, false);
    assert_int_equal(s2_fault(&world.s2, &world.port[0], ipa(RAM + 0x5123), true, &mmio, &queued), S2_ERROR);
    assert_int_equal(guestmem_read(&world.s2, ipa(RAM + 0x5fff), &byte, 1, true), GUESTMEM_ERROR);
    assert_int_equal(report.helper[0].unreadable, 1);
    assert_int_equal(world_audit().present, 0);
    assert_int_equal(world_fault(0, RAM + 0x6000, false, &queued), S2_WAIT);
    serve_demands();
    arrives(0, true);
    holds(6);
    /* The sweep fills what is around it, and comes to rest. */
    for (bool more = true; more;) {
        more = world_step(0) || slow_count;
        while (slow_count)
            arrives(0, true);
    }
    assert_int_equal(world_audit().present, BLOCK_PAGES - 1);
    assert_int_equal(world_audit().block, 0);
    assert_int_equal(slow_count, 0);
    assert_int_equal(sweep(RAM), SWEEP_NOTHING);
    /* A space with such a page can be released, and it is gone then. */
    s2_freeze(&world.s2);
    s2_release(&world.s2, &world.boot);
    assert_int_equal(desc_kind(world_page(RAM + 0x5000), 3), DESC_NOWHERE);
}

/* The sweep fetches pages side by side at once. A run that fails is fetched page by page. */
static void runs(void **state)
{
    bool queued = false;
    uint32_t fetched = 0;

    (void)state;
    make_slow(MIB(4), SLOW_MAX);
    assert_int_equal(world_fault(0, RAM + 3 * PAGE_SIZE, false, &queued), S2_WAIT);
    serve_demands();
    assert_int_equal(slow[0].count, 1);
    arrives(0, true);
    assert_int_equal(sweep(RAM), SWEEP_FILLED);
    assert_true(slow[0].page == 0 && slow[0].count == 3); /* up to the page that is there */
    assert_int_equal(sweep(RAM), SWEEP_FILLED);
    assert_true(slow[1].page == 4 && slow[1].count == 8);
    assert_int_equal(sweep(RAM + 510 * PAGE_SIZE), SWEEP_FILLED);
    assert_true(slow[2].page == 510 && slow[2].count == 2); /* a run ends with its table */
    for (uint32_t i = 4; i < 12; i++)
        assert_int_equal(desc_kind(world_page(RAM + i * PAGE_SIZE), 3), DESC_IN_FLIGHT);
    /* Somebody waits for one of them that nobody had asked for. */
    assert_int_equal(world_fault(1, RAM + 6 * PAGE_SIZE, true, &queued), S2_WAIT);
    sgi_take(1);
    arrives(1, false);
    assert_true(sgi_take(1));
    assert_int_equal(report.helper[0].unreadable, 0);
    for (uint32_t i = 4; i < 12; i++)
        assert_true(world_page(RAM + i * PAGE_SIZE) == desc_absent(1, i));
    while (slow_count)
        arrives(0, true);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(sweep(RAM + 4 * PAGE_SIZE), SWEEP_FILLED);
    assert_int_equal(slow_count, 8);
    for (uint32_t n = slow_count; n-- > 0;) {
        fetched += slow[n].count == 1;
        arrives(n, slow[n].page != 9);
    }
    assert_int_equal(fetched, 8);
    assert_int_equal(report.helper[0].unreadable, 1);
    assert_int_equal(desc_kind(world_page(RAM + 9 * PAGE_SIZE), 3), DESC_ERROR);
    holds(0), holds(3), holds(6), holds(11), holds(511);
    assert_false(desc_writable(world_page(RAM + 6 * PAGE_SIZE))); /* filled for nobody, so clean */
    assert_int_equal(sweep(RAM + 12 * PAGE_SIZE), SWEEP_FILLED);
    assert_int_equal(slow[0].count, 8); /* and runs go on */
}

/* A source without room: whoever asked first is served first, and nothing is forgotten. */
static void no_room(void **state)
{
    static const uint64_t page[] = {100, 513, 9, 7};
    bool queued = false;

    (void)state;
    make_slow(MIB(8), 1);
    for (uint32_t i = 0; i < ARRAY_SIZE(page); i++) {
        assert_int_equal(world_fault(i % 2, RAM + page[i] * PAGE_SIZE, false, &queued), S2_WAIT);
        serve_demands();
    }
    core_enter(2);
    for (uint32_t i = 0; i < ARRAY_SIZE(page); i++) {
        assert_false(populate_put_off(&helpers[0].pop));
        assert_true(slow_count == 1 && slow[0].page == page[i]);
        arrives(0, true);
        assert_int_equal(populate_put_off(&helpers[0].pop), i + 1 < ARRAY_SIZE(page));
    }
    core_enter(0);
    for (uint32_t i = 0; i < ARRAY_SIZE(page); i++)
        holds(page[i]);
    assert_true(port_idle(&world.port[0]) && port_idle(&world.port[1]));
}

/* A helper whose requests are all on their way rests; what a demand asks for does not wait for them. */
static void all_on_their_way(void **state)
{
    bool queued = false;
    uint64_t asked = 0;

    (void)state;
    make_slow(MIB(2), SLOW_MAX);
    assert_int_equal(world_fault(0, RAM, false, &queued), S2_WAIT);
    serve_demands();
    arrives(0, true);
    while (world_step(0))
        CHECK(++asked < 10000);
    assert_int_equal(slow_count, OWN_REQUESTS);
    assert_int_equal(world_fault(1, RAM + 500 * PAGE_SIZE, false, &queued), S2_WAIT);
    assert_true(world_step(0));
    assert_true(slow_count == OWN_REQUESTS + 1 && slow[OWN_REQUESTS].page == 500);
    for (bool more = true; more;) {
        while (slow_count)
            arrives(slow_count - 1, true);
        more = world_step(0) || slow_count;
    }
    assert_int_equal(world_audit().block, BLOCK_PAGES);
    for (uint64_t i = 0; i < BLOCK_PAGES; i++)
        holds(i);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_source),
        cmocka_unit_test(image_source),
        TEST(published_first),
        TEST(pool_published_first),
        TEST(sweep_steps),
        TEST(sweep_waits),
        TEST(sweep_of_a_part),
        TEST(retired_table_rests),
        TEST(reserved_twice),
        TEST(many_on_their_way),
        TEST(end_together),
        TEST(unreadable_page),
        TEST(runs),
        TEST(no_room),
        TEST(all_on_their_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
