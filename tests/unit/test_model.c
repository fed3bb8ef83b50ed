/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/give_back.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/*
 * Any order of operations on a small guest, against a flat array of bytes and a flat array of page states.
 *
 * Operations are accesses by several vCPUs, ranges that they give back, EL2's own reads and writes, and steps of the helpers. Maintenance and zeroing
 * call a hook in the middle of the code under test: there, now and then, another vCPU does something of its own, which
 * is how two cores come to be inside at once without threads, and each run with the same seed is the same.
 */
#include "mm/give_back.h"
#include "tests/unit/support.h"

#define RAM UINT64_C(0x40000000)
#define SIZE (MIB(14) + 9 * PAGE_SIZE) /* the last block is RAM in part */
#define PAGES (SIZE / PAGE_SIZE)
#define VCPUS 3u

#define IMAGE_AT (3 * PAGE_SIZE)
#define IMAGE_SIZE (MIB(5) + 777)

static uint64_t r;

/* What the guest must see. */
static uint8_t flat[SIZE];
/* What each page is, as far as the operations tell. */
static struct {
    bool begun;     /* somebody has begun to touch it */
    bool there;     /* and has seen it */
    bool may_dirty; /* somebody has begun to write it, or it is zeroes: it may be writable */
    bool dirty;     /* it was written, or seen and zeroes: it must be */
    bool dropped;   /* it was given back: its source is the zeroes */
} page[PAGES];
static uint64_t accesses, waits, nested, given, kept;

static bool is_zero(uint64_t n)
{
    return page[n].dropped || n * PAGE_SIZE < IMAGE_AT || n * PAGE_SIZE >= IMAGE_AT + align_up(IMAGE_SIZE, PAGE_SIZE);
}

static uint32_t helpers_of_round;

static uint64_t any_offset(void)
{
    static uint64_t last;

    if (random_below(&r, 3)) { /* often near the last one, so that blocks fill up */
        uint64_t at = (last & ~(BLOCK_SIZE - 1)) + random_below(&r, BLOCK_SIZE);

        if (at < SIZE)
            return last = at;
    }
    return last = random_below(&r, SIZE);
}

static void begins(uint64_t offset, bool write)
{
    page[offset / PAGE_SIZE].begun = true;
    if (write)
        page[offset / PAGE_SIZE].may_dirty = true;
}

static void touched(uint64_t offset, bool write)
{
    page[offset / PAGE_SIZE].there = true;
    if (write || is_zero(offset / PAGE_SIZE))
        page[offset / PAGE_SIZE].dirty = true;
}

/* With all its requests under way a vCPU that faults again waits for the helper, which would never get to run here. */
static bool may_ask(uint32_t vcpu)
{
    for (uint32_t i = 0; i < PORT_REQUESTS; i++) {
        if (!atomic_load(&requests[world.port[vcpu].first_request + i].busy))
            return true;
    }
    return false;
}

/* One access of a vCPU that does not wait: false if the page is not there yet. */
static bool access(uint32_t vcpu, uint64_t offset, bool write)
{
    bool queued = false;
    enum s2_fault_result result;
    uint8_t *p;
    uint64_t d;

    if (!may_ask(vcpu))
        return false;
    begins(offset, write);
    result = world_fault(vcpu, RAM + offset, write, &queued);
    if (result == S2_WAIT || result == S2_BUSY || result == S2_FULL) {
        CHECK(queued);
        waits++;
        return false;
    }
    CHECK(result == S2_RESUME);
    d = world_page(RAM + offset);
    if (desc_kind(d, 3) != DESC_PRESENT || (write && !desc_writable(d)))
        return false; /* a leftover, or joined into a block meanwhile: it would fault again */
    touched(offset, write);
    p = (uint8_t *)pa_ptr(desc_pa(d)) + offset % PAGE_SIZE;
    CHECK(*p == flat[offset]);
    if (write)
        flat[offset] = *p = (uint8_t)random64(&r);
    accesses++;
    return true;
}

/* A write over two pages ended at the second, which is absent: if the first was there, its part was written. */
static void written_in_part(uint64_t offset, const uint8_t *buf, uint64_t n)
{
    uint64_t d = world_page(RAM + offset);

    if (desc_kind(d, 3) != DESC_PRESENT)
        return;
    CHECK(desc_writable(d) && !memcmp((uint8_t *)pa_ptr(desc_pa(d)) + offset % PAGE_SIZE, buf, n));
    memcpy(flat + offset, buf, n);
    touched(offset, true);
}

