/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The GIC's CPU interface and routing (IHI 0069H 4, IHI 0048B 3): nesting deeper than there are list registers, EOI modes,
 * binary points, both groups, SGIs to each kind of target list, SPIs routed to this CPU, that one, one that is off, any.
 * Interrupts are looked at with PSTATE.I and F set, by ISR_EL1, and taken by hand. Natively the same holds.
 */
#include "tests/guest/lib/guest.h"

#define CTLR 0x000
#define IGROUPR 0x080
#define ISENABLER 0x100
#define ICENABLER 0x180
#define ISPENDR 0x200
#define ICPENDR 0x280
#define ISACTIVER 0x300
#define ICACTIVER 0x380
#define ITARGETSR 0x800
#define ICFGR 0xc00
#define SGIR 0xf00
#define IROUTER 0x6000
#define GICC_CTLR 0x00
#define GICC_BPR 0x08
#define GICC_IAR 0x0c
#define GICC_EOIR 0x10
#define GICC_RPR 0x14
#define GICC_HPPIR 0x18
#define GICC_DIR 0x1000

#define SPURIOUS 1023
#define IDLE 0xff
#define DEPTH 12
#define FIRST 64 /* SPIs 64 to 75, edges */
#define ISR_I BIT(7)
#define ISR_F BIT(6)

static bool v2;

static uint64_t frame_of_cpu(unsigned cpu, unsigned intid)
{
    return !v2 && intid < 32 ? GICR + cpu * GICR_STRIDE + GICR_SGI : GICD;
}

static bool bit(unsigned reg, unsigned intid)
{
    return mmio_read32(frame_of_cpu(cpu_index(), intid) + reg + intid / 32 * 4) >> intid % 32 & 1;
}

static void set(unsigned reg, unsigned intid)
{
    mmio_write32(frame_of_cpu(cpu_index(), intid) + reg + intid / 32 * 4, 1u << intid % 32);
    dsb();
}

static unsigned acknowledge(void)
{
    isb();
    const unsigned what = v2 ? mmio_read32(GICC + GICC_IAR) : (unsigned)read_sysreg(S3_0_C12_C12_0);
    dsb();
    return what;
}

static void end(unsigned what)
{
    if (v2)
        mmio_write32(GICC + GICC_EOIR, what);
    else
        write_sysreg(S3_0_C12_C12_1, what);
    isb();
}

static void deactivate(unsigned what)
{
    if (v2)
        mmio_write32(GICC + GICC_DIR, what);
    else
        write_sysreg(S3_0_C12_C11_1, what);
    dsb();
    isb();
}

static unsigned running(void)
{
    isb();
    return (unsigned)(v2 ? mmio_read32(GICC + GICC_RPR) : read_sysreg(S3_0_C12_C11_3)) & 0xff;
}

static uint64_t signalled(void)
{
    dsb();
    isb();
    return read_sysreg(isr_el1) & (ISR_I | ISR_F);
}

static void binary_point(unsigned n)
{
    if (v2)
        mmio_write32(GICC + GICC_BPR, n);
    else
        write_sysreg(S3_0_C12_C12_3, n + 1); /* of group 1, without CBPR: one more for the same split */
    isb();
}

static void eoi_mode(bool apart)
{
    if (v2)
        mmio_write32(GICC + GICC_CTLR, apart ? 0x201 : 1);
    else
        write_sysreg(S3_0_C12_C12_4, apart ? 2 : 0);
    isb();
}

static void route(unsigned intid, unsigned cpu)
{
    if (v2)
        mmio_write8(GICD + ITARGETSR + intid, (uint8_t)(1u << cpu));
    else
        __asm__ volatile("str %0, [%1]" ::"r"((uint64_t)cpu), "r"(GICD + IROUTER + 8UL * intid) : "memory");
    dsb();
}

static unsigned priority(unsigned i)
{
    return 0xe0 - 16 * i; /* the later, the more urgent */
}

