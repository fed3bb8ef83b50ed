/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device's side of a split virtqueue (VIRTIO 1.1, 2.6) in a guest's RAM. Nothing that stands there is believed: each
 * field is read once, into EL2's own memory, and checked there; a chain has at most as many buffers as the queue has
 * descriptors, so a loop ends; rings lie in RAM from end to end. What a buffer's address leads to is for the reader of the
 * buffer to check, which guest_ram_read() and give_back_range() do.
 */
#pragma once

#include "lib/virtio.h"

struct vm;
struct vcpu;

#define VIRTQ_MAX 64u /* descriptors */

struct virtq {
    uint32_t num; /* as the driver has set it, VIRTQ_MAX at the most and a power of two once `ready` */
    bool ready;
    uint64_t desc, avail, used; /* IPAs */
    uint16_t next_avail, next_used;
};

struct virtq_buffer {
    uint64_t addr;
    uint32_t len;
    bool write; /* by the device */
};

struct virtq_chain {
    uint16_t head;
    uint32_t count;
    struct virtq_buffer buffer[VIRTQ_MAX];
};

enum virtq_result {
    VIRTQ_CHAIN,
    VIRTQ_EMPTY,
    VIRTQ_BROKEN, /* the driver has broken the rules, and the device wants a reset */
};

/* Whether the driver's numbers make a queue of the guest's RAM; then it is ready, and empty. */
WARN_UNUSED bool virtq_start(struct virtq *q, const struct vm *vm);

/* The next chain that the driver has made available. */
WARN_UNUSED enum virtq_result virtq_pop(struct vcpu *v, struct virtq *q, struct virtq_chain *c);

/* Gives a chain back, `written` bytes of it written. False: the queue's RAM is not there any more. */
WARN_UNUSED bool virtq_push(struct vcpu *v, struct virtq *q, uint16_t head, uint32_t written);

/* The driver wants an interrupt for what was pushed. */
bool virtq_wants_interrupt(struct vcpu *v, const struct virtq *q);
