/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/give_back.c mm/release.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/paged_world.c tests/unit/support.c */
/*
 * A guest that may hold a fifth of its RAM: any order of operations against a flat array, as in test_model.c, with stores and
 * swap disks that are large, small, or not there; and what happens when all is full, or a disk fails.
 */
#include "mm/give_back.h"
#include "mm/release.h"
#include "tests/unit/paged_world.h"

#define RAM UINT64_C(0x40000000)
#define SIZE (MIB(8) + 100 * PAGE_SIZE)
#define PAGES (SIZE / PAGE_SIZE)
#define LIMIT 400u
#define VCPUS 3u
#define IMAGE_AT (BLOCK_SIZE - 7 * PAGE_SIZE)
#define IMAGE_SIZE (MIB(2) + 777)

static uint64_t r;
static uint8_t flat[SIZE];
static uint64_t accesses, waits, nested, given;

static void world_with(uint32_t store_blocks, uint64_t swap_pages, bool read_ahead)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 0x345);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};
    pa_t els;

    world_make(&(struct world_config){
        .blocks = 24, .vcpus = VCPUS, .helpers = 1, .ram_base = RAM, .ram_size = SIZE, .limit = LIMIT});
    paged_world_make(store_blocks, swap_pages);
    ahead_init(&world.paging.ahead, world.paging.limit, !read_ahead);
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + IMAGE_AT), align_up(IMAGE_SIZE, PAGE_SIZE),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    /* A page of EL2's, below RAM, as the guest's stolen time is. */
    CHECK(frame_alloc(&world.boot, &els) &&
          s2_set_range(&world.s2, &world.boot, ipa(0x090a0000), PAGE_SIZE, desc_leaf(els, 3, false)));
    memset(flat, 0, sizeof(flat));
    memcpy(flat + IMAGE_AT, bytes, IMAGE_SIZE);
}

static void end_of_world(void)
{
    paged_world_drop();
    image_drop();
}

/* What a page may hold, as evictions tell it apart. */
static void fill(uint8_t *page)
{
    /* Without a disk there is nowhere for noise to go. */
    uint64_t kind = random_below(&r, report.helper[0].swap.slots ? 5 : 3), v = random64(&r);

    for (uint64_t i = 0; i < PAGE_SIZE; i++) {
        if (kind == 0)
            page[i] = 0;
        else if (kind == 1)
            page[i] = (uint8_t)(v >> (8 * (i % 4)));
        else if (kind == 2)
            page[i] = (uint8_t)(i / 100 + v);
        else
            page[i] = (uint8_t)random64(&r);
    }
}

static bool may_ask(uint32_t vcpu)
{
    for (uint32_t i = 0; i < PORT_REQUESTS; i++) {
        if (!atomic_load(&requests[world.port[vcpu].first_request + i].busy))
            return true;
    }
    return false;
}

/* One access that does not wait. */
static void touch(uint32_t vcpu, uint64_t n, bool write)
{
    bool queued = false;
    enum s2_fault_result result;
    uint8_t *page;
    uint64_t d;

    if (!may_ask(vcpu))
        return;
    result = world_fault(vcpu, RAM + n * PAGE_SIZE, write, &queued);
    if (result == S2_WAIT || result == S2_BUSY || result == S2_FULL) {
        waits++;
        return;
    }
    CHECK(result == S2_RESUME);
    d = world_page(RAM + n * PAGE_SIZE);
    if (desc_kind(d, 3) != DESC_PRESENT || (write && !desc_writable(d)))
        return;
    page = pa_ptr(desc_pa(d));
    CHECK(!memcmp(page, flat + n * PAGE_SIZE, PAGE_SIZE));
    if (write) {
        fill(page);
        memcpy(flat + n * PAGE_SIZE, page, PAGE_SIZE);
    }
    accesses++;
}

