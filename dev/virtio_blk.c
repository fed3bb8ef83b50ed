/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Request n owns descriptors 3n to 3n + 2: what is asked, the data, and the byte that says how it went. So nothing is
 * allocated, and what the device says has ended can be checked against what was begun.
 *
 * Memory is shared with the device as with another core (VIRTIO 1.1, 2.6 and 7.1): an entry before the index that tells of
 * it, our index before we look whether it wants to be told.
 */
#include <stdatomic.h>

#include "dev/disk.h"
#include "dev/gic.h"
#include "dev/mmio.h"
#include "lib/arch.h"
#include "lib/log.h"
#include "lib/string.h"

#define QUEUE_MAX 256u /* of entries; a power of two that 3 * DISK_REQUESTS fit into */
#define SILENT_S 30u
#define RESET_SPINS 1000000u

_Static_assert(3 * DISK_REQUESTS <= QUEUE_MAX, "three descriptors for each request");
_Static_assert(DISK_REQUESTS == 64, "a bit each");

static uint32_t rd(const struct disk *d, uint64_t reg)
{
    return mmio_read32(d->regs, reg);
}

static void wr(const struct disk *d, uint64_t reg, uint32_t v)
{
    mmio_write32(d->regs, reg, v);
}

static void wr_address(const struct disk *d, uint64_t low, const void *p)
{
    wr(d, low, (uint32_t)ptr_pa(p).v);
    wr(d, low + 4, (uint32_t)(ptr_pa(p).v >> 32));
}

static struct vring_desc *desc_of(struct disk *d, uint32_t n)
{
    return (struct vring_desc *)(void *)d->desc + 3 * n;
}

static struct vring_avail *avail_of(struct disk *d)
{
    return (struct vring_avail *)(void *)d->avail;
}

static const struct vring_used *used_of(const struct disk *d)
{
    return (const struct vring_used *)(const void *)d->used;
}

