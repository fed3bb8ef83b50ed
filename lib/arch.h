/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the CPU does besides computing: barriers, cache and TLB maintenance, sleeping.
 *
 * Code above this header that includes no other machine header also compiles on the build host, where
 * tests/unit/fake/lib/arch.h stands in and records the calls.
 */
#pragma once

#include "lib/sysreg.h"
#include "lib/types.h"

static inline void dmb_ish(void)
{
    __asm__ volatile("dmb ish" : : : "memory");
}

static inline void dsb_ish(void)
{
    __asm__ volatile("dsb ish" : : : "memory");
}

static inline void dsb_ishst(void)
{
    __asm__ volatile("dsb ishst" : : : "memory");
}

static inline void dsb_sy(void)
{
    __asm__ volatile("dsb sy" : : : "memory");
}

static inline void isb(void)
{
    __asm__ volatile("isb" : : : "memory");
}

/* For short spins only: under icount a spin without it starves the other cores. */
static inline void cpu_relax(void)
{
    __asm__ volatile("yield" : : : "memory");
}

static inline void wfi(void)
{
    __asm__ volatile("dsb sy\n\twfi" : : : "memory");
}

/*
 * TLB maintenance that other cores have to follow. Each is done twice: on Cortex-A76 up to r3p0 (erratum 1286807) and
 * A55 (2441007) a DSB may end before every access through the old translation has, unless the TLBI before it is the
 * second. Nowhere is this frequent enough to tell those cores apart.
 */
#define TLBI_TWICE(op) "tlbi " op "\n\tdsb ish\n\ttlbi " op

/* Invalidate what stage 2 alone cached for one IPA of the current VMID, this core (D8.17). */
static inline void tlbi_ipas2e1(ipa_t a)
{
    __asm__ volatile("tlbi ipas2e1, %0" : : "r"(a.v >> PAGE_SHIFT) : "memory");
}

/* Invalidate stage 1 and the combined stage 1 and 2 entries of the current VMID, this core. */
static inline void tlbi_vmalle1(void)
{
    __asm__ volatile("tlbi vmalle1" : : : "memory");
}

static inline void dsb_nsh(void)
{
    __asm__ volatile("dsb nsh" : : : "memory");
}

/* Invalidate everything of the current VMID, both stages, all cores. */
static inline void tlbi_vmalls12e1is(void)
{
    __asm__ volatile(TLBI_TWICE("vmalls12e1is") : : : "memory");
}

/* Invalidate everything of EL1 and EL0, whatever the VMID, on this core: TLBs are UNKNOWN before (D8.16, reset). */
static inline void tlbi_alle1(void)
{
    __asm__ volatile("tlbi alle1\n\tdsb nsh" : : : "memory");
}

/* Which address space the maintenance above is for: VTTBR_EL2. Returns the one that was current. */
static inline uint64_t vttbr_switch(uint64_t vttbr)
{
    uint64_t old = sysreg_read(vttbr_el2);

    if (old != vttbr) {
        sysreg_write(vttbr_el2, vttbr);
        isb();
    }
    return old;
}

/* A random number from a generator reseeded for it (FEAT_RNG). False, with Z set, if it had none in time (D19.2.120). */
static inline bool cpu_random(uint64_t *out)
{
    uint32_t ok;

    __asm__ volatile("mrs %0, S3_3_C2_C4_1\n\tcset %w1, ne" : "=r"(*out), "=r"(ok) : : "cc");
    return ok;
}

/* FEAT_CRC32 (C6.2, CRC32B and CRC32X): the polynomial of lib/crc32.h, without its inversions. */
static inline bool cpu_has_crc32(void)
{
    return field_get(ID_AA64ISAR0_CRC32, sysreg_read(id_aa64isar0_el1)) != 0;
}

static inline uint32_t cpu_crc32b(uint32_t crc, uint8_t v)
{
    __asm__(".arch_extension crc\n\tcrc32b %w0, %w0, %w1" : "+r"(crc) : "r"(v));
    return crc;
}

