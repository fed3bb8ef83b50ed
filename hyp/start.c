/* SPDX-License-Identifier: BSD-2-Clause */
#include "hyp/start.h"

#include "dev/firmware.h"
#include "dev/gic.h"
#include "dev/pl011.h"
#include "hyp/build.h"
#include "hyp/console.h"
#include "hyp/overcommit.h"
#include "lib/arch.h"
#include "lib/asm.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/disk_image.h"
#include "mm/el2map.h"
#include "mm/helper.h"
#include "vcpu/context.h"
#include "vcpu/idregs.h"
#include "vcpu/inject.h"
#include "vcpu/irq.h"
#include "vcpu/power.h"
#include "vcpu/reset.h"

_Static_assert(offsetof(struct core, stack_top) == CORE_STACK_TOP, "lib/asm.h");

extern char core_stacks[];
void secondary_entry(void);
NORETURN void core_main(struct core *c);

static struct populator inline_populators[MAX_CORES]; /* of vCPU cores that no helper serves */
static struct report_helper inline_stats[MAX_CORES];  /* what those do counts as the fault's own work */
static uint64_t vtcr RO_AFTER_INIT;

/* ---- the end */

static void summary(const struct vm *vm)
{
    static const char *const words[] = {"absent", "running", "off", "refused", "destroyed", "asks for a reset"};
    int64_t touched = atomic_load(&vm->stats->touched), block = atomic_load(&vm->stats->block);
    uint64_t fast = 0, queued = 0;

    for (uint32_t i = 0; i < vm->vcpu_count; i++) {
        touched += vm->vcpus[i].stats->touched;
        block += vm->vcpus[i].stats->block;
        fast += vm->vcpus[i].stats->faults.fast;
        queued += vm->vcpus[i].stats->faults.queued;
    }
    log_line("%s: %s%s%s; %ld of %lu pages present, %ld %% in blocks; faults: %lu fast, %lu queued", vm->name,
             words[atomic_load(&vm->stats->status)], vm->stats->reason[0] ? ": " : "", vm->stats->reason, touched,
             vm->stats->ram_pages, touched ? block * 100 / touched : 0, fast, queued);
}

static void guest_ended(struct vm *vm, bool last)
{
    uint32_t result = REPORT_OFF;

    console_ended(vm);
    summary(vm);
    for (uint32_t i = 0; i < report.guests; i++) {
        if (atomic_load(&report.guest[i].status) != GUEST_OFF)
            result = REPORT_ENDED;
    }
    if (last)
        hyp_end(result);
}

static void drain_and(void (*leave)(void))
{
    if (pl011_present())
        pl011_drain();
    leave();
}

static void reset_machine(void)
{
    drain_and(firmware_reset);
}

void hyp_end(uint32_t result)
{
    console_end();
    atomic_store(&report.result, result);
    dsb_sy(); /* the report is read from outside */
    drain_and(firmware_off);
    core_park();
}

/* ---- cores */

static void core_init(uint32_t id, uint64_t mpidr)
{
    struct core *c = &cores[id];

    c->id = id;
    c->mpidr = mpidr;
    c->stack_top = core_stacks + (id + 1) * (CORE_STACK_GUARD + CORE_STACK_SIZE);
    populator_init(&inline_populators[id], id, &inline_stats[id]);
}

static void helper_init(uint32_t index, struct core *c)
{
    struct helper *h = &helpers[index];

    h->core = c;
    c->role = CORE_HELPER;
    c->helper = h;
    report.helper[index].core = c->id;
    populator_init(&h->pop, c->id, &report.helper[index]);
}

/* The last cores help: the boot core, which is the first, always runs a guest. */
static void assign_helpers(const struct machine *m)
{
    helper_count = m->config.helpers < core_count ? m->config.helpers : core_count - 1;
    if (helper_count < m->config.helpers)
        log_line("%u helpers asked for, %u cores: %u help", m->config.helpers, core_count, helper_count);
    report.helpers = helper_count;
    for (uint32_t i = 0; i < helper_count; i++)
        helper_init(i, &cores[core_count - helper_count + i]);
}

