/* SPDX-License-Identifier: BSD-2-Clause */
/* The state behind tests/unit/fake/lib/arch.h and lib/core.h; a test names this file among its SOURCES. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/arch.h"
#include "lib/core.h"
#include "lib/log.h"
#include "lib/report.h"

void (*fake_arch_hook)(enum fake_op op, uint64_t arg);
void (*fake_wfi)(void);
uint64_t (*fake_at_s1e1r)(uint64_t far);
bool fake_no_crc32;
uint64_t fake_second = 1000000000u;
uint64_t (*fake_counter)(void);

struct core cores[MAX_CORES];
uint32_t core_count;
_Thread_local struct core *this_core_ptr;
struct report report;

void panic(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fprintf(stderr, "panic: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    abort();
}
