/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The head of build/meanwhile.img: the arm64 Linux Image header (Documentation/arm64/booting.rst of Linux), followed at
 * byte 64 by what the launcher needs to find things in the image and to append guests to it.
 *
 * A packed image is: this image, padded with zeroes up to `hypervisor_size`; then, 4 KiB aligned, a configuration DTB
 * at `config_offset`; then the payloads, each 4 KiB aligned. The image header's image_size is raised to cover them all.
 * In that DTB a module's `reg` counts from the first byte of the image; in the host's own DTB it is a physical address.
 */
#pragma once

#include "lib/types.h"

#define IMAGE_HEADER_MAGIC 0x644d5241u                /* "ARM\x64", at byte 56 */
#define IMAGE_INFO_MAGIC UINT64_C(0x656c6968776e6165) /* "eanwhile", at byte 64 */

struct image_header {
    uint32_t code0, code1;
    uint64_t text_offset; /* from a 2 MiB aligned base */
    uint64_t image_size;  /* bytes of memory the image needs, bss and appended payloads included */
    uint64_t flags;
    uint64_t res2, res3, res4;
    uint32_t magic;
    uint32_t res5;
    /* ours, from byte 64 */
    uint64_t info_magic;
    uint64_t hypervisor_size; /* bytes from the first byte of the image to the end of EL2's own memory, 4 KiB aligned */
    uint64_t report_offset;   /* struct report, from the first byte of the image */
    uint64_t config_offset;   /* the appended configuration DTB; 0 if none */
    uint64_t config_size;
};

_Static_assert(offsetof(struct image_header, magic) == 56, "Linux Image header");
_Static_assert(offsetof(struct image_header, info_magic) == 64, "what follows it");
_Static_assert(offsetof(struct image_header, config_offset) == 88, "written by tools/mw");
