/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/store.h"

#include <lz4.h>

#include "lib/arch.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/frames.h"

#define SLAB_SIZE KIB(16)
#define SLABS_PER_BLOCK (BLOCK_SIZE / SLAB_SIZE)
#define SLAB_OBJECTS 64u
#define STORE_BLOCKS 512u /* at most: 1 GiB */
#define NO_SLAB UINT32_MAX
#define FREE_LIST ARRAY_SIZE(per_slab)

/* An object: its length, then the LZ4 block. */
struct object {
    uint16_t length;
    uint8_t data[];
};

/* How many objects a slab of each class holds. */
static const uint8_t per_slab[] = {64, 42, 32, 25, 21, 18, 16, 14, 12, 10, 9, 8, 7, 6, 5};

struct slab {
    uint64_t used; /* bit per object */
    uint32_t prev, next;
    uint32_t class;
};

_Static_assert(STORE_BLOCKS *SLABS_PER_BLOCK * sizeof(struct slab) <= BLOCK_SIZE, "one block has them all");

static struct {
    struct slab *slabs;
    uint32_t slab_count;
    uint32_t free_slabs;
    uint32_t list[ARRAY_SIZE(per_slab) + 1]; /* first slab of a class that has room; of those that are free */
    pa_t block[STORE_BLOCKS];
    struct report_store *stats;
    bool lz4_ready;
} store;

static LZ4_stream_t lz4;

static uint32_t size_of(uint32_t class)
{
    return (SLAB_SIZE / per_slab[class]) & ~7u;
}

static void link(uint32_t list, uint32_t n)
{
    struct slab *s = &store.slabs[n];

    s->prev = NO_SLAB;
    s->next = store.list[list];
    if (s->next != NO_SLAB)
        store.slabs[s->next].prev = n;
    store.list[list] = n;
}

static void unlink(uint32_t list, uint32_t n)
{
    const struct slab *s = &store.slabs[n];

    if (s->prev == NO_SLAB)
        store.list[list] = s->next;
    else
        store.slabs[s->prev].next = s->next;
    if (s->next != NO_SLAB)
        store.slabs[s->next].prev = s->prev;
}

uint32_t store_init(uint32_t blocks, struct report_store *stats)
{
    uint32_t got = 0;
    pa_t table;

    memset(&store, 0, sizeof(store));
    store.stats = stats;
    for (uint32_t i = 0; i < ARRAY_SIZE(store.list); i++)
        store.list[i] = NO_SLAB;
    if (!blocks || !frames_alloc_block(&table))
        return 0;
    store.slabs = pa_ptr(table);
    while (got < blocks && got < STORE_BLOCKS && frames_alloc_block(&store.block[got]))
        got++;
    store.slab_count = store.free_slabs = got * (uint32_t)SLABS_PER_BLOCK;
    for (uint32_t n = store.slab_count; n > 0; n--) {
        store.slabs[n - 1].used = 0;
        link(FREE_LIST, n - 1);
    }
    stats->bytes = got * BLOCK_SIZE;
    return got + 1;
}

static struct object *place(uint32_t object)
{
    uint32_t n = object / SLAB_OBJECTS;
    pa_t slab = pa_add(store.block[n / SLABS_PER_BLOCK], n % SLABS_PER_BLOCK * SLAB_SIZE);

    return pa_ptr(pa_add(slab, object % SLAB_OBJECTS * size_of(store.slabs[n].class)));
}

static uint64_t all_of(uint32_t class)
{
    return per_slab[class] == 64 ? UINT64_MAX : BIT(per_slab[class]) - 1;
}

/* A free place of the class, in a slab that has one or a fresh one. */
static bool take_place(uint32_t class, uint32_t *object)
{
    uint32_t n = store.list[class];
    uint32_t bit;
    struct slab *s;

    if (n == NO_SLAB) {
        n = store.list[FREE_LIST];
        if (n == NO_SLAB)
            return false;
        unlink(FREE_LIST, n);
        store.free_slabs--;
        store.slabs[n].class = class;
        link(class, n);
    }
    s = &store.slabs[n];
    bit = (uint32_t)__builtin_ctzll(~s->used);
    s->used |= BIT(bit);
    if (s->used == all_of(class))
        unlink(class, n);
    *object = n * SLAB_OBJECTS + bit;
    return true;
}

static uint32_t class_for(uint32_t bytes)
{
    uint32_t class = 0;

    while (class < ARRAY_SIZE(per_slab) && size_of(class) < bytes)
        class ++;
    return class;
}

/* Each page on its own; the stream's table is cleared when it has to be, and not for each page. */
static int compress(const void *page, void *to, int room)
{
    if (!store.lz4_ready)
        (void)LZ4_initStream(&lz4, sizeof(lz4));
    store.lz4_ready = true;
    LZ4_resetStream_fast(&lz4);
    return LZ4_compress_fast_continue(&lz4, page, to, (int)PAGE_SIZE, room, 1);
}

bool store_put(const void *page, uint32_t *object)
{
    static uint8_t packed[PAGE_SIZE];
    uint32_t largest = ARRAY_SIZE(per_slab) - 1, class;
    struct object *o;
    int length;

    if (!store.slab_count)
        return false;
    if (!store.free_slabs && store.list[largest] == NO_SLAB && store.list[0] == NO_SLAB)
        return false; /* full, or as good as that: no time is spent on what will hardly fit */
    length = compress(page, packed, (int)(size_of(largest) - sizeof(*o)));
    if (length <= 0) {
        store.stats->incompressible++;
        return false;
    }
    class = class_for((uint32_t)length + sizeof(*o));
    if (!take_place(class, object)) {
        store.stats->full++;
        return false;
    }
    o = place(*object);
    o->length = (uint16_t)length;
    memcpy(o->data, packed, (size_t)length);
    store.stats->pages++;
    store.stats->stored_bytes += size_of(class);
    return true;
}

void store_free(uint32_t object)
{
    uint32_t n = object / SLAB_OBJECTS;
    struct slab *s = &store.slabs[n];

    if (n >= store.slab_count || !(s->used & BIT(object % SLAB_OBJECTS)))
        panic("object %u of the store freed, which is not there", object);
    store.stats->pages--;
    store.stats->stored_bytes -= size_of(s->class);
    if (s->used == all_of(s->class))
        link(s->class, n);
    s->used &= ~BIT(object % SLAB_OBJECTS);
    if (!s->used) {
        unlink(s->class, n);
        link(FREE_LIST, n);
        store.free_slabs++;
    }
}

bool store_scarce(void)
{
    return store.free_slabs < store.slab_count / 4;
}

static enum fill_result store_fill(const struct source *s, uint64_t object, void *frame, uint32_t count,
                                   uint32_t request)
{
    const struct object *o = place((uint32_t)object);

    (void)s, (void)count, (void)request;
    if (LZ4_decompress_safe((const char *)o->data, frame, o->length, (int)PAGE_SIZE) != (int)PAGE_SIZE)
        panic("object %lu of the store does not decode", object); /* RAM of EL2's own */
    return FILL_OK;
}

const struct source_ops source_store_ops = {.name = "store", .needs_helper = true, .run = 1, .fill = store_fill};