static void prepare(unsigned i, bool edge)
{
    const unsigned n = FIRST + i;
    route(n, 0);
    mmio_write32(GICD + ICFGR + n / 16 * 4, edge ? ~0u : 0);
    gic_priority(n, (uint8_t)priority(i));
    gic_enable(n);
}

/* Each interrupt pre-empts the one before; all are in service at once, then end from the top. */
static void nest(bool edge)
{
    bool taken = true, shown = true, held = true, ended = true;
    for (unsigned i = 0; i < DEPTH; i++)
        prepare(i, edge);
    for (unsigned i = 0; i < DEPTH; i++) {
        set(ISPENDR, FIRST + i);
        taken = taken && signalled() && acknowledge() == FIRST + i && !signalled();
        shown = shown && running() == priority(i) && bit(ISACTIVER, FIRST + i) && !bit(ISPENDR, FIRST + i);
    }
    check(taken, "each pre-empts the one before", "not so");
    check(shown, "running priority and active state on the way up", "%x", running());
    /* Those in service again, and one that is less urgent than what runs: none is signalled. */
    for (unsigned i = 0; i < DEPTH; i++)
        set(ISPENDR, FIRST + i);
    held = !signalled() && acknowledge() == SPURIOUS;
    for (unsigned i = 0; i < DEPTH; i++)
        held = held && bit(ISPENDR, FIRST + i) && bit(ISACTIVER, FIRST + i);
    check(held, "pending again while in service", "signalled %lx", signalled());
    for (unsigned i = 0; i < DEPTH; i++)
        set(ICPENDR, FIRST + i);
    for (unsigned i = DEPTH; i--;) {
        ended = ended && running() == priority(i) && bit(ISACTIVER, FIRST + i);
        end(FIRST + i);
        ended = ended && !bit(ISACTIVER, FIRST + i) && running() == (i ? priority(i - 1) : IDLE) && !signalled();
        for (unsigned k = 0; k < i; k++)
            ended = ended && bit(ISACTIVER, FIRST + k);
    }
    check(ended, "each EOI ends the one that runs", "running %x", running());
    check(acknowledge() == SPURIOUS, "nothing left", "taken");
}

/* In the way down, the one that ends comes again at once. */
static void nest_again(void)
{
    bool ok = true;
    for (unsigned i = 0; i < DEPTH; i++)
        prepare(i, true);
    for (unsigned i = 0; i < DEPTH; i++) {
        set(ISPENDR, FIRST + i);
        ok = ok && acknowledge() == FIRST + i;
    }
    check(ok, "nested once more", "not so");
    for (unsigned i = 0; i < DEPTH; i++)
        set(ISPENDR, FIRST + i);
    unsigned wrong = 0;
    for (unsigned i = DEPTH; i--;) {
        end(FIRST + i);
        const unsigned got = acknowledge();
        wrong += got != FIRST + i || running() != priority(i);
        end(FIRST + i);
    }
    check(!wrong && running() == IDLE && acknowledge() == SPURIOUS, "each comes again when it has ended", "%u wrong",
          wrong);
}

/* EOImode 1: dropped from the top, deactivated in another order. A GICv2 cannot tell EL2 of those it has no room for. */
static void apart(unsigned depth)
{
    bool dropped = true, gone = true, again = true;
    eoi_mode(true);
    for (unsigned i = 0; i < depth; i++) {
        prepare(i, true);
        set(ISPENDR, FIRST + i);
        (void)acknowledge();
    }
    for (unsigned i = depth; i--;) {
        end(FIRST + i);
        dropped = dropped && running() == (i ? priority(i - 1) : IDLE) && bit(ISACTIVER, FIRST + i);
    }
    check(dropped, "EOI drops the priority alone", "running %x", running());
    for (unsigned i = 0; i < depth; i++)
        set(ISPENDR, FIRST + i);
    check(!signalled(), "held back until deactivated", "signalled");
    for (unsigned i = 0; i < depth; i++) {
        const unsigned n = FIRST + (i * 5 + 2) % depth;
        deactivate(n);
        gone = gone && !bit(ISACTIVER, n) && bit(ISPENDR, n);
        again = again && signalled() && acknowledge() == n;
        end(n);
        deactivate(n);
        again = again && !signalled();
    }
    check(gone, "DIR deactivates", "not so");
    check(again, "and lets the next one through", "not so");
    check(running() == IDLE && acknowledge() == SPURIOUS, "nothing left behind", "running %x", running());
    eoi_mode(false);
}

