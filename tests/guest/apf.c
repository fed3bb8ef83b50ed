/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asynchronous page faults (doc/abi.md) without an operating system: a RAM disk whose pages take long to come, page p of which
 * begins with the number p. A page that is not present is "parked" by going on with the next one.
 *
 * Command line: pages=N that are touched at once; resident=1 if the guest has a limit, and pages that it touched go again.
 */
#include "pv/abi.h"
#include "tests/guest/lib/guest.h"

#define APART 20 /* pages between two that are touched: what is fetched with one does not bring the next */
#define INVALID ((uint64_t)MW_INVALID_PARAMETER)
#define DENIED ((uint64_t)MW_DENIED)
#define WORD32(page, offset) (*(volatile uint32_t *)((page) + (offset)))
#define WORD64(page, offset) (*(volatile uint64_t *)((page) + (offset)))
#define PARKED_MAX 128
#define SGI 1

/* Behind the image, and on the disk as the rest of it: word i is (i + 1) * WEYL modulo 2^64. */
#define WEYL 0x9e3779b97f4a7c15UL
extern const uint64_t payload[];
__asm__(".pushsection .payload, \"a\"\n"
        ".balign 4096\n"
        "payload:\n"
        ".set word, 0\n"
        ".rept 40 * 512\n"
        ".set word, word + 0x9e3779b97f4a7c15\n"
        ".quad word\n"
        ".endr\n"
        ".popsection");

static struct range disk;
static uint64_t next; /* page to touch */
static unsigned event_intid;
static uint64_t shared[2]; /* the pages that CPU 0 and 1 share with the hypervisor */

static uint64_t call(uint64_t function, uint64_t a, uint64_t b)
{
    return psci(function, a, b, 0);
}

static uint64_t enable(uint64_t flags)
{
    return call(MW_FN_APF_ENABLE, shared[cpu_index()], flags);
}

/* ---- the guest's side of the ring, on the CPU whose it is */

static struct parked {
    uint64_t token, page;
    volatile unsigned ready, status;
} parked[PARKED_MAX];
static volatile unsigned count, answered, interrupts, wake_all, strays;
static struct {
    uint64_t token;
    unsigned status;
} early[MW_APF_ENTRIES]; /* events that came before their token was noted: `strays` of them */
static volatile bool reads_ring = true;

static void answered_by(struct parked *p, unsigned status)
{
    p->ready++;
    p->status = status;
    answered++;
}

static void answer(uint64_t token, unsigned status)
{
    if (status == MW_APF_WAKE_ALL && token == ~0UL) {
        wake_all++;
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (parked[i].token == token) {
            answered_by(&parked[i], status);
            return;
        }
    }
    early[strays % MW_APF_ENTRIES].token = token;
    early[strays++ % MW_APF_ENTRIES].status = status;
}

/* The CPU goes on with something else. */
static void park(uint64_t token, uint64_t page)
{
    const bool masked = read_sysreg(daif) & BIT(7);
    irq_disable();
    parked[count] = (struct parked){token, page, 0, 0};
    for (unsigned i = 0; i < strays; i++) {
        if (early[i].token == token) {
            answered_by(&parked[count], early[i].status);
            early[i] = early[--strays];
            break;
        }
    }
    count++;
    if (!masked)
        irq_enable();
}

static void read_ring(uint64_t page)
{
    uint32_t at = WORD32(page, MW_APF_PAGE_CONSUMER);
    for (;;) {
        const uint32_t to = __atomic_load_n((uint32_t *)(page + MW_APF_PAGE_PRODUCER), __ATOMIC_ACQUIRE);
        if (at == to)
            break;
        for (; at != to; at++) {
            const uint64_t entry = page + MW_APF_PAGE_RING + at % MW_APF_ENTRIES * MW_APF_ENTRY_BYTES;
            answer(WORD64(entry, MW_APF_ENTRY_TOKEN), WORD32(entry, MW_APF_ENTRY_STATUS));
        }
        __atomic_store_n((uint32_t *)(page + MW_APF_PAGE_CONSUMER), at, __ATOMIC_RELEASE);
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* our index before the look at theirs */
    }
}

static void event(unsigned intid)
{
    if (intid != event_intid)
        return;
    interrupts++;
    if (reads_ring)
        read_ring(shared[cpu_index()]);
}

