// SPDX-License-Identifier: GPL-2.0
/*
 * A task whose page is on its way sleeps until an event says that it may try again.
 *
 * The event may come before the task is asleep, and on another CPU than the task is on by then: a token's first half says whose
 * ring its event is in. Ring, sleepers, and events that came too early are that CPU's, under one lock. An event whose task is
 * not there yet is kept until the task comes; each task comes, for it either sleeps or waits in the hypervisor.
 */
#include <linux/arm-smccc.h>
#include <linux/cpu.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/gfp.h>
#include <linux/sched/task.h>
#include <linux/uaccess.h>
#include <asm/esr.h>
#include <asm/ptrace.h>

#include "meanwhile.h"
#include "pv/abi.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define EARLY_MAX	64

struct sleeper {
	struct list_head link;
	u64 token;
	u32 status;
	bool done;	/* the last that is written here: it is on the stack of `task` */
	struct task_struct *task;
};

struct early {
	u64 token;
	u32 status;
};

struct ring {
	raw_spinlock_t lock;
	void *page;		/* NULL: off */
	u64 after;		/* tokens up to this one are of an earlier registration: nobody answers them */
	struct list_head sleepers;
	struct early early[EARLY_MAX];
	unsigned int early_count;
	struct mw_stats stats;
};

static DEFINE_PER_CPU(struct ring, rings);
static DEFINE_PER_CPU(unsigned long, pages);	/* one for each, kept while the module is there */
static atomic_t inside;
static bool (*fixup)(struct pt_regs *regs, unsigned long esr); /* the second for kernels that want it */

static __le32 *word(struct ring *r, unsigned int offset)
{
	return r->page + offset;
}

/* ---- events. The ring's lock is held, interrupts are off. */

static void wake(struct sleeper *s, u32 status)
{
	struct task_struct *task = s->task;

	s->status = status;
	list_del(&s->link);
	get_task_struct(task);
	smp_store_release(&s->done, true);
	wake_up_process(task);
	put_task_struct(task);
}

static void wake_all(struct ring *r)
{
	struct sleeper *s, *next;

	list_for_each_entry_safe(s, next, &r->sleepers, link) {
		r->stats.woken_all++;
		wake(s, MW_APF_WAKE_ALL);
	}
	r->early_count = 0;
}

/* False: there is no room to keep it; it stays in the ring. */
static bool answer(struct ring *r, u64 token, u32 status)
{
	struct sleeper *s;

	if (status == MW_APF_WAKE_ALL) {
		wake_all(r);
		return true;
	}
	list_for_each_entry(s, &r->sleepers, link) {
		if (s->token == token) {
			wake(s, status);
			return true;
		}
	}
	if (r->early_count == EARLY_MAX)
		return false;
	r->early[r->early_count++] = (struct early){ token, status };
	return true;
}

static void read_ring(struct ring *r)
{
	u32 at, to;

	if (!r->page)
		return;
	at = le32_to_cpu(READ_ONCE(*word(r, MW_APF_PAGE_CONSUMER)));
	for (;;) {
		to = le32_to_cpu(smp_load_acquire(word(r, MW_APF_PAGE_PRODUCER)));
		if (at == to)
			return;
		for (; at != to; at++) {
			void *e = r->page + MW_APF_PAGE_RING + at % MW_APF_ENTRIES * MW_APF_ENTRY_BYTES;
			u64 token = le64_to_cpu(READ_ONCE(*(__le64 *)(e + MW_APF_ENTRY_TOKEN)));
			u32 status = le32_to_cpu(READ_ONCE(*(__le32 *)(e + MW_APF_ENTRY_STATUS)));

			if (!answer(r, token, status))
				break;
			r->stats.events++;
			trace_mw_event(token, status);
		}
		smp_store_release(word(r, MW_APF_PAGE_CONSUMER), cpu_to_le32(at));
		if (at != to)
			return;
		smp_mb(); /* our index before the look at theirs: pairs with the hypervisor's barrier */
	}
}

void mw_event(void)
{
	struct ring *r = this_cpu_ptr(&rings);

	raw_spin_lock(&r->lock);
	r->stats.interrupts++;
	read_ring(r);
	raw_spin_unlock(&r->lock);
}

