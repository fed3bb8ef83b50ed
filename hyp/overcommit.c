/* SPDX-License-Identifier: BSD-2-Clause */
#include "hyp/overcommit.h"

#include "hyp/build.h"
#include "lib/log.h"
#include "mm/disk_image.h"
#include "mm/helper.h"
#include "mm/store.h"
#include "mm/swap.h"

#define BLOCKS_PER_DISK 2u /* of page images: to read into, and an index of the usual size */

static uint32_t backing_blocks; /* that store and swap hold */

uint32_t overcommit_blocks(void)
{
    return backing_blocks;
}

static bool wants_limit(const struct guest_config *c)
{
    return !c->refused[0] && !c->resident;
}

/*
 * Guests that want more than the machine has, and cold pages have somewhere to go: those without a limit of their own get one,
 * each the same part of its RAM.
 */
static void share_out(struct guest_config *guests, uint32_t count, uint64_t blocks)
{
    uint64_t whole = 0, rest = 0, ram = 0; /* what all want; without the pages of those that get a limit; those pages */

    for (uint32_t i = 0; i < count; i++) {
        struct guest_config c = guests[i];

        if (c.refused[0])
            continue;
        whole += build_blocks(&c, true);
        if (wants_limit(&c)) {
            ram += c.memory >> BLOCK_SHIFT;
            c.resident = BLOCK_SIZE;
        }
        rest += build_blocks(&c, true);
    }
    if (whole <= blocks || rest >= blocks)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct guest_config *c = &guests[i];

        if (!wants_limit(c))
            continue;
        c->resident = (c->memory >> BLOCK_SHIFT) * (blocks - rest) / ram * BLOCK_SIZE;
        if (c->resident < PAGING_LEAST)
            c->resident = PAGING_LEAST;
        if (c->resident >= c->memory)
            c->resident = 0;
        else
            log_line("%s: the machine is short of RAM: at most %lu of its %lu MiB at once", c->name, c->resident >> 20,
                     c->memory >> 20);
    }
}

/* Where cold pages go. Only a helper core can bring them there. */
static void start_backing(const struct machine *m, uint64_t blocks)
{
    struct report_helper *stats = &report.helper[0];
    uint64_t ram = 0, limits = 0, store = m->config.store;
    struct disk *disk;
    const char *why;

    for (uint32_t i = 0; i < m->guest_count; i++) {
        if (m->guests[i].refused[0])
            continue;
        ram += build_blocks(&m->guests[i], true);
        limits += m->guests[i].resident >> BLOCK_SHIFT;
    }
    /* Without a word about cold pages a guest that does not fit is refused. */
    if (!helper_count || (!limits && (ram <= blocks || (!m->config.swap && store == STORE_DEFAULT))))
        return;
    if (store == STORE_DEFAULT)
        store = limits ? align_up(limits * BLOCK_SIZE / 4, BLOCK_SIZE) : blocks / 8 * BLOCK_SIZE;
    backing_blocks += store_init((uint32_t)(store >> BLOCK_SHIFT), &stats->store);
    if (!m->config.swap)
        return;
    disk = disk_images_lend(m->config.swap, swap_ended);
    why = disk ? swap_init(disk, &stats->swap, &backing_blocks) : "there is no such disk";
    if (why)
        log_line("swap disk %s is not used: %s", m->config.swap, why);
}

void overcommit_start(struct machine *m, uint64_t blocks)
{
    uint64_t taken;

    start_backing(m, blocks);
    taken = disk_images_blocks() + backing_blocks;
    for (uint32_t i = 0; i < m->guest_count; i++)
        taken += guest_on_disk(&m->guests[i]) ? BLOCKS_PER_DISK : 0;
    if (backing_blocks && taken < blocks)
        share_out(m->guests, m->guest_count, blocks - taken);
}