/* ---- touching */

static void load(void *at)
{
    (void)*(volatile uint64_t *)at;
}

/* True if it was not present, and is parked. */
static bool touch_page(uint64_t page)
{
    struct fault fault;
    if (!attempt(load, (void *)page, &fault))
        return false;
    if (fault.esr != MW_APF_ESR_EL1 || !fault.far || fault.far >> MW_APF_TOKEN_VCPU_SHIFT != cpu_index()) {
        fail("not present", "ESR %lx, FAR %lx", fault.esr, fault.far);
        finish();
    }
    park(fault.far, page);
    return true;
}

/* The next page of the disk. */
static bool touch(void)
{
    const uint64_t page = next;
    next += APART * PAGE;
    if (next > disk.end)
        next = disk.base;
    return touch_page(page);
}

static void forget(void)
{
    count = answered = interrupts = wake_all = strays = 0;
}

/*
 * The first word of a page of which it was said to try again, or that was waited for. It may take another wait: the promise is no
 * more than that.
 */
static uint64_t first_word(uint64_t page)
{
    struct fault fault;
    for (unsigned tries = 0; tries < 3 && attempt(load, (void *)page, &fault); tries++)
        (void)call(MW_FN_APF_WAIT, fault.far, 0);
    return WORD64(page, 0);
}

static bool right(const struct parked *p)
{
    return first_word(p->page) == (p->page - disk.base) / PAGE;
}

/* Touches so many, and waits until all that were parked are answered. */
static void all_answered(const char *name, unsigned pages)
{
    unsigned once = 0, good = 0;
    forget();
    for (unsigned i = 0; i < pages; i++)
        (void)touch();
    check(count >= pages / 2 && WAIT_FOR(answered >= count, 20000) && !strays, name,
          "%u of %u not present, %u answered, %u strays", count, pages, answered, strays);
    for (unsigned i = 0; i < count; i++) {
        once += parked[i].ready == 1 && parked[i].status == MW_APF_READY;
        good += right(&parked[i]);
    }
    check(once == count, "each is answered once", "%u of %u", once, count);
    check(good == count, "each has its content", "%u of %u", good, count);
    check(interrupts && interrupts <= count, "by an interrupt or by less", "%u for %u", interrupts, count);
    say("apf: %u parked, %u interrupts\n", count, interrupts);
}

static void none(const char *name)
{
    forget();
    for (unsigned i = 0; i < 3; i++)
        (void)touch();
    check(count == 0, name, "%u were told", count);
}

/* ---- */

/*
 * From the one thing that is known of a machine without a device tree, that there is PSCI by HVC (the FADT says so), to where
 * asynchronous page faults can be turned on. No call is made before another has said that it is there.
 */
static void discovery(void)
{
    struct regs r = {.x = {MW_FN_UID}};
    check(call(PSCI_VERSION, 0, 0) >= 0x10000, "PSCI has PSCI_FEATURES", "%lx", call(PSCI_VERSION, 0, 0));
    check((int64_t)call(PSCI_FEATURES, SMCCC_VERSION, 0) >= 0, "it has SMCCC_VERSION", "no");
    check((int32_t)call(SMCCC_VERSION, 0, 0) >= 0x10001, "SMCCC has the vendor's range", "%lx",
          call(SMCCC_VERSION, 0, 0));
    smccc_raw(HVC_0, &r);
    check(r.x[0] == MW_UID_0 && r.x[1] == MW_UID_1 && r.x[2] == MW_UID_2 && r.x[3] == MW_UID_3, "the vendor is us",
          "%lx %lx %lx %lx", r.x[0], r.x[1], r.x[2], r.x[3]);
    r = (struct regs){.x = {MW_FN_REVISION}};
    smccc_raw(HVC_0, &r);
    const uint64_t revision = r.x[0] << 16 | r.x[1];
    check(revision == (MW_REVISION_MAJOR << 16 | MW_REVISION_MINOR), "the revision is ours", "%lx", revision);
    r = (struct regs){.x = {MW_FN_INFO}};
    smccc_raw(HVC_0, &r);
    const uint64_t page = r.x[2];
    event_intid = (unsigned)r.x[3];
    check(r.x[0] == revision && page == MW_INFO_ADDRESS, "INFO", "%lx %lx", r.x[0], page);
    check(call(MW_FN_FEATURES, 0, 0) == r.x[1] && r.x[1] & MW_FEATURE_APF, "features", "%lx", r.x[1]);
    check(WORD64(page, MW_INFO_MAGIC) == MW_INFO_MAGIC_VALUE && WORD32(page, MW_INFO_REVISION) == r.x[0] &&
              WORD64(page, MW_INFO_FEATURES) == r.x[1] && WORD32(page, MW_INFO_EVENT) == r.x[3] &&
              WORD32(page, MW_INFO_SIZE) >= MW_INFO_BYTES,
          "the information page says the same", "%lx", WORD64(page, MW_INFO_MAGIC));
    say("apf: build %s\n", (const char *)(page + MW_INFO_BUILD));
}

