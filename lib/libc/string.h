/* SPDX-License-Identifier: BSD-2-Clause */
/* <string.h> as libfdt's headers include it: the functions are EL2's own. */
#pragma once

#include "lib/string.h"
