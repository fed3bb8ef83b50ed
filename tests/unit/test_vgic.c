/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: vcpu/vgic.c vcpu/vgic_dist.c vcpu/vgic_redist.c vcpu/vgic_lr.c tests/unit/fake/dev/gich.c */
/*
 * The virtual GIC on fake list registers: each group of registers, the flows that drivers rely on, random garbage, and
 * random use compared with a simple model of what a GIC does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dev/fake_gich.h"
#include "dev/gic.h"
#include "vcpu/vm.h"

#define CPUS 4
#define GROUPS 3u
#define GICR_SGI(cpu) ((uint32_t)(cpu)*VIRT_GICR_STRIDE + 0x10000u)

#define IGROUPR 0x80
#define ISENABLER 0x100
#define ICENABLER 0x180
#define ISPENDR 0x200
#define ICPENDR 0x280
#define ISACTIVER 0x300
#define ICACTIVER 0x380
#define IPRIORITYR 0x400
#define ICFGR 0xc00
#define IROUTER 0x6000

_Thread_local struct core *this_core_ptr;

static struct vm vm;
static struct vcpu cpus[CPUS];
static struct core test_cores[CPUS];
static struct fake_gich gich[CPUS];
static unsigned kicks[CPUS];
static uint32_t physically_active[CPUS]; /* PPIs */
static unsigned deactivations[CPUS];

void gic_sgi(const struct core *target, uint32_t sgi)
{
    assert_int_equal(sgi, SGI_KICK);
    kicks[target->id]++;
}

static void physical_end(uint32_t intid)
{
    uint32_t cpu = this_core_ptr->id;

    assert_true(intid < 32);
    assert_true(physically_active[cpu] >> intid & 1);
    physically_active[cpu] &= ~(1u << intid);
    deactivations[cpu]++;
}

void gic_deactivate(uint32_t intid)
{
    physical_end(intid);
}

static void on(unsigned cpu)
{
    this_core_ptr = &test_cores[cpu];
    fake_gich = &gich[cpu];
}

/* What the core of each vCPU does by itself: exits on a kick or maintenance, and the check before it returns. */
static void settle(void)
{
    uint32_t was = this_core_ptr->id;

    for (unsigned turn = 0;; turn++) {
        bool idle = true;

        assert_true(turn < 20); /* else an interrupt storm */
        for (unsigned cpu = 0; cpu < vm.vcpu_count; cpu++) {
            on(cpu);
            if (atomic_load(&cpus[cpu].vgic.dirty) || fake_gich_misr()) {
                vgic_sync(&cpus[cpu]);
                idle = false;
            }
        }
        if (idle)
            break;
    }
    on(was);
}

static void machine(unsigned count, uint32_t lrs)
{
    fake_timer_lines = 0;
    memset(&vm, 0, sizeof vm);
    memset(cpus, 0, sizeof cpus);
    memset(gich, 0, sizeof gich);
    memset(kicks, 0, sizeof kicks);
    memset(physically_active, 0, sizeof physically_active);
    memset(deactivations, 0, sizeof deactivations);
    vm.vcpus = cpus;
    vm.vcpu_count = count;
    vgic_dist_reset(&vm);
    for (unsigned i = count; i-- > 0;) {
        test_cores[i].id = i;
        test_cores[i].vcpu = &cpus[i];
        cpus[i].vm = &vm;
        cpus[i].index = i;
        cpus[i].core = &test_cores[i];
        cpus[i].power = VCPU_ON;
        gich[i].lrs = lrs;
        gich[i].tds = true;
        gich[i].deactivated = physical_end;
        vgic_cpu_reset(&cpus[i]);
        on(i);
        vgic_cpu_hw_init(&cpus[i]);
        gich[i].vmcr |= ICH_VMCR_VENG0 | ICH_VMCR_VENG1 | field_put(ICH_VMCR_VPMR, 0xf8);
    }
}

static void dist_write(uint32_t off, uint64_t val)
{
    vgicd_write(&cpus[this_core_ptr->id], off, 4, val);
}

static uint32_t dist_read(uint32_t off)
{
    return (uint32_t)vgicd_read(&cpus[this_core_ptr->id], off, 4);
}

static void redist_write(unsigned cpu, uint32_t reg, uint64_t val)
{
    vgicr_write(&cpus[this_core_ptr->id], GICR_SGI(cpu) + reg, 4, val);
}

static uint32_t redist_read(unsigned cpu, uint32_t reg)
{
    return (uint32_t)vgicr_read(&cpus[this_core_ptr->id], GICR_SGI(cpu) + reg, 4);
}

/* Either frame, by INTID. */
static void bit_write(unsigned cpu, uint32_t reg, uint32_t intid)
{
    if (intid < 32)
        redist_write(cpu, reg, 1u << intid);
    else
        dist_write(reg + intid / 32 * 4, 1u << intid % 32);
}

static bool bit_read(unsigned cpu, uint32_t reg, uint32_t intid)
{
    uint32_t word = intid < 32 ? redist_read(cpu, reg) : dist_read(reg + intid / 32 * 4);

    return word >> intid % 32 & 1;
}

static void prio_write(unsigned cpu, uint32_t intid, uint8_t prio)
{
    if (intid < 32)
        vgicr_write(&cpus[this_core_ptr->id], GICR_SGI(cpu) + IPRIORITYR + intid, 1, prio);
    else
        vgicd_write(&cpus[this_core_ptr->id], IPRIORITYR + intid, 1, prio);
}

static void enable(unsigned cpu, uint32_t intid, uint8_t prio)
{
    if (intid < 32)
        redist_write(cpu, IGROUPR, redist_read(cpu, IGROUPR) | 1u << intid);
    else
        dist_write(IGROUPR + intid / 32 * 4, dist_read(IGROUPR + intid / 32 * 4) | 1u << intid % 32);
    prio_write(cpu, intid, prio);
    bit_write(cpu, ISENABLER, intid);
}

static void make_edge(uint32_t intid)
{
    uint32_t off = ICFGR + intid / 16 * 4;

    dist_write(off, dist_read(off) | 2u << intid % 16 * 2);
}

/* What must hold whenever a vCPU runs guest code. */
static void check_invariants(void)
{
    uint32_t inlr[1 + VGIC_SPI_BANKS] = {0};

    for (unsigned cpu = 0; cpu < vm.vcpu_count; cpu++) {
        struct vgic_cpu *c = &cpus[cpu].vgic;
        uint32_t priv = 0;
        uint32_t ended = 0; /* by the guest, and not seen yet */

        for (uint32_t i = 0; i < gich[cpu].lrs; i++) {
            uint64_t lr = gich[cpu].lr[i];
            uint32_t intid = (uint32_t)field_get(LR_VINTID, lr);

            if (!(c->lr_used >> i & 1)) {
                assert_int_equal(lr & LR_STATE, 0);
                continue;
            }
            assert_int_equal(intid, c->lr[i].intid);
            assert_true(intid < 288);
            if (intid < 32) {
                assert_false(priv >> intid & 1);
                priv |= 1u << intid;
            } else {
                assert_false(inlr[intid / 32] >> intid % 32 & 1);
                inlr[intid / 32] |= 1u << intid % 32;
                assert_int_equal(vm.vgic.holder[intid - 32], cpu);
            }
            if (lr & LR_HW) {
                assert_true(c->hw_active >> intid & 1);
                assert_int_equal(field_get(LR_PINTID, lr), intid);
                ended |= lr & LR_STATE ? 0 : 1u << intid;
            }
        }
        assert_int_equal(c->priv.inlr, priv);
        assert_int_equal(c->hw_active, physically_active[cpu] | ended); /* none that nobody will ever deactivate */
        assert_int_equal(c->hw_pending & ~physically_active[cpu], 0);
    }
    for (uint32_t b = 0; b < VGIC_SPI_BANKS; b++)
        assert_int_equal(vm.vgic.spi[b].inlr, inlr[b + 1]);
}

