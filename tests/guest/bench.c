/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions per operation, for `-icount shift=0,sleep=off`: one instruction is one nanosecond of CNTVCT. 100 batches
 * of 1000 operations each, the smallest batch quoted (the others have a host timer tick in them), what the guest's own
 * loop costs taken off. Prints `bench NAME VALUE`, in instructions with two decimals:
 *
 *   hvc_*       the HVC instruction included, the 3 others of the loop taken off
 *   mrs_, mmio_ the instruction itself included, 2 taken off
 *   self_sgi, vtimer        the whole loop: the guest's own handler is part of it, on every hypervisor the same one
 *   ipi_ping_pong           the same, of both CPUs: two signals, WFI at both ends; only if there is a second CPU
 *   zero_block, zero_page   the trap alone: the store and the 3 others of the loop taken off
 *
 * The MMU is off. Command line: blocks=N pages=N operations in one batch of zero faults, fewer than the pool holds,
 * batches=N, rest-us=N to let the pool fill again, page=1 to measure pages (a guest with a 4 KiB populate granule)
 * instead of blocks.
 */
#include "tests/guest/lib/guest.h"

#define BATCHES 100
#define OPERATIONS 1000UL
#define SGI 6

static uint64_t best;

/* In hundredths of an instruction; the counter's 62.5 MHz make 16 instructions a tick. */
static void report(const char *name, uint64_t ticks, uint64_t operations, uint64_t taken_off)
{
    const uint64_t hundredths = ticks * (100 * (1000000000 / read_sysreg(cntfrq_el0))) / operations;
    const uint64_t own = hundredths > 100 * taken_off ? hundredths - 100 * taken_off : 0;
    say("bench %s %lu.%c%c\n", name, own / 100, (char)('0' + own / 10 % 10), (char)('0' + own % 10));
}

static void keep_best(uint64_t ticks)
{
    if (ticks < best)
        best = ticks;
}

/* ---- calls, registers, MMIO: four or three instructions a round ---- */
static void hvc(const char *name, uint64_t function)
{
    if (psci(function, 0, 0, 0) == UNDEFINED_CALL)
        return;
    best = ~0UL;
    for (unsigned i = 0; i < BATCHES; i++) {
        uint64_t count = OPERATIONS;
        const uint64_t then = now();
        __asm__ volatile("1: mov w0, %w1\n\thvc #0\n\tsubs %0, %0, #1\n\tb.ne 1b"
                         : "+r"(count)
                         : "r"(function)
                         : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                           "x14", "x15", "x16", "x17", "cc", "memory");
        keep_best(now() - then);
    }
    report(name, best, OPERATIONS, 3);
}

static void id_register(void)
{
    best = ~0UL;
    for (unsigned i = 0; i < BATCHES; i++) {
        uint64_t count = OPERATIONS, value;
        const uint64_t then = now();
        __asm__ volatile("1: mrs %1, id_aa64pfr0_el1\n\tsubs %0, %0, #1\n\tb.ne 1b"
                         : "+r"(count), "=&r"(value)::"cc", "memory");
        keep_best(now() - then);
    }
    report("mrs_id_aa64pfr0_el1", best, OPERATIONS, 2);
}

static void mmio(void)
{
    best = ~0UL;
    for (unsigned i = 0; i < BATCHES; i++) {
        uint64_t count = OPERATIONS, value;
        const uint64_t then = now();
        __asm__ volatile("1: ldr %w1, [%2]\n\tsubs %0, %0, #1\n\tb.ne 1b"
                         : "+r"(count), "=&r"(value)
                         : "r"(GICD + 4)
                         : "cc", "memory");
        keep_best(now() - then);
    }
    report("mmio_gicd_typer", best, OPERATIONS, 2);
}

/*
 * ---- interrupts: vectors of their own, so that the guest's share is small ----
 * The handler saves what a compiled one would and counts in x20, which belongs to the measured loop; the timer's also
 * stops the timer.
 */
extern char bench_vectors[];
__asm__(".pushsection .text\n"
        ".balign 0x800\n"
        "bench_vectors:\n"
        ".irp entry, 0, 1, 2, 3, 4\n"
        ".balign 0x80\n"
        "b vectors + 0x80 * \\entry\n"
        ".endr\n"
        ".balign 0x80\n"
        "stp x0, x1, [sp, #-16]!\n"
        "stp x2, x3, [sp, #-16]!\n"
        "mrs x0, S3_0_C12_C12_0\n" /* ICC_IAR1_EL1 */
        "dsb sy\n"
        "and w1, w0, #0xffffff\n"
        "cmp w1, #27\n"
        "b.ne 1f\n"
        "msr cntv_ctl_el0, xzr\n"
        "1: add x20, x20, #1\n"
        "msr S3_0_C12_C12_1, x0\n" /* ICC_EOIR1_EL1 */
        "isb\n"
        "ldp x2, x3, [sp], #16\n"
        "ldp x0, x1, [sp], #16\n"
        "eret\n"
        ".balign 0x80\n"
        ".irp entry, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        ".balign 0x80\n"
        "b vectors + 0x80 * \\entry\n"
        ".endr\n"
        ".popsection\n");
extern char vectors[];

