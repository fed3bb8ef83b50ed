/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/core.h"

struct core cores[MAX_CORES];
uint32_t core_count RO_AFTER_INIT;
