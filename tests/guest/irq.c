/* SPDX-License-Identifier: BSD-2-Clause */
/* The GIC as a guest uses it: SGIs, the virtual timer, an SPI, priorities, many pending at once, two CPUs in turn. */
#include "tests/guest/lib/guest.h"

#define UARTDR 0x00
#define UARTCR 0x30
#define UARTIMSC 0x38
#define UARTICR 0x44
#define IMSC_TX BIT(5)
#define TIMER_ROUNDS 1000
#define PING_ROUNDS 1000
#define LOG 32

static volatile unsigned taken, log[LOG];

static void record(unsigned intid)
{
    if (taken < LOG)
        log[taken] = intid;
    taken++;
}

static void start_record(void)
{
    taken = 0;
    irq_hook[0] = record;
}

static void self_sgi(void)
{
    start_record();
    gic_enable(3);
    irq_enable();
    gic_sgi(0, 3);
    const bool came = WAIT_FOR(taken != 0, 1000);
    for (unsigned i = 0; i < 100 && came; i++) {
        const unsigned before = taken;
        gic_sgi(0, 3);
        if (!WAIT_FOR(taken != before, 1000))
            break;
    }
    irq_disable();
    check(taken == 101 && log[0] == 3 && log[31] == 3, "SGI to self", "%u taken, first %u", taken, log[0]);
}

static void masked_by_enable_and_pmr(void)
{
    start_record();
    gic_disable(4);
    gic_enable(5);
    irq_enable();
    gic_sgi(0, 4);
    spin_us(500);
    check(taken == 0, "a disabled SGI is not taken", "%u taken", taken);
    gic_enable(4);
    check(WAIT_FOR(taken == 1, 1000) && log[0] == 4, "it is, once enabled", "%u taken", taken);

    gic_mask(0x80);
    gic_priority(5, 0xa0);
    gic_sgi(0, 5);
    spin_us(500);
    check(taken == 1, "PMR holds back lower priorities", "%u taken", taken);
    gic_mask(0xff);
    check(WAIT_FOR(taken == 2, 1000) && log[1] == 5, "and lets go of them", "%u taken", taken);
    irq_disable();
}

/* More at once than there are list registers: every one is taken, in order of priority, none twice. */
static void eight_at_once(const char *name, bool ascending)
{
    start_record();
    for (unsigned i = 0; i < 8; i++) {
        gic_priority(i, (uint8_t)(0x40 + 8 * (ascending ? i : 7 - i)));
        gic_enable(i);
    }
    for (unsigned i = 0; i < 8; i++)
        gic_sgi(0, (i * 5 + 3) % 8);
    irq_enable();
    (void)WAIT_FOR(taken >= 8, 1000);
    spin_us(1000);
    irq_disable();
    bool in_order = taken == 8;
    for (unsigned i = 0; i < 8; i++)
        in_order = in_order && log[i] == (ascending ? i : 7 - i);
    check(in_order, name, "%u taken: %u %u %u %u %u %u %u %u", taken, log[0], log[1], log[2], log[3], log[4], log[5],
          log[6], log[7]);
    for (unsigned i = 0; i < 8; i++)
        gic_priority(i, 0xa0);
}

/* A higher priority interrupts the handler of a lower one; an equal one does not. */
static volatile unsigned nested, running;

static void nesting(unsigned intid)
{
    record(intid);
    if (intid == 8) {
        const uint64_t elr = read_sysreg(elr_el1), spsr = read_sysreg(spsr_el1);
        running = 1;
        gic_sgi(0, 9);  /* the same priority */
        gic_sgi(0, 10); /* a higher one */
        irq_enable();
        (void)WAIT_FOR(taken > 1, 1000);
        spin_us(500);
        irq_disable();
        running = 0;
        write_sysreg(elr_el1, elr);
        write_sysreg(spsr_el1, spsr);
    } else if (running) {
        nested |= 1u << intid;
    }
}

static void preemption(void)
{
    start_record();
    nested = 0;
    irq_hook[0] = nesting;
    gic_priority(8, 0x80);
    gic_priority(9, 0x80);
    gic_priority(10, 0x40);
    gic_enable(8);
    gic_enable(9);
    gic_enable(10);
    gic_sgi(0, 8);
    irq_enable();
    (void)WAIT_FOR(taken >= 3, 1000);
    irq_disable();
    check(taken == 3 && nested == BIT(10), "preemption by priority", "%u taken, nested mask %x", taken, nested);
}

