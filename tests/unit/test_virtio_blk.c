/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: dev/virtio_blk.c tests/unit/fake/fake_arch.c */
/*
 * The disk driver against a device that the test plays: by the letter of VIRTIO 1.1 in the good cases, in any order, and in
 * every way wrong in the others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dev/disk.h"
#include "dev/gic.h"
#include "dev/mmio.h"
#include "lib/arch.h"
#include "lib/log.h"

#define SECTORS 1000u

/* The device. */
static struct {
    uint32_t magic, version, id, status, features_sel, driver_sel, num_max, num, interrupt;
    uint64_t features, accepted;
    uint64_t desc, avail, used;
    bool ready, mute; /* mute: it answers nothing */
    bool stuck;       /* it does not come out of reset */
    bool refuses;     /* FEATURES_OK does not stay */
    uint32_t notified, resets;
    uint16_t taken; /* of the available ring */
    char serial[21];
    uint16_t waiting[256]; /* heads of chains that were made available */
    uint32_t count;
    uint8_t bytes[SECTORS * DISK_SECTOR];
} dev;
static struct disk disk;
static uint32_t lines, enabled;

void log_line(const char *fmt, ...)
{
    (void)fmt;
    lines++;
}

void gic_enable_spi(uint32_t intid, bool edge)
{
    assert_false(edge);
    enabled = intid;
}

static void take(void)
{
    const struct vring_avail *a = pa_ptr(pa(dev.avail));

    while (dev.taken != a->idx)
        dev.waiting[dev.count++] = a->ring[dev.taken++ % dev.num];
}

/* The device has done what chain `head` asks, with `status`. */
static void answer(uint16_t head, uint8_t status)
{
    const struct vring_desc *d = pa_ptr(pa(dev.desc));
    const struct virtio_blk_req *req = pa_ptr(pa(d[head].addr));
    const struct vring_desc *data = &d[d[head].next], *end = &d[data->next];
    bool writes = (data->flags & VRING_DESC_F_WRITE) != 0;
    struct vring_used *u = pa_ptr(pa(dev.used));

    assert_int_equal(d[head].len, sizeof(*req));
    assert_true(d[head].flags == VRING_DESC_F_NEXT && data->flags & VRING_DESC_F_NEXT);
    assert_true(end->flags == VRING_DESC_F_WRITE && end->len == 1);
    if (req->type == VIRTIO_BLK_T_GET_ID) {
        assert_true(writes && data->len == VIRTIO_BLK_ID_BYTES);
        memcpy(pa_ptr(pa(data->addr)), dev.serial, VIRTIO_BLK_ID_BYTES);
    } else {
        assert_true(writes == (req->type == VIRTIO_BLK_T_IN));
        assert_true((req->sector + data->len / DISK_SECTOR) <= SECTORS && data->len % DISK_SECTOR == 0);
        if (writes)
            memcpy(pa_ptr(pa(data->addr)), dev.bytes + req->sector * DISK_SECTOR, data->len);
        else
            memcpy(dev.bytes + req->sector * DISK_SECTOR, pa_ptr(pa(data->addr)), data->len);
    }
    *(uint8_t *)pa_ptr(pa(end->addr)) = status;
    u->ring[u->idx % dev.num] = (struct vring_used_elem){head, 1};
    u->idx++;
    dev.interrupt = 1;
}

/* One of those that wait, by its place in line. */
static void answer_nth(uint32_t n, uint8_t status)
{
    uint16_t head = dev.waiting[n];

    memmove(&dev.waiting[n], &dev.waiting[n + 1], (dev.count - n - 1) * sizeof(dev.waiting[0]));
    dev.count--;
    answer(head, status);
}

static void used_id(uint32_t id)
{
    struct vring_used *u = pa_ptr(pa(dev.used));

    u->ring[u->idx % dev.num] = (struct vring_used_elem){id, 1};
    u->idx++;
}

