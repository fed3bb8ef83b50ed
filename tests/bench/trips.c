/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A TCG plugin: how many instructions core 0 executes between two of a user's, in the guest's kernel and in EL2, for trips in which
 * EL2 slept (WFI); and how many from a call of one of EL2's functions to its return, for calls that came through another (a span).
 *
 * Arguments: lo=, hi= (where EL2 is; a user's addresses are all others of the lower half), span=NAME:ENTRY:THROUGH (those two
 * functions, by their offsets from lo; repeatable), out= (a file for lines of `NAME COUNT MEDIAN`: `calls` for trips in which the
 * guest's kernel made a hypercall, `none` for those that only EL2 was in, each span by its name, and by NAME_trip those trips with
 * neither a sleep nor a hypercall in which one was).
 */
#include "qemu_plugin.h"

int qemu_plugin_version = 1;

#define TRIPS (1u << 20)
#define SPANS 4
#define BL 0x94000000u
#define BL_MASK 0xfc000000u
#define BLR 0xd63f0000u
#define RET 0xd65f0000u
#define REGISTER_MASK 0xfffffc1fu
#define HVC 0xd4000002u
#define HVC_MASK 0xffe0001fu
#define WFI 0xd503207fu

static uint64_t lo, hi;
static const char *out;

struct kind {
    const char *name;
    uint64_t count;
    uint32_t *length;
};

static struct kind calls = {.name = "calls"}, none = {.name = "none"};
static uint64_t length; /* of the trip so far */
static bool kernel, called, slept;

static struct span {
    struct kind kind, trip;
    uint64_t entry, through;
    uint32_t length, depth; /* calls within it that have not returned */
    bool open, came, in_trip;
} spans[SPANS];
static unsigned span_count;

static void elsewhere(unsigned int cpu, void *data)
{
    (void)data;
    length += cpu == 0;
    for (unsigned i = 0; i < span_count; i++)
        spans[i].length += cpu == 0;
}

static void enters(unsigned int cpu, void *data)
{
    struct span *s = data;

    if (cpu == 0) {
        s->open = true;
        s->came = false;
        s->length = s->depth = 0;
    }
}

static void comes(unsigned int cpu, void *data)
{
    ((struct span *)data)->came |= cpu == 0;
}

static void calls_on(unsigned int cpu, void *data)
{
    (void)data;
    for (unsigned i = 0; i < span_count; i++)
        spans[i].depth += cpu == 0;
}

static void returns(unsigned int cpu, void *data)
{
    (void)data;
    for (struct span *s = spans; cpu == 0 && s < spans + span_count; s++) {
        if (!s->open || s->depth--)
            continue;
        s->open = false;
        if (s->came && s->kind.count < TRIPS) {
            s->kind.length[s->kind.count++] = s->length;
            s->in_trip = true;
        }
    }
}

static void in_kernel(unsigned int cpu, void *data)
{
    (void)data;
    length += cpu == 0;
    kernel |= cpu == 0;
}

static void call(unsigned int cpu, void *data)
{
    (void)data;
    called |= cpu == 0;
}

static void sleeps(unsigned int cpu, void *data)
{
    (void)data;
    slept |= cpu == 0;
}

static void user(unsigned int cpu, void *data)
{
    struct kind *k = called ? &calls : &none;

    (void)data;
    if (cpu != 0)
        return;
    if (slept && called == kernel && k->count < TRIPS)
        k->length[k->count++] = (uint32_t)length;
    for (struct span *s = spans; s < spans + span_count; s++) {
        if (s->in_trip && !called && !slept && s->trip.count < TRIPS)
            s->trip.length[s->trip.count++] = (uint32_t)length;
        s->in_trip = false;
    }
    length = 0;
    kernel = called = slept = false;
}

