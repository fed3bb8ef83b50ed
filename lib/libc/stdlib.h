/* SPDX-License-Identifier: BSD-2-Clause */
/* <stdlib.h> as libfdt's headers include it; of its functions libfdt calls strtoul() alone, which lib/string.h declares. */
#pragma once

#include <stddef.h>

#include "lib/string.h"
