/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stage-2 fault, as a state machine over the one descriptor that decides (design: "two words say all about a page").
 */
#pragma once

#include "lib/esr.h"
#include "mm/populate.h"

enum s2_fault_result {
    S2_RESUME,    /* the guest may try again: the page is there now, or was already */
    S2_WAIT,      /* somebody is at it: try again after a while, or sleep as s2_wait_signal() says */
    S2_BUSY,      /* the descriptor is being replaced: try again, do not sleep */
    S2_FULL,      /* no request is free: try again after a while, or sleep as s2_full_signal() says */
    S2_MMIO,      /* `*mmio` is the kind of device */
    S2_NOWHERE,   /* external abort */
    S2_ERROR,     /* the same: there is a page, but its content cannot be read */
    S2_NO_MEMORY, /* the machine has none left */
};

/*
 * Own core of the vCPU whose port it is. `write`: the access needs write permission. Called again for the same fault
 * after S2_WAIT, S2_BUSY or S2_FULL; `*queued` is set when the fault needed more than a ready frame.
 */
enum s2_fault_result s2_fault(struct s2 *s, struct s2_port *port, ipa_t at, bool write, uint32_t *mmio, bool *queued);

/*
 * After S2_WAIT, before the core sleeps: it will be signalled when the page at `at` is there. It must not acknowledge a
 * signal before it sleeps. False: the page is not on its way any more, so look again instead. A core that only looks
 * again and again costs nobody a signal.
 */
WARN_UNUSED bool s2_wait_signal(struct s2 *s, ipa_t at);

/* The same after S2_FULL: it will be signalled when one of the port's requests is over. False: one is free. */
WARN_UNUSED bool s2_full_signal(struct s2_port *port);

/*
 * Own core: the page will be touched soon. If it has content somewhere, it begins to come. False: it would have to wait, for as
 * many are on their way as a vCPU may have.
 */
WARN_UNUSED bool s2_hint(struct s2 *s, struct s2_port *port, ipa_t at);

/* A request that a page is on its way by, and which of the requests with that number it is. */
struct s2_ticket {
    uint32_t number, round;
};

/* The same for a core that does something else meanwhile: it is signalled once, and then asks whether the ticket has ended. */
WARN_UNUSED bool s2_wait_ticket(struct s2 *s, ipa_t at, struct s2_ticket *t);

/* The request is over, or nearly: the page is there, or try again. Signals again if it is not. */
bool s2_ticket_ended(const struct s2_ticket *t);

/* The page is there, and has no content. */
bool s2_is_unreadable(struct s2 *s, ipa_t at);

/*
 * Where a fault lies. For a permission fault that is not on a stage-1 walk HPFAR_EL2 is UNKNOWN, so the guest's own
 * stage 1 is asked (AT S1E1R). False: the guest has changed its mind meanwhile; resume it and let it fault again.
 */
WARN_UNUSED bool s2_fault_locate(struct s2_fault *f);
