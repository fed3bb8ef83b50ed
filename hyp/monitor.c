/* SPDX-License-Identifier: BSD-2-Clause */
#include "hyp/monitor.h"

#include "hyp/console.h"
#include "lib/string.h"
#include "mm/frames.h"
#include "vcpu/power.h"
#include "vcpu/reset.h"

#define LINE_SIZE 64

static char line[LINE_SIZE];
static size_t length;

struct command {
    const char *name;
    const char *help;
    void (*run)(struct vm *vm); /* `vm` is NULL if there is no guest to name, or none was named */
    enum { NO_GUEST, ANY_GUEST, RUNNING_GUEST } takes;
};

static const struct command commands[];

static bool running(const struct vm *vm)
{
    return atomic_load(&vm->stats->status) == GUEST_RUNNING;
}

static const char *state(const struct report_guest *stats, const struct vm *vm)
{
    static const char *const words[] = {"absent", "running", "off", "refused", "destroyed", "ended by a reset"};
    uint32_t status = atomic_load(&stats->status);

    if (status == GUEST_RUNNING && atomic_load(&vm->ending) == VM_RESETTING)
        return "resetting";
    if (status == GUEST_RUNNING && atomic_load(&vm->paused))
        return "paused";
    return words[status];
}

static struct vm *vm_of(const struct report_guest *stats)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (vms[i].stats == stats)
            return &vms[i];
    }
    return NULL;
}

/* The number is what the escape key takes; a guest that was refused has none. */
static void list(struct vm *none)
{
    (void)none;
    for (uint32_t i = 0; i < report.guests; i++) {
        const struct report_guest *stats = &report.guest[i];
        const struct vm *vm = vm_of(stats);

        if (vm)
            console_say("%c%u %s: %s, %u vCPU%s, %lu MiB", console_has_input(vm) ? '*' : ' ', vm->id + 1, stats->name,
                        state(stats, vm), vm->vcpu_count, vm->vcpu_count == 1 ? "" : "s", vm->ram_size >> 20);
        else
            console_say("   %s: refused: %s", stats->name, stats->reason);
    }
    console_say("%lu MiB of RAM free", frames_free_blocks() * 2);
}

static void guest_stats(const struct vm *vm)
{
    int64_t touched = atomic_load(&vm->stats->touched), block = atomic_load(&vm->stats->block);
    uint64_t fast = 0, queued = 0, mmio = 0, hvc = 0, irq = 0;

    for (uint32_t i = 0; i < vm->vcpu_count; i++) {
        const struct report_vcpu *v = vm->vcpus[i].stats;

        touched += v->touched;
        block += v->block;
        fast += v->faults.fast;
        queued += v->faults.queued;
        mmio += v->faults.mmio;
        hvc += v->exits.hvc;
        irq += v->exits.irq;
    }
    console_say("%s: %ld of %lu pages present, %ld in blocks; faults: %lu fast, %lu queued", vm->name, touched,
                vm->stats->ram_pages, block, fast, queued);
    console_say("%s: exits: %lu device, %lu call, %lu interrupt; %lu resets", vm->name, mmio, hvc, irq,
                vm->stats->resets);
}

static void stats(struct vm *vm)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (!vm || vm == &vms[i])
            guest_stats(&vms[i]);
    }
}

static void input(struct vm *vm)
{
    console_input(vm);
    console_say("input goes to %s", vm->name);
}

static void reset(struct vm *vm)
{
    vm_reset(vm);
    console_say("%s: starts again", vm->name);
}

static void pause(struct vm *vm)
{
    vm_pause(vm);
    console_say("%s: paused", vm->name);
}

static void resume(struct vm *vm)
{
    vm_resume(vm);
    console_say("%s: goes on", vm->name);
}

static void destroy(struct vm *vm)
{
    vm_end(vm, GUEST_DESTROYED, "from the monitor");
}

static void help(struct vm *none);

static const struct command commands[] = {
    {"list", "guests and their numbers; * has the input", list, NO_GUEST},
    {"stats", "[NAME] pages, faults and exits", stats, ANY_GUEST},
    {"input", "NAME: what is typed goes there, as with Ctrl-] and its number", input, RUNNING_GUEST},
    {"reset", "NAME: starts it again, with fresh RAM", reset, RUNNING_GUEST},
    {"pause", "NAME: stops its vCPUs", pause, RUNNING_GUEST},
    {"resume", "NAME: lets them go on", resume, RUNNING_GUEST},
    {"destroy", "NAME: ends it, and gives its RAM back", destroy, RUNNING_GUEST},
    {"help", "this list", help, NO_GUEST},
    {"back", "to the guests; an empty line does the same", NULL, NO_GUEST},
};

static void help(struct vm *none)
{
    (void)none;
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        console_say("%s %s", commands[i].name, commands[i].help);
}

static void run(const struct command *c, const char *name)
{
    struct vm *vm = NULL;

    for (uint32_t i = 0; i < vm_count; i++) {
        if (name && strcmp(vms[i].name, name) == 0)
            vm = &vms[i];
    }
    if (name && c->takes == NO_GUEST)
        console_say("%s takes no name", c->name);
    else if (name && !vm)
        console_say("no guest %s: list shows them", name);
    else if (!name && c->takes == RUNNING_GUEST)
        console_say("%s wants the name of a guest", c->name);
    else if (c->takes == RUNNING_GUEST && !running(vm))
        console_say("%s: it has ended", name);
    else
        c->run(vm);
}

/* False: back. */
static bool obey(void)
{
    char *name = strchr(line, ' ');

    if (name) {
        *name++ = '\0';
        while (*name == ' ')
            name++;
        if (!*name)
            name = NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i].name, line) != 0)
            continue;
        if (!commands[i].run)
            return false;
        run(&commands[i], name);
        return true;
    }
    console_say("no command %s: help lists them", line);
    return true;
}

static void prompt(void)
{
    length = 0;
    console_echo('>');
    console_echo(' ');
}

void monitor_open(void)
{
    console_say("monitor: help lists its commands, an empty line leaves it");
    prompt();
}

static void rub_out(void)
{
    length--;
    console_echo('\b');
    console_echo(' ');
    console_echo('\b');
}

bool monitor_key(char c)
{
    if (c == '\r' || c == '\n') {
        bool stay;

        console_echo('\n');
        line[length] = '\0';
        stay = length && obey();
        if (stay)
            prompt();
        return stay;
    }
    if ((c == '\b' || c == 0x7f) && length)
        rub_out();
    while (c == 0x15 && length) /* Ctrl-U */
        rub_out();
    if (c >= ' ' && c < 0x7f && length < LINE_SIZE - 1) {
        line[length++] = c;
        console_echo(c);
    }
    return true;
}
