/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: vcpu/virtio_mmio.c vcpu/virtq.c vcpu/virtio_balloon.c vcpu/guest_ram.c mm/give_back.c mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/paging.c mm/ahead.c mm/backing.c mm/store.c mm/swap.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
/*
 * Virtio devices behind virtio-mmio registers, and the balloon, on the memory of tests/unit/support.h: a driver that does it
 * right, then ones that do not.
 */
#include "lib/arch.h"
#include "mm/give_back.h"
#include "tests/unit/support.h"
#include "vcpu/abort.h"
#include "vcpu/irq.h"
#include "vcpu/virtio_balloon.h"

#define RAM UINT64_C(0x40000000)
#define SIZE MIB(64)
#define QUEUES (RAM + MIB(1)) /* where the driver has its rings: 64 KiB for each queue */
#define FREE MIB(8)           /* from here on RAM is nobody's; counted from RAM */

static struct vm vm;
static struct vcpu vcpu;
static bool line;
static unsigned polls;
static uint64_t sctlr = SCTLR_M | SCTLR_C;
static uint64_t rnd;

uint64_t fake_sysreg_read(const char *name)
{
    CHECK(!strcmp(name, "sctlr_el1"));
    return sctlr;
}

void fake_sysreg_write(const char *name, uint64_t value)
{
    (void)name, (void)value;
    CHECK(!"a write to a system register");
}

void vgic_set_spi_level(struct vm *m, uint32_t intid, bool level)
{
    CHECK(m == &vm && intid == 48);
    line = level;
}

void irq_poll(struct vcpu *v)
{
    CHECK(v == &vcpu);
    polls++;
}

bool abort_populate(struct vcpu *v, ipa_t at, bool write)
{
    CHECK(v == &vcpu && at.v - RAM < SIZE);
    world_touch(0, at.v, write);
    return true;
}

static int set_up(void **state)
{
    (void)state;
    world_make(&(struct world_config){.blocks = 70, .vcpus = 1, .helpers = 1, .ram_base = RAM, .ram_size = SIZE});
    memset(&vm, 0, sizeof(vm));
    memset(&vcpu, 0, sizeof(vcpu));
    vm.s2 = world.s2;
    vm.ram_base = ipa(RAM);
    vm.ram_size = SIZE;
    vm.stats = &report.guest[0];
    vcpu.vm = &vm;
    vcpu.stats = &report.vcpu[0];
    vcpu.port.inline_populator = &world.inline_populator[0];
    line = false;
    polls = 0;
    sctlr = SCTLR_M | SCTLR_C;
    virtio_attach(&vm, VIRTIO_SLOT_BALLOON, &virtio_balloon_ops);
    virtio_reset(&vm);
    world_settle();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_arch_hook = NULL;
    world_drop();
    return 0;
}

static uint32_t get(uint32_t off)
{
    return (uint32_t)virtio_mmio_read(&vcpu, off, 4);
}

static void set(uint32_t off, uint32_t v)
{
    virtio_mmio_write(&vcpu, off, 4, v);
}

/* ---- a driver */

static uint64_t ring(uint32_t queue, uint32_t part)
{
    return QUEUES + queue * KIB(64) + part * KIB(4);
}

static void *ram(uint64_t at)
{
    return world_touch(0, at, true);
}

static struct vring_desc *desc(uint32_t queue, uint32_t i)
{
    return (struct vring_desc *)ram(ring(queue, 0)) + i;
}

static struct vring_avail *avail(uint32_t queue)
{
    return ram(ring(queue, 1));
}

static struct vring_used *used(uint32_t queue)
{
    return ram(ring(queue, 2));
}

static void negotiate(uint64_t features)
{
    set(VIRTIO_MMIO_STATUS, 0);
    set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    for (uint32_t i = 0; i < 2; i++) {
        set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
        set(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * i));
    }
    set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
}

