/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What eight reads at a time give on a drive of the machine, natively: the bound for a hypervisor whose guests wait for pages of it.
 * CPU 0 drives the disk by polling. With `sleepers=0` it reads eight pages anew, each as soon as it has come, and with
 * `sleepers=8` for eight other CPUs, which sleep until theirs is there, are woken, those whose pages came together by one signal, and
 * ask for another at once: no address space, no exception, nothing done with what was read.
 *
 * `space=N` makes it a bare pager: the eight touch N pages of one address space at random, for which there are two thirds as
 * many frames, and a touch of a page that is not there is an exception. What came first leaves first: no page has an age, none is looked at, and
 * nothing is written. TLBs are told four times in a round of all frames. One stage of translation.
 *
 * `spin=1`: the eight look for their page all the time, and are not signalled. `ms=`: for how long.
 */
#include "tests/guest/lib/guest.h"

#define TRANSPORT 0x0a000000UL /* of QEMU's virt board: 32 of them */
#define TRANSPORTS 32u
#define TRANSPORT_BYTES 0x200u
#define SECTORS (PAGE / 512)
#define READS 8u
#define ENTRIES 32u
#define SGI 1

/* Virtio 1.1: 4.2.2, 2.1, 5.2 and 2.6 */
#define VERSION 0x004
#define DEVICE_ID 0x008
#define DRIVER_FEATURES 0x020
#define DRIVER_FEATURES_SEL 0x024
#define QUEUE_SEL 0x030
#define QUEUE_NUM 0x038
#define QUEUE_READY 0x044
#define QUEUE_NOTIFY 0x050
#define STATUS 0x070
#define QUEUE_DESC 0x080
#define QUEUE_AVAIL 0x090
#define QUEUE_USED 0x0a0
#define CAPACITY 0x100
#define DRIVER 0x3u      /* and ACKNOWLEDGE */
#define FEATURES_OK 0xbu /* and those two */
#define ALIVE 0xfu       /* and DRIVER_OK */
#define A_DISK 2
#define VERSION_1 BIT(0) /* of the features' second word */
#define NEXT 1
#define WRITE 2
#define NO_INTERRUPT 1
#define NO_NOTIFY 1
#define OK 0
#define NONE 0xff

_Static_assert(3 * READS <= ENTRIES && READS < MAX_CPUS, "three descriptors each, and a CPU that drives the disk");

static struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
} desc[ENTRIES] __attribute__((aligned(16)));
static struct {
    uint16_t flags, idx, ring[ENTRIES + 1];
} avail __attribute__((aligned(8)));
static struct {
    uint16_t flags, idx;
    struct {
        uint32_t id, len;
    } ring[ENTRIES];
    uint16_t event;
} used __attribute__((aligned(8)));
static struct {
    uint32_t type, reserved; /* 0: a read */
    uint64_t sector;
} head[READS];
static volatile uint8_t status[READS];
static uint8_t page[READS][PAGE] __attribute__((aligned(4096)));

enum state { IDLE, ASKED, READING, THERE };
/* Reader n's, which is CPU n + 1. */
static struct {
    enum state state;
    uint64_t wants; /* a page of the space */
} __attribute__((aligned(64))) slot[READS];

/* The space: one entry of level 1, its own level 2, and the tables of what may be there (DDI 0487, D8.3) */
#define SPACE (256UL << 30)
#define TABLES 16u
#define MAX_PAGES (TABLES * 512)
#define A_TABLE 3UL
#define A_PAGE (3UL | 1UL << 2 | 3UL << 8 | BIT(10)) /* normal memory, inner shareable, accessed */
#define QUARTERS 4
#define NOBODY (~0UL)

static uint64_t level2[512] __attribute__((aligned(4096))), entry[MAX_PAGES] __attribute__((aligned(4096)));
static uint64_t pages, frames, frame_base; /* pages: 0, there is no space */
static uint64_t holds[MAX_PAGES];          /* which page a frame does */

static uint64_t regs, sectors, random, bad, spin;

static uint32_t rd(uint64_t reg)
{
    return mmio_read32(regs + reg);
}

static void wr(uint64_t reg, uint32_t value)
{
    mmio_write32(regs + reg, value);
}

static void wr_address(uint64_t low, const void *at)
{
    wr(low, (uint32_t)(uint64_t)at);
    wr(low + 4, (uint32_t)((uint64_t)at >> 32));
}

static bool find_disk(void)
{
    for (unsigned n = 0; n < TRANSPORTS; n++) {
        regs = TRANSPORT + n * TRANSPORT_BYTES;
        if (rd(DEVICE_ID) == A_DISK && rd(VERSION) == 2)
            return true;
    }
    return false;
}

