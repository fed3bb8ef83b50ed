/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VIRTIO 1.1 as both sides of it see it: registers of the MMIO transport, device status, the split virtqueue. Numbers and
 * layouts only, by the specification's names. All of it is little-endian.
 */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

/* MMIO transport (4.2.2) */
#define VIRTIO_MMIO_MAGIC_VALUE 0x000
#define VIRTIO_MMIO_VERSION 0x004
#define VIRTIO_MMIO_DEVICE_ID 0x008
#define VIRTIO_MMIO_VENDOR_ID 0x00c
#define VIRTIO_MMIO_DEVICE_FEATURES 0x010
#define VIRTIO_MMIO_DEVICE_FEATURES_SEL 0x014
#define VIRTIO_MMIO_DRIVER_FEATURES 0x020
#define VIRTIO_MMIO_DRIVER_FEATURES_SEL 0x024
#define VIRTIO_MMIO_QUEUE_SEL 0x030
#define VIRTIO_MMIO_QUEUE_NUM_MAX 0x034
#define VIRTIO_MMIO_QUEUE_NUM 0x038
#define VIRTIO_MMIO_QUEUE_READY 0x044
#define VIRTIO_MMIO_QUEUE_NOTIFY 0x050
#define VIRTIO_MMIO_INTERRUPT_STATUS 0x060
#define VIRTIO_MMIO_INTERRUPT_ACK 0x064
#define VIRTIO_MMIO_STATUS 0x070
#define VIRTIO_MMIO_QUEUE_DESC_LOW 0x080
#define VIRTIO_MMIO_QUEUE_DESC_HIGH 0x084
#define VIRTIO_MMIO_QUEUE_DRIVER_LOW 0x090
#define VIRTIO_MMIO_QUEUE_DRIVER_HIGH 0x094
#define VIRTIO_MMIO_QUEUE_DEVICE_LOW 0x0a0
#define VIRTIO_MMIO_QUEUE_DEVICE_HIGH 0x0a4
#define VIRTIO_MMIO_CONFIG_GENERATION 0x0fc
#define VIRTIO_MMIO_CONFIG 0x100
#define VIRTIO_MMIO_BYTES 0x200       /* what a transport takes on the virt board */
#define VIRTIO_MMIO_MAGIC 0x74726976u /* "virt" */
#define VIRTIO_MMIO_VERSION_1_1 2u    /* 1: a legacy device */

/* Device status (2.1) */
#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER 2u
#define VIRTIO_STATUS_DRIVER_OK 4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED 128u

/* Features of every device (6) */
#define VIRTIO_F_VERSION_1 BIT(32)
#define VIRTIO_F_ACCESS_PLATFORM BIT(33)

/* Split virtqueue (2.6) */
struct vring_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

#define VRING_DESC_F_NEXT 1u
#define VRING_DESC_F_WRITE 2u /* the device writes it */
#define VRING_DESC_F_INDIRECT 4u

struct vring_avail {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[];
};

#define VRING_AVAIL_F_NO_INTERRUPT 1u

struct vring_used_elem {
    uint32_t id;
    uint32_t len;
};

struct vring_used {
    uint16_t flags;
    uint16_t idx;
    struct vring_used_elem ring[];
};

#define VRING_USED_F_NO_NOTIFY 1u

/* Block device (5.2) */
#define VIRTIO_ID_BLOCK 2u
#define VIRTIO_BLK_F_RO BIT(5)
#define VIRTIO_BLK_F_FLUSH BIT(9)
#define VIRTIO_BLK_SECTOR 512u
#define VIRTIO_BLK_CONFIG_CAPACITY 0x00 /* 64 bits, in sectors */

#define VIRTIO_BLK_T_IN 0u
#define VIRTIO_BLK_T_OUT 1u
#define VIRTIO_BLK_T_GET_ID 8u
#define VIRTIO_BLK_ID_BYTES 20u /* not terminated if it is that long */
#define VIRTIO_BLK_S_OK 0u

struct virtio_blk_req {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};