static bool queue(uint32_t n, uint32_t num, uint64_t d, uint64_t a, uint64_t u)
{
    set(VIRTIO_MMIO_QUEUE_SEL, n);
    set(VIRTIO_MMIO_QUEUE_READY, 0);
    set(VIRTIO_MMIO_QUEUE_NUM, num);
    set(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)d);
    set(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(d >> 32));
    set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)a);
    set(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(a >> 32));
    set(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)u);
    set(VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(u >> 32));
    set(VIRTIO_MMIO_QUEUE_READY, 1);
    return get(VIRTIO_MMIO_QUEUE_READY) == 1;
}

#define ALL_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_BALLOON_F_REPORTING))
#define UP \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

/* Queue n, empty, and a device that is live. */
static void start(uint32_t n, uint32_t num)
{
    negotiate(ALL_FEATURES);
    CHECK(get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
    memset(avail(n), 0, 2 * num + 4);
    memset(used(n), 0, 8 * num + 4);
    CHECK(queue(n, num, ring(n, 0), ring(n, 1), ring(n, 2)));
    set(VIRTIO_MMIO_STATUS, UP);
    CHECK(get(VIRTIO_MMIO_STATUS) == UP);
}

static void offer(uint32_t n, uint32_t num, uint16_t head)
{
    avail(n)->ring[avail(n)->idx % num] = head;
    avail(n)->idx++;
}

static void put(uint32_t n, uint32_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    *desc(n, i) = (struct vring_desc){addr, len, flags, next};
}

static bool broken(void)
{
    bool is = get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;

    CHECK(is == (get(VIRTIO_MMIO_INTERRUPT_STATUS) >> 1 & 1));
    return is;
}

/* ---- registers */

static void identity(void **state)
{
    (void)state;
    CHECK(get(0) == 0x74726976 && get(4) == 2 && get(8) == 5);
    set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    CHECK(get(VIRTIO_MMIO_DEVICE_FEATURES) == BIT(5));
    set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    CHECK(get(VIRTIO_MMIO_DEVICE_FEATURES) == 1);
    for (uint32_t i = 2; i; i = i < 0x80000000 ? i * 2 : 0) {
        set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
        CHECK(get(VIRTIO_MMIO_DEVICE_FEATURES) == 0);
    }
    for (uint32_t i = 0; i < 40; i++) {
        set(VIRTIO_MMIO_QUEUE_SEL, i);
        CHECK(get(VIRTIO_MMIO_QUEUE_NUM_MAX) == (i < 3 || i == 4 ? 64 : 0));
    }
    set(VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
    CHECK(get(VIRTIO_MMIO_QUEUE_NUM_MAX) == 0);
    /* Slots without a device, and the rest of the page. */
    for (uint32_t slot = 1; slot < VIRT_VIRTIO_SLOTS; slot++) {
        CHECK(get(slot * 0x200) == 0x74726976 && get(slot * 0x200 + 4) == 2 && get(slot * 0x200 + 8) == 0);
        for (uint32_t off = 0; off < 0x200; off++) {
            for (uint32_t size = 1; size <= 8; size *= 2) {
                virtio_mmio_write(&vcpu, slot * 0x200 + off, size, UINT64_MAX);
                CHECK(off < 0x10 || virtio_mmio_read(&vcpu, slot * 0x200 + off, size) == 0);
            }
        }
    }
}

/* Every register in every size: reads change nothing, and only words at their places are registers. */
static void sizes(void **state)
{
    static const uint16_t readable[] = {0, 4, 8, 0xc, 0x10, 0x34, 0x44, 0x60, 0x70};
    struct virtio_device before;

    (void)state;
    start(4, 32);
    set(0x104, 0x11223344);
    memcpy(&before, &vm.virtio[0], sizeof(before));
    for (uint32_t off = 0; off < 0x100; off++) {
        for (uint32_t size = 1; size <= 8; size *= 2) {
            uint64_t v = virtio_mmio_read(&vcpu, off, size);
            bool known = false;

            for (size_t i = 0; i < ARRAY_SIZE(readable); i++)
                known = known || (readable[i] == off && size == 4);
            CHECK(known || v == 0);
            if (size != 4 || off % 4)
                virtio_mmio_write(&vcpu, off, size, UINT64_MAX);
        }
    }
    /* The device's own registers, in the sizes of their fields and others; never beyond them. */
    CHECK(virtio_mmio_read(&vcpu, 0x104, 4) == 0x11223344 && virtio_mmio_read(&vcpu, 0x104, 1) == 0x44);
    CHECK(virtio_mmio_read(&vcpu, 0x106, 2) == 0x1122 && virtio_mmio_read(&vcpu, 0x107, 1) == 0x11);
    CHECK(virtio_mmio_read(&vcpu, 0x100, 8) == UINT64_C(0x1122334400000000));
    for (uint32_t off = 0x100; off < 0x200; off++) {
        for (uint32_t size = 1; size <= 8; size *= 2) {
            if (off + size > 0x108) {
                CHECK(virtio_mmio_read(&vcpu, off, size) == 0);
                virtio_mmio_write(&vcpu, off, size, UINT64_MAX);
            }
            if (off < 0x104)
                virtio_mmio_write(&vcpu, off, size, UINT64_MAX);
        }
    }
    before.lock = vm.virtio[0].lock;
    CHECK(!memcmp(&before, &vm.virtio[0], sizeof(before)));
}

static void features(void **state)
{
    static const uint64_t bad[] = {0,          BIT(5),           BIT(32) | BIT(0), BIT(32) | BIT(33), BIT(32) | BIT(1),
                                   UINT64_MAX, BIT(32) | BIT(28)};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        negotiate(bad[i]);
        CHECK(get(VIRTIO_MMIO_STATUS) == (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER));
        set(VIRTIO_MMIO_STATUS, UP);
        CHECK(!(get(VIRTIO_MMIO_STATUS) & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)));
    }
    negotiate(BIT(32));
    CHECK(get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
    /* Agreed upon: no more changes, and bits of the status stay. */
    set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    set(VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
    set(VIRTIO_MMIO_STATUS, UP);
    CHECK(get(VIRTIO_MMIO_STATUS) == UP);
    set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FAILED | 0x40 | 0x30 | 0xffffff00);
    CHECK(get(VIRTIO_MMIO_STATUS) == (UP | VIRTIO_CONFIG_S_FAILED));
    set(VIRTIO_MMIO_STATUS, 0);
    CHECK(get(VIRTIO_MMIO_STATUS) == 0);
    set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_DRIVER_OK);
    CHECK(get(VIRTIO_MMIO_STATUS) == 0);
}