static void open_disk(void)
{
    wr(STATUS, 0);
    wr(STATUS, DRIVER);
    wr(DRIVER_FEATURES_SEL, 0);
    wr(DRIVER_FEATURES, 0);
    wr(DRIVER_FEATURES_SEL, 1);
    wr(DRIVER_FEATURES, VERSION_1);
    wr(STATUS, FEATURES_OK);
    wr(QUEUE_SEL, 0);
    wr(QUEUE_NUM, ENTRIES);
    wr_address(QUEUE_DESC, desc);
    wr_address(QUEUE_AVAIL, &avail);
    wr_address(QUEUE_USED, &used);
    for (unsigned n = 0; n < READS; n++) {
        desc[3 * n] = (struct desc){(uint64_t)&head[n], sizeof(head[n]), NEXT, (uint16_t)(3 * n + 1)};
        desc[3 * n + 1] = (struct desc){(uint64_t)page[n], PAGE, NEXT | WRITE, (uint16_t)(3 * n + 2)};
        desc[3 * n + 2] = (struct desc){(uint64_t)&status[n], 1, WRITE, 0};
    }
    avail.flags = NO_INTERRUPT;
    dsb();
    wr(QUEUE_READY, 1);
    wr(STATUS, ALIVE);
    sectors = rd(CAPACITY) | (uint64_t)rd(CAPACITY + 4) << 32;
}

static uint64_t next_random(uint64_t *of)
{
    *of = *of * 6364136223846793005UL + 1442695040888963407UL;
    return *of >> 33;
}

/* One that holds nothing. Frames are emptied a quarter of them at once, a quarter ahead, so that TLBs are told seldom. */
static uint64_t next_frame(void)
{
    static uint64_t hand;
    const uint64_t frame = hand++ % frames, ahead = frame + frames / QUARTERS;
    if (frame % (frames / QUARTERS) == 0) {
        for (uint64_t f = ahead; f < ahead + frames / QUARTERS; f++) {
            if (holds[f % frames] != NOBODY)
                __atomic_store_n(&entry[holds[f % frames]], 0, __ATOMIC_RELAXED);
            holds[f % frames] = NOBODY;
        }
        __asm__ volatile("dsb ish\n\ttlbi vmalle1is\n\tdsb ish" ::: "memory");
    }
    return frame;
}

static bool is_there(uint64_t of)
{
    return __atomic_load_n(&entry[of], __ATOMIC_ACQUIRE) != 0;
}

static bool is_on_its_way(uint64_t of)
{
    for (unsigned n = 0; n < READS; n++) {
        if (slot[n].state == READING && slot[n].wants == of)
            return true;
    }
    return false;
}

static void begin(unsigned n)
{
    static uint16_t next;
    if (pages) {
        const uint64_t frame = next_frame();
        holds[frame] = slot[n].wants;
        desc[3 * n + 1].addr = frame_base + frame * PAGE;
        head[n].sector = slot[n].wants * SECTORS;
    } else {
        head[n].sector = next_random(&random) % (sectors / SECTORS) * SECTORS;
    }
    status[n] = NONE;
    avail.ring[next++ % ENTRIES] = (uint16_t)(3 * n);
    dsb();
    __atomic_store_n(&avail.idx, next, __ATOMIC_RELEASE);
}

/* The device knows of what was begun. */
static void notify(void)
{
    dsb();
    if (!(__atomic_load_n(&used.flags, __ATOMIC_ACQUIRE) & NO_NOTIFY))
        wr(QUEUE_NOTIFY, 0);
}

/* One that has ended. */
static bool ended(unsigned *n)
{
    static uint16_t next;
    if (__atomic_load_n(&used.idx, __ATOMIC_ACQUIRE) == next)
        return false;
    *n = used.ring[next++ % ENTRIES].id / 3;
    return true;
}

static enum state state_of(unsigned n)
{
    return __atomic_load_n(&slot[n].state, __ATOMIC_ACQUIRE);
}

static void set_state(unsigned n, enum state s)
{
    __atomic_store_n(&slot[n].state, s, __ATOMIC_RELEASE);
}

static void sleep_for_one(unsigned n)
{
    set_state(n, ASKED);
    while (state_of(n) != THERE) {
        if (spin)
            continue;
        wfi();
        irq_taken(); /* masked at the CPU: acknowledged and ended without an exception */
    }
}

static void reader(void *arg)
{
    const unsigned n = (unsigned)(uint64_t)arg;
    gic_init_cpu();
    gic_enable(SGI);
    for (;;)
        sleep_for_one(n);
}