/* ---- registers */

static void test_identification(void **state)
{
    (void)state;
    machine(CPUS, 4);
    on(0);
    assert_int_equal(dist_read(0x4), 8 | 9u << 19 | 1u << 24);
    assert_int_equal(dist_read(0x8), 0x43b);
    assert_int_equal(dist_read(0xc), 0);  /* TYPER2 */
    assert_int_equal(dist_read(0x10), 0); /* STATUSR */
    assert_int_equal(dist_read(0xffe8), 0x3b);
    assert_int_equal(dist_read(0xfffc), 0xb1);
    for (uint32_t i = 0; i < CPUS; i++) {
        uint32_t rd = i * VIRT_GICR_STRIDE;
        uint64_t typer = (uint64_t)i << 32 | i << 8 | (i == CPUS - 1 ? 0x10 : 0);

        assert_int_equal(vgicr_read(&cpus[0], rd + 8, 8), typer);
        assert_int_equal(vgicr_read(&cpus[0], rd + 8, 4), (uint32_t)typer);
        assert_int_equal(vgicr_read(&cpus[0], rd + 12, 4), typer >> 32);
        assert_int_equal(vgicr_read(&cpus[0], rd + 4, 4), 0x43b);
        assert_int_equal(vgicr_read(&cpus[0], rd, 4), 0);
        assert_int_equal(vgicr_read(&cpus[0], rd + 0xffe8, 4), 0x3b);
    }
    assert_int_equal(vgicr_read(&cpus[0], CPUS * VIRT_GICR_STRIDE + 0xffe8, 4), 0);
    assert_int_equal(vgicr_read(&cpus[0], 0xfffffffc, 4), 0);
}

static void test_ctlr_and_waker(void **state)
{
    (void)state;
    machine(2, 4);
    on(0);
    assert_int_equal(dist_read(0), 0x50);
    dist_write(0, ~0ull);
    assert_int_equal(dist_read(0), 0x53); /* ARE and DS stay, RWP is clear */
    vgicd_write(&cpus[0], 0, 1, 0);       /* not a byte register */
    assert_int_equal(dist_read(0), 0x53);
    dist_write(0, 0);
    assert_int_equal(dist_read(0), 0x50);
    assert_int_equal(vgicr_read(&cpus[0], VIRT_GICR_STRIDE + 0x14, 4), 6); /* asleep after reset */
    vgicr_write(&cpus[0], VIRT_GICR_STRIDE + 0x14, 4, 0);
    assert_int_equal(vgicr_read(&cpus[0], VIRT_GICR_STRIDE + 0x14, 4), 0);
    assert_int_equal(vgicr_read(&cpus[0], 0x14, 4), 6);
    vgicr_write(&cpus[0], VIRT_GICR_STRIDE + 0x14, 4, 2);
    assert_int_equal(vgicr_read(&cpus[0], VIRT_GICR_STRIDE + 0x14, 4), 6);
}

static void test_bit_registers(void **state)
{
    (void)state;
    machine(2, 4);
    on(0);
    for (uint32_t b = 1; b <= 8; b++) {
        uint32_t val = 0x12345678u * b;

        dist_write(IGROUPR + 4 * b, val);
        assert_int_equal(dist_read(IGROUPR + 4 * b), val);
        dist_write(ISENABLER + 4 * b, val);
        assert_int_equal(dist_read(ISENABLER + 4 * b), val);
        assert_int_equal(dist_read(ICENABLER + 4 * b), val);
        dist_write(ICENABLER + 4 * b, 0xffff);
        assert_int_equal(dist_read(ISENABLER + 4 * b), val & 0xffff0000);
        dist_write(ISPENDR + 4 * b, val);
        assert_int_equal(dist_read(ISPENDR + 4 * b), val);
        dist_write(ICPENDR + 4 * b, 0xff00);
        assert_int_equal(dist_read(ICPENDR + 4 * b), val & ~0xff00u);
        dist_write(ISACTIVER + 4 * b, val);
        assert_int_equal(dist_read(ISACTIVER + 4 * b), val);
        dist_write(ICACTIVER + 4 * b, 0xf0f0f0f0);
        assert_int_equal(dist_read(ICACTIVER + 4 * b), val & 0x0f0f0f0f);
    }
    /* The private bank does not exist in the distributor, nor do banks beyond the last SPI. */
    for (uint32_t reg = IGROUPR; reg < IPRIORITYR; reg += 0x80) {
        dist_write(reg, ~0u);
        assert_int_equal(dist_read(reg), 0);
        dist_write(reg + 4 * 9, ~0u);
        assert_int_equal(dist_read(reg + 4 * 9), 0);
        assert_int_equal(vgicd_read(&cpus[0], reg + 4, 8), 0);
        assert_int_equal(vgicd_read(&cpus[0], reg + 4, 2), 0);
    }
    assert_int_equal(dist_read(ISENABLER + 4), 0x12340000);
    /* It is in each redistributor, and any vCPU reaches any of them. */
    redist_write(1, IGROUPR, 0xa5a5a5a5);
    redist_write(1, ISENABLER, 0xf000000f);
    redist_write(1, ISPENDR, 0x00ffff00);
    redist_write(1, ISACTIVER, 0x80000000);
    assert_int_equal(redist_read(1, IGROUPR), 0xa5a5a5a5);
    assert_int_equal(redist_read(1, ISENABLER), 0xf000000f);
    assert_int_equal(redist_read(1, ISPENDR), 0x00ffff00);
    assert_int_equal(redist_read(1, ISACTIVER), 0x80000000);
    redist_write(1, ICENABLER, ~0u);
    redist_write(1, ICPENDR, 0x00f00000);
    redist_write(1, ICACTIVER, ~0u);
    assert_int_equal(redist_read(1, ISENABLER), 0);
    assert_int_equal(redist_read(1, ISPENDR), 0x000fff00);
    assert_int_equal(redist_read(1, ISACTIVER), 0);
    assert_int_equal(redist_read(0, IGROUPR), 0);
    assert_int_equal(redist_read(0, ISPENDR), 0);
    assert_int_equal(redist_read(1, ISENABLER + 4), 0);
}

