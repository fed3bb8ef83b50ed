/* SPDX-License-Identifier: BSD-2-Clause */
/* Stage 1 of the test guests: one level-1 table of 1 GiB blocks, VA = PA, shared by all CPUs. */
#include "tests/guest/lib/guest.h"

#define GIB 0x40000000UL
#define ENTRIES 512
#define DESCRIPTOR_BLOCK 0x1UL
#define DESCRIPTOR_AF BIT(10)
#define DESCRIPTOR_INNER (3UL << 8)
#define DESCRIPTOR_ATTR(n) ((uint64_t)(n) << 2)
#define MAIR_VALUE 0xff00UL /* attribute 0: Device-nGnRnE, 1: Normal write-back */
#define SCTLR_M BIT(0)
#define SCTLR_C BIT(2)
#define SCTLR_I BIT(12)

static uint64_t table[ENTRIES] __attribute__((aligned(4096)));

static void cache_op_lines(uint64_t base, uint64_t size, bool invalidate)
{
    const uint64_t line = 4UL << (read_sysreg(ctr_el0) >> 16 & 0xf);
    dsb();
    for (uint64_t p = base & ~(line - 1); p < base + size; p += line) {
        if (invalidate)
            __asm__ volatile("dc civac, %0" ::"r"(p) : "memory");
        else
            __asm__ volatile("dc cvac, %0" ::"r"(p) : "memory");
    }
    dsb();
}

void cache_clean(const volatile void *base, uint64_t size)
{
    cache_op_lines((uint64_t)base, size, false);
}

void cache_clean_invalidate(const volatile void *base, uint64_t size)
{
    cache_op_lines((uint64_t)base, size, true);
}

bool mmu_is_on(void)
{
    return read_sysreg(sctlr_el1) & SCTLR_M;
}

static void build_table(void)
{
    const struct range ram = dtb_address ? ram_range() : (struct range){RAM_BASE, RAM_BASE + GIB};
    for (unsigned i = 0; i < ENTRIES; i++) {
        const uint64_t base = i * GIB;
        const bool is_ram = base >= ram.base && base < ram.end;
        table[i] = base | DESCRIPTOR_BLOCK | DESCRIPTOR_AF |
                   (is_ram ? DESCRIPTOR_ATTR(1) | DESCRIPTOR_INNER : DESCRIPTOR_ATTR(0));
    }
    cache_clean_invalidate(table, sizeof(table));
}

void mmu_on(void)
{
    if (!table[0])
        build_table();
    uint64_t pa_range = read_sysreg(id_aa64mmfr0_el1) & 0xf;
    if (pa_range > 5)
        pa_range = 5;
    write_sysreg(mair_el1, MAIR_VALUE);
    /* T0SZ and T1SZ 25 (39 bits), 4 KiB granules, walks write-back and inner shareable; TTBR1 off (EPD1). */
    write_sysreg(tcr_el1, 25UL | 1UL << 8 | 1UL << 10 | 3UL << 12 | 25UL << 16 | BIT(23) | 1UL << 24 | 1UL << 26 |
                              3UL << 28 | 2UL << 30 | pa_range << 32);
    write_sysreg(ttbr0_el1, (uint64_t)table);
    __asm__ volatile("dsb sy\n\ttlbi vmalle1\n\tdsb sy\n\tic iallu\n\tdsb sy\n\tisb" ::: "memory");
    write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) | SCTLR_M | SCTLR_C | SCTLR_I);
    isb();
}

/*
 * In one asm statement, so that nothing is written to the stack between its cleaning and the switch. Data that other
 * CPUs hold dirty is theirs to clean.
 */
void mmu_off(void)
{
    const uint64_t line = 4UL << (read_sysreg(ctr_el0) >> 16 & 0xf);
    const uint64_t sctlr = read_sysreg(sctlr_el1) & ~(SCTLR_M | SCTLR_C | SCTLR_I);
    uint64_t p = (uint64_t)data_start;
    __asm__ volatile("dsb sy\n"
                     "1: dc civac, %0\n\tadd %0, %0, %1\n\tcmp %0, %2\n\tb.lo 1b\n"
                     "dsb sy\n\tmsr sctlr_el1, %3\n\tisb\n\ttlbi vmalle1\n\tdsb sy\n\tisb"
                     : "+r"(p)
                     : "r"(line), "r"((uint64_t)data_end), "r"(sctlr)
                     : "memory", "cc");
}
