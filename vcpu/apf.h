/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asynchronous page faults, EL2's side of what doc/abi.md promises: while a page is on its way, its vCPU goes on. The guest is
 * told by an abort whose FAR_EL1 is a token, and later, by an entry of a ring in a page that it shares with EL2 and by a
 * PPI, that it may try again.
 *
 * A vCPU's own core does all of this: it takes the abort, writes the ring and makes the PPI pending. The helper knows nothing
 * of it: it signals who waits for a page, as ever, and the vCPU's core then looks which of its tokens have ended. So the
 * ring has one writer, and nothing here is locked. Only a token may be taken back by another vCPU's core, to which its task
 * has gone: whoever exchanges it for something else has it. One whose entry is written and not yet announced is neither
 * there nor told, so who asks for it waits for the few steps that this takes.
 */
#pragma once

#include <stdatomic.h>

#include "lib/esr.h"
#include "mm/fault.h"
#include "vcpu/platform.h"

struct vm;
struct vcpu;

/* ---- the page, as pv/abi.h has it: parts of one writer each, 256 bytes apart, since that is the largest cache line */

#define APF_RING ASYNC_FAULTS
#define APF_ALL UINT64_MAX  /* token of an APF_WAKE_ALL */
#define APF_FLAG_EL1 BIT(0) /* of those that pv/abi.h has */

/* Why a vCPU waits for a page although its guest has turned this on. */
enum apf_refusal { APF_NOT_ON_WALKS, APF_NOT_MASKED, APF_NOT_IN_KERNEL, APF_NO_ROOM, APF_ALONE, APF_MAY };

_Static_assert(APF_MAY == REPORT_REFUSALS, "each has its counter");

enum apf_status { APF_READY, APF_ERROR, APF_WAKE_ALL };

struct apf_entry {
    uint64_t token;
    uint32_t status; /* enum apf_status */
    uint32_t reserved;
};

struct apf_page {
    uint64_t magic;
    uint32_t version, size;
    _Atomic uint32_t producer __attribute__((aligned(256))); /* EL2 writes it */
    _Atomic uint32_t consumer __attribute__((aligned(256))); /* the guest does: anything may stand here */
    struct apf_entry ring[APF_RING] __attribute__((aligned(256)));
};

/* ---- a vCPU's part */

struct apf_fault {
    _Atomic uint64_t token; /* 0: none. Who takes it from there owes an answer; what follows holds until then */
    _Atomic uint64_t page;  /* IPA */
    struct s2_ticket ticket;
};

struct apf {
    struct apf_page *page;   /* own core; NULL: off */
    struct apf_fault *fault; /* ASYNC_FAULTS of them */
    uint64_t outstanding;    /* own core: of these, what was not seen to end */
    uint32_t held;           /* how many those are */
    uint32_t flags, producer;
    uint32_t alone;           /* own core: tokens in a row that the guest waited for as soon as it had them */
    uint32_t hold_off;        /* own core: faults that it is not told of, since it would wait for those too */
    _Atomic uint64_t at;      /* IPA of the page; 0: none. Others look whether it is theirs */
    _Atomic uint32_t dropped; /* another vCPU has said that all registrations are void */
};

/* Boot core. `number`: among all vCPUs. */
void apf_init(struct vcpu *v, uint32_t number);

enum apf_result {
    APF_OK,
    APF_ON,    /* it is on already */
    APF_TAKEN, /* another vCPU has that page */
    APF_BAD,   /* it cannot be read, or the guest ends */
};

/* Own core, all of these, while serving an exit. `at` is a page of the guest's RAM, and zeroed. */
WARN_UNUSED enum apf_result apf_enable(struct vcpu *v, ipa_t at, uint32_t flags);

/* No token of this vCPU from now on is this or less: they count up for as long as the machine runs. */
uint64_t apf_last_token(const struct vcpu *v);

/* Nothing is written to the page after this. What was outstanding is answered by one APF_WAKE_ALL. False: it was off. */
bool apf_disable(struct vcpu *v);

/* The same without a word to the guest, which has gone: CPU_OFF, reset, a kernel that starts anew. */
void apf_clear(struct vcpu *v);

/* A kernel starts, and knows nothing of what another one had registered. All vCPUs of the guest. */
void apf_drop_all(struct vcpu *v);

/*
 * The fault `f` of this exit, whose page is on its way, becomes an abort of the guest's. False: it may not (design: only where
 * the guest could take an interrupt and its task may sleep), and nothing was done.
 */
WARN_UNUSED bool apf_inject(struct vcpu *v, const struct s2_fault *f);

/*
 * The guest waits for `token`. If that is what it got last, and all that is on its way, it has nothing else to run: after a few such
 * in a row it is not told of the next fault, then of the next two, up to 16, but waits for them right away.
 */
void apf_waits(struct vcpu *v, uint64_t token);

/* An interrupt came for a guest that waits for a page: there may be something else to run from now on. */
static inline void apf_ask_again(struct apf *a)
{
    a->hold_off = 0;
}

/* A signal has come: tells the guest of the tokens that have ended. */
void apf_collect(struct vcpu *v);

/* Takes a token back: nothing will be said of it. False: it is none, or its entry is in a ring already. */
WARN_UNUSED bool apf_take_back(struct vm *vm, uint64_t token, ipa_t *page);
