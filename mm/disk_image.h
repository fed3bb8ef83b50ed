/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The source of a page image on a disk: what guests have not touched is not read. Its header and the index pages of the
 * files in use are read when a guest is built and stay in RAM, 4 KiB for each 341 pages; a page is fetched when a guest
 * asks for it, or with up to 15 that follow it when the background sweep completes the block.
 *
 * One helper serves all disks, and alone serves the guests that live on them: a disk is used by one core.
 */
#pragma once

#include "dev/disk.h"
#include "mm/helper.h"
#include "mm/source.h"

#define DISK_RUN 16u         /* pages one fetch brings at most */
#define DISK_STAGING KIB(68) /* of one fetch: those pages, if none is compressed, and parts of sectors */
#define DISK_FETCHES (BLOCK_SIZE / DISK_STAGING) /* under way at once, of one disk */
#define DISK_INDEX_BLOCKS 16u                    /* of 512 index pages each: 10 GiB of files on one disk */

_Static_assert(DISK_FETCHES >= 2 * OWN_REQUESTS && DISK_FETCHES < DISK_REQUESTS, "the sweep leaves room");

extern const struct source_ops source_disk_ops;

/* What helper 0 does for disks beside its own work; NULL in a machine without them (mm/helper.h). */
extern const struct helper_io disk_images_io;

/*
 * Boot core, once: starts the disks at `places`, whose registers are mapped. One that does not start is named in a line of
 * the log, and left out.
 */
void disk_images_start(const struct disk_place *places, uint32_t count);

/*
 * Boot core: `*s` becomes the source of file `file` of the page image on the disk called `disk`. NULL, or in words why that
 * cannot be.
 */
WARN_UNUSED const char *disk_image_open(struct source *s, const char *disk, const char *file);

/* Boot core: the first page of such a source, read at once. */
WARN_UNUSED bool disk_image_first_page(const struct source *s, void *page);

/*
 * Boot core: the disk called `name`, for something else than page images. What ends on it is told to `ended`, on helper 0.
 * NULL: there is no such disk, or it is in use.
 */
struct disk *disk_images_lend(const char *name, void (*ended)(struct populator *p, uint32_t tag, bool ok));

/* 2 MiB blocks that all this holds. */
uint32_t disk_images_blocks(void);

#ifdef HOST_TEST
void disk_images_forget(void);
#endif