uint32_t fake_mmio_read32(pa_t base, uint64_t offset)
{
    assert_int_equal(base.v, 0xa000000);
    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return dev.magic;
    case VIRTIO_MMIO_VERSION:
        return dev.version;
    case VIRTIO_MMIO_DEVICE_ID:
        return dev.id;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return (uint32_t)(dev.features >> 32 * dev.features_sel);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return dev.num_max;
    case VIRTIO_MMIO_QUEUE_READY:
        return dev.ready;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return dev.interrupt;
    case VIRTIO_MMIO_STATUS:
        return dev.stuck ? 1 : dev.status;
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return 7;
    case VIRTIO_MMIO_CONFIG + VIRTIO_BLK_CONFIG_CAPACITY:
        return SECTORS;
    case VIRTIO_MMIO_CONFIG + VIRTIO_BLK_CONFIG_CAPACITY + 4:
        return 0;
    default:
        fail_msg("read of %lx", offset);
        return 0;
    }
}

static void half(uint64_t *to, uint32_t v, bool high)
{
    *to = high ? (*to & 0xffffffff) | (uint64_t)v << 32 : v;
}

void fake_mmio_write32(pa_t base, uint64_t offset, uint32_t v)
{
    assert_int_equal(base.v, 0xa000000);
    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        dev.features_sel = v;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        dev.driver_sel = v;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        assert_int_equal(dev.status, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
        half(&dev.accepted, v, dev.driver_sel);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        assert_int_equal(v, 0);
        break;
    case VIRTIO_MMIO_QUEUE_NUM:
        assert_true(v <= dev.num_max && v && !(v & (v - 1)));
        dev.num = v;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        assert_true(v == 1 && dev.status & VIRTIO_CONFIG_S_FEATURES_OK && dev.num && dev.desc && dev.avail && dev.used);
        dev.ready = true;
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        assert_true(v == 0 && dev.status & VIRTIO_CONFIG_S_DRIVER_OK);
        dev.notified++;
        if (dev.mute)
            break;
        take();
        if (dev.serial[0] != 1 && dev.count == 1 &&
            ((struct virtio_blk_req *)pa_ptr(pa(((struct vring_desc *)pa_ptr(pa(dev.desc)))[dev.waiting[0]].addr)))
                    ->type == VIRTIO_BLK_T_GET_ID)
            answer_nth(0, VIRTIO_BLK_S_OK);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        dev.interrupt &= ~v;
        break;
    case VIRTIO_MMIO_STATUS:
        if (!v) {
            dev.resets++;
            dev.ready = false;
            dev.count = dev.taken = 0;
        }
        dev.status = v;
        if (dev.refuses)
            dev.status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        half(&dev.desc, v, offset & 4);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        half(&dev.avail, v, offset & 4);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        half(&dev.used, v, offset & 4);
        break;
    default:
        fail_msg("write of %lx", offset);
    }
}

static int set_up(void **state)
{
    (void)state;
    memset(&dev, 0, sizeof(dev));
    dev.magic = VIRTIO_MMIO_MAGIC;
    dev.version = 2;
    dev.id = VIRTIO_ID_BLOCK;
    dev.features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(28) | BIT(29);
    dev.num_max = 1024;
    strcpy(dev.serial, "mw0");
    for (size_t i = 0; i < sizeof(dev.bytes); i++)
        dev.bytes[i] = (uint8_t)(i / DISK_SECTOR + i * 7);
    lines = enabled = 0;
    fake_second = 1000000000u;
    return 0;
}

static enum disk_open_result open_disk(void)
{
    return disk_open(&disk, &(struct disk_place){pa(0xa000000), 48});
}

static void opens(void **state)
{
    (void)state;
    assert_int_equal(open_disk(), DISK_OPEN);
    assert_int_equal(dev.accepted, BIT(VIRTIO_F_VERSION_1));
    assert_int_equal(dev.status, 15);
    assert_string_equal(disk.name, "mw0");
    assert_int_equal(disk.sectors, SECTORS);
    disk_attach(&disk);
    assert_int_equal(enabled, 48);
    memcpy(dev.serial, "12345678901234567\x80 9", 20); /* no NUL, and what no name should hold */
    assert_int_equal(open_disk(), DISK_OPEN);
    assert_string_equal(disk.name, "12345678901234567??9");
}

