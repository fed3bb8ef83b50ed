/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frames.h"

#include "lib/arch.h"
#include "lib/log.h"

struct bank {
    uint64_t base;             /* 2 MiB aligned */
    uint64_t blocks;           /* whole blocks in it, usable or not */
    _Atomic uint64_t *free;    /* bit per block: free now */
    uint64_t *ours;            /* bit per block: ever handed out */
    _Atomic uint64_t *records; /* 512 per block */
};

static struct bank banks[MAX_BANKS] RO_AFTER_INIT;
static size_t bank_count RO_AFTER_INIT;
static _Atomic uint64_t free_blocks;
static uint64_t low_water RO_AFTER_INIT; /* free blocks below which RAM is scarce: 1/32 of what there was */

/*
 * The depot: a stack of free frames, linked through their records like a cache. The head carries a count of its changes
 * beside the frame's number, so that a compare-and-swap fails when the same frame came back on top meanwhile.
 */
#define DEPOT_FRAME FIELD(35, 0) /* page number; 0: empty */
#define DEPOT_CHANGES FIELD(63, 36)

static _Atomic uint64_t depot;

static bool overlaps(uint64_t base, uint64_t size, const struct range *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (base < r[i].base + r[i].size && r[i].base < base + size)
            return true;
    }
    return false;
}

/* Finds room for a bank's maps at its upper end, below what is reserved. Returns 0 when there is none. */
static uint64_t place_maps(const struct bank *b, uint64_t size, const struct range *reserved, size_t n)
{
    for (uint64_t i = b->blocks; i > 0; i--) {
        uint64_t base = b->base + ((i - 1) << BLOCK_SHIFT);

        if (base + size <= b->base + (b->blocks << BLOCK_SHIFT) && !overlaps(base, size, reserved, n))
            return base;
    }
    return 0;
}

static bool bank_init(struct bank *b, const struct range *ram, const struct range *reserved, size_t n,
                      bool (*map)(pa_t base, uint64_t size))
{
    uint64_t base = align_up(ram->base, BLOCK_SIZE);
    uint64_t end = align_down(ram->base + ram->size, BLOCK_SIZE);
    uint64_t words, map_bytes, maps;

    if (end <= base)
        return false;
    b->base = base;
    b->blocks = (end - base) >> BLOCK_SHIFT;
    words = (b->blocks + 63) / 64;
    map_bytes = align_up(2 * words * sizeof(uint64_t), PAGE_SIZE) + b->blocks * PAGE_SIZE;
    maps = place_maps(b, map_bytes, reserved, n);
    if (!maps || (map && !map(pa(maps), map_bytes)))
        return false;
    b->free = pa_ptr(pa(maps));
    b->ours = (uint64_t *)(uintptr_t)(maps + words * sizeof(uint64_t));
    b->records = pa_ptr(pa(maps + align_up(2 * words * sizeof(uint64_t), PAGE_SIZE)));

    for (uint64_t w = 0; w < words; w++) {
        atomic_store_explicit(&b->free[w], 0, memory_order_relaxed);
        b->ours[w] = 0;
    }
    for (uint64_t i = 0; i < b->blocks; i++) {
        uint64_t at = base + (i << BLOCK_SHIFT);
        struct range own = {maps, map_bytes};

        /* Nor address 0, on boards that have RAM there: it means "none" in pools and caches. */
        if (!at || overlaps(at, BLOCK_SIZE, reserved, n) || overlaps(at, BLOCK_SIZE, &own, 1))
            continue;
        b->ours[i / 64] |= BIT(i % 64);
        atomic_fetch_or_explicit(&b->free[i / 64], BIT(i % 64), memory_order_relaxed);
        atomic_fetch_add_explicit(&free_blocks, 1, memory_order_relaxed);
    }
    return true;
}

bool frames_init(const struct range *ram, size_t ram_count, const struct range *reserved, size_t reserved_count,
                 bool (*map)(pa_t base, uint64_t size))
{
    bank_count = 0;
    atomic_store(&free_blocks, 0);
    atomic_store(&depot, 0);
    for (size_t i = 0; i < ram_count && bank_count < MAX_BANKS; i++) {
        if (bank_init(&banks[bank_count], &ram[i], reserved, reserved_count, map))
            bank_count++;
    }
    low_water = frames_free_blocks() / 32;
    return frames_free_blocks() > 0;
}

static struct bank *bank_of(uint64_t a)
{
    for (size_t i = 0; i < bank_count; i++) {
        if (a >= banks[i].base && (a - banks[i].base) >> BLOCK_SHIFT < banks[i].blocks)
            return &banks[i];
    }
    return NULL;
}

static _Atomic uint64_t *records_of_block(struct bank *b, uint64_t block)
{
    return b->records + ((block - b->base) >> PAGE_SHIFT);
}