static void test_priorities(void **state)
{
    (void)state;
    machine(1, 4);
    on(0);
    vgicd_write(&cpus[0], IPRIORITYR + 32, 4, 0xffa7c309);
    assert_int_equal(vgicd_read(&cpus[0], IPRIORITYR + 32, 4), 0xf8a0c008); /* five bits */
    assert_int_equal(vgicd_read(&cpus[0], IPRIORITYR + 33, 1), 0xc0);
    assert_int_equal(vgicd_read(&cpus[0], IPRIORITYR + 34, 2), 0xf8a0);
    vgicd_write(&cpus[0], IPRIORITYR + 34, 2, 0x1020);
    vgicd_write(&cpus[0], IPRIORITYR + 33, 1, 0x30);
    assert_int_equal(vgicd_read(&cpus[0], IPRIORITYR + 32, 4), 0x10203008);
    assert_int_equal(vgicd_read(&cpus[0], IPRIORITYR + 32, 8), 0);
    assert_int_equal(vgicd_read(&cpus[0], IPRIORITYR + 33, 2), 0);
    vgicd_write(&cpus[0], IPRIORITYR + 284, 4, 0x08101820);
    assert_int_equal(vgicd_read(&cpus[0], IPRIORITYR + 284, 4), 0x08101820);
    vgicd_write(&cpus[0], IPRIORITYR + 288, 4, ~0u);
    assert_int_equal(vgicd_read(&cpus[0], IPRIORITYR + 288, 4), 0);
    vgicd_write(&cpus[0], IPRIORITYR, 4, ~0u);
    assert_int_equal(vgicd_read(&cpus[0], IPRIORITYR, 4), 0);
    vgicr_write(&cpus[0], GICR_SGI(0) + IPRIORITYR + 28, 4, 0x20202020);
    vgicr_write(&cpus[0], GICR_SGI(0) + IPRIORITYR + 27, 1, 0x48);
    assert_int_equal(vgicr_read(&cpus[0], GICR_SGI(0) + IPRIORITYR + 24, 4), 0x48000000);
    assert_int_equal(vgicr_read(&cpus[0], GICR_SGI(0) + IPRIORITYR + 30, 2), 0x2020);
    assert_int_equal(vgicr_read(&cpus[0], GICR_SGI(0) + IPRIORITYR + 32, 4), 0);
}

static void test_configuration(void **state)
{
    (void)state;
    machine(1, 4);
    on(0);
    assert_int_equal(redist_read(0, ICFGR), 0xaaaaaaaa);
    redist_write(0, ICFGR, 0);
    assert_int_equal(redist_read(0, ICFGR), 0xaaaaaaaa); /* SGIs are edges, always */
    assert_int_equal(redist_read(0, ICFGR + 4), 0);
    redist_write(0, ICFGR + 4, 0xffffffff);
    assert_int_equal(redist_read(0, ICFGR + 4), 0xaaaaaaaa);
    redist_write(0, ICFGR + 4, 0x00000008);
    assert_int_equal(redist_read(0, ICFGR + 4), 0x00000008);
    dist_write(ICFGR + 4, ~0u);
    assert_int_equal(dist_read(ICFGR + 4), 0); /* PPIs are not here */
    dist_write(ICFGR + 8, 0x80000002);
    dist_write(ICFGR + 12, 0x20000008);
    assert_int_equal(dist_read(ICFGR + 8), 0x80000002);
    assert_int_equal(dist_read(ICFGR + 12), 0x20000008);
    assert_int_equal(vm.vgic.spi[0].edge, 0x40028001);
    dist_write(ICFGR + 4 * 17, ~0u);
    assert_int_equal(dist_read(ICFGR + 4 * 17), 0xaaaaaaaa);
    dist_write(ICFGR + 4 * 18, ~0u);
    assert_int_equal(dist_read(ICFGR + 4 * 18), 0);
}

static void test_routes(void **state)
{
    (void)state;
    machine(2, 4);
    on(0);
    vgicd_write(&cpus[0], IROUTER + 8 * 40, 8, ~0ull);
    assert_int_equal(vgicd_read(&cpus[0], IROUTER + 8 * 40, 8), 0xff80ffffffull);
    assert_int_equal(vm.vgic.target[8], VGIC_TARGET_ANY);
    vgicd_write(&cpus[0], IROUTER + 8 * 40, 4, 1);
    assert_int_equal(vgicd_read(&cpus[0], IROUTER + 8 * 40, 8), 0xff00000001ull);
    assert_int_equal(vm.vgic.target[8], VGIC_TARGET_NONE);
    vgicd_write(&cpus[0], IROUTER + 8 * 40 + 4, 4, 0xffffff00);
    assert_int_equal(vgicd_read(&cpus[0], IROUTER + 8 * 40, 8), 1);
    assert_int_equal(vgicd_read(&cpus[0], IROUTER + 8 * 40, 4), 1);
    assert_int_equal(vgicd_read(&cpus[0], IROUTER + 8 * 40 + 4, 4), 0);
    assert_int_equal(vm.vgic.target[8], 1);
    vgicd_write(&cpus[0], IROUTER + 8 * 31, 8, 1); /* no SPI */
    assert_int_equal(vgicd_read(&cpus[0], IROUTER + 8 * 31, 8), 0);
    vgicd_write(&cpus[0], IROUTER + 8 * 288, 8, 1);
    assert_int_equal(vgicd_read(&cpus[0], IROUTER + 8 * 288, 8), 0);
    vgicd_write(&cpus[0], IROUTER + 8 * 287, 8, 1);
    assert_int_equal(vgicd_read(&cpus[0], IROUTER + 8 * 287, 8), 1);
    vgicd_write(&cpus[0], IROUTER + 8 * 287 + 4, 8, 0);
    assert_int_equal(vgicd_read(&cpus[0], IROUTER + 8 * 287, 8), 1);
}

static void test_legacy_registers_are_absent(void **state)
{
    static const uint32_t offs[] = {0x40, 0x48, 0x800, 0x820, 0x840, 0xd04, 0xe08, 0xf00, 0xf10, 0xf20, 0x6000 - 4};

    (void)state;
    machine(1, 4);
    on(0);
    for (unsigned i = 0; i < ARRAY_SIZE(offs); i++) {
        dist_write(offs[i], ~0u);
        assert_int_equal(dist_read(offs[i]), 0);
    }
    redist_write(0, 0xd00, ~0u);
    redist_write(0, 0xe00, ~0u);
    assert_int_equal(redist_read(0, 0xd00), 0);
    assert_int_equal(redist_read(0, 0xe00), 0);
    check_invariants();
}

/* ---- flows */

