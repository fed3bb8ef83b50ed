/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/swap.h"

#include "lib/arch.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/backing.h"

#define SECTORS_PER_PAGE (PAGE_SIZE / DISK_SECTOR)
#define CLUSTERS (BLOCK_SIZE / (SWAP_CLUSTER * PAGE_SIZE)) /* in memory at once */
#define SLOTS_MAX (BLOCK_SIZE * 8)                         /* bits of a block: 64 GiB */
#define WRITE_TAG BIT(31)                                  /* of a request: a cluster is written; else a page is read */
#define NONE UINT32_MAX

_Static_assert(CLUSTERS < 64, "a bit for each, and one that stays clear");

enum cluster_state { CLUSTER_FREE, CLUSTER_OPEN, CLUSTER_WRITING, CLUSTER_FAILED };

struct cluster {
    enum cluster_state state;
    uint64_t first;        /* slot */
    uint32_t room, filled; /* slots it may have, and pages it has */
    uint32_t dropped;      /* bit per page: nobody wants it any more, and its slot is free when it was written */
};

static struct {
    struct disk *disk;
    uint64_t slots, free; /* slots in all; those that are free */
    uint64_t next;        /* where to look for free ones */
    uint64_t *used;       /* bit per slot */
    uint8_t *staging;
    uint64_t held; /* bit per cluster: it has pages, and is not FREE */
    uint32_t open; /* cluster, or NONE */
    uint32_t writing;
    bool broken; /* a write has failed: no more of them */
    struct cluster cluster[CLUSTERS];
    struct report_swap *stats;
} swap;

const char *swap_init(struct disk *d, struct report_swap *stats, uint32_t *blocks)
{
    pa_t map, staging;

    memset(&swap, 0, sizeof(swap));
    swap.stats = stats;
    swap.open = NONE;
    if (d->read_only)
        return "it is read-only";
    if (d->sectors / SECTORS_PER_PAGE < 2)
        return "it is smaller than two pages";
    if (!frames_alloc_block(&map))
        return "no memory for its map";
    if (!frames_alloc_block(&staging)) {
        frames_free_block(map);
        return "no memory for what is on its way";
    }
    *blocks += 2;
    swap.disk = d;
    swap.slots = d->sectors / SECTORS_PER_PAGE;
    if (swap.slots > SLOTS_MAX)
        swap.slots = SLOTS_MAX;
    swap.used = pa_ptr(map);
    swap.staging = pa_ptr(staging);
    zero_pages(swap.used, BLOCK_PAGES);
    swap.used[0] = 1;
    swap.next = 1;
    swap.free = swap.slots - 1;
    stats->slots = swap.slots - 1;
    return NULL;
}

static bool is_used(uint64_t slot)
{
    return (swap.used[slot / 64] & BIT(slot % 64)) != 0;
}

static void mark(uint64_t slot, bool used)
{
    if (used)
        swap.used[slot / 64] |= BIT(slot % 64);
    else
        swap.used[slot / 64] &= ~BIT(slot % 64);
    swap.free += used ? UINT64_C(-1) : 1;
}

static uint8_t *page_of(uint32_t cluster, uint32_t page)
{
    return swap.staging + (cluster * SWAP_CLUSTER + page) * PAGE_SIZE;
}

/* The next free slot from `from` on, around at the end. There is one. */
static uint64_t next_free(uint64_t from)
{
    uint64_t slot = from < swap.slots ? from : 1;

    while (is_used(slot)) {
        if (slot % 64 == 0 && swap.used[slot / 64] == UINT64_MAX)
            slot += 64;
        else
            slot++;
        if (slot >= swap.slots)
            slot = 1;
    }
    return slot;
}

/* Free slots side by side: of the next few runs the longest. */
static void find_run(uint64_t *first, uint32_t *room)
{
    uint64_t at = swap.next;

    *room = 0;
    for (int tries = 0; tries < 16 && *room < SWAP_CLUSTER; tries++) {
        uint64_t slot = next_free(at);
        uint32_t n = 1;

        while (n < SWAP_CLUSTER && slot + n < swap.slots && !is_used(slot + n))
            n++;
        if (n > *room) {
            *first = slot;
            *room = n;
        }
        at = slot + n;
    }
    swap.next = *first + *room;
}