static void queue_set_up(void **state)
{
    static const struct {
        uint32_t num;
        uint64_t d, a, u;
    } bad[] = {
        {0, RAM, RAM, RAM},
        {3, RAM, RAM, RAM},
        {128, RAM, RAM, RAM},
        {UINT32_MAX, RAM, RAM, RAM},
        {0x80000000, RAM, RAM, RAM},
        {32, RAM + 8, RAM, RAM},
        {32, RAM, RAM + 1, RAM},
        {32, RAM, RAM, RAM + 2},
        {32, RAM - 16, RAM, RAM},
        {32, RAM, RAM - 2, RAM},
        {32, RAM, RAM, RAM - 4},
        {32, 0, 0, 0},
        {32, RAM, RAM, 0x090a0000}, /* stolen time: EL2's page */
        {32, 0x090a0000, RAM, RAM}, /* and not to be read as a ring either */
        {32, RAM, 0x09000000, RAM}, /* a device */
        {32, RAM + SIZE - 32 * 16 + 16, RAM, RAM},
        {32, RAM, RAM + SIZE - 32 * 2, RAM},
        {32, RAM, RAM, RAM + SIZE - 32 * 8},
        {32, UINT64_MAX & ~UINT64_C(15), RAM, RAM},
        {32, RAM | BIT(40), RAM, RAM},
        {32, RAM, RAM, RAM | BIT(63)},
    };

    (void)state;
    negotiate(ALL_FEATURES);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!queue(2, bad[i].num, bad[i].d, bad[i].a, bad[i].u));
    CHECK(!queue(3, 32, RAM, RAM, RAM) && !queue(5, 32, RAM, RAM, RAM) && !queue(UINT32_MAX, 32, RAM, RAM, RAM));
    CHECK(queue(2, 64, RAM + SIZE - 64 * 16, RAM + 2, RAM + 4));
    CHECK(queue(2, 1, RAM + SIZE - 16, RAM + SIZE - 6, RAM + SIZE - 12));
    /* Ready: nothing of it changes, until it is stopped. */
    set(VIRTIO_MMIO_QUEUE_NUM, 64);
    set(VIRTIO_MMIO_QUEUE_DESC_LOW, 16);
    set(VIRTIO_MMIO_QUEUE_USED_HIGH, 16);
    CHECK(vm.virtio[0].queue[2].num == 1 && vm.virtio[0].queue[2].desc == RAM + SIZE - 16);
    CHECK(vm.virtio[0].queue[2].used == RAM + SIZE - 12 && vm.virtio[0].queue[2].ready);
    set(VIRTIO_MMIO_STATUS, 0);
    CHECK(!vm.virtio[0].queue[2].ready);
}