static void test_self_sgi(void **state)
{
    uint64_t reads;

    (void)state;
    machine(1, 4);
    on(0);
    dist_write(0, GROUPS);
    enable(0, 5, 0xa0);
    settle();
    reads = gich[0].lr_reads;
    for (unsigned i = 0; i < 100; i++) {
        vgic_sgi1r(&cpus[0], 5ull << 24 | 1);
        /* From the second one on it goes straight into the list register that held the last one. */
        assert_int_equal(cpus[0].vgic.dirty != 0, i == 0);
        if (i == 0)
            vgic_sync(&cpus[0]);
        assert_int_equal(cpus[0].vgic.dirty, 0);
        assert_int_equal(fake_gich_ack(), 5);
        assert_int_equal(fake_gich_ack(), FAKE_SPURIOUS);
        fake_gich_eoi(5);
        assert_int_equal(fake_gich_misr(), 0); /* no further exit */
    }
    assert_int_equal(kicks[0], 0);
    assert_int_equal(gich[0].lr_reads, reads);
    check_invariants();
}

static void test_sgi_to_others(void **state)
{
    (void)state;
    machine(CPUS, 4);
    on(1);
    dist_write(0, GROUPS);
    for (unsigned i = 0; i < CPUS; i++)
        enable(i, 3, 0x80);
    settle();
    memset(kicks, 0, sizeof kicks);

    vgic_sgi1r(&cpus[1], 3ull << 24 | 0x1 | 0x8 | 0xfff0); /* 0 and 3, and many that do not exist */
    assert_int_equal(kicks[0], 1);
    assert_int_equal(kicks[1], 0);
    assert_int_equal(kicks[2], 0);
    assert_int_equal(kicks[3], 1);
    vgic_sgi1r(&cpus[1], 3ull << 24 | 0x1); /* a second one before the first is seen: one signal, one interrupt */
    assert_int_equal(kicks[0], 1);
    settle();
    on(0);
    assert_int_equal(fake_gich_ack(), 3);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    fake_gich_eoi(3);
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    on(3);
    assert_int_equal(fake_gich_ack(), 3);
    fake_gich_eoi(3);
    on(1);

    vgic_sgi1r(&cpus[1], 1ull << 40 | 3ull << 24); /* all but self */
    settle();
    for (unsigned i = 0; i < CPUS; i++) {
        on(i);
        assert_int_equal(fake_gich_ack(), i == 1 ? FAKE_SPURIOUS : 3);
        if (i != 1)
            fake_gich_eoi(3);
    }
    on(1);
    /* Another cluster at each affinity level, and a range selector: nobody. */
    vgic_sgi1r(&cpus[1], 1ull << 16 | 3ull << 24 | 0xffff);
    vgic_sgi1r(&cpus[1], 1ull << 32 | 3ull << 24 | 0xffff);
    vgic_sgi1r(&cpus[1], 1ull << 48 | 3ull << 24 | 0xffff);
    vgic_sgi1r(&cpus[1], 1ull << 44 | 3ull << 24 | 0xffff);
    for (unsigned i = 0; i < CPUS; i++)
        assert_int_equal(cpus[i].vgic.priv.pending, 0);
    vgic_sgi0r(&cpus[1], 3ull << 24 | 0xf); /* it is in group 1 */
    for (unsigned i = 0; i < CPUS; i++)
        assert_int_equal(cpus[i].vgic.priv.pending, 0);
    redist_write(2, IGROUPR, 0);
    vgic_sgi0r(&cpus[1], 3ull << 24 | 0xf);
    settle();
    on(2);
    assert_int_equal(fake_gich_highest(), 3);
    on(0);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    check_invariants();
}

/* The usual signal: the one that came last comes again, by the shortest way; and what keeps it from that way. */
static void test_same_sgi_again(void **state)
{
    const uint64_t to_0 = 3ull << 24 | 1, other_to_0 = 4ull << 24 | 1;

    (void)state;
    machine(CPUS, 4);
    on(1);
    dist_write(0, GROUPS);
    enable(0, 3, 0x80);
    enable(0, 4, 0x90);
    settle();
    for (unsigned i = 0; i < 8; i++) {
        uint64_t writes = gich[0].lr_writes;

        vgic_sgi1r(&cpus[1], to_0);
        if (i == 3) /* with another one */
            vgic_sgi1r(&cpus[1], other_to_0);
        if (i == 5) /* with another priority */
            prio_write(0, 3, 0x40);
        settle();
        assert_int_equal(cpus[0].vgic.priv.pending, 0);
        on(0);
        if (i != 3 && i != 5)
            assert_int_equal(gich[0].lr_writes, writes + 1);
        assert_int_equal(fake_gich_ack(), 3);
        if (i == 6) { /* once more while it is active */
            on(1);
            vgic_sgi1r(&cpus[1], to_0);
            settle();
            on(0);
        }
        assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
        fake_gich_eoi(3);
        settle();
        if (i == 3) {
            assert_int_equal(fake_gich_ack(), 4);
            fake_gich_eoi(4);
        }
        if (i == 6) {
            assert_int_equal(fake_gich_ack(), 3);
            fake_gich_eoi(3);
        }
        assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
        check_invariants();
        on(1);
    }
    /* Disabled meanwhile: it waits. */
    bit_write(0, ICENABLER, 3);
    settle();
    vgic_sgi1r(&cpus[1], to_0);
    settle();
    on(0);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    on(1);
    bit_write(0, ISENABLER, 3);
    settle();
    on(0);
    assert_int_equal(fake_gich_ack(), 3);
}

static void test_disabled_interrupt_waits(void **state)
{
    (void)state;
    machine(1, 4);
    on(0);
    dist_write(0, GROUPS);
    vgic_sgi1r(&cpus[0], 1);
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    assert_false(vgic_pending(&cpus[0]));
    enable(0, 0, 0x80);
    assert_true(vgic_pending(&cpus[0])); /* looks first */
    assert_int_equal(fake_gich_highest(), 0);
    redist_write(0, ICENABLER, 1); /* pulled out of the list register again */
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    assert_true(bit_read(0, ISPENDR, 0));
    redist_write(0, ISENABLER, 1);
    dist_write(0, 1); /* its group */
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    dist_write(0, 2);
    settle();
    assert_int_equal(fake_gich_highest(), 0);
    gich[0].vmcr &= ~ICH_VMCR_VENG1;
    assert_false(vgic_pending(&cpus[0]));
    gich[0].vmcr |= ICH_VMCR_VENG1;
    gich[0].vmcr = (gich[0].vmcr & ~ICH_VMCR_VPMR) | field_put(ICH_VMCR_VPMR, 0x80);
    assert_false(vgic_pending(&cpus[0]));
    gich[0].vmcr = (gich[0].vmcr & ~ICH_VMCR_VPMR) | field_put(ICH_VMCR_VPMR, 0x88);
    assert_true(vgic_pending(&cpus[0]));
    redist_write(0, ICPENDR, 1);
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    check_invariants();
}