static void el2_touch(uint32_t core, uint64_t n, bool write)
{
    uint8_t buf[16]; /* few enough that the page still compresses */
    uint64_t at = n * PAGE_SIZE + random_below(&r, PAGE_SIZE - sizeof(buf));
    enum guestmem_result result;
    uint32_t was = core_enter(core);

    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = (uint8_t)random64(&r);
    result = write ? guestmem_write(&world.s2, ipa(RAM + at), buf, sizeof(buf), true)
                   : guestmem_read(&world.s2, ipa(RAM + at), buf, sizeof(buf), true);
    core_enter(was);
    CHECK(result == GUESTMEM_OK || result == GUESTMEM_ABSENT);
    if (result != GUESTMEM_OK)
        return;
    if (write)
        memcpy(flat + at, buf, sizeof(buf));
    else
        CHECK(!memcmp(flat + at, buf, sizeof(buf)));
    accesses++;
}

static void give(uint32_t vcpu, uint64_t block)
{
    struct give_back g;
    uint32_t was = core_enter(vcpu);

    give_back_begin(&g, &world.s2, &world.inline_populator[vcpu].frames);
    give_back_range(&g, ipa(RAM + block), BLOCK_SIZE);
    give_back_end(&g);
    core_enter(was);
    if (g.zero) {
        memset(flat + block, 0, BLOCK_SIZE);
        given++;
    }
}

/* Often one that is on its way out. */
static uint64_t any_page(void)
{
    static uint64_t hot;
    uint64_t from = random_below(&r, PAGES);

    for (uint64_t i = 0; atomic_load(&world.paging.evicting) && i < PAGES && random_below(&r, 5000); i++) {
        uint64_t n = (from + i) % PAGES;

        if (desc_kind(world_page(RAM + n * PAGE_SIZE), 3) == DESC_BUSY)
            return n;
    }

    if (random_below(&r, 200) == 0)
        hot = random_below(&r, PAGES - LIMIT / 2);
    return random_below(&r, 4) ? hot + random_below(&r, LIMIT / 2) : random_below(&r, PAGES);
}

static bool inside[MAX_CORES];
static uint32_t depth;

/* The helper waits for those who are in an epoch, and they would never get to leave it. */
static bool in_epoch(void)
{
    bool in = false;

    for (uint32_t i = 0; i < VCPUS; i++)
        in = in || atomic_load(&cores[i].epoch);
    return in;
}

static void something(void)
{
    uint32_t v = (uint32_t)random_below(&r, VCPUS);

    switch (random_below(&r, 8)) {
    case 0:
    case 1:
    case 2:
        if (inside[VCPUS] || in_epoch())
            break;
        inside[VCPUS] = true;
        for (uint64_t n = random_below(&r, 30); n > 0; n--)
            world_step(0);
        inside[VCPUS] = false;
        break;
    case 3:
        if (inside[v] || depth)
            break;
        inside[v] = true;
        if (random_below(&r, 40) == 0)
            give(v, random_below(&r, SIZE / BLOCK_SIZE) * BLOCK_SIZE);
        else
            el2_touch(v, any_page(), random_below(&r, 2));
        inside[v] = false;
        break;
    default:
        if (inside[v])
            break;
        inside[v] = true;
        touch(v, any_page(), random_below(&r, 3) == 0);
        inside[v] = false;
    }
}

static void meanwhile(enum fake_op op, uint64_t arg)
{
    uint32_t was;

    (void)arg;
    if (depth >= 3 || random_below(&r, op == FAKE_TLBI_VMALLS12 ? 2 : 16))
        return;
    depth++;
    nested++;
    was = core_enter(0);
    something();
    core_enter(was);
    depth--;
}

static void compare_all(void)
{
    for (uint64_t n = 0; n < PAGES; n++) {
        bool there = desc_kind(world_page(RAM + n * PAGE_SIZE), 3) == DESC_PRESENT;

        CHECK(!there || !memcmp(pa_ptr(desc_pa(world_page(RAM + n * PAGE_SIZE))), flat + n * PAGE_SIZE, PAGE_SIZE));
    }
    paged_world_audit();
}

static void read_all(void)
{
    for (uint64_t n = 0; n < PAGES; n++)
        CHECK(!memcmp(world_touch(0, RAM + n * PAGE_SIZE, false), flat + n * PAGE_SIZE, PAGE_SIZE));
    world_settle();
    paged_world_audit();
}