static void not_opened(void **state)
{
    (void)state;
    dev.magic++;
    assert_int_equal(open_disk(), DISK_NONE);
    dev.magic--;
    dev.id = 0;
    assert_int_equal(open_disk(), DISK_NONE);
    dev.id = 1;
    assert_int_equal(open_disk(), DISK_NONE);
    dev.id = VIRTIO_ID_BLOCK;
    dev.version = 1;
    assert_int_equal(open_disk(), DISK_LEGACY);
    dev.version = 2;
    dev.features = BIT(VIRTIO_BLK_F_FLUSH);
    assert_int_equal(open_disk(), DISK_REFUSES);
    assert_true(dev.status & VIRTIO_CONFIG_S_FAILED);
    dev.features = BIT(VIRTIO_F_VERSION_1);
    dev.refuses = true;
    assert_int_equal(open_disk(), DISK_REFUSES);
    dev.refuses = false;
    dev.num_max = 128;
    assert_int_equal(open_disk(), DISK_REFUSES);
    dev.num_max = 256;
    dev.stuck = true;
    assert_int_equal(open_disk(), DISK_SILENT);
    dev.stuck = false;
    dev.mute = true;
    fake_second = 1000; /* half a minute is soon over */
    assert_int_equal(open_disk(), DISK_SILENT);
    assert_true(disk.broken && dev.status == 0 && lines == 1);
    dev.mute = false;
    assert_int_equal(open_disk(), DISK_OPEN);
}

/* Many at once, ended in any order, many times around the rings. */
static void any_order(void **state)
{
    static uint8_t buffer[DISK_REQUESTS][2 * DISK_SECTOR];
    uint64_t sector[DISK_REQUESTS];
    bool under_way[DISK_REQUESTS] = {false}, fails[DISK_REQUESTS];
    uint32_t tag, total = 0;
    bool ok;

    (void)state;
    srand(3);
    assert_int_equal(open_disk(), DISK_OPEN);
    while (total < 3000) {
        uint32_t n = (uint32_t)rand() % DISK_REQUESTS;

        if (!under_way[n]) {
            sector[n] = (uint64_t)rand() % (SECTORS - 1);
            memset(buffer[n], 0, sizeof(buffer[n]));
            assert_true(disk_begin(&disk, DISK_READ, sector[n], buffer[n], sizeof(buffer[n]), n));
            under_way[n] = true;
            fails[n] = rand() % 8 == 0;
        }
        if (rand() % 4 == 0)
            disk_notify(&disk); /* of as many as there are */
        if (dev.count && rand() % 3) {
            uint32_t at = (uint32_t)rand() % dev.count;
            const struct vring_desc *d = pa_ptr(pa(dev.desc));
            uint32_t which =
                (uint32_t)(((uint8_t *)pa_ptr(pa(d[d[dev.waiting[at]].next].addr)) - buffer[0]) / sizeof(buffer[0]));

            answer_nth(at, fails[which] ? 1 : VIRTIO_BLK_S_OK);
        }
        while (disk_ended(&disk, &tag, &ok)) {
            assert_true(tag < DISK_REQUESTS && under_way[tag] && ok == !fails[tag]);
            under_way[tag] = false;
            assert_memory_equal(buffer[tag], dev.bytes + sector[tag] * DISK_SECTOR, sizeof(buffer[tag]));
            total++;
        }
    }
}

static void limits(void **state)
{
    static uint8_t buffer[4 * DISK_SECTOR];
    uint32_t tag, notified;
    bool ok;

    (void)state;
    assert_int_equal(open_disk(), DISK_OPEN);
    assert_false(disk_begin(&disk, DISK_READ, SECTORS, buffer, DISK_SECTOR, 0));
    assert_false(disk_begin(&disk, DISK_READ, SECTORS - 1, buffer, 2 * DISK_SECTOR, 0));
    assert_false(disk_begin(&disk, DISK_READ, UINT64_MAX, buffer, DISK_SECTOR, 0));
    assert_false(disk_begin(&disk, DISK_READ, 0, buffer, 0, 0));
    assert_false(disk_begin(&disk, DISK_READ, 0, buffer, 100, 0));
    memset(buffer, 0x5a, sizeof(buffer));
    assert_true(disk_begin(&disk, DISK_WRITE, SECTORS - 4, buffer, sizeof(buffer), 77));
    disk_notify(&disk);
    answer_nth(0, VIRTIO_BLK_S_OK);
    assert_true(disk_ended(&disk, &tag, &ok) && ok && tag == 77);
    assert_memory_equal(dev.bytes + (SECTORS - 4) * DISK_SECTOR, buffer, sizeof(buffer));
    for (uint32_t n = 0; n < DISK_REQUESTS; n++)
        assert_true(disk_begin(&disk, DISK_READ, n, buffer, DISK_SECTOR, n));
    assert_false(disk_begin(&disk, DISK_READ, 0, buffer, DISK_SECTOR, 0));
    notified = dev.notified;
    disk_notify(&disk);
    disk_notify(&disk);
    assert_int_equal(dev.notified, notified + 1); /* once for all of them */
    answer_nth(40, VIRTIO_BLK_S_OK);
    assert_false(disk_begin(&disk, DISK_READ, 0, buffer, DISK_SECTOR, 0)); /* it has ended, and nobody has looked */
    assert_true(disk_ended(&disk, &tag, &ok) && tag == 40);
    assert_true(disk_begin(&disk, DISK_READ, 0, buffer, DISK_SECTOR, 0));
    dev.features |= BIT(VIRTIO_BLK_F_RO);
    assert_int_equal(open_disk(), DISK_OPEN);
    assert_false(disk_begin(&disk, DISK_WRITE, 0, buffer, DISK_SECTOR, 0));
}