static bool claim(struct bank *b, uint64_t word, pa_t *out)
{
    uint64_t bits = atomic_load_explicit(&b->free[word], memory_order_relaxed);

    while (bits) {
        uint64_t bit = (uint64_t)__builtin_ctzll(bits);

        if (atomic_compare_exchange_weak_explicit(&b->free[word], &bits, bits & ~BIT(bit), memory_order_acquire,
                                                  memory_order_relaxed)) {
            *out = pa(b->base + ((word * 64 + bit) << BLOCK_SHIFT));
            atomic_fetch_sub_explicit(&free_blocks, 1, memory_order_relaxed);
            zero_pages((void *)(uintptr_t)records_of_block(b, out->v), 1);
            return true;
        }
    }
    return false;
}

bool frames_alloc_block(pa_t *out)
{
    for (size_t i = 0; i < bank_count; i++) {
        uint64_t words = (banks[i].blocks + 63) / 64;

        for (uint64_t w = 0; w < words; w++) {
            if (claim(&banks[i], w, out))
                return true;
        }
    }
    return false;
}

void frames_free_block(pa_t block)
{
    struct bank *b = bank_of(block.v);
    uint64_t index;

    if (!b || (block.v & (BLOCK_SIZE - 1)))
        panic("block %lx freed, which is none", block.v);
    index = (block.v - b->base) >> BLOCK_SHIFT;
    if (!(b->ours[index / 64] & BIT(index % 64)))
        panic("block %lx freed, which is reserved", block.v);
    if (atomic_fetch_or_explicit(&b->free[index / 64], BIT(index % 64), memory_order_release) & BIT(index % 64))
        panic("block %lx freed twice", block.v);
    atomic_fetch_add_explicit(&free_blocks, 1, memory_order_relaxed);
}

uint64_t frames_free_blocks(void)
{
    return atomic_load_explicit(&free_blocks, memory_order_relaxed);
}

bool frames_plentiful(void)
{
    return frames_free_blocks() > low_water;
}

bool frames_owns_block(pa_t block)
{
    struct bank *b = bank_of(block.v);
    uint64_t index;

    if (!b)
        return false;
    index = (block.v - b->base) >> BLOCK_SHIFT;
    return (b->ours[index / 64] & BIT(index % 64)) != 0;
}

_Atomic uint64_t *frame_record(pa_t frame)
{
    struct bank *b = bank_of(frame.v);

    if (!b)
        panic("no frame at %lx", frame.v);
    return b->records + ((frame.v - b->base) >> PAGE_SHIFT);
}

static uint64_t depot_head(uint64_t old, uint64_t frame)
{
    return ((old & DEPOT_CHANGES) + (DEPOT_FRAME + 1)) | (frame >> PAGE_SHIFT & DEPOT_FRAME);
}

static void depot_push(pa_t frame)
{
    uint64_t old = atomic_load_explicit(&depot, memory_order_relaxed);

    do {
        atomic_store_explicit(frame_record(frame), (old & DEPOT_FRAME) << PAGE_SHIFT, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&depot, &old, depot_head(old, frame.v), memory_order_release,
                                                    memory_order_relaxed));
}

static bool depot_pop(pa_t *out)
{
    uint64_t old = atomic_load_explicit(&depot, memory_order_acquire);
    uint64_t next;

    do {
        *out = pa((old & DEPOT_FRAME) << PAGE_SHIFT);
        if (!out->v)
            return false;
        /* Somebody else may pop and use it first: then this is not its link, and the exchange fails. */
        next = atomic_load_explicit(frame_record(*out), memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&depot, &old, depot_head(old, next), memory_order_acquire,
                                                    memory_order_acquire));
    return true;
}

static void cache_push(struct frame_cache *c, pa_t frame)
{
    atomic_store_explicit(frame_record(frame), c->head, memory_order_relaxed);
    c->head = frame.v;
    c->count++;
}

static pa_t cache_pop(struct frame_cache *c)
{
    pa_t frame = pa(c->head);

    c->head = atomic_exchange_explicit(frame_record(frame), 0, memory_order_relaxed);
    c->count--;
    return frame;
}

bool frame_alloc(struct frame_cache *c, pa_t *out)
{
    pa_t block;

    if (!c->head && depot_pop(out)) {
        atomic_store_explicit(frame_record(*out), 0, memory_order_relaxed);
        return true;
    }
    if (!c->head) {
        if (!frames_alloc_block(&block))
            return false;
        for (uint64_t i = BLOCK_PAGES; i > 0; i--)
            cache_push(c, pa_add(block, (i - 1) * PAGE_SIZE));
    }
    *out = cache_pop(c);
    return true;
}

void frame_free(struct frame_cache *c, pa_t frame)
{
    if (c->count < FRAME_CACHE_HIGH)
        cache_push(c, frame);
    else
        depot_push(frame);
}