static void play(uint32_t store_blocks, uint64_t swap_pages, bool read_ahead, uint64_t operations)
{
    const struct report_paging *stats = &report.guest[0].paging;

    world_with(store_blocks, swap_pages, read_ahead);
    accesses = waits = nested = given = 0;
    depth = 0;
    fake_arch_hook = meanwhile;
    for (uint64_t i = 0; i < operations; i++) {
        something();
        if (i % (operations / 8) == 0) {
            fake_arch_hook = NULL;
            world_settle();
            compare_all();
            fake_arch_hook = meanwhile;
        }
    }
    fake_arch_hook = NULL;
    world_settle();
    compare_all();
    read_all();
    printf(
        "store %u, swap %lu%s: %lu accesses, %lu waits, %lu nested, %lu given back; evicted: %lu clean, %lu zero, %lu "
        "same, %lu stored, %lu swapped, %lu put back; ahead %lu, missed %lu, window %lu\n",
        store_blocks, swap_pages, read_ahead ? ", ahead" : "", accesses, waits, nested, given, stats->evicted.clean,
        stats->evicted.zero, stats->evicted.same, stats->evicted.store, stats->evicted.swap, stats->evicted.wanted,
        stats->ahead.pages, stats->ahead.missed, stats->ahead.window);
    CHECK(stats->evicted.clean && stats->evicted.zero && stats->evicted.same && stats->evicted.wanted && given);
    CHECK(!store_blocks || stats->evicted.store);
    CHECK(!swap_pages || stats->evicted.swap);
    CHECK(!read_ahead == !stats->ahead.pages);
    /* All of it goes, and nothing is left anywhere. */
    for (uint64_t block = 0; block < SIZE / BLOCK_SIZE * BLOCK_SIZE; block += BLOCK_SIZE)
        give(1, block);
    world_settle();
    paged_world_audit();
    uint32_t was = core_enter(0);
    s2_freeze(&world.s2);
    s2_release(&world.s2, &world.inline_populator[0].frames);
    core_enter(was);
    world_settle();
    CHECK(report.helper[0].store.pages == 0 && report.helper[0].swap.used == 0);
    CHECK(stats->resident == ring_count(&world.port[0].pages) + ring_count(&world.port[1].pages) +
                                 ring_count(&world.port[2].pages) + (world.port[0].spare_page != 0) +
                                 (world.port[1].spare_page != 0) + (world.port[2].spare_page != 0));
    end_of_world();
}

static void model(void **state)
{
    const char *more = getenv("MW_OPERATIONS");
    uint64_t operations = more ? strtoull(more, NULL, 0) : 120000;

    (void)state;
    r = seed(1);
    for (uint64_t played = 0, i = 0; played < operations; played += 20000, i++)
        play(i % 3 ? 1 : 0, i % 3 == 1 ? 0 : PAGES + 200, i % 2, 20000);
}

/* Noise does not compress: with no swap disk there is nowhere to go. */
static void write_noise(uint64_t n)
{
    uint8_t *page = world_touch(0, RAM + n * PAGE_SIZE, true);

    for (uint64_t i = 0; i < PAGE_SIZE; i++)
        page[i] = flat[n * PAGE_SIZE + i] = (uint8_t)random64(&r);
}

/* From page `first` on, until the guest holds all that it may and has none ready. Returns how many pages that took. */
static uint64_t fill_with_noise(uint64_t first)
{
    uint64_t n = 0;

    while (world.paging.stats->resident < LIMIT || ring_count(&world.port[0].pages)) {
        if (n < BLOCK_PAGES)
            write_noise(first + n++);
        world_settle();
    }
    return n;
}

static bool is_recent(uint64_t n)
{
    for (uint32_t i = 0; i < world.paging.recent_count; i++) {
        if (world.paging.recent[i] == s2_walk(&world.s2, ipa(RAM + n * PAGE_SIZE)).slot)
            return true;
    }
    return false;
}

