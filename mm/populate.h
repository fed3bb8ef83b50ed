/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Population: how an absent page gets its frame and its content.
 *
 * A vCPU asks through its port: it marks the descriptor IN_FLIGHT with one of its requests, pushes the request to the
 * helper that serves it, and waits or goes on. The helper fills the frame, cleans it, writes the descriptor and signals
 * the waiters. A port also carries ready frames the other way, so that most zero faults need no request at all. Port and
 * helper share single-producer rings and nothing else: no lock.
 *
 * Without a helper the vCPU's core does the helper's part itself, in the fault.
 *
 * A request is served in two parts, which the bytes of a slow source may lie between: the descriptor's entry at level 3 is
 * found or made, and filling begins; then the frame is published and the descriptor written.
 */
#pragma once

#include "lib/ring.h"
#include "mm/stage2.h"

#define ASYNC_FAULTS 64u /* of a vCPU at once, that its guest has been told of and runs something else meanwhile */
#define PORT_REQUESTS (ASYNC_FAULTS + 8u) /* of a vCPU at once: those, the one that it waits for, and hints */
#define POOL_BLOCKS 8u                    /* ready 2 MiB blocks kept at hand per vCPU */
#define POOL_TABLES 8u                    /* ready zeroed 4 KiB frames kept at hand per vCPU */
#define POOL_PAGES 8u                     /* the same for pages, where those stand alone (mm/paging.h) */
#define OWN_REQUESTS 8u                   /* of a populator, for pages that nobody asked for */
#define REQUESTS_MAX (MAX_CORES * (PORT_REQUESTS + OWN_REQUESTS))

_Static_assert(POOL_BLOCKS <= RING_SIZE && POOL_TABLES <= RING_SIZE && PORT_REQUESTS <= BYTE_RING_SIZE, "ring size");

/* Written by whoever owns it before the descriptor becomes IN_FLIGHT, then by the one who fills. */
struct s2_request {
    struct s2 *s2;
    _Atomic uint64_t *slot;
    uint64_t old; /* what the descriptor said before */
    ipa_t ipa;
    unsigned level;
    uint32_t count; /* pages: `slot` and those behind it, IN_FLIGHT all of them; their `old` count up */
    bool write;
    bool ahead;    /* nobody asked for it (mm/ahead.h) */
    pa_t frame;    /* where pages stand alone: its own */
    uint32_t next; /* of those that wait for their source to have room, or for a frame; NO_REQUEST: the last */
    _Atomic uint64_t waiters; /* bit per core to be signalled; anyone may set one, only the wake-up clears them */
    _Atomic uint32_t
        round; /* requests that this has been: it changes when one ends, before its waiters are signalled */
    _Atomic bool busy;
};

#define NO_REQUEST UINT32_MAX

/* Whoever fills pages: a helper core, or a vCPU core without a helper. Its own core only. */
struct populator {
    struct frame_cache frames;
    struct limbo limbo;
    struct report_helper *stats;
    uint32_t first_request;       /* requests[first_request .. + OWN_REQUESTS) are its own */
    uint32_t put_off, put_off_at; /* requests whose source had no room: the first and the last of them */
    uint32_t alone;               /* so many more pages are fetched one by one: a run of them failed */
    uint32_t pending;             /* requests whose source is at it */
    bool gathers;                 /* several requests are about to end, and share a signal: populate_signal() */
    uint64_t waiters;             /* who is to have it; a bit per core */
    uint64_t ended;               /* and those that it has brought or failed to bring since the start */
};

struct s2_port {
    uint32_t first_request; /* requests[first_request .. + PORT_REQUESTS) are this port's */
    uint32_t turn;          /* of these, which was used last */
    struct helper *helper;  /* NULL: fill inline, with `inline_populator` */
    struct populator *inline_populator;
    struct report_vcpu *stats;
    struct paging *paging;             /* its guest's; NULL: it has no limit */
    _Atomic bool failed;               /* the helper found no memory for a page: the guest cannot go on */
    _Atomic bool closed;               /* the vCPU is no more: the helper empties the pools, and fills none again */
    struct byte_ring requests;         /* numbers of requests, from `first_request`; this vCPU produces */
    struct ring blocks;                /* PAs of ready 2 MiB blocks; the helper produces */
    struct ring tables;                /* PAs of ready zeroed frames; the helper produces */
    struct ring pages;                 /* PAs of frames that are fit for a guest; the same */
    uint64_t spare_block, spare_table; /* left over when another vCPU was first; 0 if none */
    uint64_t spare_page;
};

extern struct s2_request
    requests[REQUESTS_MAX]; /* those of ports and populators that there are, no others, hold anything */

/* `index`: the vCPU's or core's number among all. */
void port_init(struct s2_port *port, uint32_t index, struct helper *helper, struct report_vcpu *stats);
void populator_init(struct populator *p, uint32_t core, struct report_helper *stats);

enum serve_result {
    SERVE_DONE,      /* the descriptor says what became of it, and the waiters are signalled */
    SERVE_PENDING,   /* it will: populate_filled() */
    SERVE_NO_MEMORY, /* the descriptor is as it was, and the waiters are signalled */
};

/* Serves a request of a port. */
WARN_UNUSED enum serve_result populate_serve(struct populator *p, uint32_t number);

/* For sources: what `fill` said was pending has ended, with FILL_OK or FILL_ERROR. */
void populate_filled(struct populator *p, uint32_t number, enum fill_result result);

/* Signals the cores that wait for what has ended since `gathers` was set, and clears it. */
void populate_signal(struct populator *p);

/* Tries those again whose source had no room. False: there are none, or it has none yet. */
bool populate_put_off(struct populator *p);

/* What a step of the background sweep found to do. */
enum sweep_result {
    SWEEP_NOTHING,
    SWEEP_FILLED, /* or begun to */
    SWEEP_PROMOTED,
    SWEEP_WAITING,
};

/* A request of a guest with a limit, that found no frame, is served or, if its guest ends, given up. */
void populate_fed(struct populator *p, uint32_t number);

/* Begins to bring a page that nobody asked for, of a guest with a limit. False: there is no request, frame or need for it. */
bool populate_ahead(struct populator *p, struct s2 *s, ipa_t at);

/* It has a request of its own left to sweep with. */
bool populate_may_sweep(const struct populator *p);

/*
 * One step towards completing the block around `at`, if the guest has begun it: fills one absent page of it, the first one
 * from `at` on or else the first of all (and as many behind it as its source fetches at once), or, when all are present,
 * promotes it. Never begins a block.
 */
enum sweep_result populate_sweep(struct populator *p, struct s2 *s, ipa_t at);

/* Makes a frame fit for a guest: cleaned and invalidated to the PoC, no stale instructions of it anywhere. */
void frame_publish(void *frame, size_t bytes);