static void test_more_pending_than_list_registers(void **state)
{
    static const uint8_t prio[16] = {0x50, 0x20, 0xf0, 0x10, 0x90, 0x80, 0x08, 0xe0,
                                     0x60, 0xc0, 0x30, 0xd0, 0x40, 0x00, 0xb0, 0x70};
    uint32_t last = 0;

    (void)state;
    for (uint32_t lrs = 1; lrs <= 4; lrs++) {
        machine(1, lrs);
        on(0);
        dist_write(0, GROUPS);
        for (uint32_t i = 0; i < 16; i++)
            enable(0, i, prio[i]);
        redist_write(0, ISPENDR, 0xffff);
        settle();
        last = 0;
        for (unsigned n = 0; n < 16; n++) {
            uint32_t intid = fake_gich_ack();

            assert_true(intid < 16);
            assert_true(n == 0 || prio[intid] > prio[last]);
            last = intid;
            settle();
            fake_gich_eoi(intid);
            settle();
        }
        assert_int_equal(fake_gich_ack(), FAKE_SPURIOUS);
        assert_int_equal(gich[0].hcr & 0xff, ICH_HCR_EN); /* nothing is watched for any more */
        check_invariants();
    }
}

static void test_all_list_registers_active(void **state)
{
    (void)state;
    /* Nesting sixteen deep on two list registers, with and without late deactivation. */
    for (unsigned mode = 0; mode < 2; mode++) {
        machine(1, 2);
        on(0);
        gich[0].vmcr |= mode ? ICH_VMCR_VEOIM : 0;
        dist_write(0, GROUPS);
        for (uint32_t i = 0; i < 16; i++)
            enable(0, i, (uint8_t)(0xf0 - 8 * i));
        for (uint32_t i = 0; i < 16; i++) {
            vgic_sgi1r(&cpus[0], (uint64_t)i << 24 | 1);
            settle();
            assert_int_equal(fake_gich_ack(), i);
            settle();
        }
        assert_int_equal(redist_read(0, ISACTIVER), 0xffff);
        settle();
        for (uint32_t i = 16; i-- > 0;) {
            fake_gich_eoi(i);
            settle();
            assert_int_equal(redist_read(0, ISACTIVER), mode ? 0xffff : (1u << i) - 1);
            settle();
        }
        for (uint32_t i = 0; mode && i < 16; i++) { /* in the order of acknowledgement, for a change */
            if (fake_gich_dir(i))
                vgic_dir(&cpus[0], i);
            settle();
            assert_int_equal(redist_read(0, ISACTIVER), 0xffff & ~((2u << i) - 1));
            settle();
        }
        assert_int_equal(gich[0].hcr & ~ICH_HCR_EOICOUNT, ICH_HCR_EN);
        vgic_sgi1r(&cpus[0], 1);
        settle();
        assert_int_equal(fake_gich_ack(), 0);
        check_invariants();
    }
}

static void test_edge_while_active(void **state)
{
    (void)state;
    machine(1, 4);
    on(0);
    dist_write(0, GROUPS);
    make_edge(40);
    enable(0, 40, 0x80);
    for (unsigned i = 0; i < 3; i++) {
        vgic_set_spi_level(&vm, 40, true);
        vgic_set_spi_level(&vm, 40, false); /* an edge stays */
        settle();
        assert_int_equal(fake_gich_ack(), 40);
        vgic_set_spi_level(&vm, 40, true);
        vgic_set_spi_level(&vm, 40, false);
        settle();
        assert_true(bit_read(0, ISPENDR, 40));
        assert_true(bit_read(0, ISACTIVER, 40));
        settle();
        assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
        fake_gich_eoi(40);
        settle();
        assert_int_equal(fake_gich_ack(), 40); /* the second one */
        fake_gich_eoi(40);
        settle();
        assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    }
    /* Two while it is pending are one. */
    vgic_set_spi_level(&vm, 40, true);
    settle();
    vgic_set_spi_level(&vm, 40, false);
    vgic_set_spi_level(&vm, 40, true);
    settle();
    assert_int_equal(fake_gich_ack(), 40);
    fake_gich_eoi(40);
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    check_invariants();
}

static void test_level(void **state)
{
    (void)state;
    machine(2, 4);
    on(0);
    dist_write(0, GROUPS);
    enable(0, VIRT_UART_SPI, 0xa0);
    vgic_set_spi_level(&vm, VIRT_UART_SPI, true);
    settle();
    for (unsigned i = 0; i < 5; i++) { /* again after each EOI while the line is high */
        assert_int_equal(fake_gich_ack(), VIRT_UART_SPI);
        assert_int_equal(fake_gich_misr(), 0);
        fake_gich_eoi(VIRT_UART_SPI);
        assert_int_not_equal(fake_gich_misr(), 0);
        settle();
    }
    assert_int_equal(fake_gich_ack(), VIRT_UART_SPI);
    vgic_set_spi_level(&vm, VIRT_UART_SPI, false);
    settle();
    fake_gich_eoi(VIRT_UART_SPI);
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    assert_int_equal(cpus[0].vgic.lr_used, 0);
    /* A line that falls before the guest looks takes the interrupt with it, from another core too. */
    vgic_set_spi_level(&vm, VIRT_UART_SPI, true);
    settle();
    assert_int_equal(fake_gich_highest(), VIRT_UART_SPI);
    kicks[0] = 0;
    on(1);
    vgic_set_spi_level(&vm, VIRT_UART_SPI, false);
    assert_int_equal(kicks[0], 1);
    settle();
    on(0);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    /* Writing ICPENDR does nothing to a line that is high. */
    vgic_set_spi_level(&vm, VIRT_UART_SPI, true);
    settle();
    bit_write(0, ICPENDR, VIRT_UART_SPI);
    settle();
    assert_int_equal(fake_gich_highest(), VIRT_UART_SPI);
    /* No such SPI: nothing happens. */
    vgic_set_spi_level(&vm, 31, true);
    vgic_set_spi_level(&vm, 288, true);
    vgic_set_spi_level(&vm, 0xffffffff, true);
    check_invariants();
}

static void tick(unsigned cpu, uint32_t intid)
{
    assert_false(physically_active[cpu] >> intid & 1);
    physically_active[cpu] |= 1u << intid;
    fake_timer_lines = 1u << intid;
    vgic_hw_ppi(&cpus[cpu], intid);
    vgic_sync(&cpus[cpu]);
}

static void test_timer(void **state)
{
    (void)state;
    machine(1, 4);
    on(0);
    dist_write(0, GROUPS);
    enable(0, PPI_VTIMER, 0x80);
    settle();
    for (unsigned i = 0; i < 10; i++) {
        tick(0, PPI_VTIMER);
        assert_int_equal(fake_gich_ack(), PPI_VTIMER);
        assert_true(physically_active[0] >> PPI_VTIMER & 1);
        fake_gich_eoi(PPI_VTIMER);
        assert_int_equal(fake_gich_misr(), 0); /* one exit per tick */
        assert_int_equal(physically_active[0], 0);
        assert_int_equal(deactivations[0], i + 1);
    }
    settle();
    check_invariants();
}

