/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading values out of a flattened device tree that somebody else wrote: bounds are checked once, by dt_check() or by
 * walking with dt_next_tag(), and libfdt does the rest.
 */
#pragma once

#include "lib/types.h"

/* A property's value inside the blob; p is NULL when there is no such property. */
struct dt_value {
    const void *p;
    uint32_t len; /* bytes */
};

/* A device tree within `room` bytes, of the one version that everybody writes (17). Looks at the header only. */
WARN_UNUSED bool dt_header_ok(const void *blob, size_t room);

/*
 * The tag at `offset` of the structure block; *next is where the one after it is. FDT_END with *next < 0: none, or one
 * that does not lie inside the block with all that belongs to it.
 *
 * Not fdt_next_tag(): that of libfdt 1.6.1 adds a property's length without looking for overflow, so that a hostile
 * tree leads it round in circles, and it checks its bounds for each byte of a node's name. One pass over QEMU's tree
 * took it 95,000 instructions, a fifth of what EL2 may spend before its first guest runs.
 */
WARN_UNUSED uint32_t dt_next_tag(const void *fdt, int offset, int *next);

/* dt_header_ok(), and the structure ends where it should. After it no libfdt reader runs astray or for ever. */
WARN_UNUSED bool dt_check(const void *blob, size_t room);

/* The `count` properties named in name[], of one node, into value[]. */
void dt_get(const void *fdt, int node, const char *const *name, struct dt_value *value, size_t count);

/* A number of `cells` 32-bit cells at p; 0 to 2 of them. p needs no alignment. */
uint64_t dt_cells(const void *p, uint32_t cells);

/* The value as a number of one or two cells. */
WARN_UNUSED bool dt_number(struct dt_value v, uint64_t *out);

/* The value when it is exactly one string, else NULL. */
const char *dt_string(struct dt_value v);

/* Whether the value, a list of strings, has `s` among them. */
bool dt_list_has(struct dt_value v, const char *s);

/* A status that allows use: absent, "okay" or "ok". */
bool dt_status_ok(struct dt_value status);