static void el2_access(uint32_t core, uint64_t offset, bool write)
{
    uint8_t buf[300];
    uint64_t n = 1 + random_below(&r, sizeof(buf));
    enum guestmem_result result;
    uint32_t was;

    if (offset + n > SIZE) /* beyond RAM */
        n = SIZE - offset;
    for (uint64_t i = 0; i < n; i++)
        buf[i] = (uint8_t)random64(&r);
    for (uint64_t at = offset; write && at < offset + n; at = align_down(at, PAGE_SIZE) + PAGE_SIZE)
        page[at / PAGE_SIZE].may_dirty = true; /* but EL2 begins no page: that is the fault's */
    was = core_enter(core);
    if (write)
        result = guestmem_write(&world.s2, ipa(RAM + offset), buf, n, true);
    else
        result = guestmem_read(&world.s2, ipa(RAM + offset), buf, n, true);
    core_enter(was);
    CHECK(result == GUESTMEM_OK || result == GUESTMEM_ABSENT);
    if (result == GUESTMEM_ABSENT) {
        if (write && n > PAGE_SIZE - offset % PAGE_SIZE)
            written_in_part(offset, buf, PAGE_SIZE - offset % PAGE_SIZE);
        return;
    }
    accesses++;
    for (uint64_t at = offset; at < offset + n; at = align_down(at, PAGE_SIZE) + PAGE_SIZE)
        touched(at, write);
    if (write)
        memcpy(flat + offset, buf, n);
    else
        CHECK(!memcmp(flat + offset, buf, n));
}

/* What the guest must see of a block from now on: zeroes, and nothing there until it is touched again. */
static void forget(uint64_t block)
{
    memset(flat + block, 0, BLOCK_SIZE);
    memset(&page[block / PAGE_SIZE], 0, BLOCK_PAGES * sizeof(page[0]));
    for (uint64_t n = block / PAGE_SIZE; n < (block + BLOCK_SIZE) / PAGE_SIZE; n++)
        page[n].dropped = true;
    given++;
}

static enum desc_kind kind_of_block(uint64_t block)
{
    struct s2_entry e;

    epoch_enter();
    e = s2_walk_block(&world.s2, ipa(RAM + block));
    epoch_leave();
    return desc_kind(e.desc, e.level);
}

/*
 * What is absent as a whole goes at the first look, before anything can happen in the middle; what is present goes at the end or
 * not at all, and nobody gets at it in between.
 */
static void give_back(uint32_t vcpu, uint64_t offset, uint64_t bytes)
{
    uint64_t from = align_up(offset, BLOCK_SIZE), to = align_down(offset + bytes, BLOCK_SIZE);
    bool there[SIZE / BLOCK_SIZE] = {false};
    struct give_back g;
    uint32_t was;

    for (uint64_t block = from; block < to; block += BLOCK_SIZE) {
        enum desc_kind kind = kind_of_block(block);

        there[block / BLOCK_SIZE] = kind == DESC_PRESENT || kind == DESC_TABLE_REF;
        if (kind == DESC_ABSENT)
            forget(block);
    }
    was = core_enter(vcpu);
    give_back_begin(&g, &world.s2, &world.inline_populator[vcpu].frames);
    give_back_range(&g, ipa(RAM + offset), bytes);
    give_back_end(&g);
    core_enter(was);
    for (uint64_t block = from; block < to; block += BLOCK_SIZE) {
        if (!there[block / BLOCK_SIZE])
            continue;
        if (kind_of_block(block) == DESC_ABSENT_ZERO)
            forget(block);
        else
            kept++;
    }
}

/* Somebody else, in the middle of it. Cores that are inside already cannot begin anything. */
static bool inside[MAX_CORES];
static uint32_t depth;

static void something(void)
{
    uint32_t v = (uint32_t)random_below(&r, VCPUS);
    uint64_t offset = any_offset();
    uint32_t h = (uint32_t)random_below(&r, 2);

    /* Not in the middle: it waits for those who are inside. */
    if (depth == 0 && random_below(&r, 60) == 0 && !inside[v]) {
        inside[v] = true;
        offset = random_below(&r, SIZE);
        give_back(v, offset, random_below(&r, SIZE - offset + 1));
        inside[v] = false;
        return;
    }
    switch (random_below(&r, 8)) {
    case 0:
    case 1:
    case 2:
        if (helpers_of_round > h && !inside[VCPUS + h]) {
            inside[VCPUS + h] = true;
            for (uint64_t n = random_below(&r, depth ? 3 : 40); n > 0; n--)
                world_step(h);
            inside[VCPUS + h] = false;
        }
        break;
    case 3:
        /* Only when nothing else is under way: what it was about to write is told afterwards. */
        if (!inside[v] && depth == 0) {
            inside[v] = true;
            el2_access(v, offset, random_below(&r, 2));
            inside[v] = false;
        }
        break;
    default:
        if (!inside[v]) {
            inside[v] = true;
            access(v, offset, random_below(&r, 3) == 0);
            inside[v] = false;
        }
    }
}

static void meanwhile(enum fake_op op, uint64_t arg)
{
    uint32_t odds = op == FAKE_TLBI_VMALLS12 || op == FAKE_TLBI_IPA ? 2 : 12;
    uint32_t was;

    (void)arg;
    if (depth >= 3 || random_below(&r, odds))
        return;
    depth++;
    nested++;
    was = core_enter(0);
    something();
    core_enter(was);
    depth--;
}