/* ---- a driver that does it right */

static uint64_t used_at_the_round, rounds;

static void at_round(enum fake_op op, uint64_t arg)
{
    (void)arg;
    if (op == FAKE_TLBI_VMALLS12) {
        uint64_t d = world_page(ring(4, 2));

        rounds++;
        used_at_the_round = ((struct vring_used *)pa_ptr(desc_pa(d)))->idx;
    }
}

static void fill(uint64_t at, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += PAGE_SIZE)
        memset(ram(RAM + at + i), 0x5e, PAGE_SIZE);
    world_settle();
}

static void reporting(void **state)
{
    (void)state;
    for (uint32_t n = 2; n <= 4; n += 2) {
        uint64_t free_before;

        fill(FREE, MIB(32));
        start(n, 32);
        for (uint32_t i = 0; i < 32; i++)
            put(n, i, RAM + FREE + i * MIB(1), (uint32_t)MIB(1), VRING_DESC_F_WRITE | (i < 31), (uint16_t)(i + 1));
        /* 1 MiB each is less than a block: nothing goes, and it is acknowledged all the same. */
        offer(n, 32, 0);
        free_before = frames_free_blocks();
        set(VIRTIO_MMIO_QUEUE_NOTIFY, n);
        CHECK(used(n)->idx == 1 && frames_free_blocks() == free_before && line);
        set(VIRTIO_MMIO_INTERRUPT_ACK, get(VIRTIO_MMIO_INTERRUPT_STATUS));
        CHECK(!line && get(VIRTIO_MMIO_INTERRUPT_STATUS) == 0);
        for (uint32_t i = 0; i < 8; i++)
            put(n, i, RAM + FREE + i * MIB(4), (uint32_t)MIB(4), VRING_DESC_F_WRITE | (i < 7), (uint16_t)(i + 1));
        offer(n, 32, 0);
        rounds = 0;
        used_at_the_round = 99;
        fake_arch_hook = n == 4 ? at_round : NULL;
        set(VIRTIO_MMIO_QUEUE_NOTIFY, n);
        fake_arch_hook = NULL;
        CHECK(n == 2 || (rounds == 1 && used_at_the_round == 1)); /* acknowledged after the round only */
        CHECK(used(n)->idx == 2 && used(n)->ring[1].id == 0 && used(n)->ring[1].len == 0);
        CHECK(frames_free_blocks() == free_before + 16 && line && !broken());
        CHECK(get(VIRTIO_MMIO_INTERRUPT_STATUS) == VIRTIO_MMIO_INT_VRING);
        CHECK(*(uint8_t *)ram(RAM + FREE + 12345) == 0);
        world_audit();
    }
    CHECK(vcpu.stats->given_back.freed == 2 * 16 * BLOCK_PAGES && vcpu.stats->given_back.rounds == 2);
    CHECK(vcpu.stats->given_back.kept == 2 * 16 * BLOCK_PAGES);
}

