/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests as their owner describes them: nodes under /chosen, "meanwhile,guest" and "meanwhile,config"
 * (dts/meanwhile,guest.yaml, dts/meanwhile,config.yaml). A bad node refuses its own guest and no other. Boot core only.
 */
#pragma once

#include "lib/types.h"
#include "mm/frames.h"
#include "vcpu/vm.h"

#define GUEST_MAX_MEMORY GIB(256)
#define GUEST_MAX_BOOTARGS 2047 /* Linux takes 2048 with the NUL (COMMAND_LINE_SIZE) */

/* What the boot loader left: a file of its own, or a page image (mm/page_image.h) that holds it; or one on a disk. */
struct guest_module {
    pa_t base;
    uint64_t size;    /* bytes of what was left; 0: nothing was */
    const char *file; /* inside the blob: its name in the page image; NULL: it is no page image */
    const char *disk; /* inside the blob: the serial number of the disk that holds the page image; NULL: it is in RAM */
};

static inline bool module_given(const struct guest_module *m)
{
    return m->size != 0 || m->disk;
}

struct guest_config {
    char name[32];
    char refused[96]; /* why this guest cannot be; "": it can, and only then the rest holds */
    uint32_t cpus;
    uint64_t memory;      /* bytes, a multiple of 2 MiB */
    const char *bootargs; /* inside the blob; NULL: none */
    enum vm_identity identity;
    bool no_reboot;    /* a reset ends it */
    uint64_t granule;  /* bytes a zero fault maps: PAGE_SIZE or BLOCK_SIZE */
    uint64_t resident; /* bytes of RAM it may hold at once, a multiple of 4 KiB; 0: all of it */
    struct guest_module kernel, initrd;
};

static inline bool guest_on_disk(const struct guest_config *g)
{
    return g->kernel.disk || g->initrd.disk;
}

#define STORE_DEFAULT UINT64_MAX
#define PAUSE_AFTER_DEFAULT 10u /* s */

struct machine_config {
    uint32_t helpers;
    bool quiet;
    const char *swap;     /* inside the blob: the serial number of the disk that cold pages go to; NULL: none */
    uint64_t store;       /* bytes of RAM for compressed pages; STORE_DEFAULT: what the guests' limits suggest */
    uint32_t pause_after; /* seconds that a guest may wait for room; 0: for ever */
    bool no_read_ahead;
    bool plain_waits; /* without APF on, no interrupt of its guest's ends a vCPU's wait for a page: for comparisons */
    char refused[96]; /* what in its node was not understood, the default standing in for it; "": nothing */
};

/* Where modules may lie. Addresses are physical, after `base` has been added to what a node's reg says. */
struct module_space {
    uint64_t base;
    const struct range *allowed; /* a module lies in one of them from end to end */
    size_t allowed_count;
    const struct range *forbidden; /* and touches none of these */
    size_t forbidden_count;
};

/*
 * Reads the device tree `blob`, of at most `room` bytes. The first `max` guest nodes are in `out`, refused ones
 * included; returns how many there are in the tree. `*machine` holds the defaults where the tree is silent, and all of
 * them when the blob is no device tree, in which case there are no guests.
 */
uint32_t guest_config_read(const void *blob, size_t room, const struct module_space *space,
                           struct machine_config *machine, struct guest_config *out, uint32_t max);

/* The same when /chosen is known and the blob has been walked before (boot/host_dt.h). `chosen` < 0: no guests. */
uint32_t guest_config_read_chosen(const void *fdt, int chosen, const struct module_space *space,
                                  struct machine_config *machine, struct guest_config *out, uint32_t max);
