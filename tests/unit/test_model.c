/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/*
 * Any order of operations on a small guest, against a flat array of bytes and a flat array of page states.
 *
 * Operations are accesses by several vCPUs, EL2's own reads and writes, and steps of the helpers. Maintenance and zeroing
 * call a hook in the middle of the code under test: there, now and then, another vCPU does something of its own, which
 * is how two cores come to be inside at once without threads, and each run with the same seed is the same.
 */
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
    bool asked; /* somebody has touched it */
    bool dirty; /* it was written, or is zeroes: then it must be writable as long as it is there */
} page[PAGES];
static uint64_t accesses, waits, nested;

static bool is_zero(uint64_t n)
{
    return n * PAGE_SIZE < IMAGE_AT || n * PAGE_SIZE >= IMAGE_AT + align_up(IMAGE_SIZE, PAGE_SIZE);
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

static void touched(uint64_t offset, bool write)
{
    page[offset / PAGE_SIZE].asked = true;
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
    result = world_fault(vcpu, RAM + offset, write, &queued);
    if (result == S2_WAIT || result == S2_BUSY) {
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
    was = core_enter(core);
    if (write)
        result = guestmem_write(&world.s2, ipa(RAM + offset), buf, n, true);
    else
        result = guestmem_read(&world.s2, ipa(RAM + offset), buf, n, true);
    core_enter(was);
    CHECK(result == GUESTMEM_OK || result == GUESTMEM_ABSENT);
    if (result == GUESTMEM_ABSENT && write) {
        /* The first page may have been written when the second was absent. */
        uint64_t first = PAGE_SIZE - offset % PAGE_SIZE;

        if (first < n && desc_kind(world_page(RAM + offset), 3) == DESC_PRESENT &&
            *((uint8_t *)pa_ptr(desc_pa(world_page(RAM + offset))) + offset % PAGE_SIZE) == buf[0] &&
            desc_writable(world_page(RAM + offset))) {
            if (!memcmp((uint8_t *)pa_ptr(desc_pa(world_page(RAM + offset))) + offset % PAGE_SIZE, buf, first)) {
                memcpy(flat + offset, buf, first);
                touched(offset, true);
            }
        }
        return;
    }
    if (result != GUESTMEM_OK)
        return;
    accesses++;
    for (uint64_t at = offset; at < offset + n; at = align_down(at, PAGE_SIZE) + PAGE_SIZE)
        touched(at, write);
    if (write)
        memcpy(flat + offset, buf, n);
    else
        CHECK(!memcmp(flat + offset, buf, n));
}

/* Somebody else, in the middle of it. Cores that are inside already cannot begin anything. */
static bool inside[MAX_CORES];
static uint32_t depth;

static void something(void)
{
    uint32_t v = (uint32_t)random_below(&r, VCPUS);
    uint64_t offset = any_offset();
    uint32_t h = (uint32_t)random_below(&r, 2);

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
    uint32_t odds = op == FAKE_TLBI_VMALLS12 ? 1 : op == FAKE_TLBI_IPA ? 2 : 50;
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
        bool begun = false, any_dirty = false;
        bool joined = world_walk(RAM + block).level == 2 && desc_kind(world_walk(RAM + block).desc, 2) == DESC_PRESENT;

        for (uint64_t n = block / PAGE_SIZE; n < end / PAGE_SIZE; n++) {
            begun = begun || page[n].asked;
            any_dirty = any_dirty || page[n].dirty || is_zero(n);
        }
        for (uint64_t n = block / PAGE_SIZE; n < end / PAGE_SIZE; n++) {
            uint64_t d = world_page(RAM + n * PAGE_SIZE);

            if (desc_kind(d, 3) == DESC_PRESENT) {
                present++;
                CHECK(!memcmp(pa_ptr(desc_pa(d)), flat + n * PAGE_SIZE, PAGE_SIZE));
                if (joined)
                    CHECK(desc_writable(d) == any_dirty);
                else
                    CHECK(desc_writable(d) == (page[n].dirty || is_zero(n)));
            } else {
                CHECK(!page[n].asked);
                CHECK(d == (is_zero(n) ? 0 : desc_absent(1, n - IMAGE_AT / PAGE_SIZE)));
            }
        }
        if (!begun && !joined)
            CHECK(desc_kind(world_page(RAM + block), 3) != DESC_PRESENT);
        if (joined && any_dirty) { /* from now on one state for all of it */
            for (uint64_t n = block / PAGE_SIZE; n < end / PAGE_SIZE; n++)
                page[n].dirty = true;
        }
    }
    CHECK(a.present == present);
}

/* Nobody waits for anything: what is under way is finished first. */
static void quiet(void)
{
    for (uint32_t v = 0; v < VCPUS; v++) {
        while (ring_count(&world.port[v].requests))
            world_step(v % helpers_of_round);
    }
}

static void play(uint32_t helper_count_, bool by_page, uint64_t operations)
{
    const uint8_t *bytes = image_make(IMAGE_SIZE, 0x345);
    struct source src = {.ops = &source_image_ops, .base = ptr_pa(bytes), .size = IMAGE_SIZE};

    world_make(&(struct world_config){.blocks = 64,
                                      .vcpus = VCPUS,
                                      .helpers = helper_count_,
                                      .ram_base = RAM,
                                      .ram_size = SIZE,
                                      .by_page = by_page});
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(RAM + IMAGE_AT), align_up(IMAGE_SIZE, PAGE_SIZE),
                       desc_absent((uint32_t)s2_add_source(&world.s2, &src), 0)));
    helpers_of_round = helper_count_;
    memset(page, 0, sizeof(page));
    memset(flat, 0, sizeof(flat));
    memcpy(flat + IMAGE_AT, bytes, IMAGE_SIZE);
    accesses = waits = nested = 0;
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
    printf("%u helpers%s: %llu accesses, %llu waits, %llu in the middle of another\n", helper_count_,
           by_page ? ", by page" : "", (unsigned long long)accesses, (unsigned long long)waits,
           (unsigned long long)nested);
    CHECK(accesses > operations / 10 && nested > 0);
    /* What was begun is in blocks now, but for the one that is not all RAM (and, without a helper, for nothing else). */
    if (helper_count_) {
        struct audit a = world_audit();

        CHECK(a.present - a.block <= (SIZE % BLOCK_SIZE) / PAGE_SIZE);
    }
    /* The guest may be anywhere: all of it, once more. */
    for (uint64_t n = 0; n < PAGES; n++) {
        CHECK(*world_touch(0, RAM + n * PAGE_SIZE + n % PAGE_SIZE, false) == flat[n * PAGE_SIZE + n % PAGE_SIZE]);
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
    uint64_t operations = more ? strtoull(more, NULL, 0) : 60000;

    (void)state;
    r = seed(1);
    for (uint32_t h = 0; h < 3; h++) {
        play(h, false, operations);
        play(h, true, operations);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
