/* SPDX-License-Identifier: BSD-2-Clause */
/* From a known machine and described guests to guests that run. */
#pragma once

#include "dev/disk.h"
#include "dev/gic.h"
#include "hyp/guest_config.h"
#include "lib/core.h"

#define MAX_CONFIGS MAX_GUESTS

/* What boot/main.c found. Boot core's; the blobs that pointers lead to stay mapped. */
struct machine {
    const uint64_t *cpu; /* affinities, the boot core's first */
    uint32_t cpus;
    struct gic_frames gic;
    uint32_t maintenance; /* PPI of the list registers */
    uint32_t uart_intid;
    const struct disk_place *disk; /* where disks may be, if a guest wants one */
    uint32_t disks;
    const uint8_t *seed; /* the host's rng-seed; NULL: none */
    size_t seed_size;
    struct machine_config config;
    struct guest_config guests[MAX_CONFIGS];
    uint32_t guest_count;
    uint32_t unread; /* guests described beyond those */
};

/* Boot core: builds the guests, starts the other cores, and becomes what it is to be. */
NORETURN void hyp_start(struct machine *m);

/* The machine ends: `result` is what the launcher reads. */
NORETURN void hyp_end(uint32_t result);