static void inflating(void **state)
{
    uint64_t before;

    (void)state;
    fill(FREE, MIB(4));
    start(0, 16);
    for (uint32_t i = 0; i < 700; i++)
        ((uint32_t *)ram(RAM + MIB(3)))[i] = (uint32_t)((RAM + FREE) >> 12) + i;
    put(0, 3, RAM + MIB(3), 1024, VRING_DESC_F_NEXT, 4);
    put(0, 4, RAM + MIB(3) + 1024, 1021 + 3, VRING_DESC_F_NEXT, 7);
    put(0, 7, RAM + MIB(3), 4096, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 8); /* not to be read */
    put(0, 8, RAM + MIB(3) + 2048, 700 * 4 - 2048 + 3, 0, 0);
    offer(0, 16, 3);
    before = frames_free_blocks();
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    CHECK(used(0)->idx == 1 && used(0)->ring[0].id == 3 && frames_free_blocks() == before + 1);
    CHECK(vcpu.stats->given_back.freed == BLOCK_PAGES && vcpu.stats->given_back.kept == 700 - BLOCK_PAGES);
    CHECK(world_page(RAM + FREE) == 0 && world_page(RAM + FREE + MIB(2)) != 0);
    /* Deflating gives nothing back. */
    start(1, 16);
    put(1, 0, RAM + MIB(3), 2800, 0, 0);
    offer(1, 16, 0);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
    CHECK(used(1)->idx == 1 && frames_free_blocks() <= before + 1 && vcpu.stats->given_back.freed == BLOCK_PAGES);
    world_audit();
}

/* Many at once, indices that wrap, no interrupt unless it is wanted. */
static void many(void **state)
{
    (void)state;
    start(4, 8);
    for (uint32_t i = 0; i < 8; i++)
        put(4, i, RAM + FREE, 4096, VRING_DESC_F_WRITE, 0);
    avail(4)->flags = VRING_AVAIL_F_NO_INTERRUPT;
    for (uint32_t round = 0; round < 70000 / 8; round++) {
        for (uint16_t i = 0; i < 8; i++)
            offer(4, 8, (uint16_t)((round + i) % 8));
        set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
        CHECK(used(4)->idx == avail(4)->idx && !line);
        CHECK(used(4)->ring[0].id == round % 8);
    }
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4); /* nothing new */
    avail(4)->flags = 0;
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
    CHECK(!line && !broken() && polls == 8 * (70000 / 8));
    offer(4, 8, 0);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
    CHECK(line);
}

/* Nothing is served before DRIVER_OK, after FAILED, in a queue that is not ready, or that is none. */
static void not_live(void **state)
{
    (void)state;
    start(4, 8);
    offer(4, 8, 0);
    put(4, 0, RAM + FREE, 4096, VRING_DESC_F_WRITE, 0);
    for (uint32_t n = 0; n < 200; n++) {
        if (n != 4)
            set(VIRTIO_MMIO_QUEUE_NOTIFY, n);
    }
    set(VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
    set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FAILED);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
    CHECK(used(4)->idx == 0);
    negotiate(ALL_FEATURES);
    CHECK(queue(4, 8, ring(4, 0), ring(4, 1), ring(4, 2)));
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
    CHECK(used(4)->idx == 0);
    set(VIRTIO_MMIO_STATUS, UP);
    set(VIRTIO_MMIO_QUEUE_SEL, 4);
    set(VIRTIO_MMIO_QUEUE_READY, 0);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
    CHECK(used(4)->idx == 0);
    set(VIRTIO_MMIO_QUEUE_READY, 1);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
    CHECK(used(4)->idx == 1);
}