/* A page of the image, which nothing has touched yet, with what discovery() has learned and no more. */
static void without_tree(void)
{
    static uint8_t own[PAGE] __attribute__((aligned(PAGE)));
    const uint64_t tree = dtb_address, far = (uint64_t)payload + 30 * PAGE;
    dtb_address = 0;
    discovery();
    gic_init();
    mmu_on();
    irq_hook[0] = event;
    gic_enable(event_intid);
    irq_enable();
    shared[0] = (uint64_t)own;
    check(enable(MW_APF_FLAG_EL1) == 0, "ENABLE without a device tree", "an error");
    check(touch_page(far), "not present", "it was");
    check(WAIT_FOR(answered == count, 20000) && !strays, "and ready", "%u of %u", answered, count);
    check(count == 1 && parked[0].status == MW_APF_READY && first_word(far) == (30 * 512 + 1) * WEYL && interrupts == 1,
          "a page, without a device tree", "%lx", WORD64(far, 0));
    call(MW_FN_APF_DISABLE, 0, 0);
    irq_disable();
    dtb_address = tree;
}

static void node(void)
{
    uint32_t size;
    const uint32_t *interrupt = fdt_property("hypervisor", "interrupts", &size);
    check(interrupt && size == 12 && __builtin_bswap32(interrupt[0]) == 1 &&
              __builtin_bswap32(interrupt[1]) + 16 == event_intid && (__builtin_bswap32(interrupt[2]) & 0xf) == 1,
          "and so does the node", "%u", size);
}

static void bad_input(void)
{
    const struct range ram = ram_range();
    const uint64_t page = shared[0];
    check(call(MW_FN_APF_DISABLE, 0, 0) == DENIED, "disabled before it is on", "0");
    check(call(MW_FN_APF_ENABLE, page + 8, 0) == INVALID, "no page's address", "0");
    check(call(MW_FN_APF_ENABLE, ram.end, 0) == INVALID, "behind RAM", "0");
    check(call(MW_FN_APF_ENABLE, 0x09000000, 0) == INVALID, "a device", "0");
    check(call(MW_FN_APF_ENABLE, MW_INFO_ADDRESS, 0) == INVALID, "a page of the hypervisor's", "0");
    check(call(MW_FN_APF_ENABLE, ~0UL << 12, 0) == INVALID, "nowhere", "0");
    check(call(MW_FN_APF_ENABLE, page, 2) == INVALID, "a flag that does not exist", "0");
    check(call(MW_FN_APF_WAIT, 0, 0) == MW_APF_TOLD && call(MW_FN_APF_WAIT, ~0UL, 0) == MW_APF_TOLD &&
              call(MW_FN_APF_WAIT, 64, 0) == MW_APF_TOLD && call(MW_FN_APF_WAIT, 1UL << 48 | 64, 0) == MW_APF_TOLD,
          "forged tokens", "taken");
    check(call(MW_FN_HINT, page + 1, 1) == INVALID && call(MW_FN_HINT, ram.base, ~0UL) == INVALID &&
              call(MW_FN_HINT, 0, 1) == INVALID && call(MW_FN_HINT, page, 0) == 0,
          "hints of no RAM", "taken");
    none("nobody who has not asked is told");
    check(enable(MW_APF_FLAG_EL1) == 0, "ENABLE", "an error");
    check(enable(0) == DENIED, "enabled twice", "0");
    check(WORD64(page, MW_APF_PAGE_MAGIC) == MW_APF_PAGE_MAGIC_VALUE &&
              WORD32(page, MW_APF_PAGE_SIZE) >= MW_APF_PAGE_BYTES && WORD32(page, MW_APF_PAGE_PRODUCER) == 0 &&
              WORD32(page, MW_APF_PAGE_CONSUMER) == 0,
          "the page says what it is", "%lx", WORD64(page, MW_APF_PAGE_MAGIC));
}

