/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/virtio_mmio.h"

#include "lib/string.h"
#include "vcpu/vm.h"

#define VENDOR 0x6e61656d /* "mean" */

static uint64_t offered(const struct virtio_device *d)
{
    return d->ops->features | BIT(VIRTIO_F_VERSION_1);
}

static uint32_t half(uint64_t v, uint32_t select)
{
    return select < 2 ? (uint32_t)(v >> (32 * select)) : 0;
}

static void set_half(uint64_t *v, uint32_t select, uint32_t to)
{
    if (select < 2)
        *v = (*v & ~(UINT64_C(0xffffffff) << (32 * select))) | (uint64_t)to << (32 * select);
}

/* The queue that the driver has selected; NULL where there is none. */
static struct virtq *selected(struct virtio_device *d)
{
    return d->queue_sel < VIRTIO_QUEUES && d->ops->queues >> d->queue_sel & 1 ? &d->queue[d->queue_sel] : NULL;
}

static void update_line(struct virtio_device *d)
{
    uint32_t slot = (uint32_t)(d - d->vm->virtio);

    vgic_set_spi_level(d->vm, VIRT_VIRTIO_SPI + slot, d->interrupt != 0);
}

static void reset(struct virtio_device *d)
{
    d->status = d->interrupt = 0;
    d->device_sel = d->driver_sel = d->queue_sel = 0;
    d->driver_features = 0;
    memset(d->queue, 0, sizeof(d->queue));
    memset(d->config, 0, sizeof(d->config));
    update_line(d);
}

void virtio_attach(struct vm *vm, uint32_t slot, const struct virtio_ops *ops)
{
    vm->virtio[slot].ops = ops;
    vm->virtio[slot].vm = vm;
}

void virtio_reset(struct vm *vm)
{
    for (uint32_t i = 0; i < VIRTIO_DEVICES; i++) {
        struct virtio_device *d = &vm->virtio[i];

        if (!d->ops)
            continue;
        spin_lock(&d->lock);
        reset(d);
        spin_unlock(&d->lock);
    }
}

void virtio_used(struct vcpu *v, struct virtio_device *d, uint32_t n)
{
    if (!virtq_wants_interrupt(v, &d->queue[n]))
        return;
    d->interrupt |= VIRTIO_MMIO_INT_VRING;
    update_line(d);
}

void virtio_broken(struct virtio_device *d)
{
    d->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    d->interrupt |= VIRTIO_MMIO_INT_CONFIG;
    update_line(d);
}

/* Its own registers; a driver may read fields of any size. */
static uint64_t config_read(const struct virtio_device *d, uint32_t off, uint32_t size)
{
    uint64_t v = 0;

    if (off < d->ops->config_size && size <= d->ops->config_size - off)
        memcpy(&v, &d->config[off], size);
    return v;
}

static void config_write(struct virtio_device *d, uint32_t off, uint32_t size, uint64_t v)
{
    if (off < d->ops->config_size && size <= d->ops->config_size - off && d->ops->writable &&
        d->ops->writable(off, size))
        memcpy(&d->config[off], &v, size);
}

static uint32_t reg_read(struct virtio_device *d, uint32_t off)
{
    const struct virtq *q = selected(d);

    switch (off) {
    case VIRTIO_MMIO_DEVICE_ID:
        return d->ops->id;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return half(offered(d), d->device_sel);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return q ? VIRTQ_MAX : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return q && q->ready;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return d->interrupt;
    case VIRTIO_MMIO_STATUS:
        return d->status;
    default: /* CONFIG_GENERATION too: no field of ours is wider than an access */
        return 0;
    }
}

/* FEATURES_OK stays only if the driver has taken nothing that was not offered, and knows version 1. */
static void set_status(struct virtio_device *d, uint32_t v)
{
    if (v == 0) {
        reset(d);
        return;
    }
    v &= VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |
         VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED;
    if (d->driver_features & ~offered(d) || !(d->driver_features & BIT(VIRTIO_F_VERSION_1)))
        v &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
    d->status |= v; /* bits are never cleared but by a reset (2.1.1) */
    if (!(d->status & VIRTIO_CONFIG_S_FEATURES_OK))
        d->status &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
}

