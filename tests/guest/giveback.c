/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RAM given back, by the release call and through the balloon, rightly and wrongly: it reads as zero afterwards, what was not
 * given back is as it was, and no queue, however made, does more than that. Command line: rounds=N of garbage.
 */
#include "pv/abi.h"
#include "tests/guest/lib/guest.h"

#define BALLOON 0x0A000000UL
#define SPI_BALLOON 48
#define STOLEN_TIME 0x090A0000UL

#define DEVICE_FEATURES 0x010
#define DEVICE_FEATURES_SEL 0x014
#define DRIVER_FEATURES 0x020
#define DRIVER_FEATURES_SEL 0x024
#define QUEUE_SEL 0x030
#define QUEUE_NUM_MAX 0x034
#define QUEUE_NUM 0x038
#define QUEUE_READY 0x044
#define QUEUE_NOTIFY 0x050
#define INTERRUPT_STATUS 0x060
#define INTERRUPT_ACK 0x064
#define STATUS 0x070
#define QUEUE_DESC 0x080
#define QUEUE_AVAIL 0x090
#define QUEUE_USED 0x0a0

#define ALIVE 0xfu /* ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK */
#define NEEDS_RESET 0x40u
#define NEXT 1
#define WRITE 2
#define INFLATE 0
#define REPORTING 4
#define NUM 64

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

/* One page: descriptors, then the available ring, then the used one. */
static struct rings {
    struct desc desc[NUM];
    uint16_t avail_flags;
    volatile uint16_t avail_idx;
    uint16_t avail[NUM + 2];
    uint16_t used_flags;
    volatile uint16_t used_idx;
    struct {
        uint32_t id, len;
    } used[NUM];
} rings __attribute__((aligned(4096)));

static struct range ram;

static volatile uint64_t *word(uint64_t at)
{
    return (volatile uint64_t *)at;
}

static uint64_t mark(uint64_t at)
{
    return (at / 8 + 1) * 0x9e3779b97f4a7c15UL;
}

static void fill(uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at += 512)
        *word(at) = mark(at);
}

/* The first word in the range that is not as it should be; 0: there is none. */
static uint64_t wrong(uint64_t from, uint64_t to, bool zero)
{
    for (uint64_t at = from; at < to; at += 512) {
        if (*word(at) != (zero ? 0 : mark(at)))
            return at;
    }
    return 0;
}

#define holds(name, from, to, zero)                                 \
    do {                                                            \
        const uint64_t at_ = wrong(from, to, zero);                 \
        check(!at_, name, "%lx is %lx", at_, at_ ? *word(at_) : 0); \
    } while (0)

static struct regs release(uint64_t first, uint64_t pages)
{
    struct regs r = {.x = {MW_FN_RELEASE, first, pages, 3, 4, 5}};
    smccc_raw(HVC_0, &r);
    return r;
}

/* ---- the call */

static void call(void)
{
    const uint64_t a = ram.base, b = a + 8 * BLOCK;
    struct regs r;

    check(psci(MW_FN_FEATURES, 0, 0, 0) & MW_FEATURE_RELEASE, "features", "%lx", psci(MW_FN_FEATURES, 0, 0, 0));
    fill(a, b);
    r = release(a + 2 * BLOCK, 4 * BLOCK / PAGE);
    check(r.x[0] == 4 * BLOCK / PAGE && r.x[1] == 4 * BLOCK / PAGE && r.x[4] == 4, "release of 8 MiB", "%lx %lx %lx",
          r.x[0], r.x[1], r.x[4]);
    holds("released RAM is zero", a + 2 * BLOCK, a + 6 * BLOCK, true);
    holds("RAM below is as it was", a, a + 2 * BLOCK, false);
    holds("RAM above is as it was", a + 6 * BLOCK, b, false);
    r = release(a + PAGE, 2 * BLOCK / PAGE);
    check(r.x[0] == 2 * BLOCK / PAGE && r.x[1] == BLOCK / PAGE, "release of two halves and a block", "%lx %lx", r.x[0],
          r.x[1]);
    holds("a half is as it was", a, a + BLOCK, false);
    holds("a block is zero", a + BLOCK, a + 2 * BLOCK, true);
    fill(a + BLOCK, a + 6 * BLOCK);
    holds("released RAM can be used", a, b, false);
}

