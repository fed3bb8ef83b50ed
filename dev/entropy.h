/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * True entropy of this machine: the firmware's generator (DEN0098), else FEAT_RNG of the core that asks, else none. There
 * is no substitute: a guest that is told of entropy gets entropy.
 */
#pragma once

#include "lib/types.h"

#define ENTROPY_BITS_MAX 192u

enum entropy_result { ENTROPY_OK, ENTROPY_NONE_NOW };

/* Whether this core has a source. Any core. */
bool entropy_present(void);

/*
 * `bits` (1 to ENTROPY_BITS_MAX) of entropy, the lowest 64 in out[0]; what is above `bits` is zero. Any core with a source.
 * ENTROPY_NONE_NOW: the source cannot give as much at the moment, and nothing is in `out`.
 */
WARN_UNUSED enum entropy_result entropy_get(uint32_t bits, uint64_t out[3]);

/* The source's UUID, its first byte in bits 7:0 of uuid[0] (DEN0098, TRNG_GET_UUID). False: it has none. */
WARN_UNUSED bool entropy_uuid(uint32_t uuid[4]);