static void test_timer_that_the_guest_does_not_want(void **state)
{
    (void)state;
    machine(2, 4);
    on(0);
    dist_write(0, GROUPS);
    enable(0, PPI_VTIMER, 0x80);
    redist_write(0, ICENABLER, 1u << PPI_VTIMER);
    settle();
    /* Disabled: kept, physically active, so that it does not fire again and again. */
    tick(0, PPI_VTIMER);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    assert_int_equal(physically_active[0], 1u << PPI_VTIMER);
    assert_true(bit_read(0, ISPENDR, PPI_VTIMER));
    settle();
    /* Its line falls: what the guest reads says so, and the physical one is given back. It rises again: the same. */
    fake_timer_lines = 0;
    assert_false(bit_read(0, ISPENDR, PPI_VTIMER));
    settle();
    assert_int_equal(physically_active[0], 0);
    tick(0, PPI_VTIMER);
    assert_true(bit_read(0, ISPENDR, PPI_VTIMER));
    settle();
    /* Enabled: given back to the hardware, which raises it again if the line is still high. */
    redist_write(0, ISENABLER, 1u << PPI_VTIMER);
    settle();
    assert_int_equal(physically_active[0], 0);
    tick(0, PPI_VTIMER);
    assert_int_equal(fake_gich_highest(), PPI_VTIMER);
    /* Disabled while it waits in a list register. */
    redist_write(0, ICENABLER, 1u << PPI_VTIMER);
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    assert_int_equal(physically_active[0], 1u << PPI_VTIMER);
    /* Cleared by the guest, and by another vCPU of it. */
    redist_write(0, ICPENDR, 1u << PPI_VTIMER);
    settle();
    assert_int_equal(physically_active[0], 0);
    redist_write(0, ISENABLER, 1u << PPI_VTIMER);
    tick(0, PPI_VTIMER);
    on(1);
    redist_write(0, ICPENDR, 1u << PPI_VTIMER);
    settle();
    on(0);
    assert_int_equal(physically_active[0], 0);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    /* Its active state taken away. */
    tick(0, PPI_VTIMER);
    assert_int_equal(fake_gich_ack(), PPI_VTIMER);
    redist_write(0, ICACTIVER, 1u << PPI_VTIMER);
    settle();
    assert_int_equal(physically_active[0], 0);
    assert_int_equal(cpus[0].vgic.lr_used, 0);
    fake_gich_eoi(PPI_VTIMER);
    /* Made pending by software while it is active: delivered once more, and the physical one ends by EL2's hand. */
    tick(0, PPI_VTIMER);
    assert_int_equal(fake_gich_ack(), PPI_VTIMER);
    redist_write(0, ISPENDR, 1u << PPI_VTIMER);
    settle();
    fake_gich_eoi(PPI_VTIMER);
    settle();
    assert_int_equal(physically_active[0], 0);
    assert_int_equal(fake_gich_ack(), PPI_VTIMER);
    fake_gich_eoi(PPI_VTIMER);
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    /* The other way round: it fires while the guest handles one made pending by software, and is off again by the end. */
    redist_write(0, ISPENDR, 1u << PPI_VTIMER);
    settle();
    assert_int_equal(fake_gich_ack(), PPI_VTIMER);
    tick(0, PPI_VTIMER);
    fake_gich_eoi(PPI_VTIMER);
    settle();
    assert_int_equal(physically_active[0], 0);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    /* The guest is reset. */
    tick(0, PPI_VTIMER);
    vgic_dist_reset(&vm);
    vgic_cpu_reset(&cpus[0]);
    vgic_cpu_hw_init(&cpus[0]);
    assert_int_equal(physically_active[0], 0);
    assert_int_equal(gich[0].lr[0], 0);
    check_invariants();
}

static void test_reroute(void **state)
{
    (void)state;
    machine(2, 4);
    on(0);
    dist_write(0, GROUPS);
    make_edge(50);
    enable(0, 50, 0x80);
    bit_write(0, ISPENDR, 50);
    settle();
    assert_int_equal(fake_gich_highest(), 50);
    vgicd_write(&cpus[0], IROUTER + 8 * 50, 8, 1); /* while it waits in a list register of the first */
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    on(1);
    assert_int_equal(fake_gich_ack(), 50);
    /* Back to the first, with another edge, while the second still handles it. */
    vgicd_write(&cpus[1], IROUTER + 8 * 50, 8, 0);
    bit_write(1, ISPENDR, 50);
    settle();
    on(0);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    on(1);
    fake_gich_eoi(50);
    settle();
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    on(0);
    assert_int_equal(fake_gich_ack(), 50);
    fake_gich_eoi(50);
    settle();
    check_invariants();
}

static void test_active_set_from_another_vcpu(void **state)
{
    (void)state;
    machine(2, 4);
    on(0);
    dist_write(0, GROUPS);
    enable(1, 4, 0x80);
    vgic_sgi1r(&cpus[0], 4ull << 24 | 2);
    settle();
    redist_write(1, ISACTIVER, 1u << 4); /* it waits in a list register of the other: no more */
    settle();
    on(1);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    assert_int_equal(redist_read(1, ISACTIVER), 1u << 4);
    assert_int_equal(redist_read(1, ISPENDR), 1u << 4);
    on(0);
    redist_write(1, ICACTIVER, 1u << 4);
    settle();
    on(1);
    assert_int_equal(fake_gich_ack(), 4);
    on(0);
    redist_write(1, ICACTIVER, 1u << 4); /* active in a list register of the other */
    settle();
    assert_int_equal(redist_read(1, ISACTIVER), 0);
    assert_int_equal(cpus[1].vgic.lr_used, 0);
    check_invariants();
}

static void test_one_of_n(void **state)
{
    (void)state;
    machine(CPUS, 4);
    on(2);
    dist_write(0, GROUPS);
    make_edge(60);
    enable(0, 60, 0x80);
    vgicd_write(&cpus[2], IROUTER + 8 * 60, 8, BIT(31));
    on(0);
    cpus[0].power = VCPU_OFF;
    vgic_cpu_off(&cpus[0]);
    on(2);
    bit_write(0, ISPENDR, 60);
    settle();
    for (unsigned i = 0; i < CPUS; i++) {
        on(i);
        assert_int_equal(fake_gich_highest(), i == 1 ? 60 : FAKE_SPURIOUS);
    }
    /* That one goes away before it has looked: the next gets it, and nobody gets it twice. */
    on(1);
    cpus[1].power = VCPU_OFF;
    vgic_cpu_off(&cpus[1]);
    settle();
    on(2);
    assert_int_equal(fake_gich_ack(), 60);
    fake_gich_eoi(60);
    settle();
    for (unsigned i = 0; i < CPUS; i++) {
        on(i);
        assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS);
    }
    /* Nobody is on: it waits for the first that is. */
    for (unsigned i = 2; i < CPUS; i++) {
        on(i);
        cpus[i].power = VCPU_OFF;
        vgic_cpu_off(&cpus[i]);
    }
    bit_write(0, ISPENDR, 60);
    settle();
    cpus[0].power = VCPU_ON;
    on(0);
    vgic_cpu_hw_init(&cpus[0]);
    gich[0].vmcr = ICH_VMCR_VENG1 | field_put(ICH_VMCR_VPMR, 0xf8);
    assert_int_equal(fake_gich_highest(), 60);
    check_invariants();
}

