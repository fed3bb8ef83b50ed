/* SPDX-License-Identifier: BSD-2-Clause */
/* Register fields: a field is named once as FIELD(msb, lsb) and read or made with field_get() and field_put(). */
#pragma once

#include <stdint.h>

#define BIT(n) (UINT64_C(1) << (n))
#define FIELD(msb, lsb) (((~UINT64_C(0)) >> (63 - (msb))) & ((~UINT64_C(0)) << (lsb)))

static inline uint64_t field_get(uint64_t mask, uint64_t word)
{
    return (word & mask) / (mask & -mask);
}

static inline uint64_t field_put(uint64_t mask, uint64_t value)
{
    return (value * (mask & -mask)) & mask;
}