/* The event of this token has come already: it is forgotten. */
static bool came_early(struct ring *r, u64 token, u32 *status)
{
	unsigned int i;

	read_ring(r);
	for (i = 0; i < r->early_count; i++) {
		if (r->early[i].token == token) {
			*status = r->early[i].status;
			r->early[i] = r->early[--r->early_count];
			read_ring(r); /* if there was no room before, there is now */
			return true;
		}
	}
	return false;
}

/* ---- the abort */

/* The hypervisor's vCPU has the number of what it said when that was turned on; Linux may number its CPUs otherwise. */
static bool is_its(const struct ring *r, u64 token)
{
	u64 after = READ_ONCE(r->after);

	return after && (after ^ token) >> MW_APF_TOKEN_VCPU_SHIFT == 0;
}

static struct ring *ring_of(u64 token)
{
	struct ring *r = raw_cpu_ptr(&rings);
	unsigned int cpu;

	if (is_its(r, token))
		return r;
	for_each_possible_cpu(cpu) { /* the task has moved */
		r = per_cpu_ptr(&rings, cpu);
		if (is_its(r, token))
			return r;
	}
	return NULL;
}

/* Returns what the event said. */
static u32 park(struct ring *r, u64 token, const struct pt_regs *regs)
{
	bool user = user_mode(regs);
	struct sleeper s = { .token = token, .task = current };
	unsigned long flags;
	u32 status;

	raw_spin_lock_irqsave(&r->lock, flags);
	if (!r->page || token <= r->after) { /* turned off since: try again */
		raw_spin_unlock_irqrestore(&r->lock, flags);
		return MW_APF_WAKE_ALL;
	}
	if (came_early(r, token, &status)) {
		r->stats.early++;
		raw_spin_unlock_irqrestore(&r->lock, flags);
		return status;
	}
	list_add(&s.link, &r->sleepers);
	if (user)
		r->stats.parked_user++;
	else
		r->stats.parked_kernel++;
	r->stats.parked_compat += compat_user_mode(regs);
	raw_spin_unlock_irqrestore(&r->lock, flags);

	trace_mw_park(token, user);
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (smp_load_acquire(&s.done))
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	trace_mw_resume(token, s.status);
	return s.status;
}

/* In the hypervisor, since we must not sleep or would have nobody to leave the CPU to. */
static u32 wait_there(struct ring *r, u64 token, bool alone)
{
	struct arm_smccc_res res;
	unsigned long flags;
	u32 status = MW_APF_READY;

	trace_mw_wait(token, alone);
	arm_smccc_1_1_invoke(MW_FN_APF_WAIT, token, &res);
	raw_spin_lock_irqsave(&r->lock, flags);
	if (alone)
		r->stats.waited_alone++;
	else
		r->stats.waited_atomic++;
	if (res.a0 == MW_APF_UNREADABLE)
		status = MW_APF_ERROR;
	else if (res.a0 == MW_APF_TOLD)
		(void)came_early(r, token, &status);
	raw_spin_unlock_irqrestore(&r->lock, flags);
	return status;
}

/* The hypervisor tells us at EL1 only of addresses of the user's, where a page fault of the kernel's own may sleep too. */
static bool may_sleep(struct pt_regs *regs)
{
	if (user_mode(regs))
		return true;
	return interrupts_enabled(regs) && !irqs_disabled() && !in_interrupt() && !is_idle_task(current) && current->mm &&
	       !faulthandler_disabled();
}

/*
 * Nobody else wants this CPU, nor will soon: other sleepers may be woken on it, and an idle CPU pulls tasks from a busy one, which
 * one that waits in the hypervisor does not.
 */
static bool is_alone(void)
{
	return single_task_running() && atomic_read(&inside) == 1;
}

int mw_not_present(unsigned long far, unsigned long esr, struct pt_regs *regs)
{
	struct ring *r = ring_of(far);
	u32 status;

	if (!r)
		return mw_unhooked(MW_NOT_PRESENT)(far, esr, regs); /* no token of ours: what it is, the kernel may say */
	atomic_inc(&inside);
	if (!may_sleep(regs))
		status = wait_there(r, far, false);
	else if (is_alone())
		status = wait_there(r, far, true);
	else
		status = park(r, far, regs);
	if (status == MW_APF_ERROR)
		this_cpu_inc(rings.stats.errors); /* the next try is an external abort: the user's SIGBUS, or mw_no_content() */
	atomic_dec(&inside);
	return 0;
}

