/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Asynchronous page faults of the Meanwhile hypervisor, as a module for kernels that know nothing of them (doc/abi.md there).
 *
 * main.c finds the hypervisor, and turns this on and off with CPUs; hook.c puts our handler among those of the kernel's abort
 * path; park.c is that handler, and what wakes those that it has put to sleep.
 */
#pragma once

#include <linux/types.h>

struct pt_regs;

typedef int mw_abort_fn(unsigned long far, unsigned long esr, struct pt_regs *regs);

/* hook.c: `fn` and `other` instead of the kernel's handlers for aborts with these fault statuses, in their order. Process context. */
int mw_hook(unsigned int first, mw_abort_fn *fn, unsigned int second, mw_abort_fn *other);
/* No task is in either, nor will be, when this returns, if those that sleep in it have been woken before. The same. */
void mw_unhook(void);
mw_abort_fn *mw_unhooked(unsigned int status); /* what was there. Any context, from `fn` and `other` */
void *mw_lookup(const char *function); /* a function of the kernel's that it does not export, or NULL */

/* park.c */
int mw_park_init(void);
void mw_park_exit(void);
mw_abort_fn mw_not_present;
mw_abort_fn mw_no_content; /* a page that cannot be read is an external abort, for whoever touches it */

#define MW_EXTERNAL_ABORT	0x10	/* the fault statuses */
#define MW_NOT_PRESENT		0x34
void mw_event(void); /* the event interrupt, on this CPU */
/* On this CPU, interrupts on: from now on there are events, or none any more and nobody is asleep for one. */
int mw_cpu_enable(bool el1);
void mw_cpu_disable(void);
int mw_tasks_inside(void); /* in the two handlers */

struct mw_stats {
	u64 parked_user, parked_kernel;	/* faults slept for */
	u64 parked_compat;		/* of the user's, those of AArch32 */
	u64 early;			/* the page was there before we slept */
	u64 waited_alone;		/* waited for in the hypervisor: nothing else to run */
	u64 waited_atomic;		/* the same: the context must not sleep */
	u64 events, interrupts;		/* ring entries, and by how many interrupts */
	u64 errors;			/* pages without content */
	u64 woken_all;			/* woken since their CPU went, or this was turned off */
};
void mw_stats_sum(struct mw_stats *sum);
