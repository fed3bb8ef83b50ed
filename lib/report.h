/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What leaves EL2 for the launcher: result, counters, trace.
 *
 * The report lies in EL2's own RAM, which no guest can map. Under QEMU the launcher reads it from outside, through the
 * file that backs the machine's RAM, at any moment: after a panic or a timeout too. Counters are therefore kept here
 * and nowhere else; each is written by one core only (a plain store), unless a comment says otherwise.
 *
 * Layout: little-endian, naturally aligned, offsets and strides given in the head, so a reader never guesses a size.
 * Fields are only ever added at the end of a struct. tools/mw holds the reader.
 */
#pragma once

#include <stdatomic.h>

#include "lib/types.h"

#define REPORT_MAGIC UINT64_C(0x74726f706572776d) /* "mwreport" in memory */
#define REPORT_VERSION 1

#define REPORT_WAITS 36
#define REPORT_REFUSALS 5
#define REPORT_ORIGINS 8

enum report_result {
    REPORT_RUNNING = 0,
    REPORT_OFF = 1,     /* every guest did SYSTEM_OFF */
    REPORT_PANIC = 2,   /* EL2 broke an invariant of its own */
    REPORT_ENDED = 3,   /* all guests ended, at least one other than by SYSTEM_OFF: see their status */
    REPORT_NO_BOOT = 4, /* EL2 could not start at all (wrong exception level, no memory, no timer) */
};

enum report_guest_status {
    GUEST_ABSENT = 0,
    GUEST_RUNNING = 1,
    GUEST_OFF = 2,
    GUEST_REFUSED = 3,
    GUEST_DESTROYED = 4,
    GUEST_RESET = 5, /* asked for a reset that nobody serves */
};

/* Of a guest with a residency limit; all in pages of 4 KiB. */
struct report_paging {
    uint64_t limit;
    uint64_t resident; /* have a frame, those ready for its vCPUs included */
    struct {
        uint64_t clean;  /* their content was elsewhere already */
        uint64_t zero;   /* all zeroes */
        uint64_t same;   /* one word all over */
        uint64_t store;  /* compressed */
        uint64_t swap;   /* to the disk */
        uint64_t wanted; /* put back, since they were touched or in use */
    } evicted;
    struct {
        uint64_t same, store, swap, source; /* and came back from there */
    } brought;
    struct {
        uint64_t pages;  /* brought before anyone asked */
        uint64_t missed; /* and evicted or freed without having been touched */
        uint64_t window; /* pages, at the moment */
    } ahead;
    uint64_t starved; /* requests that found no room and had to wait */
    uint64_t rounds;  /* of TLB maintenance */
    uint64_t pauses;  /* for want of room */
    uint64_t refused; /* times that a page was to go, and there was no place for it */
};

struct report_guest {
    char name[32];                /* NUL-terminated */
    _Atomic uint32_t status;      /* enum report_guest_status */
    uint32_t vcpus;               /* how many */
    uint64_t ram_pages;           /* 4 KiB pages */
    _Atomic int64_t touched;      /* pages the helpers made present, less what they took away; several writers */
    _Atomic int64_t block;        /* of them, those under 2 MiB descriptors; several writers */
    char reason[96];              /* why it was refused or destroyed, NUL-terminated, "" if it was not */
    uint64_t filled_before_start; /* pages present before the guest's first instruction: 0, and shown to be */
    uint64_t resets;              /* times it has started again */
    struct report_paging paging;  /* zeroes: it has no limit */
    uint64_t s2_root;             /* PA of its stage-2 root table (mm/desc.h), for who looks on from outside */
    uint64_t ram_base;            /* IPA */
};

