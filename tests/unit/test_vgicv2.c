/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: vcpu/vgic.c vcpu/vgic_v2.c vcpu/vgic_lr.c tests/unit/fake/dev/gich.c */
/* The virtual GICv2 on fake list registers: its distributor, targets, SGIs by sender, and physical timers without HW. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dev/fake_gich.h"
#include "dev/gic.h"
#include "vcpu/vm.h"

#define CPUS 4
#define ISENABLER 0x100
#define ICENABLER 0x180
#define ISPENDR 0x200
#define ICPENDR 0x280
#define IPRIORITYR 0x400
#define ITARGETSR 0x800
#define ICFGR 0xc00
#define SGIR 0xf00
#define CPENDSGIR 0xf10
#define SPENDSGIR 0xf20

_Thread_local struct core *this_core_ptr;

static struct vm vm;
static struct vcpu cpus[CPUS];
static struct core test_cores[CPUS];
static struct fake_gich gich[CPUS];
static unsigned deactivations[CPUS];

void gic_sgi(const struct core *target, uint32_t sgi)
{
    (void)target;
    (void)sgi;
}

void gic_deactivate(uint32_t intid)
{
    assert_int_equal(intid, 27);
    deactivations[this_core_ptr->id]++;
}

static void on(unsigned cpu)
{
    this_core_ptr = &test_cores[cpu];
    fake_gich = &gich[cpu];
}

/* Every core looks as long as there is news. */
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

static void write32(uint32_t off, uint32_t val)
{
    vgicv2_write(&cpus[this_core_ptr->id], off, 4, val);
}

static uint32_t read32(uint32_t off)
{
    return (uint32_t)vgicv2_read(&cpus[this_core_ptr->id], off, 4);
}

static void write8(uint32_t off, uint32_t val)
{
    vgicv2_write(&cpus[this_core_ptr->id], off, 1, val);
}

static uint32_t read8(uint32_t off)
{
    return (uint32_t)vgicv2_read(&cpus[this_core_ptr->id], off, 1);
}

static void machine(unsigned count, bool no_hw)
{
    memset(&vm, 0, sizeof vm);
    memset(cpus, 0, sizeof cpus);
    memset(gich, 0, sizeof gich);
    memset(deactivations, 0, sizeof deactivations);
    vm.vcpus = cpus;
    vm.vcpu_count = count;
    vm.vgic.v2 = true;
    vgic_dist_reset(&vm);
    for (unsigned i = count; i-- > 0;) {
        test_cores[i].id = i;
        test_cores[i].vcpu = &cpus[i];
        cpus[i].vm = &vm;
        cpus[i].index = i;
        cpus[i].core = &test_cores[i];
        cpus[i].power = VCPU_ON;
        gich[i].lrs = 4;
        gich[i].no_hw = no_hw;
        vgic_cpu_reset(&cpus[i]);
        on(i);
        vgic_cpu_hw_init(&cpus[i]);
        gich[i].vmcr |= ICH_VMCR_VENG0 | field_put(ICH_VMCR_VPMR, 0xf8);
    }
    write32(0, 1);
    settle();
}

/* What the guest on `cpu` gets: INTID, and the sender above it as in GICC_IAR. */
static uint32_t take(unsigned cpu)
{
    uint32_t what;

    on(cpu);
    settle();
    what = fake_gich_ack();
    return what;
}

static void end(unsigned cpu, uint32_t what)
{
    on(cpu);
    fake_gich_eoi(what);
    settle();
}

static uint32_t sent(uint32_t sender, uint32_t intid)
{
    return sender << 10 | intid;
}

static void test_identification(void **state)
{
    (void)state;
    machine(CPUS, false);
    assert_int_equal(read32(0x4), 8 | (CPUS - 1) << 5);
    assert_int_equal(read32(0x8), 0x43b);
    assert_int_equal(read32(0xfe8), 0x2b);
    assert_int_equal(read32(0xffc), 0xb1);
    write32(0, ~0u);
    assert_int_equal(read32(0), 3); /* no affinity routing, no DS */
    assert_int_equal(read32(0xe00), 0);
    assert_int_equal(read32(0x6000 + 8 * 40), 0); /* no GICD_IROUTER */
    assert_int_equal(read32(ICFGR), 0xaaaaaaaa);
    write32(ICFGR, 0);
    assert_int_equal(read32(ICFGR), 0xaaaaaaaa);
    assert_int_equal(read32(ISENABLER), 0xffff);
}

/* What belongs to private interrupts is each vCPU's own. */
static void test_banked(void **state)
{
    (void)state;
    machine(2, false);
    on(1);
    write32(ISENABLER, 1u << 27);
    write32(IPRIORITYR + 24, 0x10203040);
    write32(ISPENDR, ~0u); /* not the SGIs */
    assert_int_equal(read32(ISENABLER), 0xffff | 1u << 27);
    assert_int_equal(read32(ISPENDR), 0xffff0000);
    assert_int_equal(read8(IPRIORITYR + 27), 0x10);
    on(0);
    assert_int_equal(read32(ISENABLER), 0xffff);
    assert_int_equal(read32(ISPENDR), 0);
    assert_int_equal(read8(IPRIORITYR + 27), 0);
}

