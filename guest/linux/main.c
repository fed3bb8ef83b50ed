// SPDX-License-Identifier: GPL-2.0
#include <linux/acpi.h>
#include <linux/arm-smccc.h>
#include <linux/cpuhotplug.h>
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/of_irq.h>
#include <linux/reboot.h>
#include <linux/seq_file.h>
#include <linux/suspend.h>

#include "meanwhile.h"
#include "pv/abi.h"

static DEFINE_MUTEX(turning);	/* taken before those of CPUs that come and go; who writes these three has it */
static bool wanted = true;	/* the parameter, which is the kernel's to write */
static bool loaded;		/* all below is there */
static bool away;		/* the machine sleeps, or goes on to another kernel */
static bool kernel_too = true;
module_param_named(kernel, kernel_too, bool, 0444);
MODULE_PARM_DESC(kernel, "sleep also where the kernel accesses a user's page (default: yes)");

static int irq;
static int __percpu *cookie;
static enum cpuhp_state hotplug_state;
static struct dentry *dir;

/* ---- who is there */

static bool is_meanwhile(void)
{
	struct arm_smccc_res res;

	if (arm_smccc_1_1_get_conduit() == SMCCC_CONDUIT_NONE)
		return false;
	arm_smccc_1_1_invoke(MW_FN_UID, &res);
	return (u32)res.a0 == MW_UID_0 && (u32)res.a1 == MW_UID_1 && (u32)res.a2 == MW_UID_2 && (u32)res.a3 == MW_UID_3;
}

/* With a device tree its node is what says that we may call; without one, the standard query of who serves the range. */
static int find_hypervisor(void)
{
	struct device_node *node = NULL;
	struct arm_smccc_res res;

	if (acpi_disabled) {
		node = of_find_compatible_node(NULL, NULL, MW_COMPATIBLE);
		if (!node)
			return -ENODEV;
	}
	if (!is_meanwhile()) {
		of_node_put(node);
		return -ENODEV;
	}
	arm_smccc_1_1_invoke(MW_FN_INFO, &res);
	if ((s64)res.a0 < 0 || res.a0 >> 16 != MW_REVISION_MAJOR || !(res.a1 & MW_FEATURE_APF)) {
		of_node_put(node);
		return -ENODEV;
	}
	if (node)
		irq = irq_of_parse_and_map(node, 0);
	else
		irq = acpi_register_gsi(NULL, res.a3, ACPI_EDGE_SENSITIVE, ACPI_ACTIVE_HIGH);
	of_node_put(node);
	return irq > 0 ? 0 : -ENXIO;
}

static irqreturn_t on_event(int nr, void *data)
{
	mw_event();
	return IRQ_HANDLED;
}

/* ---- CPUs come and go */

static void enable_here(void *result)
{
	int err = mw_cpu_enable(kernel_too);

	if (err && result)
		*(int *)result = err;
}

static void disable_here(void *unused)
{
	mw_cpu_disable();
}

/* A CPU that cannot have this is one all the same. */
static int went_online(unsigned int cpu)
{
	int err = 0;

	enable_percpu_irq(irq, IRQ_TYPE_NONE);
	if (READ_ONCE(wanted) && !READ_ONCE(away))
		enable_here(&err);
	if (err)
		pr_warn("meanwhile: CPU %u waits for its pages (%d)\n", cpu, err);
	return 0;
}

static int going_offline(unsigned int cpu)
{
	disable_here(NULL);
	disable_percpu_irq(irq);
	return 0;
}

static void all_cpus(bool on)
{
	cpus_read_lock();
	on_each_cpu(on ? enable_here : disable_here, NULL, 1);
	cpus_read_unlock();
}

/* What is wanted now. A CPU that comes meanwhile sees it too, or is among these. */
static void turn(void)
{
	lockdep_assert_held(&turning);
	if (loaded)
		all_cpus(wanted && !away);
}

static void set_away(bool is)
{
	mutex_lock(&turning);
	WRITE_ONCE(away, is);
	turn();
	mutex_unlock(&turning);
}

static void set_loaded(bool is)
{
	mutex_lock(&turning);
	loaded = is;
	turn();
	mutex_unlock(&turning);
}

/* Off while the machine sleeps: what wakes it may be another kernel, from an image. */
static int on_sleep(struct notifier_block *nb, unsigned long event, void *unused)
{
	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		set_away(true);
		break;
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		set_away(false);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block sleep_block = { .notifier_call = on_sleep };

/* A kernel that takes over, by kexec, knows nothing of our pages. */
static int on_reboot(struct notifier_block *nb, unsigned long code, void *unused)
{
	set_away(true);
	return NOTIFY_DONE;
}

static struct notifier_block reboot_block = { .notifier_call = on_reboot };

static int set_wanted(const char *val, const struct kernel_param *kp)
{
	int err = param_set_bool(val, kp);

	mutex_lock(&turning);
	turn();
	mutex_unlock(&turning);
	return err;
}

static const struct kernel_param_ops wanted_ops = { .set = set_wanted, .get = param_get_bool };
module_param_cb(apf, &wanted_ops, &wanted, 0644);
MODULE_PARM_DESC(apf, "asynchronous page faults (default: yes); may be changed at any time");

/* ---- what has happened */

static int stats_show(struct seq_file *m, void *unused)
{
	struct mw_stats s;

	mw_stats_sum(&s);
#define LINE(name) seq_printf(m, #name " %llu\n", s.name)
	LINE(parked_user);
	LINE(parked_kernel);
	LINE(parked_compat);
	LINE(early);
	LINE(waited_alone);
	LINE(waited_atomic);
	LINE(events);
	LINE(interrupts);
	LINE(errors);
	LINE(woken_all);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* ---- */

static int __init mw_init(void)
{
	int err = find_hypervisor();

	if (err)
		return err;
	err = mw_park_init();
	if (err)
		return err;
	cookie = alloc_percpu(int);
	if (!cookie) {
		err = -ENOMEM;
		goto no_cookie;
	}
	err = request_percpu_irq(irq, on_event, "meanwhile", cookie);
	if (err)
		goto no_irq;
	err = mw_hook(MW_EXTERNAL_ABORT, mw_no_content, MW_NOT_PRESENT, mw_not_present);
	if (err)
		goto no_hook;
	err = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "meanwhile:online", went_online, going_offline);
	if (err < 0)
		goto no_hotplug;
	hotplug_state = err;
	register_pm_notifier(&sleep_block);
	register_reboot_notifier(&reboot_block);
	dir = debugfs_create_dir("meanwhile", NULL);
	debugfs_create_file("stats", 0444, dir, NULL, &stats_fops);
	set_loaded(true);
	pr_info("meanwhile: asynchronous page faults, interrupt %d\n", irq);
	return 0;

no_hotplug:
	mw_unhook();
no_hook:
	free_percpu_irq(irq, cookie);
no_irq:
	free_percpu(cookie);
no_cookie:
	mw_park_exit();
	return err;
}

static void __exit mw_exit(void)
{
	set_loaded(false);
	debugfs_remove_recursive(dir);
	unregister_reboot_notifier(&reboot_block);
	unregister_pm_notifier(&sleep_block);
	cpuhp_remove_state(hotplug_state); /* turns it off on each CPU */
	mw_unhook();
	free_percpu_irq(irq, cookie);
	free_percpu(cookie);
	mw_park_exit();
}

module_init(mw_init);
module_exit(mw_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Asynchronous page faults of the Meanwhile hypervisor");
MODULE_ALIAS("of:N*T*Cmeanwhile,hypervisor");
MODULE_VERSION("1.0");
