/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-ahead for guests with a residency limit (others have the background sweep): after a page that a guest asked for, those
 * that follow it in its RAM are brought too, if it pays.
 *
 * A page brought so has its access flag clear, so the first touch of it is seen. The window, pages behind each request, follows
 * from what became of them: it doubles when three of four were touched, and halves down to nothing when less than half were: as many
 * are touched of pages that are brought at random, for they are as good as those that leave for them, and cost reads. What
 * is present and neither yet says nothing, and has a bound: so a guest whose pages are touched late, but are touched, has its
 * window, and pages that nobody wants take no more room than that. With a window of nothing it tries again with a few pages: at once
 * when a guest asks for one page after the other in their order, else ever more seldom for as long as that does not pay.
 */
#pragma once

#include "lib/types.h"

#define AHEAD_MOST 16u

/* What became of the pages that were brought ahead, all told. */
struct ahead_counts {
    uint64_t hits;   /* touched */
    uint64_t missed; /* evicted, or freed, before that */
};

struct ahead {
    bool off;          /* as the configuration says */
    uint32_t window;   /* pages behind each request */
    uint64_t at;       /* offset in RAM of the page that is next */
    uint32_t left;     /* pages of the window that are to come */
    uint32_t idle;     /* requests without read-ahead since the window closed */
    uint32_t retry;    /* so many, and it is tried again */
    uint32_t in_order; /* the last of them, each for the page behind the one before */
    bool trial;        /* tried again, and not judged yet */
    uint64_t before;   /* what was `brought` when it was */
    uint64_t most;     /* pages that are neither touched nor evicted yet */
    uint64_t brought;
    struct ahead_counts judged;
};

/* For a guest that may hold `limit` pages. */
void ahead_init(struct ahead *a, uint64_t limit, bool off);

/* Somebody asked for the page at `offset`. */
void ahead_asked(struct ahead *a, uint64_t offset, struct ahead_counts now);

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
