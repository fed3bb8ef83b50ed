/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/stolen.h"

#include "lib/arch.h"
#include "lib/string.h"

void stolen_time_reset(struct vm *vm)
{
    memset(vm->stolen, 0, PAGE_SIZE);
    dcache_clean_inval_poc(vm->stolen, PAGE_SIZE); /* a guest may look with its caches off */
}
