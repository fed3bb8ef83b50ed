/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Residency limits: guests that may hold fewer frames than they have RAM.
 *
 * Pages of such a guest stand alone, each in a frame of 4 KiB from anywhere: what is taken page by page has to be free page by
 * page. So it has no blocks, no reservations and no sweep. The record of a page's frame holds the descriptor that the page came
 * from, as long as it is worth something: a clean page goes back to it, and nothing is written twice.
 *
 * Helper 0 keeps a few frames below the limit free. It goes round through the guest's RAM with a clock's hand: a page whose
 * access flag is set loses it, one that has not been touched until the hand comes again is old, and the next time it goes.
 * TLBs forget the guest once in a round of the hand, so what has no access flag in the next is in none. Pages that go become BUSY
 * together, and leave one by one (mm/backing.h). A vCPU that touches one meanwhile says so in the descriptor, and has it back.
 *
 * What is not said to be another's is helper 0's.
 */
#pragma once

#include "mm/ahead.h"
#include "mm/populate.h"

#define PAGING_LEAST MIB(4) /* bytes: with a lower limit a guest would do nothing but wait */
#define PAGING_RECENT 64u   /* pages: what the instructions of all vCPUs may need at once, and their translation */

struct paging {
    struct s2 *s;
    uint64_t limit;       /* pages; fixed before the guest runs */
    uint64_t pause_ticks; /* a vCPU that has waited for room for so long pauses its guest; 0: never */
    uint64_t hand;        /* offset in RAM of the page to look at next */
    uint64_t passed;      /* pages it has passed since it last found one to take away */
    uint64_t fruitless;   /* pages it has passed, and those taken away found no place */
    uint64_t refused;     /* pages that found no place; each that went makes up for eight */
    uint64_t room_then;   /* backing_room_made when the last ones were to go */
    bool aged;            /* access flags were cleared since TLBs last forgot the guest */
    bool stuck;           /* nothing can go until room is made */
    const _Atomic uint64_t *recent[PAGING_RECENT]; /* slots of the pages demanded last: those stay while it is tired */
    uint32_t recent_at, recent_count;
    uint32_t starved, starved_at; /* requests that wait for a frame: the first and the last, NO_REQUEST: none */
    _Atomic uint64_t starving;    /* since when none of them was served, in ticks; 0: there are none. Anyone reads */
    _Atomic bool evicting;        /* descriptors are BUSY in our name (mm/release.c waits) */
    struct ahead ahead;
    struct report_paging *stats;
};

/* Boot core: `s` may hold `pages` frames at once. */
void paging_init(struct paging *g, struct s2 *s, uint64_t pages, struct report_paging *stats);

enum paging_need {
    PAGING_DEMAND,  /* somebody waits for the page: up to the limit, and something is evicted for it */
    PAGING_PREPARE, /* nobody does: it is not to cost anybody his page */
};

/* A frame for a page of the guest. False: there is none to be had now. */
WARN_UNUSED bool paging_take(struct paging *g, struct populator *p, enum paging_need need, pa_t *frame);
void paging_give(struct paging *g, struct populator *p, pa_t frame);

/* Little can go: it goes for who waits for a frame, and for nobody else until room is made. */
static inline bool paging_is_tired(const struct paging *g)
{
    return g->refused > g->limit;
}

/* Somebody waits for the page whose descriptor is at `slot`, and it has its frame now. */
static inline void paging_remember(struct paging *g, const _Atomic uint64_t *slot)
{
    if (!paging_is_tired(g))
        return;
    g->recent[g->recent_at] = slot;
    g->recent_at = g->recent_at + 1 < g->recent_count ? g->recent_at + 1 : 0;
}

/* Before a page that somebody waits for: evicts until there is a frame for it, if that can be. Not inside an epoch. */
void paging_make_room(struct paging *g, struct populator *p);

/* A request has to wait until there is a frame. */
void paging_starve(struct paging *g, uint32_t number);

/* The first of those, if there may be a frame for it now, or its guest is ending. NO_REQUEST: none. */
uint32_t paging_fed(struct paging *g);

/* One batch of evictions, if the guest holds more than it should. False: nothing to do, or nothing that can be done. */
bool paging_balance(struct paging *g, struct populator *p);

/* It would find something to do. */
bool paging_wants(const struct paging *g);

/* Whether a page that nobody waits for may be brought. */
bool paging_has_room(const struct paging *g);

/*
 * A level-3 table of such a guest that nobody reaches any more, in no TLB and no core's epoch: the helper frees it and what hangs
 * on it. Any core.
 */
void paging_bury(const struct s2 *s, pa_t table);

/* Frees one of them. False: there is none. */
bool paging_undertake(struct populator *p);
bool paging_buried(void);