/* The rings are absent, or the guest's caches are off. */
static void absent_and_uncached(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct give_back g;

        sctlr = i ? SCTLR_M | SCTLR_C : 0;
        start(4, 8);
        give_back_begin(&g, &vm.s2, &world.boot);
        give_back_range(&g, ipa(RAM), MIB(2));
        give_back_end(&g);
        CHECK(g.zero == BLOCK_PAGES);
        set(VIRTIO_MMIO_QUEUE_NOTIFY, 4); /* an empty queue, all zeroes */
        CHECK(!broken() && !line);
        offer(4, 8, 0);
        put(4, 0, QUEUES & ~(MIB(2) - 1), (uint32_t)MIB(2), VRING_DESC_F_WRITE, 0); /* the rings themselves */
        set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
        /* Given back and acknowledged; then the index that was 1 is 0, which no driver does. */
        CHECK(used(4)->idx == 1 && avail(4)->idx == 0 && broken());
        world_audit();
    }
}

/* The guest's end: no more chains. */
static void ending(void **state)
{
    (void)state;
    start(4, 8);
    put(4, 0, RAM + FREE, 4096, VRING_DESC_F_WRITE, 0);
    offer(4, 8, 0);
    atomic_store(&vm.ending, VM_ENDED);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
    CHECK(used(4)->idx == 0 && !line);
    atomic_store(&vm.ending, VM_RUNNING);
}

/* ---- drivers that do not */

static void bad_rings(void **state)
{
    static const struct {
        uint16_t flags, next, head, ahead;
    } bad[] = {
        {VRING_DESC_F_NEXT, 0, 0, 1}, /* a loop of one */
        {VRING_DESC_F_NEXT, 8, 0, 1}, /* out of the table */
        {VRING_DESC_F_NEXT, 0xffff, 0, 1},
        {VRING_DESC_F_INDIRECT, 0, 0, 1}, /* not negotiated */
        {0xffff, 0, 0, 1},
        {0, 0, 8, 1}, /* heads out of it */
        {0, 0, 0xffff, 1},
        {0, 0, 0, 9}, /* more than there can be */
        {0, 0, 0, 0x8000},
        {0, 0, 0, 0xffff},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        start(4, 8);
        put(4, 0, RAM + FREE, (uint32_t)MIB(2), bad[i].flags, bad[i].next);
        avail(4)->ring[0] = bad[i].head;
        avail(4)->idx = bad[i].ahead;
        set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
        CHECK(broken() && line && used(4)->idx == 0);
        /* Until it is reset nothing is served; the driver cannot talk the bit away. */
        set(VIRTIO_MMIO_STATUS, UP);
        put(4, 0, RAM + FREE, (uint32_t)MIB(2), VRING_DESC_F_WRITE, 0);
        avail(4)->ring[0] = 0;
        avail(4)->idx = 1;
        set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
        CHECK(broken() && used(4)->idx == 0);
        set(VIRTIO_MMIO_STATUS, 0);
        CHECK(!broken() && !line);
    }
    /* A loop of many, and chains of all lengths. */
    for (uint32_t n = 1; n <= 64; n *= 2) {
        start(4, n);
        for (uint32_t i = 0; i < n; i++)
            put(4, i, RAM + FREE, 4096, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, (uint16_t)((i + 1) % n));
        offer(4, n, 0);
        set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
        CHECK(broken());
        start(4, n);
        desc(4, n - 1)->flags = VRING_DESC_F_WRITE;
        offer(4, n, 0);
        set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
        CHECK(!broken() && used(4)->idx == 1);
    }
}