static void test_targets(void **state)
{
    (void)state;
    machine(CPUS, false);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        on(cpu);
        for (uint32_t n = 0; n < 32; n += 4)
            assert_int_equal(read32(ITARGETSR + n), 0x01010101u << cpu);
    }
    on(0);
    write32(ITARGETSR, ~0u);
    assert_int_equal(read32(ITARGETSR), 0x01010101);
    assert_int_equal(read32(ITARGETSR + 32), 0);
    write32(ITARGETSR + 32, 0xff060401);
    assert_int_equal(read32(ITARGETSR + 32), 0x0f060401); /* there are four vCPUs */
    write8(ITARGETSR + 33, 8);
    assert_int_equal(read32(ITARGETSR + 32), 0x0f060801);
    assert_int_equal(read8(ITARGETSR + 34), 6);
    assert_int_equal(vgicv2_read(&cpus[0], ITARGETSR + 34, 2), 0x0f06);
    write32(ITARGETSR + 288, ~0u);
    assert_int_equal(read32(ITARGETSR + 288), 0);
    machine(1, false);
    write32(ITARGETSR + 32, ~0u);
    assert_int_equal(read32(ITARGETSR + 32), 0);
    assert_int_equal(read32(ITARGETSR), 0);
}

static void test_routes(void **state)
{
    (void)state;
    machine(CPUS, false);
    on(0);
    write32(ICFGR + 8, ~0u); /* 32 to 47 on edges */
    write32(ISENABLER + 4, ~0u);
    write8(ITARGETSR + 33, 1u << 2);
    write32(ISPENDR + 4, 2); /* 32 has no target, 33 has one */
    write32(ISPENDR + 4, 1);
    assert_int_equal(take(0), FAKE_SPURIOUS);
    assert_int_equal(take(2), 33);
    end(2, 33);
    on(0);
    write8(ITARGETSR + 32, 1u << 3); /* its target is known: there it goes */
    assert_int_equal(take(3), 32);
    end(3, 32);

    /* One of a list takes it, never one outside, and only one. */
    on(0);
    write8(ITARGETSR + 34, 0x6);
    write32(ISPENDR + 4, 4);
    settle();
    assert_int_equal(take(0), FAKE_SPURIOUS);
    assert_int_equal(take(3), FAKE_SPURIOUS);
    assert_int_equal(take(1), 34);
    assert_int_equal(take(2), FAKE_SPURIOUS);
    end(1, 34);
    cpus[1].power = VCPU_OFF;
    on(1);
    vgic_cpu_off(&cpus[1]);
    on(0);
    write32(ISPENDR + 4, 4);
    assert_int_equal(take(2), 34);
    end(2, 34);
    /* A single vCPU gets all. */
    machine(1, false);
    write32(ISENABLER + 4, ~0u);
    write32(ISPENDR + 4, 4);
    assert_int_equal(take(0), 34);
}

static void test_sgir(void **state)
{
    (void)state;
    machine(CPUS, false);
    on(2);
    write32(SGIR, 0x3u << 16 | 7); /* to 0 and 1 */
    assert_int_equal(take(0), sent(2, 7));
    assert_int_equal(take(1), sent(2, 7));
    assert_int_equal(take(2), FAKE_SPURIOUS);
    end(0, sent(2, 7));
    end(1, sent(2, 7));
    on(1);
    write32(SGIR, 1u << 24 | 0xffu << 16 | 3); /* to the others, whatever the list says */
    assert_int_equal(take(0), sent(1, 3));
    assert_int_equal(take(1), FAKE_SPURIOUS);
    assert_int_equal(take(2), sent(1, 3));
    assert_int_equal(take(3), sent(1, 3));
    end(0, sent(1, 3));
    on(3);
    end(3, sent(1, 3));
    write32(SGIR, 2u << 24 | 9); /* to itself */
    assert_int_equal(take(3), sent(3, 9));
    end(3, sent(3, 9));
    write32(SGIR, 3u << 24 | 0xffu << 16 | 9); /* reserved */
    write32(SGIR, 0xf0u << 16 | 9);            /* to nobody there is */
    vgicv2_write(&cpus[3], SGIR, 2, 0xf9);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        assert_int_equal(take(cpu), FAKE_SPURIOUS);
}

