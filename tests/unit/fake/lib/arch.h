/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The build host in the place of the CPU: barriers are its own, maintenance is told to `fake_arch_hook`, through which a
 * test may look at each call or do something in the middle of it.
 */
#pragma once

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "lib/sysreg.h"
#include "lib/types.h"

#undef sysreg_read
#undef sysreg_write
#define sysreg_read(reg) fake_sysreg_read(#reg)
#define sysreg_write(reg, value) fake_sysreg_write(#reg, (value))

/* A test that reaches system registers defines these two. */
uint64_t fake_sysreg_read(const char *name);
void fake_sysreg_write(const char *name, uint64_t value);

enum fake_op {
    FAKE_DSB,
    FAKE_TLBI_IPA,
    FAKE_TLBI_VMALLE1,
    FAKE_TLBI_VMALLS12,
    FAKE_CLEAN_INVAL,
    FAKE_ICACHE,
    FAKE_ZERO
};

/* Set by a test; called with the operation and its address or IPA. NULL: nobody looks. */
extern void (*fake_arch_hook)(enum fake_op op, uint64_t arg);
/* What sleeping until an interrupt is. NULL: not at all. */
extern void (*fake_wfi)(void);
/* What AT S1E1R answers for a VA. NULL: PAR_EL1.F set. */
extern uint64_t (*fake_at_s1e1r)(uint64_t far);

static inline void fake_note(enum fake_op op, uint64_t arg)
{
    if (fake_arch_hook)
        fake_arch_hook(op, arg);
}

/*
 * A real barrier of the build host. ThreadSanitizer takes no order from it, and gcc warns that it does not; that is as
 * it should be: EL2 uses barriers between a store and a later load of atomics (two sides that each announce, then look),
 * and hands data over by acquire and release alone. Data that only a barrier protects is reported as a race.
 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wtsan"
static inline void dmb_ish(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}
#pragma GCC diagnostic pop

static inline void dsb_ish(void)
{
    dmb_ish();
    fake_note(FAKE_DSB, 0);
}

static inline void dsb_ishst(void)
{
    dmb_ish();
}

static inline void dsb_sy(void)
{
    dmb_ish();
}

static inline void isb(void) {}

static inline void cpu_relax(void)
{
    sched_yield();
}

static inline void wfi(void)
{
    if (fake_wfi)
        fake_wfi();
    else
        sched_yield();
}

static inline void tlbi_ipas2e1(ipa_t a)
{
    fake_note(FAKE_TLBI_IPA, a.v);
}

static inline void tlbi_vmalle1(void)
{
    fake_note(FAKE_TLBI_VMALLE1, 0);
}

static inline void dsb_nsh(void)
{
    fake_note(FAKE_DSB, 0);
}

static inline void tlbi_vmalls12e1is(void)
{
    fake_note(FAKE_TLBI_VMALLS12, 0);
}

static inline uint64_t vttbr_switch(uint64_t vttbr)
{
    return vttbr;
}

static inline void dcache_clean_inval_poc(const volatile void *p, size_t bytes)
{
    (void)bytes;
    fake_note(FAKE_CLEAN_INVAL, (uint64_t)(uintptr_t)p);
}

static inline void icache_inval(const volatile void *p, size_t bytes)
{
    (void)bytes;
    fake_note(FAKE_ICACHE, (uint64_t)(uintptr_t)p);
}

static inline void zero_pages(void *p, size_t pages)
{
    memset(p, 0, pages * PAGE_SIZE);
    fake_note(FAKE_ZERO, (uint64_t)(uintptr_t)p);
}

/* A test whose code reads the CPU's random numbers defines it. */
bool fake_random(uint64_t *out);

static inline bool cpu_random(uint64_t *out)
{
    return fake_random(out);
}

/* The instructions by their definition, bit by bit. A test may take them away. */
extern bool fake_no_crc32;

static inline bool cpu_has_crc32(void)
{
    return !fake_no_crc32;
}

static inline uint32_t cpu_crc32b(uint32_t crc, uint8_t v)
{
    crc ^= v;
    for (unsigned bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
    return crc;
}

static inline uint32_t cpu_crc32x(uint32_t crc, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        crc = cpu_crc32b(crc, (uint8_t)(v >> 8 * i));
    return crc;
}

/* What the counter shows. NULL: nanoseconds of the host's. */
extern uint64_t (*fake_counter)(void);

static inline ticks_t counter_ticks(void)
{
    struct timespec ts;

    if (fake_counter)
        return (ticks_t){fake_counter()};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (ticks_t){(uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec};
}

/* Ticks that the code takes for a second: fewer, and what it waits for is over sooner. */
extern uint64_t fake_second;

static inline uint64_t counter_hz(void)
{
    return fake_second;
}

/* Ticks in nanoseconds, without overflow for any span of time that ends. */
static inline uint64_t ticks_ns(uint64_t ticks)
{
    uint64_t hz = counter_hz();

    return ticks / hz * 1000000000u + ticks % hz * 1000000000u / hz;
}

static inline uint64_t at_s1e1r(uint64_t far)
{
    return fake_at_s1e1r ? fake_at_s1e1r(far) : PAR_F;
}