static void test_off_and_on(void **state)
{
    (void)state;
    machine(2, 4);
    on(1);
    dist_write(0, GROUPS);
    enable(1, 7, 0x80);
    enable(1, 8, 0x40);
    vgic_sgi1r(&cpus[1], 7ull << 24 | 2);
    vgic_sgi1r(&cpus[1], 8ull << 24 | 2);
    settle();
    assert_int_equal(fake_gich_ack(), 8);
    cpus[1].power = VCPU_OFF;
    vgic_cpu_off(&cpus[1]);
    assert_int_equal(cpus[1].vgic.lr_used, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(gich[1].lr[i], 0);
    cpus[1].power = VCPU_ON;
    vgic_cpu_hw_init(&cpus[1]);
    assert_int_equal(cpus[1].vgic.dirty, 0);
    assert_int_equal(fake_gich_highest(), FAKE_SPURIOUS); /* its CPU interface is as after reset */
    assert_int_equal(gich[1].apr, 0);
    gich[1].vmcr = ICH_VMCR_VENG1 | field_put(ICH_VMCR_VPMR, 0xf8);
    assert_int_equal(fake_gich_highest(), 7);
    assert_int_equal(redist_read(1, ISACTIVER), 1u << 8);
    redist_write(1, ICACTIVER, 1u << 8);
    settle();
    assert_int_equal(fake_gich_ack(), 7);
    fake_gich_eoi(7);
    settle();
    vgic_sgi1r(&cpus[1], 8ull << 24 | 2);
    settle();
    assert_int_equal(fake_gich_ack(), 8);
    check_invariants();
}

static void test_group_disabled_in_the_cpu_interface_does_not_block(void **state)
{
    (void)state;
    machine(1, 2);
    on(0);
    dist_write(0, GROUPS);
    gich[0].vmcr &= ~ICH_VMCR_VENG0;
    for (uint32_t i = 0; i < 4; i++) { /* four urgent ones of group 0 */
        prio_write(0, i, 0);
        bit_write(0, ISENABLER, i);
    }
    enable(0, 10, 0xa0);
    redist_write(0, ISPENDR, 0x40f);
    settle();
    assert_int_equal(fake_gich_ack(), 10);
    fake_gich_eoi(10);
    settle();
    gich[0].vmcr |= ICH_VMCR_VENG0;
    settle();
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t intid = fake_gich_ack();

        assert_true(intid < 4);
        fake_gich_eoi(intid);
        settle();
    }
    assert_int_equal(fake_gich_ack(), FAKE_SPURIOUS);
    /* And the other way: it disables a group whose interrupts fill the list registers. */
    redist_write(0, ISPENDR, 0x40f);
    settle();
    gich[0].vmcr &= ~ICH_VMCR_VENG0;
    settle();
    assert_int_equal(fake_gich_ack(), 10);
    check_invariants();
}

/* ---- garbage */

static uint64_t seed;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull >> 16;
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(rnd() % n);
}

static void test_garbage(void **state)
{
    static const uint32_t sizes[] = {1, 2, 4, 8, 4, 4, 0, 3, 16, 0xffffffff};

    (void)state;
    machine(3, 4);
    seed = 0x9e3779b97f4a7c15ull;
    for (unsigned op = 0; op < 200000; op++) {
        unsigned cpu = below(3);
        struct vcpu *v = &cpus[cpu];
        uint32_t size = sizes[below(ARRAY_SIZE(sizes))];
        uint32_t off = below(4) ? below(0x1000) : (uint32_t)rnd();
        uint64_t val = below(2) ? rnd() << 32 | rnd() : BIT(below(64));
        uint32_t intid;

        if (below(4))
            off &= ~3u;
        on(cpu);
        switch (below(12)) {
        case 0:
            vgicd_read(v, off, size);
            break;
        case 1:
        case 2:
            vgicd_write(v, below(8) ? off : IROUTER + below(0x1000), size, val);
            break;
        case 3:
            vgicr_read(v, off + below(5) * 0x10000, size);
            break;
        case 4:
        case 5:
            vgicr_write(v, off + below(8) * 0x10000, size, val);
            break;
        case 6:
            vgic_sgi1r(v, val);
            vgic_sgi0r(v, val);
            break;
        case 7:
            if (!fake_gich_dir((uint32_t)val))
                break;
            vgic_dir(v, val);
            break;
        case 8:
            vgic_set_spi_level(&vm, below(300), below(2));
            vgic_set_private_pending(v, below(40));
            break;
        case 9:
            intid = fake_gich_ack();
            if (below(2) || intid == FAKE_SPURIOUS)
                break;
            /* fall through */
        case 10:
            fake_gich_eoi(below(2) ? below(288) : (uint32_t)val);
            break;
        case 11:
            intid = below(2) ? PPI_VTIMER : PPI_PTIMER;
            if (!(physically_active[cpu] >> intid & 1)) {
                physically_active[cpu] |= 1u << intid;
                vgic_hw_ppi(v, intid);
            }
            if (!below(50))
                gich[cpu].vmcr = rnd() & 0xff000203;
            if (!below(200)) {
                v->power = VCPU_OFF;
                vgic_cpu_off(v);
                v->power = VCPU_ON;
                vgic_cpu_hw_init(v);
            }
            break;
        }
        settle();
        check_invariants();
    }
}

/* ---- a model */

#define MODEL_INTIDS 96
#define TIMER PPI_VTIMER

static struct {
    bool pending, line, active, enable, edge, group1;
    uint8_t prio;
} model[MODEL_INTIDS];
static uint32_t model_ctlr;
static struct {
    uint32_t n;
    uint32_t intid[64];
    uint8_t prio[64];
} running, to_deactivate; /* acknowledged and not ended; ended and not deactivated (EOImode 1) */

static bool forwarded(uint32_t i)
{
    return model[i].enable && model_ctlr & (model[i].group1 ? 2 : 1);
}

static bool candidate(uint32_t i)
{
    return forwarded(i) && (model[i].pending || (model[i].line && !model[i].edge)) && !model[i].active;
}

static bool is_running(uint32_t intid)
{
    for (uint32_t i = 0; i < running.n; i++)
        if (running.intid[i] == intid)
            return true;
    return false;
}

/* Exits of the one core, the timer's included, until the guest would run. */
static void model_settle(void)
{
    for (unsigned turn = 0;; turn++) {
        assert_true(turn < 10);
        if (model[TIMER].line && !(physically_active[0] >> TIMER & 1)) {
            physically_active[0] |= 1u << TIMER;
            vgic_hw_ppi(&cpus[0], TIMER);
        } else if (!atomic_load(&cpus[0].vgic.dirty) && !fake_gich_misr()) {
            return;
        }
        vgic_sync(&cpus[0]);
    }
}

static void model_compare(void)
{
    uint32_t pmr = (uint32_t)field_get(ICH_VMCR_VPMR, gich[0].vmcr);
    uint32_t limit = running.n && running.prio[running.n - 1] < pmr ? running.prio[running.n - 1] : pmr;
    uint32_t best = 0xff;
    uint32_t got = fake_gich_highest();

    for (uint32_t i = 0; i < MODEL_INTIDS; i++)
        if (candidate(i) && gich[0].vmcr & (model[i].group1 ? ICH_VMCR_VENG1 : ICH_VMCR_VENG0) &&
            model[i].prio < limit && model[i].prio < best)
            best = model[i].prio;
    if (best == 0xff) {
        assert_int_equal(got, FAKE_SPURIOUS);
        return;
    }
    assert_true(got < MODEL_INTIDS);
    assert_true(candidate(got));
    assert_int_equal(model[got].prio, best);
}

