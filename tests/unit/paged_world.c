/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/paged_world.h"

struct swap_drive swap_drive;

static struct disk disk;
static uint8_t *content;
static struct {
    enum disk_op op;
    uint64_t sector;
    uint8_t *data;
    uint32_t bytes, tag;
} pending[DISK_REQUESTS];

bool disk_begin(struct disk *d, enum disk_op op, uint64_t sector, void *data, uint32_t bytes, uint32_t tag)
{
    uint32_t n;

    CHECK(d == &disk && d->free && bytes && bytes % PAGE_SIZE == 0 && sector % 8 == 0 && sector >= 8);
    CHECK(sector + bytes / DISK_SECTOR <= d->sectors);
    for (uint32_t i = 0; i < DISK_REQUESTS; i++) { /* two at once on one page would end in any order */
        if (!(d->free & BIT(i)))
            CHECK(sector + bytes / DISK_SECTOR <= pending[i].sector ||
                  pending[i].sector + pending[i].bytes / DISK_SECTOR <= sector);
    }
    n = (uint32_t)__builtin_ctzll(d->free);
    d->free &= ~BIT(n);
    pending[n].op = op;
    pending[n].sector = sector;
    pending[n].data = data;
    pending[n].bytes = bytes;
    pending[n].tag = tag;
    swap_drive.under_way++;
    return true;
}

static bool ended(uint32_t *tag, bool *ok)
{
    uint64_t from = random_below(&swap_drive.random, DISK_REQUESTS);

    for (uint32_t i = 0; i < DISK_REQUESTS; i++) {
        uint32_t n = (uint32_t)(from + i) % DISK_REQUESTS;
        uint8_t *at = content + pending[n].sector * DISK_SECTOR;

        if (disk.free & BIT(n))
            continue;
        *tag = pending[n].tag;
        *ok = pending[n].op == DISK_READ ? !swap_drive.fails_to_read : !swap_drive.fails_to_write;
        if (*ok && pending[n].op == DISK_READ)
            memcpy(pending[n].data, at, pending[n].bytes);
        else if (*ok)
            memcpy(at, pending[n].data, pending[n].bytes);
        swap_drive.reads += pending[n].op == DISK_READ;
        swap_drive.writes += pending[n].op == DISK_WRITE;
        disk.free |= BIT(n);
        swap_drive.under_way--;
        return true;
    }
    return false;
}

static bool serve(struct populator *p)
{
    uint32_t tag;
    bool ok;

    if (!swap_drive.under_way || random_below(&swap_drive.random, swap_drive.laziness))
        return swap_drive.under_way != 0; /* what is under way ends some day: nobody is to sleep over it */
    CHECK(ended(&tag, &ok));
    swap_ended(p, tag, ok);
    return true;
}

static void attach(void) {}

static bool watch(void)
{
    return !swap_drive.under_way;
}

static void interrupt(uint32_t intid)
{
    (void)intid;
}

static const struct helper_io io = {
    .attach = attach, .serve = serve, .notify = attach, .watch = watch, .unwatch = attach, .interrupt = interrupt};

void paged_world_make(uint32_t store_blocks, uint64_t swap_pages)
{
    uint32_t blocks = 0;

    swap_drive = (struct swap_drive){.random = 5, .laziness = 3};
    CHECK(store_init(store_blocks, &report.helper[0].store) == (store_blocks ? store_blocks + 1 : 0));
    disk = (struct disk){.sectors = swap_pages * (PAGE_SIZE / DISK_SECTOR), .free = ~UINT64_C(0)};
    content = swap_pages ? malloc(swap_pages * PAGE_SIZE) : NULL;
    if (swap_pages) {
        memset(content, 0x77, swap_pages * PAGE_SIZE);
        CHECK(swap_init(&disk, &report.helper[0].swap, &blocks) == NULL && blocks == 2);
    } else {
        CHECK(swap_init(&disk, &report.helper[0].swap, &blocks) != NULL && blocks == 0);
    }
    helpers[0].io = &io;
}

void paged_world_drop(void)
{
    for (uint64_t i = 0; content && i < PAGE_SIZE; i++)
        CHECK(content[i] == 0x77); /* the launcher's */
    free(content);
    content = NULL;
    world_drop();
}

static void count(uint64_t desc, uint64_t *objects, uint64_t *slots)
{
    if (desc_kind(desc, 3) != DESC_ABSENT)
        return;
    *objects += desc_small(desc) == BACKING_STORE;
    *slots += desc_small(desc) == BACKING_SWAP;
}

void paged_world_audit(void)
{
    const struct report_paging *stats = world.paging.stats;
    uint64_t present = 0, objects = 0, slots = 0, ready = 0;
    int64_t touched = atomic_load(&report.guest[0].touched);

    CHECK(!swap_drive.under_way && !paging_buried() && !atomic_load(&world.paging.evicting));
    epoch_enter();
    for (uint64_t at = world.s2.ram_base.v; at < world.s2.ram_base.v + world.s2.ram_size; at += PAGE_SIZE) {
        struct s2_entry e = s2_walk(&world.s2, ipa(at));
        uint64_t record;

        CHECK(desc_kind(e.desc, e.level) != DESC_BUSY && desc_kind(e.desc, e.level) != DESC_IN_FLIGHT);
        if (e.level != 3)
            continue;
        count(e.desc, &objects, &slots);
        if (desc_kind(e.desc, 3) != DESC_PRESENT)
            continue;
        present++;
        record = atomic_load(frame_record(desc_pa(e.desc)));
        CHECK(desc_writable(e.desc) || record); /* a clean page has its content elsewhere */
        count(record, &objects, &slots);
    }
    epoch_leave();
    for (uint32_t i = 0; i < world.vcpus; i++) {
        ready += ring_count(&world.port[i].pages) + (world.port[i].spare_page != 0);
        touched += report.vcpu[i].touched;
    }
    CHECK(stats->resident == present + ready && stats->resident <= stats->limit);
    CHECK(touched == (int64_t)present);
    CHECK(report.helper[0].store.pages == objects && report.helper[0].swap.used == slots);
}