static void wild_buffers(void **state)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
    } wild[] = {
        {0, UINT32_MAX},
        {UINT64_MAX, UINT32_MAX},
        {UINT64_MAX - MIB(4) + 1, (uint32_t)MIB(4)},
        {UINT64_MAX - MIB(4) + 1, UINT32_MAX},
        {0x090a0000, 4096},
        {0x09000000, (uint32_t)MIB(4)},
        {0x08000000, 0x38000000u},
        {RAM - MIB(2), (uint32_t)MIB(4)},
        {RAM + SIZE, (uint32_t)MIB(4)},
        {RAM + SIZE + MIB(2), UINT32_MAX},
        {BIT(39), UINT32_MAX},
        {RAM | BIT(48), UINT32_MAX},
        {RAM + FREE, 0},
        {RAM + FREE + 1, (uint32_t)MIB(2)},
    };
    uint64_t present, before;

    (void)state;
    fill(FREE, MIB(4));
    for (uint32_t n = 0; n <= 4; n = n ? n * 2 : 2) {
        start(n, 16);
        present = world_audit().present;
        before = frames_free_blocks();
        for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
            put(n, 0, wild[i].addr, wild[i].len, n ? VRING_DESC_F_WRITE : 0, 0);
            offer(n, 16, 0);
            set(VIRTIO_MMIO_QUEUE_NOTIFY, n);
            CHECK(!broken() && used(n)->idx == i + 1);
        }
        if (n)
            CHECK(world_audit().present == present && frames_free_blocks() == before);
        world_audit();
    }
    /* Readable buffers are none to report. */
    start(4, 16);
    put(4, 0, RAM + FREE, (uint32_t)MIB(4), 0, 0);
    offer(4, 16, 0);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
    CHECK(used(4)->idx == 1 && vcpu.stats->given_back.freed == 0);
}

/* All of RAM in every buffer: the work is that of all of RAM once, and it is given back once. */
static void greedy(void **state)
{
    (void)state;
    fill(FREE, MIB(48));
    start(4, 64);
    for (uint32_t i = 0; i < 64; i++)
        put(4, i, RAM + FREE, UINT32_MAX, VRING_DESC_F_WRITE | (i < 63), (uint16_t)(i + 1));
    offer(4, 64, 0);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 4);
    CHECK(!broken());
    CHECK(vcpu.stats->given_back.freed == 24 * BLOCK_PAGES && vcpu.stats->given_back.rounds == 1);
    CHECK(vcpu.stats->given_back.kept <= SIZE / PAGE_SIZE);
    world_audit();
}

/* Anything at all in the rings and registers, often. */
static void anything(void **state)
{
    (void)state;
    rnd = seed(11);
    for (uint32_t game = 0; game < 3000; game++) {
        static const uint32_t queues[] = {0, 1, 2, 4};
        uint32_t n = queues[random_below(&rnd, 4)], num = 1u << random_below(&rnd, 7);

        start(n, num);
        for (uint32_t i = 0; i < num; i++) {
            uint64_t at = random_below(&rnd, 4) ? RAM + random_below(&rnd, SIZE) : random64(&rnd);

            put(n, i, random_below(&rnd, 2) ? align_down(at, MIB(2)) : at,
                (uint32_t)(random_below(&rnd, 2) ? MIB(2) << random_below(&rnd, 3) : random64(&rnd)),
                (uint16_t)random_below(&rnd, random_below(&rnd, 20) ? 4 : 0x10000),
                (uint16_t)random_below(&rnd, random_below(&rnd, 40) ? num : 0x10000));
        }
        for (uint64_t i = random_below(&rnd, num); i > 0; i--)
            offer(n, num, (uint16_t)random_below(&rnd, random_below(&rnd, 40) ? num : 0x10000));
        set(VIRTIO_MMIO_QUEUE_NOTIFY, n);
        for (uint64_t i = random_below(&rnd, 8); i > 0; i--) {
            virtio_mmio_write(&vcpu, (uint32_t)random_below(&rnd, 0x4000), 1u << random_below(&rnd, 4), random64(&rnd));
            virtio_mmio_write(&vcpu, 4 * (uint32_t)random_below(&rnd, 0x40), 4, random_below(&rnd, 6));
        }
        for (uint64_t i = random_below(&rnd, 4); i > 0; i--)
            ram(RAM + random_below(&rnd, SIZE));
        if (game % 16 == 0) {
            world_settle();
            world_audit();
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(identity),     TEST(sizes),     TEST(features),
        TEST(queue_set_up), TEST(reporting), TEST(inflating),
        TEST(many),         TEST(not_live),  TEST(absent_and_uncached),
        TEST(ending),       TEST(bad_rings), TEST(wild_buffers),
        TEST(greedy),       TEST(anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