static void splits(void)
{
    /* Binary point 6 of 8 bits: bit 7 alone is the group priority. */
    binary_point(6);
    gic_priority(FIRST, 0x60);
    gic_priority(FIRST + 1, 0x20);
    gic_priority(FIRST + 2, 0xc0);
    for (unsigned i = 0; i < 3; i++) {
        route(FIRST + i, 0);
        gic_enable(FIRST + i);
    }
    set(ISPENDR, FIRST);
    check(acknowledge() == FIRST, "a subpriority is taken", "not taken");
    set(ISPENDR, FIRST + 1);
    check(!signalled(), "no pre-emption by subpriority", "signalled");
    end(FIRST);
    check(signalled() && acknowledge() == FIRST + 1, "after the EOI", "not taken");
    end(FIRST + 1);
    set(ISPENDR, FIRST + 2);
    check(acknowledge() == FIRST + 2, "the lower half", "not taken");
    set(ISPENDR, FIRST);
    set(ISPENDR, FIRST + 1);
    check(signalled() && acknowledge() == FIRST + 1, "pre-emption by group priority, subpriority first", "not so");
    end(FIRST + 1);
    check(acknowledge() == FIRST, "and the other", "not so");
    end(FIRST);
    end(FIRST + 2);
    binary_point(0);
    check(running() == IDLE && acknowledge() == SPURIOUS, "no priority left", "%x", running());
    /* The mask: equal is not above. */
    set(ISPENDR, FIRST); /* 0x60 */
    gic_mask(0x60);
    check(!signalled(), "a priority equal to the mask is masked", "signalled");
    gic_mask(0x68);
    check(signalled() == ISR_I, "one above is not", "%lx", signalled());
    gic_mask(0xff);
    check(acknowledge() == FIRST, "and taken", "not taken");
    end(FIRST);
    for (unsigned i = 0; i < 3; i++)
        gic_disable(FIRST + i);
}

