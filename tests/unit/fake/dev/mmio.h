/* SPDX-License-Identifier: BSD-2-Clause */
/* Device registers of a test: what is read and written goes to these, which the test defines. */
#pragma once

#include "lib/types.h"

uint32_t fake_mmio_read32(pa_t base, uint64_t offset);
void fake_mmio_write32(pa_t base, uint64_t offset, uint32_t v);
uint64_t fake_mmio_read64(pa_t base, uint64_t offset); /* these two: if what is tested has such registers */
void fake_mmio_write64(pa_t base, uint64_t offset, uint64_t v);

static inline uint32_t mmio_read32(pa_t base, uint64_t offset)
{
    return fake_mmio_read32(base, offset);
}

static inline void mmio_write32(pa_t base, uint64_t offset, uint32_t v)
{
    fake_mmio_write32(base, offset, v);
}

static inline uint64_t mmio_read64(pa_t base, uint64_t offset)
{
    return fake_mmio_read64(base, offset);
}

static inline void mmio_write64(pa_t base, uint64_t offset, uint64_t v)
{
    fake_mmio_write64(base, offset, v);
}
