/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: pv/smccc.c pv/psci_info.c pv/psci_cpu_on.c pv/psci_cpu_off.c pv/psci_cpu_suspend.c pv/psci_affinity_info.c pv/psci_system.c pv/vendor.c */
/* The SMCCC dispatcher and PSCI, with the power functions of vcpu/ replaced by ones that record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pv/abi.h"
#include "pv/psci.h"
#include "vcpu/power.h"

#define CPUS 4
#define RAM_BASE 0x40000000u
#define RAM_SIZE MIB(64)
#define MINUS(n) ((uint64_t) - (n))

_Thread_local struct core *this_core_ptr;

static struct vm vm;
static struct vcpu cpu[CPUS];
static struct frame frame;

static struct {
    unsigned on, off, suspend, end, reset;
    struct vcpu *target;
    uint64_t entry, context;
    enum report_guest_status status;
    enum power_result answer;
} seen;

enum power_result vcpu_power_on(struct vcpu *target, uint64_t entry, uint64_t context)
{
    seen.on++;
    seen.target = target;
    seen.entry = entry;
    seen.context = context;
    return seen.answer;
}

void vcpu_power_off(struct vcpu *v)
{
    seen.off++;
    seen.target = v;
}

void vcpu_suspend(struct vcpu *v)
{
    seen.suspend++;
    seen.target = v;
}

void vm_end(struct vm *m, enum report_guest_status status, const char *reason)
{
    (void)reason;
    assert_ptr_equal(m, &vm);
    seen.end++;
    seen.status = status;
}

void vm_reset(struct vm *m)
{
    assert_ptr_equal(m, &vm);
    seen.reset++;
}

struct vcpu *vm_vcpu_by_mpidr(struct vm *m, uint64_t mpidr)
{
    for (uint32_t i = 0; i < m->vcpu_count; i++)
        if ((vcpu_mpidr(i) & PSCI_AFFINITY) == (mpidr & PSCI_AFFINITY))
            return &m->vcpus[i];
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    memset(cpu, 0, sizeof(cpu));
    vm = (struct vm){.vcpus = cpu, .vcpu_count = CPUS, .ram_base = ipa(RAM_BASE), .ram_size = RAM_SIZE};
    for (uint32_t i = 0; i < CPUS; i++) {
        cpu[i].vm = &vm;
        cpu[i].index = i;
    }
    atomic_store(&cpu[0].power, VCPU_ON);
    return 0;
}

/* A call from vCPU 0. Whatever it is, x4 and everything above it come back as they were. */
static uint64_t call(uint64_t id, uint64_t a1, uint64_t a2, uint64_t a3)
{
    for (unsigned i = 0; i < 31; i++)
        frame.x[i] = 0xa5a5a5a5a5a50000u + i;
    frame.x[0] = id;
    frame.x[1] = a1;
    frame.x[2] = a2;
    frame.x[3] = a3;
    smccc_call(&cpu[0], &frame);
    for (unsigned i = 4; i < 31; i++)
        assert_int_equal(frame.x[i], 0xa5a5a5a5a5a50000u + i);
    return frame.x[0];
}

static void versions(void **state)
{
    (void)state;
    assert_int_equal(call(0x84000000, 0, 0, 0), 0x10001);
    assert_int_equal(call(0x80000000, 0, 0, 0), 0x10002);
    assert_int_equal(call(0x84000006, 0, 0, 0), 2);
    /* The id is w0: what is above it does not count. The hint of SMCCC 1.3 does not either. */
    assert_int_equal(call(0xdeadbeef84000000, 0, 0, 0), 0x10001);
    assert_int_equal(call(0x84010000, 0, 0, 0), 0x10001);
    assert_int_equal(call(0x80010000, 0, 0, 0), 0x10002);
}

/* Every identifier that exists; everything else of all owners and a large sample of the rest does not. */
static const uint32_t served[] = {
    0x80000000, 0x80000001, 0x84000000, 0x84000001, 0xc4000001, 0x84000002, 0x84000003, 0xc4000003,
    0x84000004, 0xc4000004, 0x84000006, 0x84000008, 0x84000009, 0x8400000a, 0x8600ff01, 0x8600ff03,
};

static bool is_served(uint32_t id)
{
    for (size_t i = 0; i < ARRAY_SIZE(served); i++)
        if (served[i] == (id & ~0x10000u))
            return true;
    return false;
}