static void timer_tick(unsigned intid)
{
    record(intid);
    vtimer_stop();
}

static void timer(void)
{
    start_record();
    irq_hook[0] = timer_tick;
    gic_enable(PPI_VTIMER);
    irq_enable();
    unsigned i = 0;
    for (; i < TIMER_ROUNDS; i++) {
        const unsigned before = taken;
        vtimer_arm(i % 3 * 10);
        if (!WAIT_FOR(taken != before, 1000))
            break;
    }
    irq_disable();
    check(i == TIMER_ROUNDS && taken == TIMER_ROUNDS, "virtual timer", "%u rounds, %u taken", i, taken);

    /*
     * The line is a level: stopped before it is taken, it is pending no more. A hypervisor that has already put it
     * into a list register may let it be taken once, as a spurious interrupt, which drivers must expect; not again.
     */
    start_record();
    irq_hook[0] = timer_tick;
    vtimer_arm(0);
    spin_us(200);
    vtimer_stop();
    spin_us(200);
    irq_enable();
    spin_us(500);
    irq_disable();
    check(taken <= 1, "a timer that was stopped does not go on firing", "%u taken", taken);

    /* WFI with the interrupt masked ends when it becomes pending. */
    start_record();
    irq_hook[0] = timer_tick;
    vtimer_arm(3000);
    const uint64_t then = now();
    while (now() - then < ticks_of_us(3000))
        wfi();
    irq_enable();
    const bool came = WAIT_FOR(taken == 1, 1000);
    irq_disable();
    check(came && log[0] == PPI_VTIMER, "WFI until the timer", "%u taken", taken);
    gic_disable(PPI_VTIMER);
}

static void uart_tick(unsigned intid)
{
    record(intid);
    mmio_write32(UART + UARTIMSC, 0);
    mmio_write32(UART + UARTICR, 0x7ff);
}

static void spi(void)
{
    start_record();
    irq_hook[0] = uart_tick;
    mmio_write32(UART + UARTICR, 0x7ff);
    mmio_write32(UART + UARTIMSC, 0);
    mmio_write32(UART + UARTCR, 0x301);
    gic_enable(SPI_UART);
    irq_enable();
    /* The transmit interrupt comes as the FIFO drains, so it needs a character. */
    mmio_write32(UART + UARTIMSC, IMSC_TX);
    mmio_write32(UART + UARTDR, '.');
    const bool came = WAIT_FOR(taken != 0, 1000);
    spin_us(1000);
    irq_disable();
    put('\n');
    check(came && taken == 1 && log[0] == SPI_UART, "SPI of the UART", "%u taken, first %u", taken, log[0]);
    gic_disable(SPI_UART);
}

/* ---- two CPUs ---- */
static volatile unsigned pings[2], stop;

static void ping(unsigned intid)
{
    if (intid == 1)
        pings[cpu_index()]++;
}

static void sleep_for_ping(unsigned cpu, unsigned wanted)
{
    irq_disable();
    while (pings[cpu] < wanted && !stop) {
        wfi();
        irq_enable();
        irq_disable();
    }
}

static void pong(void *arg)
{
    (void)arg;
    gic_init_cpu();
    irq_hook[1] = ping;
    gic_enable(1);
    gic_sgi(0, 1); /* ready */
    for (unsigned round = 1; round <= PING_ROUNDS; round++) {
        sleep_for_ping(1, round);
        gic_sgi(0, 1);
    }
}

static void two_cpus(void)
{
    pings[0] = pings[1] = 0;
    irq_hook[0] = ping;
    gic_enable(1);
    const int64_t on = cpu_on(1, pong, NULL);
    if (on != 0) {
        fail("SGI ping-pong", "CPU_ON returned %ld", on);
        return;
    }
    sleep_for_ping(0, 1);
    for (unsigned round = 1; round <= PING_ROUNDS; round++) {
        gic_sgi(1, 1);
        sleep_for_ping(0, round + 1);
    }
    check(pings[0] == PING_ROUNDS + 1 && pings[1] == PING_ROUNDS, "SGI ping-pong", "%u and %u", pings[0], pings[1]);
    check(cpu_wait_off(1, 5000), "the second CPU goes off", "it does not");
}

void guest_main(void)
{
    gic_init();
    self_sgi();
    masked_by_enable_and_pmr();
    eight_at_once("8 pending at once, priorities ascending", true);
    eight_at_once("8 pending at once, priorities descending", false);
    preemption();
    timer();
    spi();
    if (cpu_exists(1))
        two_cpus();
}
