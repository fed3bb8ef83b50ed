/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtio devices of a guest behind virtio-mmio registers, version 2 (VIRTIO 1.1, 4.2.2), where the virt board has them: slot
 * n at VIRT_VIRTIO + n * VIRT_VIRTIO_STRIDE, with SPI VIRT_VIRTIO_SPI + n. A slot without a device says so (device ID 0).
 *
 * This is the transport: registers, feature negotiation, status, queues, the interrupt. What a device does is in its
 * `struct virtio_ops`. A device has one lock, which guards all of it and is held while it serves a queue: on the core of
 * the vCPU that notified it, for as long as that takes, pages of the guest that have to be populated included. Only vCPUs of
 * the same guest ever wait for it.
 */
#pragma once

#include "lib/spinlock.h"
#include "vcpu/virtq.h"

#define VIRTIO_DEVICES 1u /* slots of a guest that may have one */
#define VIRTIO_QUEUES 5u

struct virtio_device {
    const struct virtio_ops *ops; /* NULL: there is no such device. Fixed before the guest runs */
    struct vm *vm;
    spinlock_t lock;
    uint32_t status, interrupt;
    uint32_t device_sel, driver_sel, queue_sel;
    uint64_t driver_features;
    struct virtq queue[VIRTIO_QUEUES];
    uint8_t config[16]; /* what the driver writes to the device's own registers, and whatever else `ops` keeps there */
};

struct virtio_ops {
    uint32_t id;
    uint64_t features;    /* bit n: feature n; VIRTIO_F_VERSION_1 comes by itself */
    uint32_t queues;      /* bit n: there is a queue n */
    uint32_t config_size; /* bytes of `config` that can be read */
    /* Whether the driver may write to these bytes of `config`. NULL: to none. */
    bool (*writable)(uint32_t off, uint32_t size);
    /* Something is in queue `n`, which is ready. On a vCPU's own core, the lock held. */
    void (*notify)(struct vcpu *v, struct virtio_device *d, uint32_t n);
};

/* Boot core, before the guest runs: what is in this slot. */
void virtio_attach(struct vm *vm, uint32_t slot, const struct virtio_ops *ops);

/* All devices as after power-on. Boot core, before the guest runs, or when all its vCPUs are stopped. */
void virtio_reset(struct vm *vm);

/* MMIO, as vgicd_read() and vgicd_write(): `off` counts from the first slot. */
uint64_t virtio_mmio_read(struct vcpu *v, uint32_t off, uint32_t size);
void virtio_mmio_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val);

/* For devices, the lock held: chains of queue `n` were pushed, so the driver is told, if it wants to be. */
void virtio_used(struct vcpu *v, struct virtio_device *d, uint32_t n);

/* The same: the driver has broken the rules. Nothing is served until it resets the device. */
void virtio_broken(struct virtio_device *d);