static void run_vcpu(struct core *c)
{
    struct vcpu *v = c->vcpu;

    v->frame = core_frame(c);
    context_hw_init(v, vtcr);
    irq_core_init();
    if (c == &cores[0])
        console_start();
    (void)vcpu_settle(v);
    if (v->index == 0)
        v->vm->stats->filled_before_start = (uint64_t)atomic_load(&v->vm->stats->touched);
    if (!report.first_guest_ticks)
        report.first_guest_ticks = counter_ticks().v;
    vcpu_enter(v->frame);
}

/* Each core's life after its MMU is on. */
void core_main(struct core *c)
{
    sysreg_write(vtcr_el2, vtcr); /* TLB maintenance depends on its VS bit, on a helper too */
    isb();
    tlbi_alle1(); /* whatever ran at EL1 before us, under whatever VMID */
    if (!gic_core_init())
        panic("core %u: its part of the GIC is missing or does not wake", c->id);
    firmware_core_init();
    if (c->role == CORE_HELPER)
        helper_run(c->helper);
    if (c->role == CORE_VCPU)
        run_vcpu(c);
    core_park();
}

static void start_core(struct core *c)
{
    int64_t error;

    dcache_clean_inval_poc(c, sizeof(*c)); /* it finds its stack there with its MMU off */
    error = firmware_cpu_on(c->mpidr, pa((uint64_t)(uintptr_t)secondary_entry), (uint64_t)(uintptr_t)c);

    if (error)
        panic("core %u (MPIDR %lx) does not start: PSCI error %ld", c->id, c->mpidr, error);
}

/* ---- guests */

static void refuse(struct report_guest *stats, const char *name, const char *why)
{
    atomic_store(&stats->status, GUEST_REFUSED);
    format(stats->reason, sizeof(stats->reason), "%s", why);
    log_line("%s: refused: %s", name, why);
}

static void attach_vcpu(struct vm *vm, uint32_t index, uint32_t guest)
{
    struct vcpu *v = &vm->vcpus[index];
    uint32_t number = (uint32_t)(v - vcpus);
    struct core *c = &cores[number];
    struct helper *h = helper_count ? &helpers[vm->first_helper ? 0 : number % helper_count] : NULL;

    v->vm = vm;
    v->index = index;
    v->core = c;
    v->stats = &report.vcpu[number];
    v->stats->guest = guest;
    v->stats->core = c->id;
    c->role = CORE_VCPU;
    c->vcpu = v;
    c->helper = h;
    port_init(&v->port, number, h, v->stats);
    v->port.inline_populator = &inline_populators[c->id];
    v->port.paging = vm->s2.paging;
    if (h)
        h->ports[h->port_count++] = &v->port;
    vgic_cpu_reset(v);
    apf_init(v, number);
}

/* Cores and memory that are still to be had. */
struct left {
    uint32_t cores;
    uint64_t blocks, promised; /* before there was any guest, and to those that were built */
};

static const char *admit(const struct guest_config *c, const struct left *left, enum gic_version gic)
{
    static char why[96];
    uint64_t need = build_blocks(c, helper_count != 0);
    uint64_t taken = left->promised + disk_images_blocks() + overcommit_blocks();
    uint64_t blocks = left->blocks > taken ? left->blocks - taken : 0;

    if (c->refused[0])
        return c->refused;
    if (c->resident && !helper_count)
        return "its residency limit needs a helper core, and there is none";
    if (c->cpus > left->cores) {
        format(why, sizeof(why), "it wants %u cores, and %u are left", c->cpus, left->cores);
        return why;
    }
    if (gic == GIC_V2 && c->cpus > GICV2_CPUS)
        return "a GICv2 is for 8 CPUs at most";
    if (VIRT_RAM + c->memory > BIT(64 - field_get(VTCR_T0SZ, vtcr)))
        return "its RAM is beyond what this machine's stage 2 can map";
    if (need > blocks) {
        format(why, sizeof(why), "it wants %lu MiB of the machine's RAM, tables included, and %lu are left", need * 2,
               blocks * 2);
        return why;
    }
    return NULL;
}