static void gate(void)
{
    irq_disable();
    none("not with interrupts masked");
    irq_enable();
    gic_priority(event_intid, 0xa0);
    gic_mask(0xa0);
    none("nor with the priority mask closed");
    gic_mask(0xff);
    call(MW_FN_APF_DISABLE, 0, 0);
    check(enable(0) == 0, "enabled for EL0 alone", "an error");
    none("then not at EL1");
    call(MW_FN_APF_DISABLE, 0, 0);
    check(enable(MW_APF_FLAG_EL1) == 0, "and for EL1 again", "an error");
}

/* Touches so many, and waits for each that it is told of. Returns how many it had by that; `good`: with their content. */
static unsigned wait_for_each(unsigned pages, unsigned *good)
{
    unsigned taken = 0;
    *good = 0;
    forget();
    for (unsigned i = 0; i < pages; i++) {
        if (!touch())
            continue;
        const struct parked *p = &parked[count - 1];
        if (call(MW_FN_APF_WAIT, p->token, 0) == MW_APF_TAKEN) {
            taken++;
            *good += right(p);
        }
    }
    return taken;
}

static void waits(void)
{
    call(MW_FN_APF_DISABLE, 0, 0);
    check(enable(MW_APF_FLAG_EL1) == 0, "on afresh", "an error");
    unsigned good, taken = wait_for_each(5, &good);
    check(count > 3 && taken > count / 2 && good == taken, "WAIT brings the page", "%u told, %u taken, %u good", count,
          taken, good);
    spin_us(20000);
    check(answered == count - taken, "and nothing is said of it again", "%u of %u", answered, count - taken);
    taken = wait_for_each(60, &good);
    check(count && count < 30 && good == taken, "who always waits is told seldom", "%u told, %u taken, %u good", count,
          taken, good);
    spin_us(20000);
    forget();
    for (unsigned i = 0; i < 20 && !count; i++)
        (void)touch();
    check(count == 1 && WAIT_FOR(answered == 1, 20000), "who goes on for once", "%u told, %u answered", count,
          answered);
    forget();
    for (unsigned i = 0; i < 10; i++)
        (void)touch();
    check(count > 8, "is told of each again", "%u of 10", count);
    (void)WAIT_FOR(answered >= count, 20000);
}

/* An interrupt that it has masked ends a WAIT, as a WFI: a handler may wait before it has opened them. */
static void waits_masked(void)
{
    unsigned again = 0, told = 0;
    call(MW_FN_APF_DISABLE, 0, 0);
    check(enable(MW_APF_FLAG_EL1) == 0, "on afresh", "an error");
    gic_enable(SGI);
    for (unsigned i = 0; i < 4; i++) {
        forget();
        if (!touch())
            continue;
        irq_disable();
        gic_sgi(0, SGI);
        told += call(MW_FN_APF_WAIT, parked[0].token, 0) == MW_APF_TOLD;
        irq_enable();
        const uint64_t page = parked[0].page;
        forget();
        again += touch_page(page);
        (void)WAIT_FOR(answered == count, 20000);
    }
    check(again + told >= 3, "a masked interrupt ends WAIT", "%u not present again, %u told", again, told);
    gic_disable(SGI);
}

static void lazy_guest(unsigned pages)
{
    forget();
    reads_ring = false;
    for (unsigned i = 0; i < pages; i++)
        (void)touch();
    check(count <= MW_APF_ENTRIES, "no more than the ring has room for", "%u", count);
    spin_us(100000);
    check(interrupts == 1, "one interrupt until the ring is read", "%u", interrupts);
    none("a full ring: waits");
    WORD32(shared[0], MW_APF_PAGE_CONSUMER) = 0x12345678;
    none("a ring that was tampered with: waits");
    call(MW_FN_APF_DISABLE, 0, 0);
    check(enable(MW_APF_FLAG_EL1) == 0, "on again after that", "an error");
    reads_ring = true;
    forget();
}

