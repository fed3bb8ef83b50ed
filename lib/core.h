/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Per-core data. TPIDR_EL2 of each physical core points at its own entry of `cores`; the entry is written by its core
 * only, but for the atomics. Upper layers hang theirs here by pointer, so that this header knows none of them.
 */
#pragma once

#include <stdatomic.h>

#include "lib/types.h"

struct vcpu;
struct helper;
struct frame_cache;

enum core_role { CORE_UNUSED, CORE_VCPU, CORE_HELPER };

struct core {
    uint32_t id; /* index into cores[] */
    enum core_role role;
    uint64_t mpidr;    /* affinity fields of MPIDR_EL1 */
    struct vcpu *vcpu; /* on a vCPU core */
    struct helper
        *helper; /* on a helper core: its own; on a vCPU core: the one that serves it, NULL if there is none */
    void *stack_top;

    /* mm/epoch.h: the epoch this core reads stage-2 tables in, 0 outside. */
    _Atomic uint64_t epoch __attribute__((aligned(CACHE_LINE)));
    /* mm/guestmem.h: the frame this core is about to touch on a guest's behalf, 0 if none. */
    _Atomic uint64_t hazard;
    /* The same: the frame that stays where it is since this core may touch it at any time, 0 if none. */
    _Atomic uint64_t pin;
    /* lib/spinlock.h counts here what is taken while `in_fault` is set. */
    bool in_fault;
    uint64_t locks_in_fault;
} __attribute__((aligned(CACHE_LINE)));

extern struct core cores[MAX_CORES];
extern uint32_t core_count;

#ifdef HOST_TEST
extern _Thread_local struct core *this_core_ptr;
static inline struct core *this_core(void)
{
    return this_core_ptr;
}
#else
static inline struct core *this_core(void)
{
    struct core *c;

    __asm__("mrs %0, tpidr_el2" : "=r"(c));
    return c;
}
#endif
