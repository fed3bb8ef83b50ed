/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk of the machine: a virtio block device behind virtio-mmio (VIRTIO 1.1, 4.2 and 5.2), version 2, whose accesses to
 * memory are coherent with the caches. Many requests are under way at once and end in any order.
 *
 * A disk belongs to one core at a time: the boot core until the helpers start, then one of them. Nothing here waits but
 * disk_open() and disk_wait().
 */
#pragma once

#include "lib/types.h"
#include "lib/virtio.h"

#define DISK_MAX 8
#define DISK_REQUESTS 64u /* under way at once */
#define DISK_SECTOR VIRTIO_BLK_SECTOR
#define DISK_NAME 21 /* a serial number has 20 characters at most */

/* What the device tree says of a virtio-mmio transport. */
struct disk_place {
    pa_t regs;
    uint32_t intid;
};

struct disk {
    pa_t regs;
    uint32_t intid;
    uint64_t sectors;
    char name[DISK_NAME]; /* the device's serial number */
    bool broken;          /* it did what a device must not: it was reset, and is not used again */
    bool read_only;
    bool has_news; /* there are requests in the ring that the device was not told of */
    uint16_t avail_next, used_next;
    uint64_t free;               /* bit per request */
    uint64_t lost;               /* bit per request that was under way when the disk broke */
    uint32_t tag[DISK_REQUESTS]; /* of those under way */
    _Alignas(16) uint8_t desc[3 * DISK_REQUESTS * sizeof(struct vring_desc)]; /* three for each request, in its place */
    _Alignas(8) uint8_t avail[sizeof(struct vring_avail) + 256 * sizeof(uint16_t) + 8];
    _Alignas(8) uint8_t used[sizeof(struct vring_used) + 256 * sizeof(struct vring_used_elem) + 8];
    struct virtio_blk_req head[DISK_REQUESTS];
    uint8_t status[DISK_REQUESTS];
};

enum disk_open_result {
    DISK_OPEN,
    DISK_NONE,    /* no device there, or none that is a disk */
    DISK_LEGACY,  /* a device of before VIRTIO 1.0 */
    DISK_REFUSES, /* it wants a feature that is not known here, or has no queue large enough */
    DISK_SILENT,  /* it does not answer */
};

/* Boot core: starts the device at `place`, whose registers are mapped, and asks for its name. */
WARN_UNUSED enum disk_open_result disk_open(struct disk *d, const struct disk_place *place);

/* The result in words. */
const char *disk_open_text(enum disk_open_result r);

enum disk_op { DISK_READ, DISK_WRITE };

/*
 * Begins to move `bytes`, whole sectors, between `data` and the disk from `sector` on. The device need not know before
 * disk_notify(). `data` is its own until disk_ended() tells of `tag`. False: DISK_REQUESTS are under way, or it is beyond
 * the disk's end, or the disk is broken.
 */
WARN_UNUSED bool disk_begin(struct disk *d, enum disk_op op, uint64_t sector, void *data, uint32_t bytes, uint32_t tag);

/* The device knows of all that was begun: it is told, and that takes long, once for as many as there are. */
void disk_notify(struct disk *d);

/* One of those that have ended, and whether it did what was asked. False: none has. */
WARN_UNUSED bool disk_ended(struct disk *d, uint32_t *tag, bool *ok);

/*
 * disk_notify(), and from now on one that ends interrupts the core that disk_attach() was called on. False: one has
 * already.
 */
WARN_UNUSED bool disk_watch(struct disk *d);
void disk_unwatch(struct disk *d);

/* That core has acknowledged the interrupt `intid`. If it is the disk's, its reason is gone when this returns. */
void disk_interrupt(struct disk *d, uint32_t intid);

/* On the core that owns the disk from now on. */
void disk_attach(const struct disk *d);

/* Boot core: until the one request that is under way has ended. False: with an error, or not within half a minute. */
WARN_UNUSED bool disk_wait(struct disk *d);
