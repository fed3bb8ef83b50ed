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

static uint64_t extend(struct access a, uint64_t v)
{
    if (a.sign_extend && a.size < 8 && (v & BIT(8 * a.size - 1)))
        v |= ~(BIT(8 * a.size) - 1);
    return a.reg64 ? v : (uint32_t)v;
}

bool mmio_access(struct vcpu *v, uint32_t kind, ipa_t at, uint64_t esr)
{
    struct access a = access_decode(esr);
    const struct device *d = &devices[kind < MMIO_KINDS ? kind : MMIO_NONE];
    uint32_t off = (uint32_t)(at.v - d->base);
    uint64_t val;

    if (!a.valid || !d->read)
        return false;
    if (a.write) {
        val = truncate(frame_get(v->frame, a.reg), a.size);
        d->write(v, off, a.size, big_endian() ? swap_bytes(val, a.size) : val);
    } else {
        val = truncate(d->read(v, off, a.size), a.size);
        frame_set(v->frame, a.reg, extend(a, big_endian() ? swap_bytes(val, a.size) : val));
    }
    return true;
}
