/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of mm/ share: an arena that plays physical memory, cores that sleep and are signalled, an image that
 * must not change, and one guest with its ports and helpers.
 *
 * EL2 runs with VA = PA, so an address in the arena is a physical one and tables lead to frames as they do on a machine.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mm/fault.h"
#include "mm/frames.h"
#include "mm/guestmem.h"
#include "mm/helper.h"
#include "mm/transition.h"

/* Like assert(), in any thread and in every build: cmocka's own jump out of the test, which only its thread may do. */
#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

/* MW_SEED if it is set, else `otherwise`; it is printed. */
uint64_t seed(uint64_t otherwise);
uint64_t random64(uint64_t *state);
static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
    return random64(state) % n;
}

/* Whether `act` panics; it runs in a process of its own. */
bool panics(void (*act)(void));

/* `blocks` of 2 MiB, 2 MiB aligned, and (without threads) full of ARENA_POISON: whoever needs zeroes has to write them. */
#define ARENA_POISON 0xa5
uint8_t *arena_make(uint64_t blocks);
void arena_drop(void);

/* cores[0 .. n) afresh, and the calling thread as core 0. */
void cores_make(uint32_t n);
/* The calling thread is core `id` from now on; returns the one it was. */
uint32_t core_enter(uint32_t id);

/* The fake interrupt controller. */
uint64_t sgi_count(uint32_t core);          /* how often the core was signalled */
bool sgi_take(uint32_t core);               /* was it since it last looked? Clears it */
void core_wait(void);                       /* until it is: WFI. Panics when nothing comes: a lost wake-up */
extern _Atomic bool machine_off;            /* a helper that is signalled now ends its thread */
extern void (*gic_sgi_hook)(uint32_t core); /* runs in the one who signals; NULL: nothing */

/*
 * Runs `act` just before the next write to the page of `p`, in the middle of whoever writes: compare-and-swap counts as
 * a write, a load does not. So it happens between the look at a word and the change of it.
 */
void before_write(const volatile void *p, void (*act)(void));

/* `size` bytes that may only be read; the first one `misaligned` bytes into a page. */
const uint8_t *image_make(uint64_t size, uint64_t misaligned);
uint8_t image_byte(uint64_t offset);
void image_drop(void);

struct world_config {
    uint64_t blocks; /* of the machine */
    uint32_t vcpus, helpers;
    uint64_t ram_base, ram_size; /* of the guest: zeroes */
    bool by_page;
    uint64_t limit; /* pages that the guest may hold at once; 0: no limit. Helper 0 serves all then */
};

/* One guest: vCPUs on cores 0 .. vcpus, then the helpers. The vCPUs are dealt out to the helpers in turn. */
struct world {
    struct s2 s2;
    struct frame_cache boot;
    uint32_t vcpus;
    struct s2_port port[MAX_CORES];
    struct populator inline_populator[MAX_CORES];
    struct report_helper inline_stats[MAX_CORES];
    struct paging paging;
};
extern struct world world;

void world_make(const struct world_config *c);
void world_drop(void);

/* The descriptor that decides about `at`, and what it says about the one page. */
struct s2_entry world_walk(uint64_t at);
uint64_t world_page(uint64_t at);

/* A fault of one vCPU. `*queued` is not cleared. */
enum s2_fault_result world_fault(uint32_t vcpu, uint64_t at, bool write, bool *queued);

/* One step of helper `h`, then nothing but those of the kind; back on the core that called. */
bool world_step(uint32_t h);
void world_settle(void);

/* What a guest's access does: faults until the page is there, helpers working meanwhile. Returns where the byte is. */
uint8_t *world_touch(uint32_t vcpu, uint64_t at, bool write);

/* Counters and records against what the tables say; natural offsets; no frame twice. Nobody is at work. */
struct audit {
    uint64_t present, block; /* pages */
};
struct audit world_audit(void);