struct report_vcpu {
    uint32_t guest; /* index into the guests */
    uint32_t core;  /* index of the physical core */
    struct {
        uint64_t fast, queued, waited, mmio, nowhere;
    } faults;
    struct {
        uint64_t hvc, smc, sysreg, abort, wfx, irq, other;
    } exits;
    int64_t touched;       /* pages this vCPU's own core mapped from ready frames */
    int64_t block;         /* of them, those under 2 MiB descriptors */
    uint64_t wait_ns;      /* time spent waiting in EL2 for pages */
    uint64_t shared_locks; /* shared locks taken between entering and leaving the fault path */
    uint64_t unreadable;   /* external aborts for pages whose content could not be read */
    struct {
        uint64_t freed;          /* pages that were present */
        uint64_t kept;           /* pages that were offered, and stay as they are */
        uint64_t rounds;         /* of TLB maintenance */
    } given_back;                /* by this vCPU */
    uint64_t rejuvenated;        /* access flag faults: pages touched that had not been for a while */
    _Atomic uint64_t ahead_hits; /* of those, pages that were brought before anyone asked; the helper reads it */
    uint64_t faults_interrupted; /* waits for a page that ended for an interrupt of the guest's own */
    struct {
        uint64_t injected;                 /* faults that its guest was told of, and went on; tokens have it */
        uint64_t ready;                    /* of those, answered by an entry of the ring */
        uint64_t waits;                    /* of those, waited for after all */
        uint64_t refused[REPORT_REFUSALS]; /* faults waited for although its guest has turned this on (vcpu/apf.h) */
    } apf;
    /* Waits for pages in which the core slept, and that took 2^n to 2^(n+1) ns; the last: or longer. */
    uint64_t wait_log2[REPORT_WAITS];
    /* Of `injected`: loads and stores, and fetches; by bits 4:2 of SPSR_EL2: 0 from EL0, 1 from EL1, 4 from AArch32. */
    uint64_t apf_from[2][REPORT_ORIGINS];
} __attribute__((aligned(CACHE_LINE)));

struct report_store {
    uint64_t bytes;          /* what it has */
    uint64_t pages;          /* in it */
    uint64_t stored_bytes;   /* that they take */
    uint64_t incompressible; /* pages that were not worth it */
    uint64_t full;           /* times there was no place */
};

struct report_swap {
    uint64_t slots, used; /* of 4 KiB */
    uint64_t written_pages, writes;
    uint64_t reads;
    uint64_t read_early; /* had from memory, before they were written */
    uint64_t read_errors, write_errors;
};

struct report_helper {
    uint32_t core;
    uint32_t reserved;
    uint64_t zeroed_pages;
    uint64_t populated_pages;
    uint64_t promoted_blocks;
    uint64_t busy_ns;
    uint64_t requests;
    uint64_t shared_locks; /* taken while a vCPU's request was served */
    uint64_t unreadable;   /* pages whose content could not be read */
    struct report_store store;
    struct report_swap swap;
} __attribute__((aligned(CACHE_LINE)));

struct report {
    uint64_t magic;
    uint32_t version;
    uint32_t size;
    _Atomic uint32_t result;         /* enum report_result */
    uint32_t guests, vcpus, helpers; /* how many entries of each array are in use */
    uint32_t guest_offset, guest_stride;
    uint32_t vcpu_offset, vcpu_stride;
    uint32_t helper_offset, helper_stride;
    uint64_t counter_hz;
    uint64_t entry_ticks;       /* CNTPCT_EL0 when EL2 was entered */
    uint64_t first_guest_ticks; /* CNTPCT_EL0 just before the first guest's first instruction */
    char reason[96];            /* panic or refusal to boot, NUL-terminated */
    uint64_t image_base;        /* where EL2 runs: what to subtract from an address of it to find its symbol */
    struct report_guest guest[MAX_GUESTS];
    struct report_vcpu vcpu[MAX_CORES];
    struct report_helper helper[MAX_CORES];
};

extern struct report report;

/* Fills the head. Boot core, once, before any other core runs. */
void report_init(uint64_t entry_ticks, uint64_t image_base);