/*
 * Nobody is to be given this page again, nor is the kernel to clear it for another: it does not become readable by that. So it
 * is what the kernel knows as bad memory, and takes away from whoever has it, with SIGBUS at the next touch.
 */
static void retire(unsigned long address)
{
#ifdef CONFIG_MEMORY_FAILURE
	struct page *page;
	unsigned long pfn;

	if (get_user_pages_fast_only(untagged_addr(address), 1, 0, &page) != 1)
		return;
	pfn = page_to_pfn(page);
	put_page(page);
	memory_failure_queue(pfn, 0);
#endif
}

/*
 * The kernel takes an external abort for the end of everything, also where it accesses a user's page and could just say so: a
 * copy that fails tries its first bytes again one by one. Here it returns what any bad address would have it return, and the task
 * is killed as if it had touched the page itself, but where somebody only peeks and is not to be noticed.
 */
int mw_no_content(unsigned long far, unsigned long esr, struct pt_regs *regs)
{
	bool users = !(esr & ESR_ELx_FnV) && !(far & BIT(55));
	bool fixed = false;

	atomic_inc(&inside);
	if (users && may_sleep(regs))
		retire(far);
	if (users && !user_mode(regs) && fixup)
		fixed = fixup(regs, esr);
	if (fixed && may_sleep(regs))
		force_sig(SIGBUS);
	atomic_dec(&inside);
	return fixed ? 0 : mw_unhooked(MW_EXTERNAL_ABORT)(far, esr, regs);
}

int mw_tasks_inside(void)
{
	return atomic_read(&inside);
}

/* ---- on and off */

int mw_cpu_enable(bool el1)
{
	struct ring *r = this_cpu_ptr(&rings);
	struct arm_smccc_res res;
	unsigned long flags;
	int err = 0;

	/* No interrupt and no other task between the call and the note of it: a token may be of use at once. */
	raw_spin_lock_irqsave(&r->lock, flags);
	if (!r->page) {
		unsigned long page = this_cpu_read(pages);

		arm_smccc_1_1_invoke(MW_FN_APF_ENABLE, virt_to_phys((void *)page), el1 ? MW_APF_FLAG_EL1 : 0, &res);
		if (res.a0) {
			err = -EIO;
		} else {
			r->page = (void *)page;
			WRITE_ONCE(r->after, res.a1);
		}
	}
	raw_spin_unlock_irqrestore(&r->lock, flags);
	return err;
}

void mw_cpu_disable(void)
{
	struct ring *r = this_cpu_ptr(&rings);
	struct arm_smccc_res res;
	unsigned long flags;

	raw_spin_lock_irqsave(&r->lock, flags);
	if (r->page) {
		arm_smccc_1_1_invoke(MW_FN_APF_DISABLE, &res);
		read_ring(r);
		wake_all(r); /* whatever the hypervisor says: nothing more will come */
		r->page = NULL;
	}
	raw_spin_unlock_irqrestore(&r->lock, flags);
}

void mw_stats_sum(struct mw_stats *sum)
{
	unsigned int cpu, i;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu) {
		const u64 *from = (const u64 *)&per_cpu_ptr(&rings, cpu)->stats;

		for (i = 0; i < sizeof(*sum) / sizeof(u64); i++)
			((u64 *)sum)[i] += READ_ONCE(from[i]);
	}
}

int mw_park_init(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		struct ring *r = per_cpu_ptr(&rings, cpu);

		raw_spin_lock_init(&r->lock);
		INIT_LIST_HEAD(&r->sleepers);
		per_cpu(pages, cpu) = get_zeroed_page(GFP_KERNEL);
		if (!per_cpu(pages, cpu)) {
			mw_park_exit();
			return -ENOMEM;
		}
	}
	fixup = mw_lookup("fixup_exception");
	return 0;
}

void mw_park_exit(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		free_page(per_cpu(pages, cpu));
}