/* The same SGI of several senders is pending once for each, and each is taken once. */
static void test_senders(void **state)
{
    unsigned seen = 0;

    (void)state;
    machine(CPUS, false);
    for (unsigned cpu = 1; cpu < CPUS; cpu++) {
        on(cpu);
        write32(SGIR, 1u << 16 | 5);
        write32(SGIR, 1u << 16 | 5); /* pending already: the same */
        settle();
    }
    on(0);
    assert_int_equal(read8(SPENDSGIR + 5), 0xe);
    assert_int_equal(read32(CPENDSGIR + 4), 0x0e00);
    assert_int_equal(read32(ISPENDR), 1u << 5);
    for (unsigned i = 0; i < 3; i++) {
        uint32_t what = take(0);

        assert_int_equal(what & 0x3ff, 5);
        assert_false(seen >> (what >> 10) & 1);
        seen |= 1u << (what >> 10);
        if (i == 0) { /* active: a sender may come again meanwhile, himself included */
            on(1);
            write32(SGIR, 1u << 16 | 5);
            settle();
            seen &= ~(1u << 1);
            on(0);
        }
        assert_int_equal(take(0), FAKE_SPURIOUS); /* not two of one INTID at a time */
        end(0, what);
    }
    while (seen != 0xe) {
        uint32_t what = take(0);

        assert_int_equal(what & 0x3ff, 5);
        seen |= 1u << (what >> 10);
        end(0, what);
    }
    assert_int_equal(take(0), FAKE_SPURIOUS);
    assert_int_equal(read32(SPENDSGIR + 4), 0);
    assert_int_equal(read32(ISPENDR), 0);
}

static void test_pending_registers(void **state)
{
    (void)state;
    machine(2, false);
    on(0);
    write32(ICENABLER, 0xffff);
    write32(SPENDSGIR, 0xff030201); /* there are two vCPUs */
    settle();
    assert_int_equal(read32(SPENDSGIR), 0x03030201);
    write32(ICPENDR, ~0u); /* not for SGIs */
    write32(CPENDSGIR, 0x01020001);
    settle();
    assert_int_equal(read32(SPENDSGIR), 0x02010200);
    assert_int_equal(read32(ISPENDR), 0xe);
    write32(ISENABLER, 0xffff);
    assert_int_equal(take(0), sent(1, 1));
    end(0, sent(1, 1));
    write8(CPENDSGIR + 2, 1); /* while it sits in a list register */
    assert_int_equal(take(0), sent(1, 3));
    end(0, sent(1, 3));
    assert_int_equal(take(0), FAKE_SPURIOUS);
    on(1);
    assert_int_equal(read32(SPENDSGIR), 0);
}

/* Where HW = 1 cannot be relied on, EL2 deactivates the timer's interrupt after the guest's EOI, once. */
static void test_timer(void **state)
{
    (void)state;
    for (unsigned no_hw = 0; no_hw < 2; no_hw++) {
        machine(1, no_hw);
        write32(ISENABLER, 1u << 27);
        for (unsigned i = 1; i <= 3; i++) {
            vgic_hw_ppi(&cpus[0], 27);
            assert_int_equal(take(0), 27);
            for (unsigned n = 0; n < 4; n++)
                assert_int_equal((gich[0].lr[n] & LR_STATE) && gich[0].lr[n] & LR_HW, n == 0 && !no_hw);
            assert_int_equal(deactivations[0], no_hw ? i - 1 : 0);
            end(0, 27);
            assert_int_equal(deactivations[0], no_hw ? i : 0);
            vgic_sync(&cpus[0]);
            assert_int_equal(cpus[0].vgic.hw_active, 0);
        }
    }
}

/* Any size at any offset, any value: nothing breaks, and an SGI and a timer work afterwards. */
static void test_garbage(void **state)
{
    (void)state;
    srand(1);
    machine(CPUS, true);
    for (unsigned i = 0; i < 200000; i++) {
        uint32_t off = (uint32_t)rand() % (i & 1 ? 0x1100 : VIRT_GICD_SIZE);
        uint32_t size = 1u << rand() % 4;
        unsigned cpu = (unsigned)rand() % CPUS;

        on(cpu);
        if (rand() & 1)
            vgicv2_write(&cpus[cpu], off, size, (uint64_t)rand() << 32 | (unsigned)rand() << 1);
        else
            assert_true(size == 8 || vgicv2_read(&cpus[cpu], off, size) >> (8 * size) == 0);
        if (rand() % 16 == 0) {
            uint32_t what;

            settle();
            what = fake_gich_ack();
            if (what != FAKE_SPURIOUS)
                fake_gich_eoi(what);
            settle();
        }
    }
    machine(CPUS, true);
    on(1);
    write32(SGIR, 1u << 16 | 5);
    assert_int_equal(take(0), sent(1, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identification),
        cmocka_unit_test(test_banked),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_sgir),
        cmocka_unit_test(test_senders),
        cmocka_unit_test(test_pending_registers),
        cmocka_unit_test(test_timer),
        cmocka_unit_test(test_garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