static void build(const struct machine *m, const struct guest_config *c, struct left *left, struct frame_cache *frames)
{
    uint32_t guest = report.guests++;
    struct report_guest *stats = &report.guest[guest];
    struct vm *vm = &vms[vm_count];
    const char *why = admit(c, left, m->gic.version);

    format(stats->name, sizeof(stats->name), "%s", c->name);
    if (!why) {
        vm->id = vm_count;
        vm->stats = stats;
        vm->vcpus = &vcpus[report.vcpus];
        why = build_guest(vm, c, m, frames);
    }
    if (why) {
        memset(vm, 0, sizeof(*vm));
        refuse(stats, c->name, why);
        return;
    }
    stats->vcpus = c->cpus;
    stats->ram_pages = c->memory >> PAGE_SHIFT;
    atomic_store(&stats->status, GUEST_RUNNING);
    for (uint32_t i = 0; i < c->cpus; i++)
        attach_vcpu(vm, i, guest);
    if (vm->s2.paging)
        helpers[0].paged[helpers[0].paged_count++] = vm->s2.paging;
    for (uint32_t i = 0; !vm->s2.paging && i < (vm->first_helper ? 1 : helper_count); i++)
        helpers[i].spaces[helpers[i].space_count++] = &vm->s2;
    report.vcpus += c->cpus;
    left->cores -= c->cpus;
    left->promised += build_blocks(c, helper_count != 0);
    vgic_dist_reset(vm);
    vuart_reset(vm);
    virtio_reset(vm);
    console_attach(vm, m->guest_count > 1);
    vm_power_reset(vm);
    vm_count++;
    log_line("%s: %u vCPU%s, %lu MiB, entry %lx", c->name, c->cpus, c->cpus == 1 ? "" : "s", c->memory >> 20,
             vm->entry.v);
}

static void find_disks(const struct machine *m)
{
    disk_images_start(m->disk, m->disks);
    if (m->disks && helper_count)
        helpers[0].io = &disk_images_io;
}

static void build_all(struct machine *m)
{
    struct frame_cache *frames = &inline_populators[0].frames;
    struct left left = {core_count - helper_count, frames_free_blocks() - 1, 0}; /* one for their device trees */

    find_disks(m);
    overcommit_start(m, left.blocks);
    for (uint32_t i = 0; i < m->guest_count; i++)
        build(m, &m->guests[i], &left, frames);
    if (!vm_count) {
        log_line(m->guest_count ? "no guest can run" : "no guest is described: nothing to do");
        if (!m->guest_count) {
            format(report.reason, sizeof(report.reason), "no guest is described");
            hyp_end(REPORT_NO_BOOT);
        }
        hyp_end(REPORT_ENDED);
    }
}

void hyp_start(struct machine *m)
{
    core_count = m->cpus;
    for (uint32_t i = 0; i < core_count; i++)
        core_init(i, m->cpu[i]);
    panic_set_reset(reset_machine);
    power_on_end(guest_ended);
    vtcr = s2_vtcr(sysreg_read(id_aa64mmfr0_el1));
    idregs_init();
    inject_init();
    firmware_probe();
    if (!gic_init(&m->gic))
        panic("the interrupt controller is no GICv%u", m->gic.version);
    irq_init(m->maintenance);
    if (core_count > 1 && !firmware_present()) {
        log_line("no PSCI by SMC in the device tree: the other %u cores stay off", core_count - 1);
        core_count = 1;
    }
    assign_helpers(m);
    build_all(m);
    el2map_seal();
    for (uint32_t i = 1; i < core_count; i++) {
        if (cores[i].role != CORE_UNUSED)
            start_core(&cores[i]);
    }
    core_main(&cores[0]);
}