/* ---- groups ---- */
static void groups_v3(void)
{
    const unsigned n = 6, m = 7;
    gic_enable(n);
    gic_enable(m);
    gic_priority(n, 0x80);
    gic_priority(m, 0x90);
    const uint32_t groups = mmio_read32(frame_of_cpu(0, n) + IGROUPR);
    mmio_write32(frame_of_cpu(0, n) + IGROUPR, groups & ~(1u << n));
    check(!bit(IGROUPR, n) && bit(IGROUPR, m), "groups read back", "%x", mmio_read32(frame_of_cpu(0, n) + IGROUPR));
    set(ISPENDR, n);
    check(!signalled() && acknowledge() == SPURIOUS, "group 0 disabled", "%lx", signalled());
    mmio_write32(GICD + CTLR, mmio_read32(GICD + CTLR) | 1);
    check(!signalled(), "group 0 disabled in the CPU interface", "%lx", signalled());
    write_sysreg(S3_0_C12_C12_6, 1); /* ICC_IGRPEN0_EL1 */
    check(signalled() == ISR_F, "group 0 is an FIQ", "%lx", signalled());
    check((read_sysreg(S3_0_C12_C8_2) & 0xffffff) == n, "ICC_HPPIR0_EL1", "%lx", read_sysreg(S3_0_C12_C8_2));
    check(acknowledge() == SPURIOUS, "group 0 is not for ICC_IAR1_EL1", "taken");
    set(ISPENDR, m);
    check(signalled() == ISR_F, "the more urgent one alone is signalled", "%lx", signalled());
    const uint64_t taken = read_sysreg(S3_0_C12_C8_0); /* ICC_IAR0_EL1 */
    dsb();
    check(taken == n && running() == 0x80 && bit(ISACTIVER, n), "ICC_IAR0_EL1", "%lx", taken);
    write_sysreg(S3_0_C12_C8_1, n); /* ICC_EOIR0_EL1 */
    isb();
    check(signalled() == ISR_I && acknowledge() == m, "then group 1", "%lx", signalled());
    end(m);
    /* An SGI of group 0 is reached by both calls, one of group 1 by ICC_SGI1R_EL1 alone. */
    write_sysreg(S3_0_C12_C11_7, (uint64_t)n << 24 | 1); /* ICC_SGI0R_EL1 */
    write_sysreg(S3_0_C12_C11_7, (uint64_t)m << 24 | 1);
    check(signalled() == ISR_F && bit(ISPENDR, n) && !bit(ISPENDR, m), "ICC_SGI0R_EL1", "%lx", signalled());
    /* Its group changes while it is pending. */
    mmio_write32(frame_of_cpu(0, n) + IGROUPR, groups);
    dsb();
    check(signalled() == ISR_I && acknowledge() == n, "a pending one changes its group", "%lx", signalled());
    end(n);
    write_sysreg(S3_0_C12_C12_6, 0);
    /* Group 1 off in the distributor. */
    set(ISPENDR, n);
    mmio_write32(GICD + CTLR, mmio_read32(GICD + CTLR) & ~3u);
    check(!signalled() && acknowledge() == SPURIOUS && bit(ISPENDR, n), "the distributor forwards nothing", "%lx",
          signalled());
    mmio_write32(GICD + CTLR, mmio_read32(GICD + CTLR) | 2);
    check(signalled() == ISR_I, "and again", "%lx", signalled());
    write_sysreg(S3_0_C12_C12_7, 0); /* ICC_IGRPEN1_EL1 */
    check(!signalled() && acknowledge() == SPURIOUS, "the CPU interface takes nothing", "%lx", signalled());
    write_sysreg(S3_0_C12_C12_7, 1);
    check(acknowledge() == n, "and again", "not taken");
    end(n);
}

static void groups_v2(void)
{
    const unsigned n = FIRST, m = FIRST + 1;
    prepare(0, true);
    prepare(1, true); /* the more urgent one */
    mmio_write32(GICD + IGROUPR + m / 32 * 4, 1u << m % 32);
    check(bit(IGROUPR, m) && !bit(IGROUPR, n), "groups read back", "%x", mmio_read32(GICD + IGROUPR + m / 32 * 4));
    set(ISPENDR, m);
    check(!signalled(), "group 1 disabled", "%lx", signalled());
    mmio_write32(GICD + CTLR, 3);
    check(!signalled(), "group 1 disabled in the CPU interface", "%lx", signalled());
    mmio_write32(GICC + GICC_CTLR, 0xb); /* both groups, group 0 as FIQ */
    check(signalled() == ISR_I, "group 1 is an IRQ", "%lx", signalled());
    check(mmio_read32(GICC + GICC_HPPIR) == 1022 && acknowledge() == 1022, "it is not for GICC_IAR", "%x",
          mmio_read32(GICC + GICC_HPPIR));
    mmio_write32(GICC + GICC_CTLR, 0xf); /* AckCtl */
    check(acknowledge() == m && bit(ISACTIVER, m), "but with AckCtl", "not taken");
    end(m);
    mmio_write32(GICC + GICC_CTLR, 0xb);
    check(!bit(ISACTIVER, m) && !signalled(), "and ended", "active");
    set(ISPENDR, n);
    check(signalled() == ISR_F, "group 0 is an FIQ", "%lx", signalled());
    check(acknowledge() == n, "group 0 by GICC_IAR", "not taken");
    end(n);
    mmio_write32(GICC + GICC_CTLR, 1);
    mmio_write32(GICD + IGROUPR + m / 32 * 4, 0);
    set(ISPENDR, n);
    mmio_write32(GICD + CTLR, 0);
    check(!signalled() && bit(ISPENDR, n), "the distributor forwards nothing", "%lx", signalled());
    mmio_write32(GICD + CTLR, 1);
    check(acknowledge() == n, "and again", "not taken");
    end(n);
}