static void call_wrongly(void)
{
    const struct range all = ram_range();
    const uint64_t bad[][2] = {
        {ram.base + 8, 1}, {all.base - PAGE, 2},  {all.end, 1}, {all.base, (all.end - all.base) / PAGE + 1},
        {all.base, ~0UL},  {all.base, 1UL << 52}, {0, 512},     {STOLEN_TIME, 1},
        {GICD, 512},       {~0UL - PAGE + 1, 2},
    };
    for (unsigned i = 0; i < COUNT(bad); i++) {
        const struct regs r = release(bad[i][0], bad[i][1]);
        check((int64_t)r.x[0] == MW_INVALID_PARAMETER, "release of what is no RAM", "%lx for %lx, %lx", r.x[0],
              bad[i][0], bad[i][1]);
    }
}

/* All there is, by as many calls as it takes; the second time nothing of it has a frame. */
static void call_for_all(void)
{
    for (unsigned round = 0; round < 2; round++) {
        uint64_t at = ram.base, calls = 0, zero = 0;
        while (at < ram.end && calls++ < 1000) {
            const struct regs r = release(at, (ram.end - at) / PAGE);
            if ((int64_t)r.x[0] <= 0)
                break;
            at += r.x[0] * PAGE;
            zero += r.x[1];
        }
        check(at == ram.end && zero >= (ram.end - ram.base) / PAGE * 9 / 10, "all free RAM",
              "at %lx of %lx, %lu pages zero, %lu calls", at, ram.end, zero, calls);
    }
}

/* ---- another CPU meanwhile: it reads what it wrote there, or zero */

static volatile bool stop;
static volatile uint64_t writes, strays;

static void writer(void *arg)
{
    uint64_t x = 88172645463325252UL;
    (void)arg;
    while (!stop) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        const uint64_t at = ram.base + (x % (8 * BLOCK) & ~7UL);
        const uint64_t seen = *word(at);
        if (seen && seen != mark(at))
            strays++;
        *word(at) = mark(at);
        writes++;
        relax();
    }
}

static void under_a_writer(void)
{
    uint64_t zero = 0;
    if (!cpu_exists(1) || cpu_on(1, writer, NULL))
        return;
    WAIT_FOR(writes > 100, 5000);
    for (unsigned i = 0; i < 300; i++) {
        const struct regs r = release(ram.base + i % 4 * BLOCK, 4 * BLOCK / PAGE);
        zero += r.x[1];
        spin_us(100);
    }
    stop = true;
    check(cpu_wait_off(1, 5000) && !strays && zero, "release under a writer", "%lu strays, %lu pages zero", strays,
          zero);
}

/* ---- the balloon */

static uint32_t get(unsigned reg)
{
    return mmio_read32(BALLOON + reg);
}

static void set(unsigned reg, uint32_t value)
{
    mmio_write32(BALLOON + reg, value);
}

static void set64(unsigned reg, uint64_t value)
{
    set(reg, (uint32_t)value);
    set(reg + 4, (uint32_t)(value >> 32));
}

static bool queue(unsigned n, uint64_t desc, uint64_t avail, uint64_t used)
{
    set(QUEUE_SEL, n);
    set(QUEUE_NUM, NUM);
    set64(QUEUE_DESC, desc);
    set64(QUEUE_AVAIL, avail);
    set64(QUEUE_USED, used);
    set(QUEUE_READY, 1);
    return get(QUEUE_READY) == 1;
}

static void negotiate(void)
{
    set(STATUS, 0);
    set(STATUS, 3);
    set(DRIVER_FEATURES_SEL, 0);
    set(DRIVER_FEATURES, BIT(5));
    set(DRIVER_FEATURES_SEL, 1);
    set(DRIVER_FEATURES, 1);
    set(STATUS, 0xb);
}

