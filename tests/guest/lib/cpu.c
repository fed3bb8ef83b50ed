/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/guest.h"

extern char stacks[];
struct cpu_start cpu_starts[MAX_CPUS];

_Static_assert(offsetof(struct cpu_start, stack) == 16 && offsetof(struct cpu_start, context) == 32 &&
                   offsetof(struct cpu_start, daif) == 48 && offsetof(struct cpu_start, spsel) == 64 &&
                   offsetof(struct cpu_start, entered) == 72 && offsetof(struct cpu_start, kept) == 80,
               "start.S");

int64_t cpu_on_by(uint64_t function, uint64_t affinity, unsigned cpu, void (*fn)(void *), void *arg)
{
    struct cpu_start *const start = &cpu_starts[cpu];
    *start = (struct cpu_start){
        .fn = fn,
        .arg = arg,
        .stack = (uint64_t)stacks + (cpu + 1) * STACK_SIZE,
        .mmu = mmu_is_on(),
    };
    /* The new CPU reads and writes it with its caches off. */
    cache_clean_invalidate(start, sizeof(*start));
    return (int64_t)psci(function, affinity, (uint64_t)secondary_entry, (uint64_t)start);
}

int64_t cpu_on(unsigned cpu, void (*fn)(void *), void *arg)
{
    return cpu_on_by(PSCI_CPU_ON64, cpu, cpu, fn, arg);
}

void secondary_main(struct cpu_start *start)
{
    if (start->mmu)
        mmu_on();
    start->fn(start->arg);
    struct regs r = {.x = {PSCI_CPU_OFF}};
    smccc_raw(HVC_0, &r);
    fail("cpu_off", "returned %lx", r.x[0]);
    finish();
}

bool cpu_exists(unsigned cpu)
{
    const uint64_t state = psci(PSCI_AFFINITY_INFO64, cpu, 0, 0);
    return state <= 2;
}

bool cpu_wait_off(unsigned cpu, unsigned ms)
{
    return WAIT_FOR(psci(PSCI_AFFINITY_INFO64, cpu, 0, 0) == 1, ms);
}