static void cpu_interface_v3(void)
{
    write_sysreg(S3_0_C12_C12_5, 0);
    isb();
    check((read_sysreg(S3_0_C12_C12_5) & 7) == 7, "ICC_SRE_EL1", "%lx", read_sysreg(S3_0_C12_C12_5));
    const uint64_t ctlr = read_sysreg(S3_0_C12_C12_4);
    check((ctlr >> 8 & 7) >= 4 && (ctlr >> 11 & 7) <= 1 && !(ctlr & 3), "ICC_CTLR_EL1", "%lx", ctlr);
    write_sysreg(S3_0_C12_C12_4, 3);
    isb();
    check((read_sysreg(S3_0_C12_C12_4) & 3) == 3, "ICC_CTLR_EL1.EOImode and CBPR", "%lx", read_sysreg(S3_0_C12_C12_4));
    write_sysreg(S3_0_C12_C12_4, 0);
    write_sysreg(S3_0_C12_C8_3, 0); /* ICC_BPR0_EL1 */
    write_sysreg(S3_0_C12_C12_3, 0);
    isb();
    const uint64_t bpr0 = read_sysreg(S3_0_C12_C8_3), bpr1 = read_sysreg(S3_0_C12_C12_3);
    check(bpr0 <= 3 && bpr1 == bpr0 + 1, "binary points have a minimum", "%lx, %lx", bpr0, bpr1);
    write_sysreg(S3_0_C4_C6_0, 0xff);
    check((read_sysreg(S3_0_C4_C6_0) & 0xf0) == 0xf0, "ICC_PMR_EL1", "%lx", read_sysreg(S3_0_C4_C6_0));
    check(read_sysreg(S3_0_C12_C12_6) == 0 && read_sysreg(S3_0_C12_C12_7) == 1, "group enables", "%lx, %lx",
          read_sysreg(S3_0_C12_C12_6), read_sysreg(S3_0_C12_C12_7));
    write_sysreg(S3_0_C12_C12_1, SPURIOUS); /* EOI of nothing */
    isb();
    check(running() == IDLE, "EOI of nothing", "%x", running());
}

/* ---- two CPUs ---- */
enum order { NOTHING, TAKE, TAKE_AND_HOLD, LET_GO, LOOK, LEAVE };
static volatile enum order order;
static volatile unsigned done, got;

static void other(void *arg)
{
    (void)arg;
    unsigned seen = 0, held = SPURIOUS;
    gic_init_cpu();
    for (unsigned n = 1; n < 16; n++)
        gic_enable(n);
    done = ++seen;
    for (;;) {
        while (order == NOTHING)
            relax();
        const enum order o = order;
        order = NOTHING;
        dsb();
        switch (o) {
        case TAKE:
        case TAKE_AND_HOLD:
            held = SPURIOUS;
            (void)WAIT_FOR((held = acknowledge()) != SPURIOUS, 500);
            got = held;
            if (o == TAKE && held != SPURIOUS)
                end(held);
            break;
        case LET_GO:
            end(held);
            break;
        case LOOK:
            got = acknowledge();
            if (got != SPURIOUS)
                end(got);
            break;
        default:
            got = SPURIOUS;
        }
        done = ++seen;
        if (o == LEAVE)
            return;
    }
}