static bool start(unsigned n)
{
    negotiate();
    rings.avail_flags = 0;
    rings.avail_idx = rings.used_idx = 0;
    dsb();
    const bool ready = queue(n, (uint64_t)rings.desc, (uint64_t)&rings.avail_flags, (uint64_t)&rings.used_flags);
    set(STATUS, ALIVE);
    return ready && get(STATUS) == ALIVE;
}

static void submit(unsigned n, uint16_t head)
{
    rings.avail[rings.avail_idx % NUM] = head;
    dsb();
    rings.avail_idx++;
    dsb();
    set(QUEUE_NOTIFY, n);
    dsb();
}

static void registers(void)
{
    check(get(0) == 0x74726976 && get(4) == 2 && get(8) == 5, "the balloon is there", "%x %x %x", get(0), get(4),
          get(8));
    check(mmio_read32(BALLOON + 0x200) == 0x74726976 && mmio_read32(BALLOON + 0x208) == 0 &&
              mmio_read32(BALLOON + 31 * 0x200 + 8) == 0,
          "other slots are empty", "%x %x", mmio_read32(BALLOON + 0x200), mmio_read32(BALLOON + 0x208));
    set(QUEUE_SEL, REPORTING);
    check(get(QUEUE_NUM_MAX) >= 32, "room for 32 ranges", "%u", get(QUEUE_NUM_MAX));
    uint32_t seen = 0;
    for (unsigned off = 0; off < 0x200; off++) {
        if (off != STATUS)
            mmio_write8(BALLOON + off, 0xff);
        seen |= off < 0x100 ? mmio_read8(BALLOON + off) : 0;
    }
    check(seen == 0, "registers are words", "%x", seen);
    negotiate();
    check(!queue(REPORTING, STOLEN_TIME, STOLEN_TIME, STOLEN_TIME) && !queue(REPORTING, UART, UART, UART) &&
              !queue(REPORTING, ram_range().end - 16, ram.base, ram.base) && !queue(REPORTING, ~0UL << 4, 0, 0),
          "no queue but in RAM", "it is ready");
}

static volatile unsigned interrupts;
static volatile uint32_t reason;

static void on_interrupt(unsigned intid)
{
    if (intid != SPI_BALLOON)
        return;
    interrupts++;
    reason = get(INTERRUPT_STATUS);
    set(INTERRUPT_ACK, reason);
    dsb();
}

static void report(void)
{
    const uint64_t a = ram.base;

    fill(a, a + 16 * BLOCK);
    interrupts = 0;
    irq_hook[0] = on_interrupt;
    if (gic_is_v2())
        mmio_write8(GICD + 0x800 + SPI_BALLOON, 1); /* GICD_ITARGETSR: to this CPU */
    gic_enable(SPI_BALLOON);
    check(start(REPORTING), "the balloon is live", "status %x", get(STATUS));
    for (unsigned i = 0; i < 4; i++)
        rings.desc[i] =
            (struct desc){a + (2 + 3 * i) * BLOCK, 2 * BLOCK, WRITE | (i < 3 ? NEXT : 0), (uint16_t)(i + 1)};
    submit(REPORTING, 0);
    check(rings.used_idx == 1 && rings.used[0].id == 0, "a report is acknowledged", "%u", rings.used_idx);
    irq_enable();
    WAIT_FOR(interrupts, 1000);
    irq_disable();
    check(interrupts == 1 && reason == 1 && get(INTERRUPT_STATUS) == 0, "by an interrupt", "%u, %x", interrupts,
          reason);
    for (unsigned i = 0; i < 4; i++) {
        holds("reported RAM is zero", a + (2 + 3 * i) * BLOCK, a + (4 + 3 * i) * BLOCK, true);
        holds("other RAM is as it was", a + (4 + 3 * i) * BLOCK, a + (5 + 3 * i) * BLOCK, false);
    }
    holds("RAM before is as it was", a, a + 2 * BLOCK, false);
    gic_disable(SPI_BALLOON);
}