/* Page `n`, or the first behind it that was not among those that were asked for last. */
static uint64_t zero_an_old_page(uint64_t n)
{
    while (is_recent(n))
        n++;
    memset(world_touch(2, RAM + n * PAGE_SIZE, true), 0, PAGE_SIZE);
    return n;
}

/* Who asks for one page too many waits, and has it when another was given back. Nothing is lost meanwhile. */
static void all_is_full(void **state)
{
    uint64_t first = 3 * BLOCK_PAGES, n;
    bool queued = false;

    (void)state;
    r = seed(2);
    world_with(1, 0, true);
    n = fill_with_noise(first);
    CHECK(world_fault(0, RAM + (first + n) * PAGE_SIZE, true, &queued) == S2_WAIT);
    world_settle();
    CHECK(atomic_load(&world.paging.starving) && world.paging.stats->starved == 1);
    CHECK(sgi_take(0)); /* told that it starves: it asks again, and sleeps */
    CHECK(world_fault(0, RAM + (first + n) * PAGE_SIZE, true, &queued) == S2_WAIT);
    /* Another one too. */
    CHECK(world_fault(1, RAM + IMAGE_AT, false, &queued) == S2_WAIT);
    world_settle();
    CHECK(world.paging.stats->starved == 2 && sgi_take(1));
    CHECK(world_fault(1, RAM + IMAGE_AT, false, &queued) == S2_WAIT);
    for (uint64_t i = 0; i < n; i++)
        CHECK(!memcmp(world_touch(2, RAM + (first + i) * PAGE_SIZE, false), flat + (first + i) * PAGE_SIZE, PAGE_SIZE));
    give(2, 2 * BLOCK_SIZE); /* it holds nothing: nothing changes */
    world_settle();
    CHECK(!sgi_take(0) && !sgi_take(1));
    zero_an_old_page(zero_an_old_page(first) + 1); /* two pages are zeroes now */
    backing_room_made++;                           /* the helper has no reason to look for those by itself */
    world_settle();
    CHECK(sgi_take(0) && sgi_take(1) && !atomic_load(&world.paging.starving));
    CHECK(desc_kind(world_page(RAM + (first + n) * PAGE_SIZE), 3) == DESC_PRESENT);
    end_of_world();
}

/*
 * An instruction that needs two pages, where all but such pages is noise that cannot go: one of the two is not taken for the other
 * for ever, but somebody starves.
 */
static void two_pages_at_once(void **state)
{
    uint64_t page[] = {IMAGE_AT / PAGE_SIZE + 1, IMAGE_AT / PAGE_SIZE + 2}, rounds = 0;

    (void)state;
    r = seed(8);
    world_with(0, 0, false);
    fill_with_noise(3 * BLOCK_PAGES);
    zero_an_old_page(3 * BLOCK_PAGES); /* the one frame that can be had */
    backing_room_made++;
    while (!atomic_load(&world.paging.starving)) {
        bool queued = false;

        (void)world_fault(0, RAM + page[rounds % 2] * PAGE_SIZE, false, &queued);
        world_settle();
        CHECK(rounds++ < 1000);
    }
    CHECK(desc_kind(world_page(RAM + page[rounds % 2] * PAGE_SIZE), 3) == DESC_PRESENT);
    end_of_world();
}

/* Another guest, whose vCPU asks again at once, keeps nobody from making room. */
static void starved_beside_demand(void **state)
{
    static struct s2 second;
    static struct report_guest stats;
    uint64_t first = 3 * BLOCK_PAGES, n, next = RAM;
    uint32_t mmio;
    bool queued = false;

    (void)state;
    r = seed(4);
    world_with(1, 0, true);
    memset(&second, 0, sizeof(second));
    CHECK(s2_init(&second, 2, &world.boot, &stats) && s2_set_range(&second, &world.boot, ipa(RAM), MIB(24), 0));
    second.ram_base = ipa(RAM);
    second.ram_size = MIB(24);
    second.by_page = true;
    n = fill_with_noise(first);
    CHECK(world_fault(0, RAM + (first + n) * PAGE_SIZE, true, &queued) == S2_WAIT);
    world_settle();
    CHECK(sgi_take(0) && world_fault(0, RAM + (first + n) * PAGE_SIZE, true, &queued) == S2_WAIT);
    zero_an_old_page(first);
    backing_room_made++;
    world.port[1].paging = NULL;
    while (!sgi_take(0)) {
        uint32_t was = core_enter(1);

        while (!byte_ring_count(&world.port[1].requests)) {
            CHECK(next < RAM + MIB(24) && "it waits for as long as another one asks");
            if (s2_fault(&second, &world.port[1], ipa(next), true, &mmio, &queued) == S2_RESUME)
                next += PAGE_SIZE;
        }
        core_enter(was);
        CHECK(world_step(0));
    }
    CHECK(desc_kind(world_page(RAM + (first + n) * PAGE_SIZE), 3) == DESC_PRESENT);
    world_settle();
    end_of_world();
}