static bool live(const struct virtio_device *d)
{
    return (d->status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)) ==
           VIRTIO_CONFIG_S_DRIVER_OK;
}

static void notify(struct vcpu *v, struct virtio_device *d, uint32_t n)
{
    if (live(d) && n < VIRTIO_QUEUES && d->queue[n].ready)
        d->ops->notify(v, d, n);
}

/* What a queue is made of can change until it is ready. */
static void queue_write(struct virtio_device *d, struct virtq *q, uint32_t off, uint32_t v)
{
    if (off == VIRTIO_MMIO_QUEUE_READY) {
        if (!v)
            q->ready = false;
        else if (!q->ready)
            (void)!virtq_start(q, d->vm); /* the driver reads it back */
        return;
    }
    if (q->ready)
        return;
    switch (off) {
    case VIRTIO_MMIO_QUEUE_NUM:
        q->num = v;
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        set_half(&q->desc, off == VIRTIO_MMIO_QUEUE_DESC_HIGH, v);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        set_half(&q->avail, off == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, v);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        set_half(&q->used, off == VIRTIO_MMIO_QUEUE_USED_HIGH, v);
        break;
    default:
        break;
    }
}

static void reg_write(struct vcpu *v, struct virtio_device *d, uint32_t off, uint32_t val)
{
    switch (off) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        d->device_sel = val;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        d->driver_sel = val;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        if (!(d->status & VIRTIO_CONFIG_S_FEATURES_OK))
            set_half(&d->driver_features, d->driver_sel, val);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        d->queue_sel = val;
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        notify(v, d, val);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        d->interrupt &= ~val;
        update_line(d);
        break;
    case VIRTIO_MMIO_STATUS:
        set_status(d, val);
        break;
    default:
        if (selected(d))
            queue_write(d, selected(d), off, val);
    }
}

static struct virtio_device *device_at(struct vm *vm, uint32_t off)
{
    uint32_t slot = off / VIRT_VIRTIO_STRIDE;

    return slot < VIRTIO_DEVICES && vm->virtio[slot].ops ? &vm->virtio[slot] : NULL;
}

/* Registers are words, accessed as such; only what is a device's own comes in fields of other sizes (4.2.2.2). */
uint64_t virtio_mmio_read(struct vcpu *v, uint32_t off, uint32_t size)
{
    struct virtio_device *d = device_at(v->vm, off);
    uint32_t reg = off % VIRT_VIRTIO_STRIDE;
    uint64_t val;

    if (reg < VIRTIO_MMIO_CONFIG && (size != 4 || reg % 4))
        return 0;
    switch (reg) { /* of every slot */
    case VIRTIO_MMIO_MAGIC_VALUE:
        return VIRTIO_MMIO_MAGIC;
    case VIRTIO_MMIO_VERSION:
        return 2;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR;
    default:
        break;
    }
    if (!d)
        return 0;
    spin_lock(&d->lock);
    val = reg < VIRTIO_MMIO_CONFIG ? reg_read(d, reg) : config_read(d, reg - VIRTIO_MMIO_CONFIG, size);
    spin_unlock(&d->lock);
    return val;
}

void virtio_mmio_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val)
{
    struct virtio_device *d = device_at(v->vm, off);
    uint32_t reg = off % VIRT_VIRTIO_STRIDE;

    if (!d || (reg < VIRTIO_MMIO_CONFIG && (size != 4 || reg % 4)))
        return;
    spin_lock(&d->lock);
    if (reg < VIRTIO_MMIO_CONFIG)
        reg_write(v, d, reg, (uint32_t)val);
    else
        config_write(d, reg - VIRTIO_MMIO_CONFIG, size, val);
    spin_unlock(&d->lock);
}
