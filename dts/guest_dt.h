/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device tree a guest gets, written with libfdt's sequential-write functions. Boot core only: libfdt may use FP
 * registers, which belong to the guests once they run.
 */
#pragma once

#include "lib/types.h"
#include "vcpu/vm.h"

struct guest_dt {
    uint32_t cpus;
    ipa_t ram_base;
    uint64_t ram_size;
    const char *bootargs; /* NULL: none */
    ipa_t initrd;
    uint64_t initrd_size; /* 0: none */
    const uint8_t *seed;  /* its first 8 bytes become the kaslr-seed, the others the rng-seed; NULL: neither */
    size_t seed_size;
    bool gic_v2;               /* a GICv2, not a GICv3 */
    enum vm_identity identity; /* whose node it is, if any */
    uint64_t features;         /* MW_FEATURE_*, and */
    uint32_t event;            /* the INTID of the event interrupt, 0: none: for our own */
};

/*
 * Writes the blob into buf, 8-byte aligned. Returns its size in bytes, or 0 when `size` does not do: 4 KiB, plus 192
 * bytes per CPU, plus the bootargs and the seed, always does.
 */
size_t guest_dt_write(void *buf, size_t size, const struct guest_dt *g);