static unsigned ask(enum order o)
{
    const unsigned before = done;
    got = 0xdead;
    dsb();
    order = o;
    if (!WAIT_FOR(done != before, 5000))
        return 0xbeef;
    return got;
}

static bool start_other(void)
{
    done = 0;
    order = NOTHING;
    return cpu_on(1, other, NULL) == 0 && WAIT_FOR(done == 1, 5000);
}

static void sgis(void)
{
    for (unsigned n = 5; n < 10; n++)
        gic_enable(n);
    if (v2) {                                    /* what is acknowledged says who sent it: CPU 0, so nothing is added */
        mmio_write32(GICD + SGIR, 1u << 24 | 5); /* all but self */
        check(ask(TAKE) == 5 && !signalled(), "SGI to all but self", "%u", got);
        mmio_write32(GICD + SGIR, 3u << 16 | 6);
        check(ask(TAKE) == 6 && acknowledge() == 6, "SGI to both", "%u", got);
        end(6);
        mmio_write32(GICD + SGIR, 2u << 24 | 7);
        check(ask(LOOK) == SPURIOUS && acknowledge() == 7, "SGI to self", "%u", got);
        end(7);
        if (!under_meanwhile()) /* QEMU's own takes it for a list */
            return;
        mmio_write32(GICD + SGIR, 3u << 24 | 3u << 16 | 8);
        check(ask(LOOK) == SPURIOUS && acknowledge() == SPURIOUS, "SGI with a reserved filter", "%u", got);
        return;
    }
#define SGI1R(value)                           \
    do {                                       \
        dsb();                                 \
        write_sysreg(S3_0_C12_C11_5, (value)); \
        isb();                                 \
    } while (0)
    SGI1R(BIT(40) | 5UL << 24);
    check(ask(TAKE) == 5 && !signalled(), "SGI to all but self", "%u", got);
    SGI1R(BIT(40) | 5UL << 24 | 3);
    check(ask(TAKE) == 5 && !signalled(), "SGI to all but self, with a list", "%u", got);
    SGI1R(6UL << 24 | 3);
    check(ask(TAKE) == 6 && acknowledge() == 6, "SGI to both", "%u", got);
    end(6);
    SGI1R(7UL << 24 | 1);
    check(ask(LOOK) == SPURIOUS && acknowledge() == 7, "SGI to self", "%u", got);
    end(7);
    SGI1R(8UL << 24 | 0xfffc);
    SGI1R(8UL << 24 | 3 | 1UL << 16);
    SGI1R(8UL << 24 | 3 | 1UL << 32);
    SGI1R(8UL << 24 | 3 | 1UL << 48);
    SGI1R(8UL << 24);
    check(ask(LOOK) == SPURIOUS && acknowledge() == SPURIOUS, "SGI to nobody", "%u", got);
    /* By the other one's redistributor. */
    mmio_write32(frame_of_cpu(1, 9) + ISPENDR, 1u << 9);
    check(ask(TAKE) == 9, "an SGI by another redistributor", "%u", got);
    mmio_write32(frame_of_cpu(1, 9) + ICENABLER, 1u << 9);
    SGI1R(9UL << 24 | 2);
    check(ask(LOOK) == SPURIOUS && mmio_read32(frame_of_cpu(1, 9) + ISPENDR) == 1u << 9, "disabled from afar", "%u",
          got);
    mmio_write32(frame_of_cpu(1, 9) + ISENABLER, 1u << 9);
    check(ask(TAKE) == 9, "enabled from afar", "%u", got);
}