static void unknown(void **state)
{
    (void)state;
    for (uint32_t owner = 0; owner < 256; owner++)
        for (uint32_t n = 0; n < 0x10000; n += n >= 0x1ff && n < 0xfe00 ? 0xff : 1) {
            uint32_t id = owner << 24 | n;

            assert_int_equal(smccc_find(id) != NULL, is_served(id));
            if (!is_served(id)) {
                assert_int_equal(call(id, 1, 2, 3), MINUS(1));
                assert_int_equal(frame.x[1], 1);
            }
        }
    srand(1);
    for (unsigned i = 0; i < 200000; i++) {
        uint32_t id = (uint32_t)rand() << 16 ^ (uint32_t)rand();

        if (!is_served(id))
            assert_int_equal(call(id, 0, 0, 0), MINUS(1));
    }
    /* KVM's feature call is not ours under this identity, nor are our own calls there yet. */
    assert_int_equal(call(0x86000000, 0, 0, 0), MINUS(1));
    assert_int_equal(call(0x86000100, 0, 0, 0), MINUS(1));
    assert_int_equal(call(0xc6000100, 0, 0, 0), MINUS(1));
    assert_int_equal(seen.on + seen.off + seen.suspend + seen.end, 0);
}

static void features(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 2; bits++)
        for (uint32_t n = 0; n < 0x40; n++) {
            uint32_t id = 0x84000000 | bits << 30 | n;

            assert_int_equal(call(0x8400000a, id, 0, 0), is_served(id) ? 0 : MINUS(1));
        }
    assert_int_equal(call(0x8400000a, 0x80000000, 0, 0), 0);
    assert_int_equal(call(0x8400000a, 0xffffffff80000000, 0, 0), 0); /* an SMC32 argument is w1 */
    assert_int_equal(call(0x8400000a, 0x80000001, 0, 0), MINUS(1));  /* not a question for PSCI */
    assert_int_equal(call(0x8400000a, 0x8600ff01, 0, 0), MINUS(1));

    assert_int_equal(call(0x80000001, 0x80000000, 0, 0), 0);
    assert_int_equal(call(0x80000001, 0x80000001, 0, 0), 0);
    assert_int_equal(call(0x80000001, 0x80008000, 0, 0), MINUS(1));
    assert_int_equal(call(0x80000001, 0x80007fff, 0, 0), MINUS(1));
    assert_int_equal(call(0x80000001, 0x80003fff, 0, 0), MINUS(1));
    assert_int_equal(call(0x80000001, 0xc0000000, 0, 0), MINUS(1));
    assert_int_equal(call(0x80000001, 0x84000000, 0, 0), MINUS(1));
}

static void cpu_on(void **state)
{
    (void)state;
    assert_int_equal(call(0xc4000003, 2, RAM_BASE + 0x1000, 0x123456789abcdef0), 0);
    assert_ptr_equal(seen.target, &cpu[2]);
    assert_int_equal(seen.entry, RAM_BASE + 0x1000);
    assert_int_equal(seen.context, 0x123456789abcdef0);

    assert_int_equal(call(0x84000003, 0xffffffff00000003, 0x5555555500000000 + RAM_BASE, 0x123456789abcdef0), 0);
    assert_ptr_equal(seen.target, &cpu[3]);
    assert_int_equal(seen.entry, RAM_BASE);
    assert_int_equal(seen.context, 0x9abcdef0);

    seen.answer = POWER_ALREADY_ON;
    assert_int_equal(call(0xc4000003, 0, RAM_BASE, 0), MINUS(4));
    seen.answer = POWER_ON_PENDING;
    assert_int_equal(call(0xc4000003, 1, RAM_BASE, 0), MINUS(5));
    assert_int_equal(seen.on, 4);
}

static void cpu_on_bad(void **state)
{
    static const uint64_t mpidrs[] = {CPUS,    0x100,   0x10000,     BIT(24),     BIT(31),
                                      BIT(32), BIT(40), BIT(63) | 1, ~UINT64_C(0)};
    static const uint64_t entries[] = {
        0, RAM_BASE - 4, RAM_BASE + RAM_SIZE, RAM_BASE + 2, RAM_BASE + 1, BIT(63) + RAM_BASE, ~UINT64_C(3), 0x8000000,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(mpidrs); i++)
        assert_int_equal(call(0xc4000003, mpidrs[i], RAM_BASE, 0), MINUS(2));
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
        assert_int_equal(call(0xc4000003, 1, entries[i], 0), MINUS(9));
    assert_int_equal(seen.on, 0);
    assert_int_equal(call(0xc4000003, 1, RAM_BASE + RAM_SIZE - 4, 0), 0);
}