static void inflate(void)
{
    static uint32_t pfn[1024];
    const uint64_t a = ram.base;

    fill(a, a + 4 * BLOCK);
    for (unsigned i = 0; i < COUNT(pfn); i++)
        pfn[i] = (uint32_t)((a + BLOCK) / PAGE) + i;
    start(INFLATE);
    rings.desc[5] = (struct desc){(uint64_t)pfn, sizeof(pfn), 0, 0};
    submit(INFLATE, 5);
    check(rings.used_idx == 1 && rings.used[0].id == 5, "inflated", "%u", rings.used_idx);
    holds("what a balloon holds is zero", a + BLOCK, a + 3 * BLOCK, true);
    holds("what it does not is as it was", a, a + BLOCK, false);
}

/* The queue's own pages were given back: they are there again, as an empty queue. */
static void rings_given_back(void)
{
    struct rings *const r = (struct rings *)(ram.base + 4 * BLOCK);

    fill(ram.base + 4 * BLOCK, ram.base + 5 * BLOCK);
    negotiate();
    check(queue(REPORTING, (uint64_t)r->desc, (uint64_t)&r->avail_flags, (uint64_t)&r->used_flags), "a queue elsewhere",
          "it is not ready");
    set(STATUS, ALIVE);
    release(ram.base + 4 * BLOCK, BLOCK / PAGE);
    set(QUEUE_NOTIFY, REPORTING);
    check(get(STATUS) == ALIVE, "a queue given back is empty", "status %x", get(STATUS));
    r->desc[0] = (struct desc){ram.base, BLOCK, WRITE, 0};
    dsb();
    r->avail_idx = 1;
    dsb();
    set(QUEUE_NOTIFY, REPORTING);
    check(r->used_idx == 1, "and serves", "%u", r->used_idx);
}

static void garbage(uint64_t rounds)
{
    static uint8_t kept[PAGE];
    uint64_t x = 0x2545f4914f6cdd1dUL, broken = 0;

    for (unsigned i = 0; i < PAGE; i++)
        kept[i] = (uint8_t)(i * 7);
    for (uint64_t n = 0; n < rounds; n++) {
        const unsigned q = (unsigned[]){0, 1, 2, 4}[n % 4];
        start(q);
        for (unsigned i = 0; i < NUM; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            uint64_t base = x & 2 ? ram.base + (x >> 8) % (ram.end - ram.base) : x & 4 ? x : x & 0xffffffff;
            if (base - RAM_BASE < ram.base - RAM_BASE) /* what this guest is made of */
                base += ram.base - RAM_BASE;
            rings.desc[i] = (struct desc){base, (uint32_t)(x >> 7), (uint16_t)(x >> 40 & (x & 0xf00 ? 3 : 0xffff)),
                                          (uint16_t)(x >> 16 & (x & 0x3f000 ? NUM - 1 : 0xffff))};
            rings.avail[i] = (uint16_t)(x >> 48 & (x & 0xf0000 ? NUM - 1 : 0xffff));
        }
        dsb();
        rings.avail_idx = (uint16_t)(x & 8 ? x >> 32 : x >> 32 & (NUM - 1));
        dsb();
        set(QUEUE_NOTIFY, q);
        broken += !!(get(STATUS) & NEEDS_RESET);
        set(4 * (unsigned)(x >> 20 & 0x3f), (uint32_t)x);
        *word(ram.base + (x >> 4) % (ram.end - ram.base - 8) / 8 * 8) = x;
    }
    check(broken > rounds / 20 && broken < rounds, "garbage is noticed", "%lu of %lu", broken, rounds);
    unsigned i = 0;
    while (i < PAGE && kept[i] == (uint8_t)(i * 7))
        i++;
    check(i == PAGE, "and hurts nothing", "byte %u", i);
    report();
}

void guest_main(void)
{
    ram = free_ram();
    if (!under_meanwhile()) {
        pass("not under the hypervisor: nothing to see");
        return;
    }
    call();
    mmu_on();
    gic_init();
    call();
    call_wrongly();
    registers();
    report();
    inflate();
    rings_given_back();
    garbage(boot_argument("rounds", 400));
    under_a_writer();
    call_for_all(); /* the statistics show it */
}