/* A device that ends what was not begun is stopped, and all that was under way ends with an error, once each. */
static void breaks_down(void **state)
{
    static uint8_t buffer[DISK_SECTOR];
    static const uint32_t bad[] = {1, 2, 3 * 5, 3 * DISK_REQUESTS, 0xffff, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        uint64_t seen = 0;
        uint32_t tag, before;
        bool ok;

        assert_int_equal(open_disk(), DISK_OPEN);
        before = dev.resets;
        lines = 0;
        for (uint32_t n = 0; n < 4; n++)
            assert_true(disk_begin(&disk, DISK_READ, n, buffer, DISK_SECTOR, 100 + n));
        used_id(bad[i]);
        while (disk_ended(&disk, &tag, &ok)) {
            assert_true(!ok && tag >= 100 && tag < 104 && !(seen & BIT(tag - 100)));
            seen |= BIT(tag - 100);
        }
        assert_int_equal(seen, 15);
        assert_true(disk.broken && dev.resets == before + 1 && dev.status == 0 && lines == 1);
        assert_false(disk_begin(&disk, DISK_READ, 0, buffer, DISK_SECTOR, 0));
        assert_true(disk_watch(&disk));
        disk_unwatch(&disk);
    }
}

static void interrupts(void **state)
{
    static uint8_t buffer[DISK_SECTOR];
    const struct vring_avail *a;
    uint32_t tag;
    bool ok;

    (void)state;
    assert_int_equal(open_disk(), DISK_OPEN);
    a = pa_ptr(pa(dev.avail));
    assert_int_equal(a->flags, VRING_AVAIL_F_NO_INTERRUPT);
    assert_true(disk_begin(&disk, DISK_READ, 0, buffer, DISK_SECTOR, 5));
    assert_true(disk_watch(&disk));
    assert_int_equal(a->flags, 0);
    assert_int_equal(dev.count, 1); /* who watches has told the device */
    disk_unwatch(&disk);
    answer_nth(0, VIRTIO_BLK_S_OK);
    assert_false(disk_watch(&disk)); /* one has ended already */
    disk_unwatch(&disk);
    assert_int_equal(a->flags, VRING_AVAIL_F_NO_INTERRUPT);
    disk_interrupt(&disk, disk.intid + 1);
    assert_int_equal(dev.interrupt, VIRTIO_MMIO_INT_VRING);
    disk_interrupt(&disk, disk.intid);
    assert_int_equal(dev.interrupt, 0);
    assert_true(disk_ended(&disk, &tag, &ok) && ok && tag == 5);
    assert_true(disk_watch(&disk));
    dev.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    dev.interrupt = VIRTIO_MMIO_INT_CONFIG;
    disk_interrupt(&disk, disk.intid);
    assert_true(disk.broken);
    assert_false(disk_ended(&disk, &tag, &ok));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(opens, set_up),       cmocka_unit_test_setup(not_opened, set_up),
        cmocka_unit_test_setup(any_order, set_up),   cmocka_unit_test_setup(limits, set_up),
        cmocka_unit_test_setup(breaks_down, set_up), cmocka_unit_test_setup(interrupts, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