static uint16_t load16(const uint16_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store16(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* Nothing of ours is the device's any more when it reads 0 (2.4.2, 4.2.3.1). */
static bool reset(const struct disk *d)
{
    wr(d, VIRTIO_MMIO_STATUS, 0);
    for (uint32_t i = 0; rd(d, VIRTIO_MMIO_STATUS) != 0; i++) {
        if (i == RESET_SPINS)
            return false;
        cpu_relax();
    }
    return true;
}

static uint64_t offered(const struct disk *d)
{
    uint64_t low;

    wr(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    low = rd(d, VIRTIO_MMIO_DEVICE_FEATURES);
    wr(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    return low | (uint64_t)rd(d, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
}

static bool negotiate(struct disk *d)
{
    uint64_t features = offered(d);

    if (!(features & BIT(VIRTIO_F_VERSION_1)))
        return false;
    d->read_only = (features & BIT(VIRTIO_BLK_F_RO)) != 0;
    features &= BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_BLK_F_RO) |
                BIT(VIRTIO_F_ACCESS_PLATFORM); /* addresses are physical in any case */
    wr(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    wr(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
    wr(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    wr(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
    wr(d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
    return (rd(d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK) != 0;
}

static bool make_queue(struct disk *d)
{
    wr(d, VIRTIO_MMIO_QUEUE_SEL, 0);
    if (rd(d, VIRTIO_MMIO_QUEUE_READY) != 0 || rd(d, VIRTIO_MMIO_QUEUE_NUM_MAX) < QUEUE_MAX)
        return false;
    wr(d, VIRTIO_MMIO_QUEUE_NUM, QUEUE_MAX);
    wr_address(d, VIRTIO_MMIO_QUEUE_DESC_LOW, d->desc);
    wr_address(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, d->avail);
    wr_address(d, VIRTIO_MMIO_QUEUE_USED_LOW, d->used);
    for (uint32_t n = 0; n < DISK_REQUESTS; n++) {
        struct vring_desc *desc = desc_of(d, n);

        desc[0] =
            (struct vring_desc){ptr_pa(&d->head[n]).v, sizeof(d->head[n]), VRING_DESC_F_NEXT, (uint16_t)(3 * n + 1)};
        desc[1] = (struct vring_desc){0, 0, VRING_DESC_F_NEXT, (uint16_t)(3 * n + 2)};
        desc[2] = (struct vring_desc){ptr_pa(&d->status[n]).v, 1, VRING_DESC_F_WRITE, 0};
    }
    store16(&avail_of(d)->flags, VRING_AVAIL_F_NO_INTERRUPT);
    d->free = ~UINT64_C(0);
    dsb_sy(); /* the queue before the device may look at it */
    wr(d, VIRTIO_MMIO_QUEUE_READY, 1);
    return true;
}

static uint64_t capacity(const struct disk *d)
{
    uint64_t at = VIRTIO_MMIO_CONFIG + VIRTIO_BLK_CONFIG_CAPACITY, v;
    uint32_t generation;

    do {
        generation = rd(d, VIRTIO_MMIO_CONFIG_GENERATION);
        v = rd(d, at) | (uint64_t)rd(d, at + 4) << 32;
    } while (generation != rd(d, VIRTIO_MMIO_CONFIG_GENERATION));
    return v;
}

/* The device writes `data` if it is a read. Its request is in the ring when this returns. */
static void push(struct disk *d, uint32_t n, struct virtio_blk_req head, void *data, uint32_t bytes, bool device_writes)
{
    struct vring_avail *avail = avail_of(d);
    struct vring_desc *desc = desc_of(d, n);

    d->free &= ~BIT(n);
    d->head[n] = head;
    d->status[n] = 0xff;
    desc[1].addr = ptr_pa(data).v;
    desc[1].len = bytes;
    desc[1].flags = (uint16_t)(VRING_DESC_F_NEXT | (device_writes ? VRING_DESC_F_WRITE : 0));
    avail->ring[d->avail_next++ % QUEUE_MAX] = (uint16_t)(3 * n);
    dsb_sy(); /* the request before the index: the device may be no part of our shareability domain's cores */
    store16(&avail->idx, d->avail_next);
    d->has_news = true;
}

void disk_notify(struct disk *d)
{
    if (!d->has_news)
        return;
    d->has_news = false;
    dsb_sy(); /* our index before its word whether it wants to be told (2.6.13.4.1) */
    if (!d->broken && !(load16(&used_of(d)->flags) & VRING_USED_F_NO_NOTIFY))
        wr(d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

/* What is under way ends with an error; the device has let go of it. */
static void break_down(struct disk *d, const char *why)
{
    d->broken = true;
    log_line("disk %s: %s: it is not used any more", d->name, why);
    if (!reset(d))
        panic("disk %s does not stop: it may write anywhere in what it was given", d->name);
    d->lost = ~d->free;
}

static bool lost_one(struct disk *d, uint32_t *tag)
{
    uint32_t n;

    if (!d->lost)
        return false;
    n = (uint32_t)__builtin_ctzll(d->lost);
    d->lost &= d->lost - 1;
    d->free |= BIT(n);
    *tag = d->tag[n];
    return true;
}

bool disk_ended(struct disk *d, uint32_t *tag, bool *ok)
{
    const struct vring_used *used = used_of(d);
    uint32_t id, n;

    *ok = false;
    if (d->broken)
        return lost_one(d, tag);
    if (load16(&used->idx) == d->used_next)
        return false;
    id = used->ring[d->used_next++ % QUEUE_MAX].id;
    n = id / 3;
    if (id % 3 != 0 || n >= DISK_REQUESTS || d->free & BIT(n)) {
        break_down(d, "it ended what was not begun");
        return lost_one(d, tag);
    }
    d->free |= BIT(n);
    *tag = d->tag[n];
    *ok = __atomic_load_n(&d->status[n], __ATOMIC_RELAXED) == VIRTIO_BLK_S_OK;
    return true;
}

bool disk_begin(struct disk *d, enum disk_op op, uint64_t sector, void *data, uint32_t bytes, uint32_t tag)
{
    bool read = op == DISK_READ;
    uint32_t n;

    if (d->broken || !d->free || bytes == 0 || bytes % DISK_SECTOR || sector > d->sectors ||
        bytes / DISK_SECTOR > d->sectors - sector || (d->read_only && !read))
        return false;
    n = (uint32_t)__builtin_ctzll(d->free);
    d->tag[n] = tag;
    push(d, n, (struct virtio_blk_req){.type = read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, .sector = sector}, data,
         bytes, read);
    return true;
}

bool disk_wait(struct disk *d)
{
    uint64_t until = counter_ticks().v + SILENT_S * counter_hz();
    uint32_t tag;
    bool ok;

    disk_notify(d);
    while (!disk_ended(d, &tag, &ok)) {
        if (counter_ticks().v >= until) {
            break_down(d, "no answer for half a minute");
            (void)lost_one(d, &tag);
            return false;
        }
        cpu_relax();
    }
    return ok;
}

bool disk_watch(struct disk *d)
{
    if (d->broken)
        return !d->lost;
    disk_notify(d);
    store16(&avail_of(d)->flags, 0);
    dsb_sy(); /* our wish before the look (2.6.7.1) */
    return load16(&used_of(d)->idx) == d->used_next;
}

void disk_unwatch(struct disk *d)
{
    if (!d->broken)
        store16(&avail_of(d)->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

void disk_interrupt(struct disk *d, uint32_t intid)
{
    uint32_t status;

    if (intid != d->intid)
        return;
    status = rd(d, VIRTIO_MMIO_INTERRUPT_STATUS);
    if (status)
        wr(d, VIRTIO_MMIO_INTERRUPT_ACK, status);
    /* A device that needs a reset says that its configuration has changed (2.1.2). */
    if (!d->broken && status & VIRTIO_MMIO_INT_CONFIG && rd(d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET)
        break_down(d, "it needs a reset");
}

void disk_attach(const struct disk *d)
{
    gic_enable_spi(d->intid, false);
}

static bool ask_name(struct disk *d)
{
    static uint8_t id[VIRTIO_BLK_ID_BYTES];

    memset(id, 0, sizeof(id));
    push(d, 0, (struct virtio_blk_req){.type = VIRTIO_BLK_T_GET_ID}, id, sizeof(id), true);
    if (!disk_wait(d))
        return !d->broken; /* it may have none */
    memcpy(d->name, id, sizeof(id));
    for (uint32_t i = 0; i < sizeof(id); i++) {
        if (d->name[i] && (d->name[i] < '!' || d->name[i] > '~'))
            d->name[i] = '?';
    }
    return true;
}

enum disk_open_result disk_open(struct disk *d, const struct disk_place *place)
{
    memset(d, 0, sizeof(*d));
    d->regs = place->regs;
    d->intid = place->intid;
    if (rd(d, VIRTIO_MMIO_MAGIC_VALUE) != VIRTIO_MMIO_MAGIC || rd(d, VIRTIO_MMIO_DEVICE_ID) != VIRTIO_ID_BLOCK)
        return DISK_NONE;
    if (rd(d, VIRTIO_MMIO_VERSION) != 2) /* 1: of before VIRTIO 1.0 */
        return DISK_LEGACY;
    if (!reset(d))
        return DISK_SILENT;
    wr(d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    wr(d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    if (!negotiate(d) || !make_queue(d)) {
        wr(d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FAILED);
        return DISK_REFUSES;
    }
    wr(d, VIRTIO_MMIO_STATUS,
       VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
    d->sectors = capacity(d);
    return ask_name(d) ? DISK_OPEN : DISK_SILENT;
}

const char *disk_open_text(enum disk_open_result r)
{
    static const char *const text[] = {
        [DISK_OPEN] = "ready",
        [DISK_NONE] = "no disk",
        [DISK_LEGACY] = "a legacy virtio device: version 2 is needed (QEMU: -global virtio-mmio.force-legacy=false)",
        [DISK_REFUSES] = "it lacks VIRTIO 1.0 or a queue of 256 entries",
        [DISK_SILENT] = "it does not answer",
    };

    return text[r];
}