static inline uint32_t cpu_crc32x(uint32_t crc, uint64_t v)
{
    __asm__(".arch_extension crc\n\tcrc32x %w0, %w0, %x1" : "+r"(crc) : "r"(v));
    return crc;
}

static inline uint64_t dcache_line(void)
{
    return UINT64_C(4) << field_get(CTR_DMINLINE, sysreg_read(ctr_el0));
}

/* Maintenance of each cache line of [p, p + bytes), in fours: every page that is filled takes two such rounds. */
#define FOR_EACH_LINE(op, p, bytes, line)                                                                \
    do {                                                                                                 \
        uint64_t end_ = (uint64_t)(uintptr_t)(p) + (bytes);                                              \
        uint64_t va_ = align_down((uint64_t)(uintptr_t)(p), (line));                                     \
                                                                                                         \
        for (; va_ + 4 * (line) <= end_; va_ += 4 * (line))                                              \
            __asm__ volatile(op ", %0\n\t" op ", %1\n\t" op ", %2\n\t" op ", %3"                         \
                             :                                                                           \
                             : "r"(va_), "r"(va_ + (line)), "r"(va_ + 2 * (line)), "r"(va_ + 3 * (line)) \
                             : "memory");                                                                \
        for (; va_ < end_; va_ += (line))                                                                \
            __asm__ volatile(op ", %0" : : "r"(va_) : "memory");                                         \
    } while (0)

/* Clean and invalidate to the point of coherency: a guest with its caches off reads DRAM. */
static inline void dcache_clean_inval_poc(const volatile void *p, size_t bytes)
{
    uint64_t line = dcache_line();

    FOR_EACH_LINE("dc civac", p, bytes, line);
    dsb_sy();
}

/*
 * Make instruction fetches see what was written to a frame. By VA only where the instruction cache is PIPT: with a
 * VIPT one (Cortex-A53) the guest's alias may sit in another set, so all of it goes (DDI 0487 D7.5.9.13). So it does
 * for a block: one broadcast that costs the others some refills, in place of 32,768 of them.
 */
static inline void icache_inval(const volatile void *p, size_t bytes)
{
    if (bytes <= PAGE_SIZE && field_get(CTR_L1IP, sysreg_read(ctr_el0)) == CTR_L1IP_PIPT) {
        uint64_t line = UINT64_C(4) << field_get(FIELD(3, 0), sysreg_read(ctr_el0));

        FOR_EACH_LINE("ic ivau", p, bytes, line);
    } else {
        __asm__ volatile("ic ialluis" : : : "memory");
    }
    dsb_ish();
    isb();
}

/* Zero whole pages, by DC ZVA where it is allowed. `p` is page aligned. */
void zero_pages(void *p, size_t pages);

static inline ticks_t counter_ticks(void)
{
    isb(); /* CNTPCT may be read early otherwise (D12.1.2) */
    return (ticks_t){sysreg_read(cntpct_el0)};
}

static inline uint64_t counter_hz(void)
{
    return sysreg_read(cntfrq_el0);
}

/* Ticks in nanoseconds, without overflow for any span of time that ends. */
static inline uint64_t ticks_ns(uint64_t ticks)
{
    uint64_t hz = counter_hz();

    return ticks / hz * 1000000000u + ticks % hz * 1000000000u / hz;
}

/*
 * Where the guest's VA `far` leads, by the guest's own stage 1: right for EL0 and under PAN too, since the guest's stage
 * 1 has already checked the access. Returns PAR_EL1; the guest's own PAR_EL1 is preserved.
 */
static inline uint64_t at_s1e1r(uint64_t far)
{
    uint64_t saved, par;

    /* The DMBs: a read of PAR_EL1 close to a load from Device memory may hang a Cortex-A77 (erratum 1508412). */
    __asm__ volatile("dmb sy\n\t"
                     "mrs %0, par_el1\n\t"
                     "at s1e1r, %2\n\t"
                     "isb\n\t"
                     "mrs %1, par_el1\n\t"
                     "dmb sy"
                     : "=&r"(saved), "=&r"(par)
                     : "r"(far)
                     : "memory");
    sysreg_write(par_el1, saved);
    return par;
}
