/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A helper core: fills what guests wait for, then keeps the pools of ready frames full, then completes and promotes the
 * blocks that guests have begun; else it sleeps. In this order, and it looks for a more urgent thing after each page. What
 * arrives from a disk it takes in between, since that is what somebody waits for; guests that ask without a pause do not
 * keep it from that, nor from making room for a guest at its limit.
 */
#pragma once

#include "mm/paging.h"

/* What a helper does for sources whose bytes come from elsewhere. All of it on its own core. */
struct helper_io {
    void (*attach)(void);               /* before all else */
    bool (*serve)(struct populator *p); /* one thing that has arrived: populate_filled(). False: nothing has */
    void (*notify)(void);               /* what sources have begun to fetch is on its way when this returns */
    bool (*watch)(void); /* what arrives from now on interrupts this core. False: something has already */
    void (*unwatch)(void);
    void (*interrupt)(uint32_t intid); /* it was acknowledged: its reason goes, if it is one of this */
};

struct helper {
    struct core *core;
    const struct helper_io *io; /* NULL: none */
    struct populator pop;
    struct s2_port *ports[MAX_CORES]; /* it serves; fixed before it runs */
    uint32_t port_count;
    uint32_t turn;                 /* the port to look at first */
    uint32_t in_a_row;             /* requests since it last looked at what others wait for already */
    uint32_t pool_turn;            /* the same for its pool of blocks */
    struct s2 *spaces[MAX_GUESTS]; /* it sweeps; fixed before it runs */
    uint32_t space_count;
    struct paging *paged[MAX_GUESTS]; /* guests with a residency limit: helper 0's; fixed before it runs */
    uint32_t paged_count;
    uint32_t paged_turn; /* the one to look at first */
    _Atomic bool asleep; /* or about to be: whoever brings work signals its core */

    /* A block on its way into a pool. */
    pa_t filling;
    uint64_t filled; /* pages of it that are zero */
    bool is_filling;

    /* Where the sweep stands. */
    uint32_t space;
    uint64_t offset; /* into the RAM of spaces[space]: the page to go on from */
    uint64_t begun;  /* blocks that had been begun when this pass started */
    bool again;      /* this pass met pages that somebody else was filling */
    bool swept;      /* a whole pass found nothing to do, and nothing was begun since */
    bool moved;      /* this pass filled or promoted something */
    bool rests;      /* a whole pass met only pages on their way from elsewhere: no other before one has come */
    uint64_t ended;  /* pop.ended when this pass started */
};

extern struct helper helpers[MAX_CORES];
extern uint32_t helper_count;

/* One unit of the most urgent work there is. False: there is none. */
bool helper_step(struct helper *h);

/* The helper core's life. */
NORETURN void helper_run(struct helper *h);

/* There is work: wakes the helper if it sleeps. Any core; NULL does nothing. What the work is was stored before. */
void helper_kick(struct helper *h);