static void routes(void)
{
    const unsigned n = FIRST;
    prepare(0, true);
    set(ISPENDR, n);
    check(signalled(), "an SPI here", "not signalled");
    route(n, 1);
    check(!signalled() && ask(TAKE) == n, "routed elsewhere while pending", "%u", got);
    set(ISPENDR, n);
    check(ask(TAKE_AND_HOLD) == n, "an SPI there, in service", "%u", got);
    set(ISPENDR, n);
    route(n, 0);
    /* What is in another CPU's list registers is read back as that one has last told. */
    check(WAIT_FOR(bit(ISPENDR, n), 1000) && !signalled(), "pending here while in service there", "%lx", signalled());
    (void)ask(LET_GO);
    check(WAIT_FOR(signalled(), 1000) && acknowledge() == n, "taken here after its EOI there", "not taken");
    end(n);
    route(n, 1);
    set(ISPENDR, n);
    check(ask(TAKE_AND_HOLD) == n, "an SPI there, in service again", "%u", got);
    set(ICACTIVER, n);
    set(ISPENDR, n);
    route(n, 0);
    check(WAIT_FOR(signalled(), 1000) && acknowledge() == n, "its active state taken away from here", "not taken");
    end(n);
    (void)ask(LET_GO); /* drops its priority there, and ends nothing here */
    check(ask(LOOK) == SPURIOUS && acknowledge() == SPURIOUS, "and nothing more", "%u", got);
    gic_disable(n);

    if (!v2) {
        __asm__ volatile("str %0, [%1]" ::"r"(BIT(31)), "r"(GICD + IROUTER + 8UL * n) : "memory");
        unsigned here = 0, there = 0;
        gic_enable(n);
        for (unsigned i = 0; i < 100; i++) {
            set(ISPENDR, n);
            for (unsigned k = 0; k < 100 && bit(ISPENDR, n); k++) {
                const unsigned what = acknowledge();
                if (what == n) {
                    here++;
                    end(n);
                } else if (ask(LOOK) == n) {
                    there++;
                }
            }
        }
        check(here + there == 100, "1 of N: each taken once", "%u here, %u there", here, there);
        gic_disable(n);
        route(n, 5); /* no such CPU */
        gic_enable(n);
        set(ISPENDR, n);
        check(!signalled() && ask(LOOK) == SPURIOUS && bit(ISPENDR, n), "routed to nobody, it stays pending", "%u",
              got);
        route(n, 0);
        check(signalled() && acknowledge() == n, "then routed here", "not taken");
        end(n);
    }
}

/* What is sent to a CPU that is off is there when it is on. */
static void off(void)
{
    const unsigned n = FIRST;
    (void)ask(LEAVE);
    if (!cpu_wait_off(1, 5000)) {
        fail("CPU 1 goes off", "it does not");
        return;
    }
    prepare(0, true);
    route(n, 1);
    set(ISPENDR, n);
    check(!signalled() && bit(ISPENDR, n), "an SPI for a CPU that is off", "signalled");
    route(n, 0);
    check(signalled() && acknowledge() == n, "is another's when routed there", "not taken");
    end(n);
    set(ISPENDR, n);
    route(n, 1);
    check(!signalled(), "an SPI for a CPU that is off again", "signalled");
    check(start_other() && ask(TAKE) == n, "is there when it is on", "%u", got);
    gic_disable(n);
    (void)ask(LEAVE);
    (void)cpu_wait_off(1, 5000);
}

void guest_main(void)
{
    __asm__ volatile("msr daifset, #3" ::: "memory");
    v2 = gic_is_v2();
    gic_init();
    nest(true);
    nest(false);
    nest_again();
    apart(4);
    if (!v2)
        apart(DEPTH);
    for (unsigned i = 0; i < DEPTH; i++)
        gic_disable(FIRST + i);
    splits();
    if (v2) {
        groups_v2();
    } else {
        groups_v3();
        cpu_interface_v3();
    }
    gic_init();
    if (!cpu_exists(1))
        return;
    if (!check(start_other(), "a second CPU", "does not start"))
        return;
    sgis();
    routes();
    off();
}
