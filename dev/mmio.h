/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Device registers. Loads are acquire: what comes after a look at a status is not done before, and a Cortex-A57 up to
 * r1p2 may hang over a plain load from Device memory and an exclusive store (erratum 832075).
 */
#pragma once

#include "lib/types.h"

static inline uint32_t mmio_read32(pa_t base, uint64_t offset)
{
    return __atomic_load_n((volatile uint32_t *)pa_ptr(pa_add(base, offset)), __ATOMIC_ACQUIRE);
}

static inline void mmio_write32(pa_t base, uint64_t offset, uint32_t v)
{
    *(volatile uint32_t *)pa_ptr(pa_add(base, offset)) = v;
}

static inline uint64_t mmio_read64(pa_t base, uint64_t offset)
{
    return __atomic_load_n((volatile uint64_t *)pa_ptr(pa_add(base, offset)), __ATOMIC_ACQUIRE);
}

static inline void mmio_write64(pa_t base, uint64_t offset, uint64_t v)
{
    *(volatile uint64_t *)pa_ptr(pa_add(base, offset)) = v;
}
