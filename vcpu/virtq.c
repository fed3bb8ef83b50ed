/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/virtq.h"

#include "lib/arch.h"
#include "vcpu/guest_ram.h"

static bool part_ok(const struct vm *vm, uint64_t at, uint64_t bytes, uint64_t alignment)
{
    return at % alignment == 0 && guest_ram_has(vm, ipa(at), bytes);
}

bool virtq_start(struct virtq *q, const struct vm *vm)
{
    uint64_t num = q->num;

    if (num == 0 || num > VIRTQ_MAX || num & (num - 1))
        return false;
    if (!part_ok(vm, q->desc, num * sizeof(struct vring_desc), 16) ||
        !part_ok(vm, q->avail, sizeof(struct vring_avail) + num * sizeof(uint16_t), 2) ||
        !part_ok(vm, q->used, sizeof(struct vring_used) + num * sizeof(struct vring_used_elem), 4))
        return false;
    q->next_avail = q->next_used = 0;
    q->ready = true;
    return true;
}

static bool read_chain(struct vcpu *v, const struct virtq *q, struct virtq_chain *c)
{
    uint16_t at = c->head;
    struct vring_desc d;

    c->count = 0;
    do {
        if (at >= q->num || c->count == q->num) /* the second: a loop */
            return false;
        if (!guest_ram_read(v, ipa(q->desc + at * sizeof(d)), &d, sizeof(d)))
            return false;
        if (d.flags & VRING_DESC_F_INDIRECT) /* not negotiated */
            return false;
        c->buffer[c->count++] = (struct virtq_buffer){d.addr, d.len, (d.flags & VRING_DESC_F_WRITE) != 0};
        at = d.next;
    } while (d.flags & VRING_DESC_F_NEXT);
    return true;
}

enum virtq_result virtq_pop(struct vcpu *v, struct virtq *q, struct virtq_chain *c)
{
    uint64_t slot = q->avail + offsetof(struct vring_avail, ring) + (q->next_avail % q->num) * sizeof(uint16_t);
    uint16_t idx, waiting;

    if (!guest_ram_read(v, ipa(q->avail + offsetof(struct vring_avail, idx)), &idx, sizeof(idx)))
        return VIRTQ_BROKEN;
    waiting = (uint16_t)(idx - q->next_avail);
    if (!waiting)
        return VIRTQ_EMPTY;
    if (waiting > q->num)
        return VIRTQ_BROKEN;
    dmb_ish(); /* the index before the entries it is about: pairs with the driver's barrier between them (2.6.13.3) */
    if (!guest_ram_read(v, ipa(slot), &c->head, sizeof(c->head)) || !read_chain(v, q, c))
        return VIRTQ_BROKEN;
    q->next_avail++;
    return VIRTQ_CHAIN;
}

bool virtq_push(struct vcpu *v, struct virtq *q, uint16_t head, uint32_t written)
{
    struct vring_used_elem e = {.id = head, .len = written};
    uint64_t slot = q->used + offsetof(struct vring_used, ring) + (q->next_used % q->num) * sizeof(e);
    uint16_t idx = (uint16_t)(q->next_used + 1);

    if (!guest_ram_write(v, ipa(slot), &e, sizeof(e)))
        return false;
    dmb_ish(); /* the entry before the index that covers it (2.6.14) */
    if (!guest_ram_write(v, ipa(q->used + offsetof(struct vring_used, idx)), &idx, sizeof(idx)))
        return false;
    q->next_used = idx;
    return true;
}

bool virtq_wants_interrupt(struct vcpu *v, const struct virtq *q)
{
    uint16_t flags;

    dmb_ish(); /* the index before the look at the flags: pairs with the driver's, which looks the other way round (2.6.7.2) */
    return guest_ram_read(v, ipa(q->avail), &flags, sizeof(flags)) && !(flags & VRING_AVAIL_F_NO_INTERRUPT);
}