static bool open_cluster(void)
{
    uint32_t n = (uint32_t)__builtin_ctzll(~swap.held);

    if (!swap.free || n >= CLUSTERS)
        return false;
    swap.held |= BIT(n);
    swap.cluster[n] = (struct cluster){.state = CLUSTER_OPEN};
    find_run(&swap.cluster[n].first, &swap.cluster[n].room);
    swap.open = n;
    return true;
}

static void failed(struct cluster *c)
{
    if (!swap.broken)
        log_line("the swap disk cannot be written: no more pages go there, and what was on its way stays in RAM");
    swap.broken = true;
    c->state = CLUSTER_FAILED;
    swap.stats->write_errors++;
}

static void write_open(void)
{
    uint32_t n = swap.open;
    struct cluster *c = &swap.cluster[n];

    swap.open = NONE;
    c->state = CLUSTER_WRITING;
    if (!disk_begin(swap.disk, DISK_WRITE, c->first * SECTORS_PER_PAGE, page_of(n, 0), c->filled * (uint32_t)PAGE_SIZE,
                    WRITE_TAG | n)) {
        failed(c);
        return;
    }
    swap.writing++;
    swap.stats->writes++;
}

bool swap_put(const void *page, uint64_t *slot)
{
    struct cluster *c;

    if (!swap.disk || swap.broken || !swap.disk->free)
        return false;
    if (swap.open == NONE && !open_cluster())
        return false;
    c = &swap.cluster[swap.open];
    memcpy(page_of(swap.open, c->filled), page, PAGE_SIZE);
    *slot = c->first + c->filled++;
    mark(*slot, true);
    swap.stats->used++;
    swap.stats->written_pages++;
    if (c->filled == c->room)
        write_open();
    return true;
}

/* The cluster that has the page of this slot in memory, or NONE. */
static uint32_t in_memory(uint64_t slot)
{
    for (uint64_t left = swap.held; left; left &= left - 1) {
        uint32_t n = (uint32_t)__builtin_ctzll(left);

        if (slot - swap.cluster[n].first < swap.cluster[n].filled)
            return n;
    }
    return NONE;
}

void swap_free(uint64_t slot)
{
    uint32_t n = in_memory(slot);

    if (slot == 0 || slot >= swap.slots || !is_used(slot))
        panic("slot %lu of the swap disk freed, which is not used", slot);
    swap.stats->used--;
    if (n == NONE)
        mark(slot, false);
    else
        swap.cluster[n].dropped |= (uint32_t)BIT(slot - swap.cluster[n].first);
}

static void written(struct cluster *c, bool ok)
{
    swap.writing--;
    backing_room_made++; /* none if it failed: but who has waited for that is not to go on doing so */
    if (!ok) {
        failed(c);
        return;
    }
    for (uint32_t i = 0; i < c->filled; i++) {
        if (c->dropped & BIT(i))
            mark(c->first + i, false);
    }
    c->state = CLUSTER_FREE;
    swap.held &= ~BIT(c - swap.cluster);
}

void swap_ended(struct populator *p, uint32_t tag, bool ok)
{
    if (tag & WRITE_TAG) {
        written(&swap.cluster[tag & ~WRITE_TAG], ok);
        return;
    }
    swap.stats->read_errors += !ok;
    populate_filled(p, tag, ok ? FILL_OK : FILL_ERROR);
}

bool swap_writing(void)
{
    return swap.writing != 0;
}

bool swap_scarce(void)
{
    return swap.free < swap.slots / 4;
}

static enum fill_result swap_fill(const struct source *s, uint64_t slot, void *frame, uint32_t count, uint32_t request)
{
    uint32_t n = in_memory(slot);

    (void)s, (void)count;
    if (n != NONE) {
        memcpy(frame, page_of(n, (uint32_t)(slot - swap.cluster[n].first)), PAGE_SIZE);
        swap.stats->read_early++;
        return FILL_OK;
    }
    if (!swap.disk->free)
        return FILL_BUSY;
    if (!disk_begin(swap.disk, DISK_READ, slot * SECTORS_PER_PAGE, frame, PAGE_SIZE, request)) {
        swap.stats->read_errors++;
        return FILL_ERROR;
    }
    swap.stats->reads++;
    return FILL_PENDING;
}

const struct source_ops source_swap_ops = {.name = "swap", .needs_helper = true, .run = 1, .fill = swap_fill};
