/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/el2map.h"

#include "lib/arch.h"
#include "lib/asm.h"
#include "lib/string.h"
#include "mm/frames.h"

/* EL2 stage-1 descriptors (DDI 0487 D8.3.1). */
#define PTE_VALID BIT(0)
#define PTE_TABLE BIT(1)                   /* at level 3: page */
#define PTE_ATTR_NORMAL (UINT64_C(0) << 2) /* AttrIndx */
#define PTE_ATTR_DEVICE (UINT64_C(1) << 2)
#define PTE_AP_RES1 BIT(6)
#define PTE_AP_RO BIT(7)
#define PTE_SH_INNER (UINT64_C(3) << 8)
#define PTE_AF BIT(10)
#define PTE_GP BIT(50) /* guarded: indirect branches land on BTI */
#define PTE_XN BIT(54)
#define PTE_ADDR FIELD(47, 12)

#define PTE_NORMAL (PTE_VALID | PTE_ATTR_NORMAL | PTE_AP_RES1 | PTE_SH_INNER | PTE_AF)
#define PTE_TEXT (PTE_NORMAL | PTE_AP_RO | PTE_GP)
#define PTE_TEXT_UNGUARDED (PTE_NORMAL | PTE_AP_RO)
#define PTE_RODATA (PTE_NORMAL | PTE_AP_RO | PTE_XN)
#define PTE_DATA (PTE_NORMAL | PTE_XN)
#define PTE_DEVICE (PTE_VALID | PTE_ATTR_DEVICE | PTE_AP_RES1 | PTE_AF | PTE_XN)

#define MAIR_VALUE UINT64_C(0x04ff) /* 0: normal write-back; 1: device nGnRE */

#define TABLES 40 /* 4 KiB each: image, device tree, a level 1 per 512 GiB and a level 2 per broken GiB of RAM */

extern const char _image_start[], _text_end[], _unguarded_end[], _rodata_end[], _ro_after_init_end[], _bss_end[];
extern const char _tables_start[], _tables_end[], _stacks_start[], _stacks_end[], _noinit_end[];

static uint64_t tables[TABLES][512] __attribute__((section(".noinit.tables"), aligned(4096)));
static uint32_t tables_used;

uint64_t el2map_root RO_AFTER_INIT;
struct el2map_regs el2map_regs RO_AFTER_INIT;

static uint64_t *table_new(void)
{
    uint64_t *t;

    if (tables_used == TABLES)
        return NULL;
    t = tables[tables_used++];
    memset(t, 0, sizeof(tables[0]));
    return t;
}

/* The entry for `va` at `level`, with the tables above it. NULL: no room, or a block is in the way. */
static uint64_t *entry(uint64_t va, unsigned level)
{
    uint64_t *table = pa_ptr(pa(el2map_root));

    for (unsigned l = 0; l < level; l++) {
        uint64_t *e = &table[(va >> (39 - 9 * l)) & 511];

        if (!(*e & PTE_VALID)) {
            uint64_t *t = table_new();

            if (!t)
                return NULL;
            dsb_ishst(); /* the empty table before the entry that leads to it */
            *e = ptr_pa(t).v | PTE_TABLE | PTE_VALID;
        } else if (!(*e & PTE_TABLE)) {
            return NULL;
        }
        table = pa_ptr(pa(*e & PTE_ADDR));
    }
    return &table[(va >> (39 - 9 * level)) & 511];
}

static bool map(uint64_t from, uint64_t to, uint64_t attributes)
{
    while (from < to) {
        unsigned level = (from & (BLOCK_SIZE - 1)) || to - from < BLOCK_SIZE ? 3 : 2;
        uint64_t size = level == 3 ? PAGE_SIZE : BLOCK_SIZE;
        uint64_t *e = entry(from, level);

        if (!e)
            return false;
        do { /* as far as this table and this size go */
            uint64_t pte = from | attributes | (level == 3 ? PTE_TABLE : 0);

            if ((*e & PTE_VALID) && *e != pte)
                return false;
            *e++ = pte;
            from += size;
        } while (((uintptr_t)e & (PAGE_SIZE - 1)) && to - from >= size && from < to);
    }
    dsb_ishst();
    isb();
    return true;
}

static bool map_part(const char *from, const char *to, uint64_t attributes)
{
    return map((uint64_t)(uintptr_t)from, (uint64_t)(uintptr_t)to, attributes);
}