static void model_compare_registers(void)
{
    for (uint32_t b = 0; b < MODEL_INTIDS / 32; b++) {
        uint32_t pending = 0;
        uint32_t active = 0;
        uint32_t got;

        fake_timer_lines = (uint32_t)model[TIMER].line << TIMER;

        for (uint32_t n = 0; n < 32; n++) {
            uint32_t i = b * 32 + n;

            pending |= (uint32_t)(model[i].pending || (model[i].line && !model[i].edge)) << n;
            active |= (uint32_t)model[i].active << n;
        }
        got = b ? dist_read(ISACTIVER + 4 * b) : redist_read(0, ISACTIVER);
        assert_int_equal(got, active);
        got = b ? dist_read(ISPENDR + 4 * b) : redist_read(0, ISPENDR);
        assert_int_equal(got, pending);
        model_settle();
    }
}

static void model_op(bool split)
{
    uint32_t i = below(3) ? below(MODEL_INTIDS) : below(2) ? TIMER : 33;
    uint32_t k;

    if (below(4) == 0)
        i = below(20) + 26;
    switch (below(20)) {
    case 0:
    case 1:
        bit_write(0, ISPENDR, i);
        model[i].pending = true;
        break;
    case 2:
        bit_write(0, ICPENDR, i);
        model[i].pending = false;
        break;
    case 3:
    case 4:
        bit_write(0, ISENABLER, i);
        model[i].enable = true;
        break;
    case 5:
        bit_write(0, ICENABLER, i);
        model[i].enable = false;
        break;
    case 6:
        if (model[i].active || is_running(i))
            break;
        model[i].prio = (uint8_t)(rnd() & 0xf8);
        prio_write(0, i, model[i].prio | (uint8_t)below(8));
        break;
    case 7:
    case 8:
        if (i >= 32) {
            bool level = below(2);

            model[i].pending |= model[i].edge && level && !model[i].line;
            model[i].line = level;
            vgic_set_spi_level(&vm, i, level);
        } else if (i == TIMER && !model[i].line) {
            model[i].line = true;
        } else if (i == TIMER && ((model[i].active && is_running(i)) || !forwarded(i))) {
            model[i].line = false; /* the guest reprograms its timer: in the handler, or while it does not want it */
        }
        break;
    case 9:
        vgic_sgi1r(&cpus[0], (uint64_t)(i % 16) << 24 | 1);
        model[i % 16].pending = true;
        break;
    case 10:
        gich[0].vmcr = (gich[0].vmcr & ~ICH_VMCR_VPMR) | field_put(ICH_VMCR_VPMR, below(3) ? 0xf8 : rnd() & 0xf8);
        break;
    case 11:
        if (below(4) == 0)
            gich[0].vmcr ^= below(2) ? ICH_VMCR_VENG0 : ICH_VMCR_VENG1;
        else
            gich[0].vmcr |= ICH_VMCR_VENG0 | ICH_VMCR_VENG1;
        break;
    case 12:
        model_ctlr = below(3) ? GROUPS : below(4);
        dist_write(0, model_ctlr);
        break;
    case 13: {
        uint32_t b = i / 32;
        uint32_t group = 0;

        if (model[i].active || is_running(i))
            break;
        model[i].group1 = !model[i].group1;
        for (uint32_t n = 0; n < 32; n++)
            group |= (uint32_t)model[b * 32 + n].group1 << n;
        if (b)
            dist_write(IGROUPR + 4 * b, group);
        else
            redist_write(0, IGROUPR, group);
        break;
    }
    case 14:
        if (is_running(i))
            break;
        if (below(3)) {
            bit_write(0, ICACTIVER, i);
            model[i].active = false;
        } else {
            bit_write(0, ISACTIVER, i);
            model[i].active = true;
        }
        break;
    case 15:
        model_compare_registers();
        break;
    case 16:
    case 17:
        i = fake_gich_ack();
        if (i == FAKE_SPURIOUS)
            break;
        model[i].pending = false;
        model[i].active = true;
        running.intid[running.n] = i;
        running.prio[running.n++] = model[i].prio;
        break;
    case 18:
        if (!running.n)
            break;
        i = running.intid[--running.n];
        fake_gich_eoi(i);
        if (!split)
            model[i].active = false;
        else
            to_deactivate.intid[to_deactivate.n++] = i;
        break;
    case 19:
        if (!to_deactivate.n || (to_deactivate.n < 40 && below(2)))
            break;
        k = below(to_deactivate.n);
        i = to_deactivate.intid[k];
        to_deactivate.intid[k] = to_deactivate.intid[--to_deactivate.n];
        if (fake_gich_dir(i))
            vgic_dir(&cpus[0], i);
        model[i].active = false;
        break;
    }
}

static void test_model(void **state)
{
    static const uint32_t lrs[] = {1, 2, 3, 4, 8, 16};

    (void)state;
    for (unsigned round = 0; round < 2 * ARRAY_SIZE(lrs); round++) {
        bool split = round & 1;

        seed = 0x1234567 + round;
        machine(1, lrs[round / 2]);
        on(0);
        memset(model, 0, sizeof model);
        memset(&running, 0, sizeof running);
        memset(&to_deactivate, 0, sizeof to_deactivate);
        model_ctlr = 0;
        gich[0].vmcr |= split ? ICH_VMCR_VEOIM : 0;
        for (uint32_t i = 0; i < MODEL_INTIDS; i++) {
            model[i].edge = i < 16 || (i >= 32 && below(2));
            if (i >= 32 && model[i].edge)
                make_edge(i);
        }
        for (unsigned op = 0; op < 60000; op++) {
            model_op(split);
            model_settle();
            model_compare();
            check_invariants();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identification),
        cmocka_unit_test(test_ctlr_and_waker),
        cmocka_unit_test(test_bit_registers),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_legacy_registers_are_absent),
        cmocka_unit_test(test_self_sgi),
        cmocka_unit_test(test_sgi_to_others),
        cmocka_unit_test(test_same_sgi_again),
        cmocka_unit_test(test_disabled_interrupt_waits),
        cmocka_unit_test(test_more_pending_than_list_registers),
        cmocka_unit_test(test_all_list_registers_active),
        cmocka_unit_test(test_edge_while_active),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_timer),
        cmocka_unit_test(test_timer_that_the_guest_does_not_want),
        cmocka_unit_test(test_reroute),
        cmocka_unit_test(test_active_set_from_another_vcpu),
        cmocka_unit_test(test_one_of_n),
        cmocka_unit_test(test_off_and_on),
        cmocka_unit_test(test_group_disabled_in_the_cpu_interface_does_not_block),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