static void affinity_info(void **state)
{
    (void)state;
    atomic_store(&cpu[2].power, VCPU_ON_PENDING);
    for (uint32_t smc64 = 0; smc64 < 2; smc64++) {
        uint32_t id = 0x84000004 | smc64 << 30;

        assert_int_equal(call(id, 0, 0, 0), 0);
        assert_int_equal(call(id, 1, 0, 0), 1);
        assert_int_equal(call(id, 2, 0, 0), 2);
        assert_int_equal(call(id, CPUS, 0, 0), MINUS(2));
        assert_int_equal(call(id, 0, 1, 0), MINUS(2));
        assert_int_equal(call(id, 0, 3, 0), MINUS(2));
        assert_int_equal(call(id, 0, 0xffffffff00000000, 0), 0); /* the level is 32 bits in both */
    }
    assert_int_equal(call(0xc4000004, BIT(32), 0, 0), MINUS(2));
    assert_int_equal(call(0x84000004, BIT(32), 0, 0), 0);
}

static void cpu_off_and_suspend(void **state)
{
    (void)state;
    call(0x84000002, 0, 0, 0);
    assert_int_equal(seen.off, 1);
    assert_ptr_equal(seen.target, &cpu[0]);
    assert_int_equal(call(0xc4000002, 0, 0, 0), MINUS(1));
    assert_int_equal(seen.off, 1);

    assert_int_equal(call(0x84000001, 0, 0, 0), 0);
    assert_int_equal(call(0xc4000001, 0x00010000, RAM_BASE, 7), 0); /* power-down, served as standby */
    assert_int_equal(call(0xc4000001, 0x0301ffff, RAM_BASE, 7), 0);
    assert_int_equal(seen.suspend, 3);
    assert_int_equal(call(0xc4000001, 0x04000000, 0, 0), MINUS(2));
    assert_int_equal(call(0xc4000001, 0x00020000, 0, 0), MINUS(2));
    assert_int_equal(seen.suspend, 3);
}

static void system_end(void **state)
{
    (void)state;
    call(0x84000008, 0, 0, 0);
    assert_int_equal(seen.end, 1);
    assert_int_equal(seen.status, GUEST_OFF);
    call(0x84000009, 0, 0, 0);
    assert_int_equal(seen.end, 1);
    assert_int_equal(seen.reset, 1);
    vm.no_reboot = true;
    call(0x84000009, 0, 0, 0);
    assert_int_equal(seen.reset, 1);
    assert_int_equal(seen.end, 2);
    assert_int_equal(seen.status, GUEST_RESET);
    vm.no_reboot = false;
}

/* The bytes of the UID in the order in which it is written, against the words of DEN0028. */
static void identity(void **state)
{
    static const uint8_t uid[16] = {0x6d, 0x65, 0x61, 0x6e, 0x77, 0x68, 0x4c, 0x65,
                                    0xa1, 0x55, 0x79, 0x65, 0x74, 0x3f, 0x00, 0x01};

    (void)state;
    call(0x8600ff01, 0, 0, 0);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(frame.x[i / 4] >> (8 * (i % 4)) & 0xff, uid[i]);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(frame.x[i] >> 32, 0);
    assert_int_equal(call(0x8600ff03, 0, 0, 0), MW_REVISION_MAJOR);
    assert_int_equal(frame.x[1], MW_REVISION_MINOR);
    assert_int_equal(call(0xc600ff01, 0, 0, 0), MINUS(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(versions, setup),
        cmocka_unit_test_setup(unknown, setup),
        cmocka_unit_test_setup(features, setup),
        cmocka_unit_test_setup(cpu_on, setup),
        cmocka_unit_test_setup(cpu_on_bad, setup),
        cmocka_unit_test_setup(affinity_info, setup),
        cmocka_unit_test_setup(cpu_off_and_suspend, setup),
        cmocka_unit_test_setup(system_end, setup),
        cmocka_unit_test_setup(identity, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
