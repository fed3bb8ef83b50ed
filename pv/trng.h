/* SPDX-License-Identifier: BSD-2-Clause */
/* True random number generator for guests (DEN0098): the machine's entropy, or NOT_SUPPORTED where it has none. */
#pragma once

#include "pv/smccc.h"

/* Function numbers, in the range that starts at PSCI_BASE */
#define TRNG_VERSION 0x50
#define TRNG_FEATURES 0x51
#define TRNG_GET_UUID 0x52
#define TRNG_RND 0x53

#define TRNG_VERSION_1_0 0x10000
#define TRNG_SUCCESS 0
#define TRNG_NOT_SUPPORTED (-1)
#define TRNG_INVALID_PARAMETERS (-2)
#define TRNG_NO_ENTROPY (-3)

smccc_fn trng_version, trng_features, trng_get_uuid, trng_rnd32, trng_rnd64;
