/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/stage2.h"

#include "lib/arch.h"

static bool table_alloc(struct frame_cache *frames, _Atomic uint64_t **out)
{
    pa_t frame;

    if (!frame_alloc(frames, &frame))
        return false;
    zero_pages(pa_ptr(frame), 1);
    *out = pa_ptr(frame);
    return true;
}

bool s2_init(struct s2 *s, uint32_t vmid, struct frame_cache *frames, struct report_guest *stats)
{
    if (!table_alloc(frames, &s->root))
        return false;
    for (unsigned i = 0; i < S2_ENTRIES; i++)
        atomic_store_explicit(&s->root[i], desc_nowhere(), memory_order_relaxed);
    s->vmid = vmid;
    s->vttbr = ptr_pa(s->root).v | field_put(VTTBR_VMID, vmid);
    s->stats = stats;
    s->sources[S2_SOURCE_ZERO] = (struct source){.ops = &source_zero_ops};
    s->source_count = 1;
    return true;
}

int s2_add_source(struct s2 *s, const struct source *src)
{
    if (s->source_count == S2_SOURCES)
        return -1;
    s->sources[s->source_count] = *src;
    return (int)s->source_count++;
}

static uint64_t with_offset(uint64_t desc, uint64_t pages)
{
    if (desc_kind(desc, 3) != DESC_ABSENT)
        return desc;
    return desc_absent(desc_small(desc), desc_large(desc) + pages);
}

/* How many pages an entry one level below `level` stands for. */
static uint64_t pages_below(unsigned level)
{
    return level == 1 ? BLOCK_PAGES : 1;
}

/* Replaces an invalid entry by a table whose entries say the same, one level down. */
static bool split(_Atomic uint64_t *slot, unsigned level, struct frame_cache *frames)
{
    uint64_t desc = atomic_load_explicit(slot, memory_order_relaxed);
    _Atomic uint64_t *table;

    if (!table_alloc(frames, &table))
        return false;
    if (desc_kind(desc, level) == DESC_ABSENT) {
        for (uint64_t i = 0; i < S2_ENTRIES; i++)
            atomic_store_explicit(&table[i], with_offset(desc, i * pages_below(level)), memory_order_relaxed);
    } else if (desc != 0) { /* the usual case, on the way to a guest's first instruction */
        for (uint64_t i = 0; i < S2_ENTRIES; i += 8) {
            for (uint64_t j = i; j < i + 8; j++)
                atomic_store_explicit(&table[j], desc, memory_order_relaxed);
        }
    }
    atomic_store_explicit(slot, desc_table(ptr_pa(table)), memory_order_release);
    return true;
}

static bool set_range(_Atomic uint64_t *table, unsigned level, struct frame_cache *frames, uint64_t from, uint64_t to,
                      uint64_t desc)
{
    unsigned shift = 39 - 9 * level;
    uint64_t pages = 0;

    while (from < to) {
        _Atomic uint64_t *slot = &table[(from >> shift) & (S2_ENTRIES - 1)];
        uint64_t next = (from & ~(BIT(shift) - 1)) + BIT(shift);
        uint64_t end = next < to ? next : to;
        bool whole = end - from == BIT(shift);

        /* A level-1 entry has no room to say where a source begins and a block is the unit of reservation: level 2. */
        if (whole && (level > 1 || desc_kind(desc, 1) != DESC_ABSENT)) {
            atomic_store_explicit(slot, with_offset(desc, pages), memory_order_relaxed);
        } else {
            if (desc_kind(atomic_load_explicit(slot, memory_order_relaxed), level) != DESC_TABLE_REF &&
                !split(slot, level, frames))
                return false;
            if (!set_range(pa_ptr(desc_pa(atomic_load_explicit(slot, memory_order_relaxed))), level + 1, frames, from,
                           end, with_offset(desc, pages)))
                return false;
        }
        pages += (end - from) >> PAGE_SHIFT;
        from = end;
    }
    return true;
}

bool s2_set_range(struct s2 *s, struct frame_cache *frames, ipa_t base, uint64_t size, uint64_t desc)
{
    if ((base.v | size) & (PAGE_SIZE - 1) || base.v >> S2_IPA_BITS || size > BIT(S2_IPA_BITS) - base.v)
        return false;
    return set_range(s->root, 1, frames, base.v, base.v + size, desc);
}

uint64_t s2_vtcr(uint64_t mmfr0)
{
    static const uint8_t bits_of[] = {32, 36, 40, 42, 44, 48};
    uint64_t range = field_get(ID_AA64MMFR0_PARANGE, mmfr0);
    uint64_t ps = range < ARRAY_SIZE(bits_of) ? range : ARRAY_SIZE(bits_of) - 1;
    uint64_t ipa_bits = bits_of[ps] < S2_IPA_BITS ? bits_of[ps] : S2_IPA_BITS;

    /* Start level 1, walks write-back inner shareable, 4 KiB, 8 bits of VMID (D19.2.160). */
    return VTCR_RES1 | field_put(VTCR_T0SZ, 64 - ipa_bits) | field_put(VTCR_SL0, 1) | field_put(VTCR_IRGN0, 1) |
           field_put(VTCR_ORGN0, 1) | field_put(VTCR_SH0, 3) | field_put(VTCR_TG0, 0) | field_put(VTCR_PS, ps);
}
