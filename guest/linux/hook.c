// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel has a table of handlers for aborts, by fault status, and no way to change it: fault_info in arch/arm64/mm/fault.c.
 * It is not to be found by name either (KALLSYMS_ALL=n), but do_mem_abort() is, and takes its address. So we read those
 * instructions, see whether what they point to is that table, and write two pointers of it through a mapping of our own, for its
 * pages are read-only.
 *
 * Of the ways that work on kernels that nobody has prepared this is the one that no other fault notices: ftrace would take each
 * of them on a detour, and a kprobe would turn each of ours into two exceptions more.
 */
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/insn.h>
#include <asm/memory.h>

#include "meanwhile.h"

#define TABLE_ENTRIES	64
#define LOOK		64	/* instructions of do_mem_abort() */

struct entry {
	mw_abort_fn *fn;
	int sig;
	int code;
	const char *name;
};

static struct entry *alias;	/* of the table, writable where it is mapped: from the first entry we change */
static void *mapping;
static mw_abort_fn *before[TABLE_ENTRIES];

void *mw_lookup(const char *function)
{
	static unsigned long (*find)(const char *);

	if (!find) {
		struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };

		if (register_kprobe(&kp))
			return NULL;
		find = (void *)kp.addr;
		unregister_kprobe(&kp);
	}
	return (void *)find(function);
}

static bool named(const struct entry *e, const char *name)
{
	size_t size = strlen(name) + 1;
	const char *at;
	char buf[48];

	return size <= sizeof(buf) && !copy_from_kernel_nofault(&at, &e->name, sizeof(at)) &&
	       !copy_from_kernel_nofault(buf, at, size) && !memcmp(buf, name, size);
}

/* The names of its first entry and of the two that we are about have been these since there was an arm64 (5.19 for ours). */
static bool is_table(const struct entry *t)
{
	return named(&t[0], "ttbr address size fault") && named(&t[0x10], "synchronous external abort") &&
	       named(&t[0x34], "implementation fault (lockdown abort)");
}

static s64 field(u32 insn, int high, int low)
{
	return (insn >> low) & ((1u << (high - low + 1)) - 1);
}

/* What "adrp Rd, page; add Rd, Rd, #low" makes, the first of them at `pc`; 0: it is not that. They need not be neighbours. */
static unsigned long address_made(const u32 *insn, const u32 *end, unsigned long pc)
{
	u32 adrp = *insn, rd = field(adrp, 4, 0);
	s64 pages;

	if ((adrp & 0x9f000000) != 0x90000000)
		return 0;
	pages = sign_extend64(field(adrp, 23, 5) << 2 | field(adrp, 30, 29), 20);
	for (insn++; insn < end; insn++) {
		if ((*insn & 0xffc00000) == 0x91000000 && field(*insn, 4, 0) == rd && field(*insn, 9, 5) == rd)
			return (pc & ~(SZ_4K - 1UL)) + pages * SZ_4K + field(*insn, 21, 10);
	}
	return 0;
}

static struct entry *find_table(void)
{
	const u32 *code = mw_lookup("do_mem_abort");
	u32 copy[LOOK];
	int i;

	if (!code || copy_from_kernel_nofault(copy, code, sizeof(copy)))
		return NULL;
	for (i = 0; i < LOOK - 1; i++) {
		unsigned long made = address_made(&copy[i], &copy[LOOK], (unsigned long)&code[i]);

		if (made && is_table((struct entry *)made))
			return (struct entry *)made;
	}
	return NULL;
}

static void put(unsigned int status, mw_abort_fn *fn)
{
	before[status] = READ_ONCE(alias[status].fn);
	smp_store_release(&alias[status].fn, fn);
}

int mw_hook(unsigned int first, mw_abort_fn *fn, unsigned int second, mw_abort_fn *other)
{
	struct entry *table = find_table();
	struct page *pages[2];
	unsigned long at, phys;

	if (!table) {
		pr_err("meanwhile: this kernel's table of abort handlers is not to be found\n");
		return -ENOENT;
	}
	at = (unsigned long)&table[first];
	phys = at - kimage_voffset;
	pages[0] = pfn_to_page(PHYS_PFN(phys));
	pages[1] = pfn_to_page(PHYS_PFN(phys) + 1); /* they may lie across two: the whole table is smaller than one */
	mapping = vmap(pages, 2, VM_MAP, PAGE_KERNEL);
	if (!mapping)
		return -ENOMEM;
	alias = mapping + offset_in_page(phys);
	alias -= first;
	put(first, fn);
	put(second, other);
	return 0;
}

mw_abort_fn *mw_unhooked(unsigned int status)
{
	return before[status];
}

void mw_unhook(void)
{
	unsigned int status;

	/* There are no new aborts of ours; who has taken one may not have come to the table yet. */
	synchronize_rcu_tasks();
	synchronize_rcu();
	for (status = 0; status < TABLE_ENTRIES; status++) {
		if (before[status])
			WRITE_ONCE(alias[status].fn, before[status]);
	}
	/*
	 * Who had read our pointer counts as inside from now on, who has left is out of our code: each of the two takes that no
	 * task is preempted where it was.
	 */
	synchronize_rcu_tasks();
	synchronize_rcu();
	while (mw_tasks_inside())
		msleep(20);
	synchronize_rcu_tasks();
	synchronize_rcu();
	vunmap(mapping);
}
