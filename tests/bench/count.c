/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A TCG plugin: how often each instruction of a range was executed. Instructions are counted where they stand, so the
 * figures are exact whatever the other cores do. Arguments: lo=, hi= (virtual addresses), out= (a file for lines of
 * `address count`, both as numbers). With cores=on there is also a line of `core all 0` for each core.
 */
#include "qemu_plugin.h"

int qemu_plugin_version = 1;

static uint64_t lo, hi;
static uint64_t *counts; /* one for each word of [lo, hi) */
static const char *out;

#define CORES 64

static bool cores; /* cores=on */
static uint64_t core[CORES];

static void executed(unsigned int vcpu, void *data)
{
    core[vcpu]++;
    ++*(uint64_t *)data;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t at = qemu_plugin_insn_vaddr(insn);

        if (at < lo || at >= hi)
            continue;
        if (cores)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, QEMU_PLUGIN_CB_NO_REGS, &counts[(at - lo) / 4]);
        else
            qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &counts[(at - lo) / 4], 1);
    }
}

static void finished(qemu_plugin_id_t id, void *data)
{
    FILE *f = fopen(out, "w");

    (void)id, (void)data;
    if (!f) {
        perror(out);
        return;
    }
    for (unsigned i = 0; cores && i < CORES; i++)
        if (core[i])
            fprintf(f, "%u %" PRIu64 " 0\n", i, core[i]);
    for (uint64_t at = lo; at < hi; at += 4)
        if (counts[(at - lo) / 4])
            fprintf(f, "%" PRIu64 " %" PRIu64 "\n", at, counts[(at - lo) / 4]);
    fclose(f);
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
        else if (!strcmp(argv[i], "cores=on"))
            cores = true;
    }
    counts = lo < hi && out ? calloc((hi - lo) / 4, sizeof(*counts)) : NULL;
    if (!counts) {
        fprintf(stderr, "count: lo=, hi= and out= are needed\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
