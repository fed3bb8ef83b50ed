/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What EL2 has to know of the machine, read out of its device tree in one pass. Boot core only.
 *
 * The blob is somebody else's: whatever is in it, reading it ends, and stays within `room`. Pointers in the result lead
 * into the blob, which therefore stays mapped and unchanged as long as they are used.
 */
#pragma once

#include "dev/disk.h"
#include "dts/read.h"
#include "lib/types.h"
#include "mm/frames.h"

#define HOST_DT_MAX_RESERVED 64
#define HOST_DT_MAX_VIRTIO 32

enum host_dt_result {
    HOST_DT_OK,
    HOST_DT_BAD_BLOB,
    HOST_DT_NO_MEMORY,
    HOST_DT_TOO_MANY_RESERVED,
    HOST_DT_NO_CPU,
    HOST_DT_NO_TIMER,
    HOST_DT_GIC_V2,
    HOST_DT_NO_GIC,
};

enum host_gic { HOST_GIC_NONE, HOST_GIC_V2, HOST_GIC_V3 };

enum host_psci { HOST_PSCI_NONE, HOST_PSCI_SMC, HOST_PSCI_HVC };

struct host_dt {
    struct range bank[MAX_BANKS]; /* RAM that the tree lists: apart, never empty, never beyond 48 bits */
    uint32_t banks;
    /* The reservation block, /reserved-memory and the initrd; not the blob itself. */
    struct range reserved[HOST_DT_MAX_RESERVED];
    uint32_t reservations;

    uint64_t cpu[MAX_CORES]; /* affinity fields of MPIDR_EL1 */
    uint32_t cpus;
    enum host_psci psci;

    enum host_gic gic;
    struct range gicd;
    struct range gicr; /* first redistributor region; GICv3 only */
    uint32_t gicr_regions;
    struct range gicc, gich, gicv; /* GICv2 only; of size 0 if not there */
    uint32_t gic_maintenance;      /* INTID of the list registers' PPI; 0: none */
    bool timer;                    /* arm,armv8-timer */

    bool uart_found; /* the PL011 that /chosen names; without a name there, the only one there is */
    struct range uart;
    uint32_t uart_intid; /* 0: none that goes to the GIC */

    struct range rtc; /* a PL031; of size 0 if there is none */

    /* virtio-mmio transports that share the caches' view of memory and interrupt by an SPI of the GIC. */
    struct disk_place virtio[HOST_DT_MAX_VIRTIO];
    uint32_t virtios;

    struct dt_value rng_seed, kaslr_seed;
    const char *bootargs; /* NULL: none */
    int chosen;           /* offset of /chosen for libfdt, negative: none */
};

/*
 * Reads `blob`. The result names the first thing missing without which EL2 cannot start; *dt holds what was found all
 * the same, but for HOST_DT_BAD_BLOB, where it is empty. More banks or CPUs than the tables hold are left unused.
 */
WARN_UNUSED enum host_dt_result host_dt_read(const void *blob, size_t room, struct host_dt *dt);

/* The result in words. */
const char *host_dt_text(enum host_dt_result r);