static void touch(void *at)
{
    (void)*(volatile uint64_t *)at;
}

/* It touches pages. */
static void toucher(void *arg)
{
    const unsigned n = (unsigned)(uint64_t)arg;
    uint64_t mine = n + 1;
    struct fault fault;
    gic_init_cpu();
    gic_enable(SGI);
    for (;;) {
        const uint64_t of = next_random(&mine) % pages;
        while (attempt(touch, (void *)(SPACE + of * PAGE), &fault)) {
            if (FAULT_EC(fault) != EC_DATA_ABORT || fault.far != SPACE + of * PAGE)
                __atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
            slot[n].wants = of;
            sleep_for_one(n);
        }
    }
}

/* For `ms`: how many reads have ended. */
static uint64_t serve(bool for_sleepers, uint64_t ms, uint64_t *took)
{
    const uint64_t from = now(), until = from + ticks_of_us(1000 * ms);
    uint64_t reads = 0;
    unsigned n;

    do {
        for (unsigned looks = 0; looks < 1000; looks++) {
            uint64_t woken = 0;
            bool begun = false;
            while (ended(&n)) {
                reads++;
                bad += status[n] != OK;
                if (pages) {
                    __atomic_store_n(&entry[slot[n].wants], desc[3 * n + 1].addr | A_PAGE, __ATOMIC_RELEASE);
                    dsb(); /* seen by the walks of whoever is woken */
                }
                set_state(n, for_sleepers ? THERE : ASKED);
                woken |= BIT(n + 1);
            }
            for (n = 0; pages && n < READS; n++) {
                if (state_of(n) == ASKED && is_there(slot[n].wants)) { /* for another one's sake */
                    set_state(n, THERE);
                    woken |= BIT(n + 1);
                }
            }
            if (for_sleepers && woken && !spin) {
                dsb();
                write_sysreg(S3_0_C12_C11_5, (uint64_t)SGI << 24 | woken); /* ICC_SGI1R_EL1, affinities 0.0.0.n */
                isb();
            }
            for (n = 0; n < READS; n++) {
                if (state_of(n) != ASKED || (pages && (is_there(slot[n].wants) || is_on_its_way(slot[n].wants))))
                    continue;
                set_state(n, READING);
                begin(n);
                begun = true;
            }
            if (begun)
                notify();
        }
    } while (now() < until);
    *took = now() - from;
    return reads;
}

static void make_space(void)
{
    uint64_t *const level1 = (uint64_t *)read_sysreg(ttbr0_el1);
    const struct range ram = free_ram();
    frames = pages * 2 / 3 / QUARTERS * QUARTERS;
    frame_base = ram.base;
    if (!check(pages <= MAX_PAGES && frames * PAGE <= ram.end - ram.base, "room for the space", "%lu pages", pages))
        finish();
    for (uint64_t f = 0; f < frames; f++)
        holds[f] = NOBODY;
    for (unsigned t = 0; t < TABLES; t++)
        level2[t] = (uint64_t)&entry[512 * t] | A_TABLE;
    level1[SPACE >> 30] = 0;
    __asm__ volatile("dsb ish\n\ttlbi vmalle1is\n\tdsb ish" ::: "memory");
    level1[SPACE >> 30] = (uint64_t)level2 | A_TABLE;
    dsb();
    isb();
}

void guest_main(void)
{
    const uint64_t sleepers = boot_argument("sleepers", READS), ms = boot_argument("ms", 3000);
    uint64_t took, reads;

    pages = boot_argument("space", 0);
    spin = boot_argument("spin", 0);

    gic_init();
    mmu_on();
    if (!check(find_disk(), "a disk", "no virtio block device of version 2"))
        return;
    open_disk();
    if (!check(sectors >= SECTORS && sectors >= pages * SECTORS, "it holds something", "%lu sectors", sectors))
        return;
    if (pages)
        make_space();
    for (unsigned n = 0; n < READS; n++) {
        if (!sleepers)
            set_state(n, ASKED);
        else
            check(cpu_on(n + 1, pages ? toucher : reader, (void *)(uint64_t)n) == 0, "a CPU reads",
                  "CPU %u does not start", n + 1);
    }
    (void)serve(sleepers, pages ? 3000 : 500, &took); /* until all have begun, and all frames are in use */
    reads = serve(sleepers, ms, &took);
    check(!bad, "all were read", "%lu were not", bad);
    say("outstanding: %lu reads in %lu us\n", reads, took * 1000000 / read_sysreg(cntfrq_el0));
}