/* A guest that ends does not wait for a frame. */
static void starved_and_ending(void **state)
{
    uint64_t first = 3 * BLOCK_PAGES, n;
    bool queued = false;

    (void)state;
    r = seed(3);
    world_with(0, 0, true);
    n = fill_with_noise(first);
    CHECK(world_fault(0, RAM + (first + n) * PAGE_SIZE, true, &queued) == S2_WAIT);
    world_settle();
    CHECK(!port_idle(&world.port[0]));
    s2_freeze(&world.s2);
    world_settle();
    CHECK(port_idle(&world.port[0]) && sgi_take(0));
    s2_release(&world.s2, &world.inline_populator[0].frames);
    for (uint32_t v = 0; v < VCPUS; v++)
        port_close(&world.port[v], &world.inline_populator[v].frames);
    world_settle();
    CHECK(world.paging.stats->resident == 0);
    end_of_world();
}

/* Pages that were to be written stay where they are, and come from there. */
static void disk_does_not_write(void **state)
{
    (void)state;
    r = seed(4);
    world_with(0, PAGES + 200, false);
    swap_drive.fails_to_write = true;
    for (uint64_t n = 3 * BLOCK_PAGES; n < 3 * BLOCK_PAGES + LIMIT + 100; n++) {
        bool queued = false;

        if (world_fault(0, RAM + n * PAGE_SIZE, true, &queued) == S2_WAIT)
            world_settle();
        if (desc_kind(world_page(RAM + n * PAGE_SIZE), 3) != DESC_PRESENT)
            break;
        write_noise(n);
    }
    world_settle();
    CHECK(report.helper[0].swap.write_errors > 0);
    uint64_t writes = report.helper[0].swap.writes;
    for (uint64_t n = 3 * BLOCK_PAGES; n < 3 * BLOCK_PAGES + 40; n++) {
        uint64_t d = world_page(RAM + n * PAGE_SIZE);

        if (desc_kind(d, 3) == DESC_PRESENT)
            CHECK(!memcmp(pa_ptr(desc_pa(d)), flat + n * PAGE_SIZE, PAGE_SIZE));
    }
    /* Room for those that are out: nothing of them is lost. */
    give(1, 2 * BLOCK_SIZE);
    world_settle();
    CHECK(report.helper[0].swap.writes == writes);
    uint64_t early = report.helper[0].swap.read_early, seen = 0;
    for (uint64_t n = 3 * BLOCK_PAGES; n < 3 * BLOCK_PAGES + LIMIT + 100; n++) {
        uint64_t d = world_page(RAM + n * PAGE_SIZE);
        bool queued = false;

        if (desc_kind(d, 3) != DESC_ABSENT || desc_small(d) != BACKING_SWAP)
            continue;
        if (world.paging.stats->resident >= LIMIT)
            break;
        CHECK(world_fault(1, RAM + n * PAGE_SIZE, false, &queued) == S2_WAIT);
        world_settle();
        d = world_page(RAM + n * PAGE_SIZE);
        CHECK(desc_kind(d, 3) == DESC_PRESENT && !memcmp(pa_ptr(desc_pa(d)), flat + n * PAGE_SIZE, PAGE_SIZE));
        seen++;
    }
    CHECK(report.helper[0].swap.read_early == early + seen);
    end_of_world();
}

