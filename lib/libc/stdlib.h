/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * <stdlib.h> as libfdt's headers include it; of its functions libfdt calls strtoul() alone, which lib/string.h declares,
 * and liblz4 those two (lib/heap.c).
 */
#pragma once

#include <stddef.h>

#include "lib/string.h"

void *calloc(size_t count, size_t size);
void free(void *p);
