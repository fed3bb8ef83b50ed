/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/virtio_balloon.h"

#include "vcpu/give.h"
#include "vcpu/guest_ram.h"
#include "vcpu/irq.h"

/*
 * The reporting queue is number 4, behind those of features that are not offered here. But Linux counts the queues that it
 * uses, or did for years, and calls it 2: nothing else can be meant by that.
 */
enum { INFLATE, DEFLATE, REPORTING_COUNTED, REPORTING = 4 };
_Static_assert(REPORTING < VIRTIO_QUEUES, "there is room for it");

/* struct virtio_balloon_config (5.5.4): `num_pages` is what the device wants, nothing; `actual` is the driver's. */
#define CONFIG_ACTUAL 4
#define CONFIG_SIZE 8

#define PFN_SHIFT 12    /* of the balloon, whatever the guest's granule is */
#define PFNS_AT_ONCE 64 /* a driver lists 256 at a time */

static bool writable(uint32_t off, uint32_t size)
{
    return off >= CONFIG_ACTUAL && size <= 4;
}

/* All pages together, in one chain, are at most all that there are: hostile lengths cost a guest no more than honest ones. */
static uint64_t take(uint64_t *budget, uint64_t bytes)
{
    uint64_t n = bytes < *budget ? bytes : *budget;

    *budget -= n;
    return n;
}

static void give_reported(struct vcpu *v, const struct virtq_chain *c)
{
    uint64_t budget = v->vm->ram_size;
    struct give_back g;

    give_begin(v, &g);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->buffer[i].write)
            give_back_range(&g, ipa(c->buffer[i].addr), take(&budget, c->buffer[i].len));
    }
    give_end(v, &g);
}

/* Page numbers, of which those that follow one another make a range. They are read before anything is BUSY. */
static void give_list(struct vcpu *v, const uint32_t *pfn, uint32_t count, ipa_t *run, uint64_t *bytes)
{
    struct give_back g;

    give_begin(v, &g);
    for (uint32_t i = 0; i < count; i++) {
        ipa_t at = ipa((uint64_t)pfn[i] << PFN_SHIFT);

        if (*bytes && at.v == run->v + *bytes) {
            *bytes += BIT(PFN_SHIFT);
            continue;
        }
        give_back_range(&g, *run, *bytes);
        *run = at;
        *bytes = BIT(PFN_SHIFT);
    }
    give_end(v, &g);
}

/* A list longer than there are pages says some of them twice. */
static void give_listed(struct vcpu *v, const struct virtq_chain *c)
{
    uint64_t budget = (v->vm->ram_size >> PFN_SHIFT) * sizeof(uint32_t);
    uint32_t pfn[PFNS_AT_ONCE];
    uint64_t bytes = 0;
    ipa_t run = ipa(0);
    struct give_back g;

    for (uint32_t i = 0; i < c->count; i++) {
        uint64_t left = c->buffer[i].write ? 0 : take(&budget, c->buffer[i].len);

        for (uint64_t at = c->buffer[i].addr; left >= sizeof(pfn[0]);) {
            uint64_t n = left < sizeof(pfn) ? left & ~(sizeof(pfn[0]) - 1) : sizeof(pfn);

            if (!guest_ram_read(v, ipa(at), pfn, n))
                break;
            give_list(v, pfn, (uint32_t)(n / sizeof(pfn[0])), &run, &bytes);
            at += n;
            left -= n;
        }
    }
    give_begin(v, &g);
    give_back_range(&g, run, bytes);
    give_end(v, &g);
}

/*
 * At most as many chains as there can have been when the guest notified: what comes later is notified again. Interrupts for
 * this core, which may be others', are served between them.
 */
static void notify(struct vcpu *v, struct virtio_device *d, uint32_t n)
{
    struct virtq *q = &d->queue[n];
    struct virtq_chain c;
    bool used = false;

    for (uint32_t i = 0; i < q->num && !atomic_load_explicit(&v->vm->ending, memory_order_relaxed); i++) {
        enum virtq_result result = virtq_pop(v, q, &c);

        if (result == VIRTQ_EMPTY)
            break;
        if (result == VIRTQ_CHAIN && n >= REPORTING_COUNTED)
            give_reported(v, &c);
        else if (result == VIRTQ_CHAIN && n == INFLATE)
            give_listed(v, &c);
        if (result == VIRTQ_BROKEN || !virtq_push(v, q, c.head, 0)) {
            virtio_broken(d);
            break;
        }
        used = true;
        irq_poll(v);
    }
    if (used)
        virtio_used(v, d, n);
}

const struct virtio_ops virtio_balloon_ops = {
    .id = VIRTIO_ID_BALLOON,
    .features = BIT(VIRTIO_BALLOON_F_REPORTING),
    .queues = BIT(INFLATE) | BIT(DEFLATE) | BIT(REPORTING_COUNTED) | BIT(REPORTING),
    .config_size = CONFIG_SIZE,
    .writable = writable,
    .notify = notify,
};
