/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/mmio.h"

#include "lib/arch.h"
#include "vcpu/inject.h"

struct device {
    uint64_t base;
    uint64_t (*read)(struct vcpu *v, uint32_t off, uint32_t size); /* what it returns fits `size` bytes */
    void (*write)(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val);
    uint64_t pad; /* 32 bytes: found by a shift */
};

static const struct device devices[MMIO_KINDS] = {
    [MMIO_GICD] = {VIRT_GICD, vgicd_read, vgicd_write, 0},
    [MMIO_GICR] = {VIRT_GICR, vgicr_read, vgicr_write, 0},
    [MMIO_UART] = {VIRT_UART, vuart_read, vuart_write, 0},
    [MMIO_GICV2] = {VIRT_GICD, vgicv2_read, vgicv2_write, 0},
    [MMIO_VIRTIO] = {VIRT_VIRTIO, virtio_mmio_read, virtio_mmio_write, 0},
};

/* Whether data accesses of the guest are big-endian where it is now. */
static bool big_endian(void)
{
    uint64_t spsr = sysreg_read(spsr_el2);

    if (spsr & SPSR_NRW)
        return (spsr & SPSR_D) != 0; /* PSTATE.E of AArch32 has the same place */
    return (sysreg_read(sctlr_el1) & (field_get(SPSR_M, spsr) == SPSR_M_EL0T ? SCTLR_E0E : SCTLR_EE)) != 0;
}

/* What big_endian() can only be true with; AArch32 has more peculiarities. */
static inline bool may_be_unusual(void)
{
    return (sysreg_read(sctlr_el1) & (SCTLR_EE | SCTLR_E0E)) | (sysreg_read(spsr_el2) & SPSR_NRW);
}

static inline uint64_t truncate(uint64_t v, uint32_t size)
{
    return v << (64 - 8 * size) >> (64 - 8 * size);
}

/* Devices are little-endian: a big-endian guest finds the bytes of an access the other way round. */
static uint64_t swap_bytes(uint64_t v, uint32_t size)
{
    return __builtin_bswap64(v) >> (64 - 8 * size);
}

static uint64_t unusual_read(uint64_t v, struct access a)
{
    uint32_t unused = 64 - 8u * a.size;

    if (big_endian())
        v = swap_bytes(v, a.size);
    if (a.sign_extend)
        v = (uint64_t)((int64_t)(v << unused) >> unused);
    return a.reg64 ? v : (uint32_t)v;
}

/* An access in full generality: from AArch32, big-endian, with sign extension. */
static NOINLINE void unusual(struct vcpu *v, const struct device *d, uint32_t off, struct access a, uint64_t esr)
{
    skip_instruction(esr);
    if (a.write) {
        uint64_t val = truncate(frame_get(v->frame, a.reg), a.size);

        d->write(v, off, a.size, big_endian() ? swap_bytes(val, a.size) : val);
    } else {
        frame_set(v->frame, a.reg, unusual_read(d->read(v, off, a.size), a));
    }
}

static NOINLINE void no_syndrome(struct access a, uint64_t esr)
{
    if (a.cache_op)
        skip_instruction(esr);
    else
        inject_external_abort(esr);
}

void mmio_trap(struct vcpu *v, uint32_t kind, ipa_t at, uint64_t esr)
{
    struct access a = access_decode(esr);
    const struct device *d = &devices[kind];
    uint32_t off = (uint32_t)(at.v - d->base);

    v->stats->faults.mmio++;
    if (UNLIKELY(!a.valid)) {
        no_syndrome(a, esr);
        return;
    }
    if (UNLIKELY(a.sign_extend || may_be_unusual())) {
        unusual(v, d, off, a, esr);
        return;
    }
    skip_instruction64(esr);
    if (a.write)
        d->write(v, off, a.size, truncate(frame_get(v->frame, a.reg), a.size));
    else
        frame_set(v->frame, a.reg, d->read(v, off, a.size));
}
