/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-ahead for guests with a residency limit (others have the background sweep): after a page that a guest asked for, those
 * that follow it in its RAM are brought too, if it pays.
 *
 * A page brought so has its access flag clear, so the first touch of it is seen. The window, pages behind each request, follows
 * from what was touched: it doubles when most were, and halves down to nothing when few were. With a window of nothing it tries
 * again now and then.
 */
#pragma once

#include "lib/types.h"

#define AHEAD_MOST 16u

struct ahead {
    bool off;        /* as the configuration says */
    uint32_t window; /* pages behind each request */
    uint64_t at;     /* offset in RAM of the page that is next */
    uint32_t left;   /* pages of the window that are to come */
    uint32_t idle;   /* requests without read-ahead since the window closed */
    uint64_t brought, judged_at, hits_then;
};

void ahead_init(struct ahead *a, bool off);

/* Somebody asked for the page at `offset`. `hits`: pages brought ahead that were touched, all told. */
void ahead_asked(struct ahead *a, uint64_t offset, uint64_t hits);

/* The next page to bring, if there is one. */
static inline bool ahead_next(struct ahead *a, uint64_t *offset)
{
    if (!a->left)
        return false;
    a->left--;
    *offset = a->at;
    a->at += PAGE_SIZE;
    return true;
}