static void self_sgi(void)
{
    best = ~0UL;
    gic_enable(SGI);
    write_sysreg(vbar_el1, bench_vectors);
    isb();
    for (unsigned i = 0; i < BATCHES; i++) {
        const uint64_t then = now();
        __asm__ volatile("mov x20, #0\n\tmov x21, #1\n\tmsr daifclr, #2\n"
                         "1: msr S3_0_C12_C11_5, %0\n\tisb\n" /* ICC_SGI1R_EL1 */
                         "2: cmp x20, x21\n\tb.ne 2b\n\t"
                         "add x21, x21, #1\n\tcmp x21, %1\n\tb.ls 1b\n\t"
                         "msr daifset, #2" ::"r"((uint64_t)SGI << 24 | 1),
                         "r"(OPERATIONS)
                         : "x20", "x21", "cc", "memory");
        keep_best(now() - then);
    }
    write_sysreg(vbar_el1, vectors);
    isb();
    report("self_sgi", best, OPERATIONS, 0);
}

static void vtimer(void)
{
    best = ~0UL;
    gic_enable(PPI_VTIMER);
    write_sysreg(vbar_el1, bench_vectors);
    isb();
    for (unsigned i = 0; i < BATCHES; i++) {
        const uint64_t then = now();
        __asm__ volatile("mov x20, #0\n\tmov x21, #1\n\tmsr daifclr, #2\n"
                         "1: msr cntv_cval_el0, xzr\n\tmov x22, #1\n\tmsr cntv_ctl_el0, x22\n\tisb\n"
                         "2: cmp x20, x21\n\tb.ne 2b\n\t"
                         "add x21, x21, #1\n\tcmp x21, %0\n\tb.ls 1b\n\t"
                         "msr daifset, #2" ::"r"(OPERATIONS)
                         : "x20", "x21", "x22", "cc", "memory");
        keep_best(now() - then);
    }
    write_sysreg(vbar_el1, vectors);
    isb();
    report("vtimer", best, OPERATIONS, 0);
}

/*
 * Two CPUs, each asleep in WFI until the other signals it: what both execute for a signal there and one back. Only one of
 * them runs at any moment, so the one clock that icount has counts both.
 */
static void ping_loop(uint64_t to, uint64_t rounds, bool first)
{
    uint64_t iar;

    if (first)
        __asm__ volatile("msr S3_0_C12_C11_5, %0\n\tisb" ::"r"(to));
    __asm__ volatile("1: wfi\n\tmrs %0, S3_0_C12_C12_0\n\tdsb sy\n\t" /* ICC_IAR1_EL1, interrupts masked */
                     "and w2, %w0, #0xffffff\n\tcmp w2, #1020\n\tb.hs 1b\n\t"
                     "msr S3_0_C12_C12_1, %0\n\tisb\n\t"
                     "msr S3_0_C12_C11_5, %2\n\tisb\n\t"
                     "subs %1, %1, #1\n\tb.ne 1b"
                     : "=&r"(iar), "+r"(rounds)
                     : "r"(to)
                     : "x2", "cc", "memory");
}

static void pong(void *arg)
{
    (void)arg;
    gic_init_cpu();
    gic_enable(SGI);
    ping_loop((uint64_t)SGI << 24 | BIT(0), BATCHES * OPERATIONS, false);
}

static void ping_pong(void)
{
    best = ~0UL;
    gic_enable(SGI);
    if (cpu_on(1, pong, NULL)) {
        fail("ipi_ping_pong", "the second CPU does not start");
        return;
    }
    spin_us(1000);
    for (unsigned i = 0; i < BATCHES; i++) {
        const uint64_t then = now();
        /* The last signal of a batch is the first one of the next. */
        ping_loop((uint64_t)SGI << 24 | BIT(1), OPERATIONS, i == 0);
        keep_best(now() - then);
    }
    report("ipi_ping_pong", best, OPERATIONS, 0);
}

/* ---- zero faults: batches small enough for the pool, the helper asleep again before each ---- */
static void zero_faults(const char *name, uint64_t stride, uint64_t operations)
{
    const struct range ram = free_ram();
    const uint64_t rest = boot_argument("rest-us", 5000);
    const uint64_t wanted = boot_argument("batches", BATCHES);
    uint64_t batches = (ram.end - ram.base) / (stride * operations);
    if (batches > wanted)
        batches = wanted;
    if (!batches) {
        fail(name, "no RAM for one batch of %lu", operations);
        return;
    }
    best = ~0UL;
    uint64_t address = ram.base, sum = 0;
    for (uint64_t i = 0; i < batches; i++) {
        (void)SLEEP_UNTIL(false, rest / 1000 + 1);
        uint64_t count = operations;
        const uint64_t then = now();
        __asm__ volatile("1: str xzr, [%1]\n\tadd %1, %1, %2\n\tsubs %0, %0, #1\n\tb.ne 1b"
                         : "+r"(count), "+r"(address)
                         : "r"(stride)
                         : "cc", "memory");
        const uint64_t ticks = now() - then;
        sum += ticks;
        keep_best(ticks);
    }
    report(name, best, operations, 4);
    say("%s: %lu batches of %lu, mean %lu instructions\n", name, batches, operations,
        sum * (1000000000 / read_sysreg(cntfrq_el0)) / (batches * operations));
}

void guest_main(void)
{
    gic_init();
    hvc("hvc_psci_version", PSCI_VERSION);
    hvc("hvc_unknown", 0x4b000000);
    hvc("hvc_smccc_version", SMCCC_VERSION);
    id_register();
    mmio();
    self_sgi();
    vtimer();
    if (cpu_exists(1))
        ping_pong();
    if (boot_argument("page", 0))
        zero_faults("zero_page", PAGE, boot_argument("pages", 256));
    else
        zero_faults("zero_block", BLOCK, boot_argument("blocks", 8));
    pass("bench");
}
