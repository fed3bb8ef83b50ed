/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the registers of the distributor (and of a GICv3's redistributor) read back, and what an access through them does
 * to an interrupt: enable, pending, active, priority, configuration, target (IHI 0069H 12.9 and 12.11, IHI 0048B 4.3).
 * Interrupts are looked at with PSTATE.I set and taken by hand. Natively the same holds.
 */
#include "tests/guest/lib/guest.h"

#define CTLR 0x000
#define TYPER 0x004
#define IGROUPR 0x080
#define ISENABLER 0x100
#define ICENABLER 0x180
#define ISPENDR 0x200
#define ICPENDR 0x280
#define ISACTIVER 0x300
#define ICACTIVER 0x380
#define IPRIORITYR 0x400
#define ITARGETSR 0x800
#define ICFGR 0xc00
#define SPENDSGIR 0xf20
#define CPENDSGIR 0xf10
#define IROUTER 0x6000
#define GICC_IAR 0x0c
#define GICC_EOIR 0x10
#define GICC_RPR 0x14
#define GICC_HPPIR 0x18

#define UARTDR 0x00
#define UARTIMSC 0x38
#define UARTICR 0x44
#define IMSC_TX BIT(5)

#define SPI_A 40 /* nobody's: pending by hand alone */
#define SPI_B 77
#define PPI_FREE 20
#define PPI_PTIMER 30
#define SPURIOUS 1023

static bool v2;

static uint64_t frame(unsigned intid)
{
    return !v2 && intid < 32 ? GICR + GICR_SGI : GICD; /* CPU 0's: the first */
}

static uint32_t word(unsigned reg, unsigned intid)
{
    return mmio_read32(frame(intid) + reg + intid / 32 * 4);
}

static bool bit(unsigned reg, unsigned intid)
{
    return word(reg, intid) >> intid % 32 & 1;
}

static void set(unsigned reg, unsigned intid)
{
    mmio_write32(frame(intid) + reg + intid / 32 * 4, 1u << intid % 32);
    dsb();
}

static unsigned acknowledge(void)
{
    isb();
    const unsigned intid = v2 ? mmio_read32(GICC + GICC_IAR) & 0x3ff : (unsigned)read_sysreg(S3_0_C12_C12_0);
    dsb();
    return intid;
}

static void end(unsigned intid)
{
    if (v2)
        mmio_write32(GICC + GICC_EOIR, intid);
    else
        write_sysreg(S3_0_C12_C12_1, intid);
    isb();
}

static unsigned highest_pending(void)
{
    isb();
    return v2 ? mmio_read32(GICC + GICC_HPPIR) & 0x3ff : (unsigned)read_sysreg(S3_0_C12_C12_2);
}

static unsigned running_priority(void)
{
    isb();
    return v2 ? mmio_read32(GICC + GICC_RPR) & 0xff : (unsigned)read_sysreg(S3_0_C12_C11_3) & 0xff;
}

#define CHECK_BIT(reg, intid, wanted, name) \
    check(bit(reg, intid) == (wanted), name, "INTID %u, " #reg " %x", intid, word(reg, intid))

static void read_back(void)
{
    static const unsigned some[] = {3, PPI_FREE, SPI_A, SPI_B};
    for (unsigned i = 0; i < COUNT(some); i++) {
        const unsigned n = some[i];
        set(ISENABLER, n);
        CHECK_BIT(ISENABLER, n, true, "enabled");
        CHECK_BIT(ICENABLER, n, true, "enabled, by the other register");
        if (!v2 || n >= 16) { /* a GICv2 need not be able to disable an SGI */
            set(ICENABLER, n);
            CHECK_BIT(ISENABLER, n, false, "disabled");
        }
        gic_priority(n, 0x58);
        check(mmio_read8(frame(n) + IPRIORITYR + n) == 0x58, "priority by bytes", "%x",
              mmio_read8(frame(n) + IPRIORITYR + n));
        mmio_write32(frame(n) + IPRIORITYR + (n & ~3u), 0x10203040);
        check(mmio_read32(frame(n) + IPRIORITYR + (n & ~3u)) == 0x10203040, "priority by words", "%x",
              mmio_read32(frame(n) + IPRIORITYR + (n & ~3u)));
        gic_priority(n, 0xff);
        const unsigned least = mmio_read8(frame(n) + IPRIORITYR + n);
        check(least >= 0xf0, "16 priorities at the least", "%x", least);
        gic_priority(n, 0xa0);
        if (n >= 32) {
            mmio_write32(GICD + ICFGR + n / 16 * 4, ~0u);
            check((mmio_read32(GICD + ICFGR + n / 16 * 4) & 0xaaaaaaaa) == 0xaaaaaaaa, "edges", "%x",
                  mmio_read32(GICD + ICFGR + n / 16 * 4));
            mmio_write32(GICD + ICFGR + n / 16 * 4, 0);
            check((mmio_read32(GICD + ICFGR + n / 16 * 4) & 0xaaaaaaaa) == 0, "levels", "%x",
                  mmio_read32(GICD + ICFGR + n / 16 * 4));
        }
    }
    const uint32_t sgis = mmio_read32(frame(0) + ICFGR);
    mmio_write32(frame(0) + ICFGR, 0);
    check((sgis & 0xaaaaaaaa) == 0xaaaaaaaa && mmio_read32(frame(0) + ICFGR) == sgis, "SGIs are edges and stay so",
          "%x, %x", sgis, mmio_read32(frame(0) + ICFGR));

    /* One past the last INTID there is: QEMU's own GICv3 keeps bits there. */
    if (!v2 && !under_meanwhile())
        return;
    const unsigned absent = ((mmio_read32(GICD + TYPER) & 0x1f) + 1) * 32;
    set(ISENABLER, absent);
    set(ISPENDR, absent);
    gic_priority(absent, 0x80);
    check(!word(ISENABLER, absent) && !word(ISPENDR, absent) && !mmio_read8(GICD + IPRIORITYR + absent),
          "interrupts there are none of", "%x, %x", word(ISENABLER, absent), word(ISPENDR, absent));
    if (!v2) {
        /* 12.9: INTIDs 0 to 31 belong to the redistributors. */
        mmio_write32(GICD + ISENABLER, ~0u);
        mmio_write32(GICD + IPRIORITYR, ~0u);
        check(!mmio_read32(GICD + ISENABLER) && !mmio_read32(GICD + IPRIORITYR) && !mmio_read32(GICD + ISPENDR),
              "the distributor has no private interrupts", "%x", mmio_read32(GICD + ISENABLER));
    }
}

static void route_read_back(void)
{
    if (v2) {
        const unsigned self = mmio_read8(GICD + ITARGETSR);
        mmio_write8(GICD + ITARGETSR + SPI_A, 1);
        const unsigned got = mmio_read8(GICD + ITARGETSR + SPI_A);
        check(cpu_exists(1) ? self == 1 && got == 1 : self == got, "targets", "%x, %x", self, got);
        return;
    }
    const uint64_t router = GICD + IROUTER + 8 * SPI_A;
    mmio_write32(router, 0x80000000);
    check(mmio_read64(router) == 0x80000000, "1 of N", "%lx", mmio_read64(router));
    mmio_write32(router, 0x00030201);
    mmio_write32(router + 4, 4);
    check(mmio_read64(router) == 0x400030201, "affinity by words", "%lx", mmio_read64(router));
    mmio_write32(router, 0);
    mmio_write32(router + 4, 0);
    check(mmio_read64(router) == 0, "affinity of the first CPU", "%lx", mmio_read64(router));
}

/* An interrupt that is pending by hand: seen, withdrawn, offered again, taken, and ended. */
static void pend_by_hand(unsigned n, bool edge)
{
    if (n >= 32)
        mmio_write32(GICD + ICFGR + n / 16 * 4, edge ? ~0u : 0);
    if (v2 && n >= 32)
        mmio_write8(GICD + ITARGETSR + n, 1);
    set(ICENABLER, n);
    set(ISPENDR, n);
    CHECK_BIT(ISPENDR, n, true, "pending though disabled");
    CHECK_BIT(ICPENDR, n, true, "pending, by the other register");
    check(highest_pending() == SPURIOUS && acknowledge() == SPURIOUS, "disabled, it is not offered", "%u",
          highest_pending());
    set(ICPENDR, n);
    CHECK_BIT(ISPENDR, n, false, "not pending any more");
    set(ISPENDR, n);
    set(ISENABLER, n);
    check(highest_pending() == n, "enabled, it is offered", "%u", highest_pending());
    CHECK_BIT(ISPENDR, n, true, "pending and offered");
    CHECK_BIT(ISACTIVER, n, false, "and not active");
    set(ICENABLER, n);
    check(highest_pending() == SPURIOUS, "disabled, it is withdrawn", "%u", highest_pending());
    CHECK_BIT(ISPENDR, n, true, "and still pending");
    set(ISENABLER, n);
    set(ICPENDR, n);
    check(highest_pending() == SPURIOUS, "cleared, it is withdrawn", "%u", highest_pending());
    CHECK_BIT(ISPENDR, n, false, "and not pending");
    set(ISPENDR, n);
    check(running_priority() == 0xff, "nothing runs", "%x", running_priority());
    const unsigned taken = acknowledge();
    check(taken == n, "taken", "%u instead of %u", taken, n);
    check(running_priority() == 0xa0, "its priority runs", "%x", running_priority());
    CHECK_BIT(ISACTIVER, n, true, "active");
    CHECK_BIT(ICACTIVER, n, true, "active, by the other register");
    CHECK_BIT(ISPENDR, n, false, "active and not pending");
    set(ISPENDR, n);
    CHECK_BIT(ISPENDR, n, true, "active and pending");
    CHECK_BIT(ISACTIVER, n, true, "pending and active");
    check(highest_pending() == SPURIOUS || highest_pending() == n, "no other one", "%u", highest_pending());
    check(acknowledge() == SPURIOUS, "not taken while active", "taken");
    if (taken == n)
        end(n);
    CHECK_BIT(ISACTIVER, n, false, "ended");
    check(running_priority() == 0xff, "its priority is dropped", "%x", running_priority());
    check(acknowledge() == n, "taken a second time", "not taken");
    end(n);
    check(acknowledge() == SPURIOUS, "not a third time", "taken");

    /* Active by hand: held back until it is not. */
    set(ISACTIVER, n);
    CHECK_BIT(ISACTIVER, n, true, "active by hand");
    set(ISPENDR, n);
    check(acknowledge() == SPURIOUS, "held back while active by hand", "taken");
    set(ICACTIVER, n);
    CHECK_BIT(ISACTIVER, n, false, "inactive by hand");
    check(acknowledge() == n, "then taken", "not taken");
    /* Ended by hand, then by its EOI: the priority is dropped by the second alone. */
    set(ICACTIVER, n);
    CHECK_BIT(ISACTIVER, n, false, "inactive by hand while it runs");
    check(running_priority() == 0xa0, "its priority still runs", "%x", running_priority());
    end(n);
    check(running_priority() == 0xff && acknowledge() == SPURIOUS, "and drops", "%x", running_priority());
    set(ICENABLER, n);
}

static void sgi_pending(void)
{
    if (v2) {
        set(ISPENDR, 5);
        CHECK_BIT(ISPENDR, 5, false, "SGIs do not listen to GICD_ISPENDR");
        mmio_write8(GICD + SPENDSGIR + 5, 1);
        CHECK_BIT(ISPENDR, 5, true, "an SGI pending by hand");
        check(mmio_read8(GICD + SPENDSGIR + 5) == 1 && mmio_read8(GICD + CPENDSGIR + 5) == 1, "its sender", "%x",
              mmio_read8(GICD + SPENDSGIR + 5));
        mmio_write8(GICD + CPENDSGIR + 5, 1);
        CHECK_BIT(ISPENDR, 5, false, "not pending by hand");
        set(ISENABLER, 5);
        mmio_write8(GICD + SPENDSGIR + 5, 1);
        check(acknowledge() == 5, "taken by hand", "not taken");
        end(5);
        return;
    }
    pend_by_hand(5, true);
}

/* A line that is high: pending whatever the guest writes, as long as it is high and no longer. */
static void uart_line(void)
{
    const unsigned n = SPI_UART;
    mmio_write32(GICD + ICFGR + n / 16 * 4, 0);
    set(ICENABLER, n);
    mmio_write32(UART + UARTICR, 0x7ff);
    mmio_write32(UART + UARTDR, '\n');
    if (!WAIT_FOR(mmio_read32(UART + 0x3c) & IMSC_TX, 1000)) {
        fail("the UART's line", "no transmit interrupt");
        return;
    }
    CHECK_BIT(ISPENDR, n, false, "a masked line");
    mmio_write32(UART + UARTIMSC, IMSC_TX);
    CHECK_BIT(ISPENDR, n, true, "a line of a disabled interrupt");
    set(ICPENDR, n);
    CHECK_BIT(ISPENDR, n, true, "a line cannot be cleared");
    mmio_write32(UART + UARTIMSC, 0);
    CHECK_BIT(ISPENDR, n, false, "a line that went low");
    set(ISPENDR, n);
    mmio_write32(UART + UARTIMSC, IMSC_TX);
    mmio_write32(UART + UARTIMSC, 0);
    CHECK_BIT(ISPENDR, n, true, "what is written outlives the line");
    set(ICPENDR, n);
    CHECK_BIT(ISPENDR, n, false, "and is cleared by hand");

    set(ISENABLER, n);
    mmio_write32(UART + UARTIMSC, IMSC_TX);
    check(highest_pending() == n, "a high line is offered", "%u", highest_pending());
    mmio_write32(UART + UARTIMSC, 0);
    check(highest_pending() == SPURIOUS, "a low line is not", "%u", highest_pending());
    CHECK_BIT(ISPENDR, n, false, "and not pending");
    mmio_write32(UART + UARTIMSC, IMSC_TX);
    check(acknowledge() == n, "a high line is taken", "not taken");
    CHECK_BIT(ISPENDR, n, true, "active, and pending since the line is high");
    end(n);
    check(acknowledge() == n, "and again, being high still", "not taken");
    mmio_write32(UART + UARTIMSC, 0);
    CHECK_BIT(ISPENDR, n, false, "active, and the line low");
    end(n);
    check(acknowledge() == SPURIOUS, "not again", "taken");
    set(ICENABLER, n);
}

/* The same of a timer, whose line is the core's own. */
static void arm(unsigned n, uint64_t cval, uint64_t ctl)
{
    if (n == PPI_VTIMER) {
        write_sysreg(cntv_cval_el0, cval);
        write_sysreg(cntv_ctl_el0, ctl);
    } else {
        write_sysreg(cntp_cval_el0, cval);
        write_sysreg(cntp_ctl_el0, ctl);
    }
    isb();
}

static uint64_t control(unsigned n)
{
    isb();
    return n == PPI_VTIMER ? read_sysreg(cntv_ctl_el0) : read_sysreg(cntp_ctl_el0);
}

static uint64_t far_off(void)
{
    return now() + ticks_of_us(100000000);
}

#define SETTLE spin_us(100) /* a line may take its time to be seen */

static void timer_line(unsigned n)
{
    set(ICENABLER, n);
    arm(n, far_off(), 1);
    SETTLE;
    check(control(n) == 1, "ISTATUS before its time", "%lx", control(n));
    CHECK_BIT(ISPENDR, n, false, "a timer before its time");
    arm(n, 0, 1);
    SETTLE;
    check(control(n) == 5, "ISTATUS", "%lx", control(n));
    CHECK_BIT(ISPENDR, n, true, "a timer's line while disabled");
    set(ICPENDR, n);
    CHECK_BIT(ISPENDR, n, true, "a timer's line cannot be cleared");
    arm(n, 0, 3);
    SETTLE;
    check(control(n) == 7, "ISTATUS while masked", "%lx", control(n));
    CHECK_BIT(ISPENDR, n, false, "a timer that is masked");
    arm(n, 0, 1);
    SETTLE;
    CHECK_BIT(ISPENDR, n, true, "a timer that is unmasked");
    arm(n, far_off(), 1);
    SETTLE;
    CHECK_BIT(ISPENDR, n, false, "a timer that was put off");
    arm(n, 0, 1);
    SETTLE;
    CHECK_BIT(ISPENDR, n, true, "a timer whose time came again");
    arm(n, 0, 0);
    SETTLE;
    CHECK_BIT(ISPENDR, n, false, "a timer that is off");

    /* The same while its interrupt is enabled, with PSTATE.I set. */
    set(ISENABLER, n);
    arm(n, 0, 1);
    SETTLE;
    CHECK_BIT(ISPENDR, n, true, "an enabled timer's line");
    arm(n, far_off(), 1);
    SETTLE;
    CHECK_BIT(ISPENDR, n, false, "an enabled timer that was put off");
    check(acknowledge() == SPURIOUS, "it is not taken", "taken");
    arm(n, 0, 1);
    SETTLE;
    CHECK_BIT(ISPENDR, n, true, "an enabled timer whose time came again");
    check(highest_pending() == n, "it is offered", "%u", highest_pending());
    check(acknowledge() == n, "it is taken", "not taken");
    CHECK_BIT(ISACTIVER, n, true, "an active timer");
    CHECK_BIT(ISPENDR, n, true, "active, and its line high");
    arm(n, far_off(), 1);
    SETTLE;
    CHECK_BIT(ISPENDR, n, false, "active, and its line low");
    end(n);
    SETTLE;
    check(acknowledge() == SPURIOUS, "not taken when the line is low", "taken");
    CHECK_BIT(ISACTIVER, n, false, "an ended timer");
    /* Its line stays high over the EOI: it comes again, each time. */
    arm(n, 0, 1);
    for (unsigned i = 0; i < 20; i++) {
        if (!WAIT_FOR(acknowledge() == n, 1000)) {
            fail("a line that stays high", "taken %u times", i);
            break;
        }
        end(n);
        if (i == 19)
            pass("a line that stays high");
    }
    arm(n, 0, 0);
    SETTLE;
    CHECK_BIT(ISPENDR, n, false, "off at last");
    set(ICENABLER, n);
    CHECK_BIT(ISPENDR, n, false, "off and disabled");
    const unsigned left = acknowledge();
    check(left == SPURIOUS, "nothing is left", "%u", left);
}

void guest_main(void)
{
    v2 = gic_is_v2();
    gic_init();
    read_back();
    route_read_back();
    gic_init();
    pend_by_hand(SPI_A, true);
    pend_by_hand(SPI_A, false);
    pend_by_hand(SPI_B, true);
    pend_by_hand(PPI_FREE, false);
    sgi_pending();
    uart_line();
    timer_line(PPI_VTIMER);
    timer_line(PPI_PTIMER);
}