static void disabled(void)
{
    forget();
    reads_ring = false;
    for (unsigned i = 0; i < 5; i++)
        (void)touch();
    check(call(MW_FN_APF_DISABLE, 0, 0) == 0, "DISABLE", "an error");
    read_ring(shared[0]);
    reads_ring = true;
    check(count > 2 && wake_all + (answered == count) == 1, "the rest is told at once",
          "%u told, %u answered, %u wake-all", count, answered, wake_all);
    const uint32_t producer = WORD32(shared[0], MW_APF_PAGE_PRODUCER);
    spin_us(50000);
    check(producer == WORD32(shared[0], MW_APF_PAGE_PRODUCER), "and nothing after it", "%u", producer);
    none("off: waits");
}

static void life(void)
{
    check(enable(MW_APF_FLAG_EL1) == 0, "on", "an error");
    (void)call(PSCI_VERSION, 0, 0);
    check(enable(MW_APF_FLAG_EL1) == DENIED, "a kernel that runs, and asks, loses nothing", "0");
    irq_disable();
    (void)call(PSCI_VERSION, 0, 0);
    irq_enable();
    check(call(MW_FN_APF_DISABLE, 0, 0) == DENIED, "a kernel that starts finds nothing registered", "0");
    check(enable(MW_APF_FLAG_EL1) == 0, "on", "an error");
    mmu_off();
    load((void *)next);
    mmu_on();
    check(call(MW_FN_APF_DISABLE, 0, 0) == DENIED, "nor does one whose MMU is off", "0");
}

static volatile uint64_t others_result[3];
static volatile bool others_done;

static void other(void *arg)
{
    (void)arg;
    others_result[0] = call(MW_FN_APF_ENABLE, shared[0], 0);
    others_result[1] = enable(MW_APF_FLAG_EL1);
    others_result[2] = call(MW_FN_APF_WAIT, parked[0].token, 0);
    others_done = true;
}

static void others(void)
{
    check(enable(MW_APF_FLAG_EL1) == 0, "on", "an error");
    for (unsigned life = 0; life < 2; life++) {
        forget();
        irq_enable();
        while (!touch())
            ;
        others_done = false;
        cpu_on(1, other, NULL);
        check(WAIT_FOR(others_done, 10000) && cpu_wait_off(1, 5000), "another CPU", "does not end");
        check(others_result[0] == DENIED, "a page that is another's", "%lx", others_result[0]);
        check(others_result[1] == 0, life ? "off with its CPU, and on again" : "one of its own", "%lx",
              others_result[1]);
        check(others_result[2] == (answered ? MW_APF_TOLD : MW_APF_TAKEN), "it may wait for our token", "%lx",
              others_result[2]);
    }
    call(MW_FN_APF_DISABLE, 0, 0);
}

static void hints(void)
{
    const uint64_t first = next;
    uint64_t n = 0;
    for (unsigned i = 0; i < 8; i++, next += APART * PAGE)
        n += call(MW_FN_HINT, next, 1);
    check(n == 8, "HINT", "%lu", n);
    spin_us(300000);
    next = first;
    check(enable(MW_APF_FLAG_EL1) == 0, "on", "an error");
    forget();
    for (unsigned i = 0; i < 8; i++)
        (void)touch();
    check(count == 0, "what was hinted at is there", "%u are not", count);
    call(MW_FN_APF_DISABLE, 0, 0);
}

void guest_main(void)
{
    without_tree();
    const unsigned pages = (unsigned)boot_argument("pages", 60);
    const struct range ram = free_ram();
    disk = ramdisk_range();
    next = disk.base;
    shared[0] = ram.base;
    shared[1] = ram.base + PAGE;
    gic_init();
    node();
    gic_enable(event_intid);
    irq_enable();
    bad_input();
    all_answered("all that is not present is answered", pages);
    gate();
    all_answered("and again", pages);
    waits();
    waits_masked();
    lazy_guest(100);
    disabled();
    life();
    if (cpu_exists(1))
        others();
    hints();
    irq_disable();
}