/* An error on that page, and on no other. */
static void disk_does_not_read(void **state)
{
    uint64_t first = 3 * BLOCK_PAGES, bad = 0, n;
    bool queued = false;
    uint32_t mmio;

    (void)state;
    r = seed(5);
    world_with(0, PAGES + 200, false);
    for (n = first; n < first + BLOCK_PAGES; n++)
        write_noise(n);
    world_settle();
    for (n = first; n < first + BLOCK_PAGES && !bad; n++) {
        if (desc_kind(world_page(RAM + n * PAGE_SIZE), 3) == DESC_ABSENT)
            bad = n;
    }
    CHECK(bad);
    swap_drive.fails_to_read = true;
    CHECK(world_fault(0, RAM + bad * PAGE_SIZE, false, &queued) == S2_WAIT);
    world_settle();
    swap_drive.fails_to_read = false;
    CHECK(s2_fault(&world.s2, &world.port[0], ipa(RAM + bad * PAGE_SIZE), false, &mmio, &queued) == S2_ERROR);
    CHECK(report.helper[0].swap.read_errors == 1 && helpers[0].pop.stats->unreadable == 1);
    for (n = first; n < first + BLOCK_PAGES; n++) {
        if (n != bad)
            CHECK(!memcmp(world_touch(0, RAM + n * PAGE_SIZE, false), flat + n * PAGE_SIZE, PAGE_SIZE));
    }
    end_of_world();
}

/* A page that has not been written since it came back is not written again, while there is room for both. */
static void clean_pages_are_not_written_again(void **state)
{
    uint64_t first = 2 * BLOCK_PAGES;

    (void)state;
    r = seed(6);
    world_with(0, 4 * PAGES, false);
    for (uint64_t n = first; n < first + 2 * LIMIT; n++)
        write_noise(n);
    for (uint64_t n = first; n < first + 2 * LIMIT; n++) /* the last ones go out too */
        (void)world_touch(0, RAM + n * PAGE_SIZE, false);
    world_settle();
    uint64_t written = report.helper[0].swap.written_pages, swaps = world.paging.stats->brought.swap;
    for (uint64_t i = 0; i < 3; i++) {
        for (uint64_t n = first; n < first + 2 * LIMIT; n++)
            CHECK(!memcmp(world_touch(1, RAM + n * PAGE_SIZE, false), flat + n * PAGE_SIZE, PAGE_SIZE));
    }
    world_settle();
    CHECK(world.paging.stats->brought.swap > swaps + 2 * LIMIT);
    CHECK(report.helper[0].swap.written_pages <= written + LIMIT); /* those that had not been out yet */
    paged_world_audit();
    end_of_world();
}

/* What is in use stays, what is not goes. */
static void cold_pages_go_first(void **state)
{
    uint64_t first = 2 * BLOCK_PAGES, hot = 100, faults;

    (void)state;
    r = seed(7);
    world_with(0, 4 * PAGES, false);
    for (uint64_t i = 0, n = first; i < 20 * LIMIT; i++) {
        if (i % 2)
            (void)world_touch(0, RAM + (first + i / 2 % hot) * PAGE_SIZE, false);
        else
            (void)world_touch(0, RAM + (first + hot + n++ % LIMIT) * PAGE_SIZE, true);
        world_step(0);
    }
    world_settle();
    faults = 0;
    for (uint64_t n = 0; n < hot; n++)
        faults += desc_kind(world_page(RAM + (first + n) * PAGE_SIZE), 3) != DESC_PRESENT;
    CHECK(faults < hot / 10);
    end_of_world();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model),
        cmocka_unit_test(all_is_full),
        cmocka_unit_test(two_pages_at_once),
        cmocka_unit_test(starved_beside_demand),
        cmocka_unit_test(starved_and_ending),
        cmocka_unit_test(disk_does_not_write),
        cmocka_unit_test(disk_does_not_read),
        cmocka_unit_test(clean_pages_are_not_written_again),
        cmocka_unit_test(cold_pages_go_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