static bool map_image(void)
{
    bool ok = map_part(_image_start, _text_end, PTE_TEXT) && map_part(_text_end, _unguarded_end, PTE_TEXT_UNGUARDED) &&
              map_part(_unguarded_end, _rodata_end, PTE_RODATA) && map_part(_rodata_end, _tables_end, PTE_DATA) &&
              map_part(_stacks_end, _noinit_end, PTE_DATA);

    for (const char *s = _stacks_start; ok && s < _stacks_end; s += CORE_STACK_GUARD + CORE_STACK_SIZE)
        ok = map_part(s + CORE_STACK_GUARD, s + CORE_STACK_GUARD + CORE_STACK_SIZE, PTE_DATA);
    return ok;
}

void el2map_boot(uint64_t dtb, uint64_t el)
{
    uint64_t mmfr0 = sysreg_read(id_aa64mmfr0_el1);
    uint64_t range = field_get(ID_AA64MMFR0_PARANGE, mmfr0);
    uint64_t ps = range > 5 ? 5 : range; /* 48 bits are the most that these tables can say */
    uint64_t t0sz = 16, walks = field_put(FIELD(9, 8), 1) | field_put(FIELD(11, 10), 1) | field_put(FIELD(13, 12), 3);

    tables_used = 0;
    el2map_root = ptr_pa(table_new()).v;
    el2map_regs.mair = MAIR_VALUE;
    if (el == 1) { /* TCR_EL1: IPS at 34:32, no TTBR1 walks */
        el2map_regs.tcr = t0sz | walks | BIT(23) | field_put(FIELD(34, 32), ps);
        el2map_regs.sctlr = SCTLR_EL1_RESET | SCTLR_M | SCTLR_C | SCTLR_I;
    } else { /* TCR_EL2 and TCR_EL3: PS at 18:16, bits 31 and 23 RES1 */
        el2map_regs.tcr = t0sz | walks | field_put(FIELD(18, 16), ps) | BIT(31) | BIT(23);
        el2map_regs.sctlr = SCTLR_EL2_RES1 | SCTLR_M | SCTLR_C | SCTLR_I | SCTLR_SA | SCTLR_WXN;
    }
    (void)!map_image(); /* cannot fail: the tables are empty and there are enough */
    /* Only an aligned address can be a device tree: it may as well be an ATAG list, or 0 (lib/image.h, boot/main.c). */
    if (dtb && !(dtb & 7) && dtb >> 48 == 0) {
        uint64_t *e = entry(align_down(dtb, PAGE_SIZE), 3);

        if (e && !(*e & PTE_VALID))
            *e = align_down(dtb, PAGE_SIZE) | PTE_RODATA | PTE_TABLE;
    }
}

bool el2map_add(pa_t base, uint64_t size, enum el2map_kind kind)
{
    static const uint64_t attributes[] = {
        [EL2MAP_RAM] = PTE_DATA,
        [EL2MAP_CONST] = PTE_RODATA,
        [EL2MAP_DEVICE] = PTE_DEVICE,
    };
    uint64_t from = align_down(base.v, PAGE_SIZE);
    uint64_t to = align_up(base.v + size, PAGE_SIZE);

    if (to < from || to > BIT(48))
        return false;
    return map(from, to, attributes[kind]);
}

bool el2map_ram(pa_t base, uint64_t size)
{
    uint64_t from = align_up(base.v, BLOCK_SIZE);
    uint64_t to = align_down(base.v + size, BLOCK_SIZE);

    while (from < to) {
        uint64_t gib = align_down(from, GIB(1));
        bool whole = from == gib && to - from >= GIB(1);
        uint64_t *e;

        for (uint64_t b = from; whole && b < from + GIB(1); b += BLOCK_SIZE)
            whole = frames_owns_block(pa(b));
        if (whole) {
            e = entry(from, 1);
            if (!e || (*e & PTE_VALID))
                return false;
            *e = from | PTE_DATA;
            from += GIB(1);
            continue;
        }
        for (; from < to && from < gib + GIB(1); from += BLOCK_SIZE) {
            if (frames_owns_block(pa(from)) && !map(from, from + BLOCK_SIZE, PTE_DATA))
                return false;
        }
    }
    dsb_ishst();
    isb();
    return true;
}

void el2map_seal(void)
{
    uint64_t from = (uint64_t)(uintptr_t)_rodata_end, to = (uint64_t)(uintptr_t)_ro_after_init_end;

    for (uint64_t va = from; va < to; va += PAGE_SIZE)
        *entry(va, 3) |= PTE_AP_RO;
    dsb_ishst();
    __asm__ volatile(TLBI_TWICE("alle2is") : : : "memory");
    dsb_ish();
    isb();
}