static void in_el2(struct qemu_plugin_insn *insn, uint64_t at, uint32_t code)
{
    for (struct span *s = spans; s < spans + span_count; s++) {
        if (at == s->entry)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, enters, QEMU_PLUGIN_CB_NO_REGS, s);
        if (at == s->through)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, comes, QEMU_PLUGIN_CB_NO_REGS, s);
    }
    qemu_plugin_register_vcpu_insn_exec_cb(insn, elsewhere, QEMU_PLUGIN_CB_NO_REGS, NULL);
    if (code == WFI)
        qemu_plugin_register_vcpu_insn_exec_cb(insn, sleeps, QEMU_PLUGIN_CB_NO_REGS, NULL);
    if ((code & BL_MASK) == BL || (code & REGISTER_MASK) == BLR)
        qemu_plugin_register_vcpu_insn_exec_cb(insn, calls_on, QEMU_PLUGIN_CB_NO_REGS, NULL);
    if ((code & REGISTER_MASK) == RET)
        qemu_plugin_register_vcpu_insn_exec_cb(insn, returns, QEMU_PLUGIN_CB_NO_REGS, NULL);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t at = qemu_plugin_insn_vaddr(insn);
        uint32_t code;

        memcpy(&code, qemu_plugin_insn_data(insn), sizeof(code));
        if (at >> 63) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, in_kernel, QEMU_PLUGIN_CB_NO_REGS, NULL);
            if ((code & HVC_MASK) == HVC)
                qemu_plugin_register_vcpu_insn_exec_cb(insn, call, QEMU_PLUGIN_CB_NO_REGS, NULL);
        } else if (at >= lo && at < hi) {
            in_el2(insn, at, code);
        } else {
            qemu_plugin_register_vcpu_tb_exec_cb(tb, user, QEMU_PLUGIN_CB_NO_REGS, NULL);
            return;
        }
    }
}

static int by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void tell(FILE *f, struct kind *k)
{
    qsort(k->length, k->count, sizeof(*k->length), by_size);
    fprintf(f, "%s %" PRIu64 " %u\n", k->name, k->count, k->count ? k->length[k->count / 2] : 0);
}

static void finished(qemu_plugin_id_t id, void *data)
{
    FILE *f = fopen(out, "w");

    (void)id, (void)data;
    if (!f)
        return;
    tell(f, &calls);
    tell(f, &none);
    for (unsigned i = 0; i < span_count; i++) {
        tell(f, &spans[i].kind);
        tell(f, &spans[i].trip);
    }
    fclose(f);
}

static bool take_span(const char *arg)
{
    struct span *s = &spans[span_count];
    char name[32], trip[48];

    if (span_count == SPANS || sscanf(arg, "%31[^:]:%" SCNi64 ":%" SCNi64, name, (int64_t *)&s->entry, (int64_t *)&s->through) != 3)
        return false;
    s->entry += lo;
    s->through += lo;
    snprintf(trip, sizeof(trip), "%s_trip", name);
    s->kind = (struct kind){.name = strdup(name), .length = calloc(TRIPS, sizeof(*s->kind.length))};
    s->trip = (struct kind){.name = strdup(trip), .length = calloc(TRIPS, sizeof(*s->trip.length))};
    span_count++;
    return s->kind.name && s->kind.length && s->trip.name && s->trip.length;
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "lo=", 3))
            lo = strtoull(argv[i] + 3, NULL, 0);
        else if (!strncmp(argv[i], "hi=", 3))
            hi = strtoull(argv[i] + 3, NULL, 0);
        else if (!strncmp(argv[i], "out=", 4))
            out = strdup(argv[i] + 4); /* argv does not outlive this call */
        else if (strncmp(argv[i], "span=", 5) || !take_span(argv[i] + 5))
            return 1;
    }
    calls.length = calloc(TRIPS, sizeof(*calls.length));
    none.length = calloc(TRIPS, sizeof(*none.length));
    if (lo >= hi || !out || !calls.length || !none.length) {
        fprintf(stderr, "trips: lo=, hi= and out= are needed\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
