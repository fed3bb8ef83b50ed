/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where kernel, initrd and device tree go in a guest's RAM: the Linux boot protocol (Documentation/arm64/booting.rst of
 * Linux), and for what is no arm64 Image the habit of QEMU's `virt` board. Decides, and copies nothing.
 */
#pragma once

#include "lib/types.h"

struct load_request {
    const uint8_t *kernel; /* its first bytes; immutable */
    uint64_t kernel_head;  /* how many of them are there to be read: all, or a page at least */
    uint64_t kernel_size;  /* how many it has */
    uint64_t initrd_size;  /* 0: none */
    uint64_t dtb_size;     /* upper bound */
    ipa_t ram_base;        /* 2 MiB aligned, as its size */
    uint64_t ram_size;
};

/* All addresses are page aligned, and what they stand for is inside RAM and disjoint. */
struct load_plan {
    ipa_t kernel; /* the kernel's first byte; the guest starts there too */
    ipa_t initrd; /* 0 if there is none */
    ipa_t dtb;    /* goes into x0 */
    bool raw;     /* not an arm64 Image */
};

enum load_result {
    LOAD_OK,
    LOAD_EMPTY,
    LOAD_NOT_AN_IMAGE,
    LOAD_COMPRESSED,
    LOAD_TRUNCATED,
    LOAD_BAD_OFFSET,
    LOAD_KERNEL_TOO_BIG,
    LOAD_INITRD_TOO_BIG,
    LOAD_NO_ROOM_FOR_DTB,
};

WARN_UNUSED enum load_result load_place(const struct load_request *r, struct load_plan *plan);

/* The result in words: why a guest is refused. */
const char *load_text(enum load_result r);
