/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses that cannot be mistaken for one another.
 *
 * A physical address, a guest's intermediate physical address and a frame number are one-member structs: the compiler
 * refuses one where another is meant. Sizes are in bytes unless the name says pages.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define BLOCK_SHIFT 21
#define BLOCK_SIZE (1UL << BLOCK_SHIFT)
#define BLOCK_PAGES (BLOCK_SIZE / PAGE_SIZE)
#define GIB_SHIFT 30

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* Limits of this build; every table below is sized by them. */
#define MAX_CORES 32
#define MAX_GUESTS 16
#define MAX_BANKS 8

typedef struct {
    uint64_t v;
} pa_t; /* physical address */

typedef struct {
    uint64_t v;
} ipa_t; /* intermediate physical address: what a guest takes for physical */

typedef struct {
    uint64_t v;
} ticks_t; /* generic timer ticks (CNTPCT_EL0) */

static inline pa_t pa(uint64_t v)
{
    return (pa_t){v};
}

static inline ipa_t ipa(uint64_t v)
{
    return (ipa_t){v};
}

static inline pa_t pa_add(pa_t a, uint64_t bytes)
{
    return (pa_t){a.v + bytes};
}

static inline ipa_t ipa_add(ipa_t a, uint64_t bytes)
{
    return (ipa_t){a.v + bytes};
}

static inline uint64_t align_down(uint64_t v, uint64_t to)
{
    return v & ~(to - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t to)
{
    return (v + to - 1) & ~(to - 1);
}

/* EL2 runs with VA = PA; the host tests hand out host addresses as physical ones, so this holds there too. */
static inline void *pa_ptr(pa_t a)
{
    return (void *)(uintptr_t)a.v;
}

static inline pa_t ptr_pa(const volatile void *p)
{
    return (pa_t){(uint64_t)(uintptr_t)p};
}

#define WARN_UNUSED __attribute__((warn_unused_result))
#define NOINLINE __attribute__((noinline))                  /* keeps a rare case's frame off the way of the usual one */
#define ALWAYS_INLINE inline __attribute__((always_inline)) /* the usual way takes no call for a rare caller's sake */
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NORETURN __attribute__((noreturn))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define CACHE_LINE 64
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* Data written while EL2 starts and read-only from the moment boot_seal() has run. */
#define NOINIT __attribute__((section(".noinit.data"))) /* neither in the image nor zeroed at the start */
#define RO_AFTER_INIT __attribute__((section(".ro_after_init")))