/* Every page: its bytes, its state, and whether it may be there at all. */
static void compare_all(void)
{
    struct audit a = world_audit();
    uint64_t present = 0;

    for (uint64_t block = 0; block < SIZE; block += BLOCK_SIZE) {
        uint64_t end = block + BLOCK_SIZE < SIZE ? block + BLOCK_SIZE : SIZE;
        bool begun = false, dirty = false, may_dirty = false;
        bool joined = world_walk(RAM + block).level == 2 && desc_kind(world_walk(RAM + block).desc, 2) == DESC_PRESENT;

        for (uint64_t n = block / PAGE_SIZE; n < end / PAGE_SIZE; n++) {
            begun = begun || page[n].begun;
            dirty = dirty || page[n].dirty || is_zero(n);
            may_dirty = may_dirty || page[n].may_dirty || is_zero(n);
        }
        for (uint64_t n = block / PAGE_SIZE; n < end / PAGE_SIZE; n++) {
            uint64_t d = world_page(RAM + n * PAGE_SIZE);

            if (desc_kind(d, 3) == DESC_PRESENT) {
                present++;
                CHECK(!memcmp(pa_ptr(desc_pa(d)), flat + n * PAGE_SIZE, PAGE_SIZE));
                CHECK(begun);
                CHECK(desc_writable(d) || !(joined ? dirty : page[n].dirty || is_zero(n)));
                CHECK(!desc_writable(d) || (joined ? may_dirty : page[n].may_dirty || is_zero(n)));
            } else {
                CHECK(!page[n].there);
                CHECK(d == (is_zero(n) ? 0 : desc_absent(1, n - IMAGE_AT / PAGE_SIZE)));
            }
        }
    }
    CHECK(a.present == present);
}

/* Nobody waits for anything: what is under way is finished first. */
static void quiet(void)
{
    for (uint32_t v = 0; v < VCPUS; v++) {
        while (byte_ring_count(&world.port[v].requests))
            world_step(v % helpers_of_round);
    }
}

static void play(uint32_t helper_count_, bool by_page, uint64_t operations)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 0x345);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};

    world_make(&(struct world_config){
        .blocks = 40, .vcpus = VCPUS, .helpers = helper_count_, .ram_base = RAM, .ram_size = SIZE, .by_page = by_page});
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + IMAGE_AT), align_up(IMAGE_SIZE, PAGE_SIZE),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    helpers_of_round = helper_count_;
    memset(page, 0, sizeof(page));
    memset(flat, 0, sizeof(flat));
    memcpy(flat + IMAGE_AT, bytes, IMAGE_SIZE);
    accesses = waits = nested = given = kept = 0;
    depth = 0;
    fake_arch_hook = meanwhile;
    for (uint64_t i = 0; i < operations; i++) {
        something();
        if (i % (operations / 16) == 0) {
            fake_arch_hook = NULL;
            quiet();
            compare_all();
            fake_arch_hook = meanwhile;
        }
    }
    fake_arch_hook = NULL;
    quiet();
    world_settle();
    compare_all();
    printf(
        "%u helpers%s: %llu accesses, %llu waits, %llu in the middle of another; %llu blocks given back, %llu kept\n",
        helper_count_, by_page ? ", by page" : "", (unsigned long long)accesses, (unsigned long long)waits,
        (unsigned long long)nested, (unsigned long long)given, (unsigned long long)kept);
    CHECK(accesses > operations / 10 && nested > 0 && given > 0);
    /* What was begun is in blocks now, but for the one that is not all RAM (and, without a helper, for nothing else). */
    if (helper_count_) {
        struct audit a = world_audit();

        CHECK(a.present - a.block <= (SIZE % BLOCK_SIZE) / PAGE_SIZE);
    }
    /* The guest may be anywhere: all of it, once more. */
    for (uint64_t n = 0; n < PAGES; n++) {
        CHECK(*world_touch(0, RAM + n * PAGE_SIZE + n % PAGE_SIZE, false) == flat[n * PAGE_SIZE + n % PAGE_SIZE]);
        begins(n * PAGE_SIZE, false);
        touched(n * PAGE_SIZE, false);
    }
    world_settle();
    compare_all();
    CHECK(world_audit().present == PAGES);
    for (uint64_t i = 0; i < IMAGE_SIZE; i++)
        CHECK(bytes[i] == image_byte(i));
    world_drop();
    image_drop();
}

static void model(void **state)
{
    const char *more = getenv("MW_OPERATIONS");
    uint64_t operations = more ? strtoull(more, NULL, 0) : 400000;
    uint64_t played = 0;

    (void)state;
    r = seed(1);
    /* Short games show how blocks come to be, long ones what lasts. */
    for (uint64_t i = 0; played < operations; i++) {
        uint64_t n = i % 8 < 6 ? 5000 : 25000;

        play(i % 3, i / 3 % 2, n);
        played += n;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
