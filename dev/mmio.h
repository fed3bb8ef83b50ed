/* SPDX-License-Identifier: BSD-2-Clause */
/* Device registers. */
#pragma once

#include "lib/types.h"

static inline uint32_t mmio_read32(pa_t base, uint64_t offset)
{
    return *(volatile uint32_t *)pa_ptr(pa_add(base, offset));
}

static inline void mmio_write32(pa_t base, uint64_t offset, uint32_t v)
{
    *(volatile uint32_t *)pa_ptr(pa_add(base, offset)) = v;
}

static inline uint64_t mmio_read64(pa_t base, uint64_t offset)
{
    return *(volatile uint64_t *)pa_ptr(pa_add(base, offset));
}

static inline void mmio_write64(pa_t base, uint64_t offset, uint64_t v)
{
    *(volatile uint64_t *)pa_ptr(pa_add(base, offset)) = v;
}
