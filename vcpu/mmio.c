/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/mmio.h"

#include "lib/arch.h"

struct device {
    uint64_t base;
    uint64_t (*read)(struct vcpu *v, uint32_t off, uint32_t size);
    void (*write)(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val);
};

static const struct device devices[MMIO_KINDS] = {
    [MMIO_GICD] = {VIRT_GICD, vgicd_read, vgicd_write},
    [MMIO_GICR] = {VIRT_GICR, vgicr_read, vgicr_write},
    [MMIO_UART] = {VIRT_UART, vuart_read, vuart_write},
};

/* Whether data accesses of the guest are big-endian where it is now. */
static bool big_endian(void)
{
    uint64_t spsr = sysreg_read(spsr_el2);

    if (spsr & SPSR_NRW)
        return (spsr & SPSR_D) != 0; /* PSTATE.E of AArch32 has the same place */
    return (sysreg_read(sctlr_el1) & (field_get(SPSR_M, spsr) == SPSR_M_EL0T ? SCTLR_E0E : SCTLR_EE)) != 0;
}

/* Devices are little-endian: a big-endian access of `size` bytes finds them the other way round. */
static uint64_t swap_bytes(uint64_t v, uint32_t size)
{
    return __builtin_bswap64(v) >> (64 - 8 * size);
}

static uint64_t truncate(uint64_t v, uint32_t size)
{
    return size == 8 ? v : v & (BIT(8 * size) - 1);
}

static uint64_t extend(const struct s2_fault *f, uint64_t v)
{
    if (f->sign_extend && f->size < 8 && (v & BIT(8 * f->size - 1)))
        v |= ~(BIT(8 * f->size) - 1);
    return f->reg64 ? v : (uint32_t)v;
}

bool mmio_access(struct vcpu *v, const struct s2_fault *f, uint32_t kind)
{
    const struct device *d;
    uint32_t off;

    if (f->cache_op)
        return true; /* a device has no cache lines */
    if (!f->syndrome || kind >= MMIO_KINDS || !devices[kind].read)
        return false;
    d = &devices[kind];
    off = (uint32_t)(f->ipa.v - d->base);
    if (f->write) {
        uint64_t val = truncate(frame_get(v->frame, f->reg), f->size);

        d->write(v, off, f->size, big_endian() ? swap_bytes(val, f->size) : val);
    } else {
        uint64_t val = truncate(d->read(v, off, f->size), f->size);

        frame_set(v->frame, f->reg, extend(f, big_endian() ? swap_bytes(val, f->size) : val));
    }
    return true;
}
