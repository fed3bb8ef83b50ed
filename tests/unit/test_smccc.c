/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: pv/smccc.c pv/psci_info.c pv/psci_cpu_on.c pv/psci_cpu_off.c pv/psci_cpu_suspend.c pv/psci_affinity_info.c pv/psci_system.c pv/psci_system_suspend.c pv/pv_time.c pv/trng.c pv/workaround.c pv/vendor.c pv/release.c pv/apf.c pv/kvm.c */
/* The SMCCC dispatcher and PSCI, with the power functions of vcpu/ replaced by ones that record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dev/entropy.h"
#include "dev/firmware.h"
#include "dev/pl031.h"
#include "mm/give_back.h"
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
static uint64_t spsr;

static struct {
    unsigned on, off, suspend, resume, end, reset;
    bool powered_down;
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

void vcpu_suspend(struct vcpu *v, bool powered_down)
{
    seen.suspend++;
    seen.target = v;
    seen.powered_down = powered_down;
}

void vcpu_power_resume(struct vcpu *v, uint64_t entry, uint64_t context)
{
    assert_true(seen.suspend && seen.powered_down); /* asleep before it starts anew */
    seen.resume++;
    seen.target = v;
    seen.entry = entry;
    seen.context = context;
}

/* ---- the firmware and the machine's entropy */

static struct {
    int32_t workaround[WORKAROUNDS];
    unsigned applied[WORKAROUNDS];
    uint64_t arg;
    bool entropy, uuid;
    enum entropy_result result;
    uint32_t bits;
    bool rtc;
    unsigned asked;
} host;

int32_t firmware_workaround(enum firmware_workaround w)
{
    return host.workaround[w];
}

void firmware_apply(enum firmware_workaround w, uint64_t arg)
{
    host.applied[w]++;
    host.arg = arg;
}

bool entropy_present(void)
{
    return host.entropy;
}

enum entropy_result entropy_get(uint32_t bits, uint64_t out[3])
{
    assert_in_range(bits, 1, ENTROPY_BITS_MAX);
    host.bits = bits;
    if (host.result != ENTROPY_OK)
        return host.result;
    out[0] = 0x1111111122222222;
    out[1] = 0x3333333344444444;
    out[2] = 0x5555555566666666;
    return ENTROPY_OK;
}

bool entropy_uuid(uint32_t uuid[4])
{
    for (uint32_t i = 0; i < 4; i++)
        uuid[i] = 0xabcd0000 + i;
    return host.uuid;
}

bool pl031_present(void)
{
    return host.rtc;
}

uint64_t pl031_now(ticks_t *at)
{
    host.asked++;
    *at = (ticks_t){0x1122334455667788};
    return 0x18765432fedcba98;
}

uint64_t fake_sysreg_read(const char *name)
{
    if (strcmp(name, "spsr_el2") == 0)
        return spsr;
    assert_string_equal(name, "cntvoff_el2");
    return 0x1000000060000000;
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

/* ---- pages given back: all but the first one */

static struct {
    unsigned begun, ranges, ended;
    uint64_t at, bytes;
} given;

void give_back_begin(struct give_back *g, struct s2 *s, struct frame_cache *frames)
{
    memset(g, 0, sizeof(*g));
    assert_ptr_equal(s, &vm.s2);
    assert_ptr_equal(frames, &cpu[0].port.inline_populator->frames);
    given.begun++;
}

void give_back_range(struct give_back *g, ipa_t at, uint64_t bytes)
{
    g->asked = bytes / PAGE_SIZE;
    g->zero = g->asked ? g->asked - 1 : 0;
    g->freed = g->zero / 2;
    given.ranges++;
    given.at = at.v;
    given.bytes = bytes;
}

void give_back_end(struct give_back *g)
{
    g->rounds = 1;
    given.ended++;
}

/* ---- asynchronous page faults */

static struct {
    unsigned on, off, dropped, cleared, waits, hints;
    uint64_t at, flags, page, waits_for;
    bool is_token;
    enum apf_result answer;
    struct apf_page shared;
} apf;

enum apf_result apf_enable(struct vcpu *v, ipa_t at, uint32_t flags)
{
    apf.on++;
    apf.at = at.v;
    apf.flags = flags;
    v->apf.page = &apf.shared;
    return apf.answer;
}

bool apf_disable(struct vcpu *v)
{
    bool on = v->apf.page != NULL;

    v->apf.page = NULL;
    apf.off++;
    return on;
}

void apf_clear(struct vcpu *v)
{
    (void)v;
    assert_int_equal(seen.suspend, apf.cleared); /* not while it sleeps, nor behind it */
    apf.cleared++;
}

void apf_drop_all(struct vcpu *v)
{
    (void)v;
    apf.dropped++;
}

void apf_waits(struct vcpu *v, uint64_t token)
{
    (void)v;
    apf.waits_for = token;
}

bool apf_take_back(struct vm *m, uint64_t token, ipa_t *page)
{
    assert_ptr_equal(m, &vm);
    *page = ipa(RAM_BASE + token);
    return apf.is_token;
}

bool abort_wait(struct vcpu *v, ipa_t at)
{
    (void)v;
    apf.waits++;
    apf.page = at.v;
    return at.v != RAM_BASE + 0x6000;
}

bool s2_hint(struct s2 *s, struct s2_port *port, ipa_t at)
{
    (void)s, (void)port, (void)at;
    return ++apf.hints <= 5;
}

uint64_t apf_last_token(const struct vcpu *v)
{
    return (uint64_t)v->index << 48 | 77;
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
    static struct populator populator;
    static struct report_vcpu stats;

    (void)state;
    memset(&stats, 0, sizeof(stats));
    memset(&given, 0, sizeof(given));
    memset(&seen, 0, sizeof(seen));
    memset(cpu, 0, sizeof(cpu));
    memset(&host, 0, sizeof(host));
    memset(&apf, 0, sizeof(apf));
    for (uint32_t w = 0; w < WORKAROUNDS; w++)
        host.workaround[w] = -1;
    vm = (struct vm){.vcpus = cpu, .vcpu_count = CPUS, .ram_base = ipa(RAM_BASE), .ram_size = RAM_SIZE};
    vm.features = 0xf;
    for (uint32_t i = 0; i < CPUS; i++) {
        cpu[i].vm = &vm;
        cpu[i].index = i;
    }
    cpu[0].stats = &stats;
    cpu[0].port.inline_populator = &populator;
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
    0x8400000e, 0xc400000e, 0x84000012, 0xc4000012, 0x84000050, 0x84000051, 0x84000052, 0x84000053,
    0xc4000053, 0xc5000020, 0xc5000021, 0x80003fff, 0x80007fff, 0x80008000, 0x86000100, 0xc6000101,
    0xc6000100, 0xc6000102, 0xc6000103, 0xc6000104, 0xc6000105,
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

            assert_int_equal(smccc_find(IDENTITY_MEANWHILE, id) != NULL, is_served(id));
            assert_int_equal(smccc_find(IDENTITY_NONE, id) != NULL, is_served(id) && owner % 0x40 != 6);
            assert_int_equal(smccc_find(IDENTITY_KVM, id) != NULL, (is_served(id) && owner % 0x40 != 6) ||
                                                                       id == 0x86000000 || id == 0x86000001 ||
                                                                       id == 0x8600ff01);
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
    /* KVM's feature call is not ours under this identity. */
    assert_int_equal(call(0x86000000, 0, 0, 0), MINUS(1));
    assert_int_equal(call(0xc6000106, 0, 0, 0), MINUS(1));
    assert_int_equal(call(0x86000101, 0, 0, 0), MINUS(1));
    assert_int_equal(given.begun, 0);
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
        assert_int_equal(call(id, 0, 4, 0), MINUS(2));
        assert_int_equal(call(id, 0, 0xffffffff, 0), MINUS(2));
        assert_int_equal(call(id, 0, 0xffffffff00000000, 0), 0); /* the level is 32 bits in both */
    }
    assert_int_equal(call(0xc4000004, BIT(32), 0, 0), MINUS(2));
    assert_int_equal(call(0x84000004, BIT(32), 0, 0), 0);
}

/* Levels above 0: fields below the level do not count; ON if one is, else ON_PENDING if one is about to be. */
static void affinity_levels(void **state)
{
    (void)state;
    for (uint64_t level = 1; level < 4; level++) {
        atomic_store(&cpu[0].power, VCPU_ON);
        assert_int_equal(call(0xc4000004, 0, level, 0), 0);
        assert_int_equal(call(0xc4000004, 0x77, level, 0), 0);
        atomic_store(&cpu[0].power, VCPU_OFF);
        assert_int_equal(call(0xc4000004, 0x3, level, 0), 1);
        atomic_store(&cpu[1].power, VCPU_ON_CLAIMED);
        assert_int_equal(call(0xc4000004, 0x3, level, 0), 2);
        atomic_store(&cpu[3].power, VCPU_ON);
        assert_int_equal(call(0xc4000004, 0x3, level, 0), 0);
        atomic_store(&cpu[1].power, VCPU_OFF);
        atomic_store(&cpu[3].power, VCPU_OFF);
        assert_int_equal(call(0xc4000004, BIT(24), level, 0), MINUS(2));
        assert_int_equal(call(0xc4000004, UINT64_C(1) << (8 * level + (level == 3 ? 8 : 0)), level, 0), MINUS(2));
    }
    assert_int_equal(call(0xc4000004, 0x100, 1, 0), MINUS(2));
    assert_int_equal(call(0xc4000004, 0x100, 2, 0), 1);
    assert_int_equal(call(0xc4000004, 0x10000, 2, 0), MINUS(2));
    assert_int_equal(call(0xc4000004, 0x10000, 3, 0), 1);
}

static void system_suspend(void **state)
{
    (void)state;
    assert_int_equal(call(0xc400000e, RAM_BASE - 4, 5, 0), MINUS(9));
    assert_int_equal(call(0xc400000e, RAM_BASE + 2, 5, 0), MINUS(9));
    assert_int_equal(call(0x8400000e, 0, 5, 0), MINUS(9));
    for (enum vcpu_power power = VCPU_ON_CLAIMED; power <= VCPU_ON; power++) {
        atomic_store(&cpu[3].power, power);
        assert_int_equal(call(0xc400000e, RAM_BASE, 5, 0), MINUS(3));
    }
    assert_int_equal(seen.suspend + seen.resume + apf.cleared, 0);
    atomic_store(&cpu[3].power, VCPU_OFF);
    call(0xc400000e, RAM_BASE + 0x100, 0x123456789abcdef0, 0);
    assert_int_equal(seen.resume, 1);
    assert_ptr_equal(seen.target, &cpu[0]);
    assert_int_equal(seen.entry, RAM_BASE + 0x100);
    assert_int_equal(seen.context, 0x123456789abcdef0);
    call(0x8400000e, 0xffffffff00000000 + RAM_BASE, 0x123456789abcdef0, 0);
    assert_int_equal(seen.resume, 2);
    assert_int_equal(apf.cleared, 2);
    assert_int_equal(seen.entry, RAM_BASE);
    assert_int_equal(seen.context, 0x9abcdef0);
}

static void reset2(void **state)
{
    (void)state;
    for (uint32_t smc64 = 0; smc64 < 2; smc64++) {
        uint32_t id = 0x84000012 | smc64 << 30;

        assert_int_equal(call(id, 1, 0, 0), MINUS(2));
        assert_int_equal(call(id, 0x7fffffff, 0, 0), MINUS(2));
        assert_int_equal(call(id, 0x80000000, 0, 0), MINUS(1));
        assert_int_equal(call(id, 0xffffffff, 0, 0), MINUS(1));
    }
    assert_int_equal(seen.end + seen.reset, 0);
    call(0xc4000012, 0, 0x1234, 0);
    assert_int_equal(seen.reset, 1);
    vm.no_reboot = true;
    call(0x84000012, 0, 0x1234, 0);
    assert_int_equal(seen.reset, 1);
    assert_int_equal(seen.status, GUEST_RESET);
}

/* What the firmware says goes to the guest as it is; a call it does not have is none of ours. */
static void workarounds(void **state)
{
    static const uint32_t id[WORKAROUNDS] = {0x80008000, 0x80007fff, 0x80003fff};

    (void)state;
    for (uint32_t w = 0; w < WORKAROUNDS; w++) {
        for (int32_t answer = -2; answer <= 1; answer++) {
            host.workaround[w] = answer;
            assert_int_equal(call(0x80000001, id[w], 0, 0), (uint64_t)(int64_t)answer);
            assert_int_equal(call(id[w], 1, 0, 0), answer < 0 ? MINUS(1) : 0);
        }
        assert_int_equal(host.applied[w], 2);
        host.workaround[w] = -1;
    }
    host.workaround[WORKAROUND_2] = 0;
    call(0x80007fff, 0xffffffff00000001, 0, 0);
    assert_int_equal(host.arg, 1);
    call(0x80007fff, 0, 0, 0);
    assert_int_equal(host.arg, 0);
}

static void trng(void **state)
{
    (void)state;
    for (uint32_t n = 0x50; n <= 0x53; n++) /* no entropy, no TRNG */
        assert_int_equal(call(0x84000000 | n, n == 0x51 ? 0x84000050 : 8, 0, 0), MINUS(1));
    assert_int_equal(call(0xc4000053, 8, 0, 0), MINUS(1));
    assert_int_equal(host.bits, 0);

    host.entropy = true;
    assert_int_equal(call(0x84000050, 0, 0, 0), 0x10000);
    for (uint32_t n = 0; n < 0x100; n++)
        for (uint32_t bits = 0; bits < 4; bits++) {
            uint32_t id = 0x04000000 | bits << 30 | n;
            bool own = n >= 0x50 && n <= 0x53 && is_served(id);

            assert_int_equal(call(0x84000051, id, 0, 0), own ? 0 : MINUS(1));
        }
    assert_int_equal(call(0x84000052, 0, 0, 0), MINUS(1));
    host.uuid = true;
    assert_int_equal(call(0x84000052, 0, 0, 0), 0xabcd0000);
    for (uint32_t i = 1; i < 4; i++)
        assert_int_equal(frame.x[i], 0xabcd0000 + i);
}

static void trng_rnd(void **state)
{
    static const uint64_t bad32[] = {0, 97, 192, UINT32_MAX}, bad64[] = {0, 193, UINT64_C(1) << 32, BIT(63) | 8};

    (void)state;
    host.entropy = true;
    assert_int_equal(call(0x84000053, 96, 7, 7), 0);
    assert_int_equal(host.bits, 96);
    assert_int_equal(frame.x[3], 0x22222222);
    assert_int_equal(frame.x[2], 0x11111111);
    assert_int_equal(frame.x[1], 0x44444444);
    assert_int_equal(call(0x84000053, 0xffffffff00000001, 7, 7), 0);
    assert_int_equal(host.bits, 1);
    assert_int_equal(call(0xc4000053, 192, 7, 7), 0);
    assert_int_equal(host.bits, 192);
    assert_int_equal(frame.x[3], 0x1111111122222222);
    assert_int_equal(frame.x[2], 0x3333333344444444);
    assert_int_equal(frame.x[1], 0x5555555566666666);
    for (size_t i = 0; i < ARRAY_SIZE(bad32); i++) {
        assert_int_equal(call(0x84000053, bad32[i], 7, 7), MINUS(2));
        assert_int_equal(frame.x[1] | frame.x[2] | frame.x[3], 0);
        assert_int_equal(call(0xc4000053, bad64[i], 7, 7), MINUS(2));
        assert_int_equal(frame.x[1] | frame.x[2] | frame.x[3], 0);
    }
    host.result = ENTROPY_NONE_NOW;
    assert_int_equal(call(0xc4000053, 64, 7, 7), MINUS(3));
    assert_int_equal(frame.x[1] | frame.x[2] | frame.x[3], 0);
}

static void pv_time(void **state)
{
    (void)state;
    assert_int_equal(call(0x80000001, 0xc5000020, 0, 0), 0);
    assert_int_equal(call(0x80000001, 0xc5000021, 0, 0), MINUS(1));
    assert_int_equal(call(0xc5000020, 0xc5000020, 0, 0), 0);
    assert_int_equal(call(0xc5000020, 0xc5000021, 0, 0), 0);
    assert_int_equal(call(0xc5000020, 0xc5000022, 0, 0), MINUS(1));
    assert_int_equal(call(0xc5000020, 0x85000021, 0, 0), MINUS(1));
    assert_int_equal(call(0xc5000021, 0, 0, 0), VIRT_PVTIME);
    frame.x[0] = 0xc5000021;
    smccc_call(&cpu[3], &frame);
    assert_int_equal(frame.x[0], VIRT_PVTIME + 3 * 64);
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
    assert_true(seen.powered_down);
    assert_int_equal(call(0xc4000001, 0x00010000, RAM_BASE - 4, 7), MINUS(9));
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

/* Without a helper, or under another identity, there is none of it. */
static void asynchronous(void **state)
{
    static const uint64_t bad[][2] = {
        {RAM_BASE + 8, 0}, {RAM_BASE - PAGE_SIZE, 0}, {RAM_BASE + RAM_SIZE, 0}, {0x0b000000, 0},
        {RAM_BASE, 2},     {RAM_BASE, UINT64_MAX},    {UINT64_MAX << 12, 0},    {RAM_BASE, UINT64_C(1) << 32},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(call(0xc6000102, bad[i][0], bad[i][1], 0), MINUS(3));
    assert_int_equal(call(0xc6000103, 0, 0, 0), MINUS(4));
    assert_int_equal(apf.on, 0);
    assert_int_equal(call(0xc6000102, RAM_BASE + RAM_SIZE - PAGE_SIZE, 1, 0), 0);
    assert_true(apf.at == RAM_BASE + RAM_SIZE - PAGE_SIZE && apf.flags == 1 && frame.x[1] == 77);
    assert_true(apf.shared.version == 0x10000 && apf.shared.size == 0x700);
    assert_int_equal(call(0xc6000103, 0, 0, 0), 0);
    apf.answer = APF_ON;
    assert_int_equal(call(0xc6000102, RAM_BASE, 0, 0), MINUS(4));
    apf.answer = APF_TAKEN;
    assert_int_equal(call(0xc6000102, RAM_BASE, 0, 0), MINUS(4));
    apf.answer = APF_BAD;
    assert_int_equal(call(0xc6000102, RAM_BASE, 0, 0), MINUS(3));

    assert_int_equal(call(0xc6000104, 0x5000, 0, 0), 1);
    assert_int_equal(apf.waits | apf.waits_for, 0);
    apf.is_token = true;
    assert_int_equal(call(0xc6000104, 0x5000, 0, 0), 0);
    assert_true(apf.waits == 1 && apf.waits_for == 0x5000 && apf.page == RAM_BASE + 0x5000);
    assert_int_equal(call(0xc6000104, 0x6000, 0, 0), 2);

    assert_int_equal(call(0xc6000105, RAM_BASE + 1, 1, 0), MINUS(3));
    assert_int_equal(call(0xc6000105, RAM_BASE, RAM_SIZE / PAGE_SIZE + 1, 0), MINUS(3));
    assert_int_equal(call(0xc6000105, RAM_BASE, UINT64_MAX, 0), MINUS(3));
    assert_int_equal(call(0xc6000105, RAM_BASE, 3, 0), 3);
    assert_int_equal(call(0xc6000105, RAM_BASE, RAM_SIZE / PAGE_SIZE, 0), 2);

    apf.dropped = 0;
    call(0x84000000, 0, 0, 0);
    assert_int_equal(apf.dropped, 0);
    vm.apf_vcpus = 1;
    call(0x84000000, 0, 0, 0);
    assert_int_equal(apf.dropped, 0); /* a kernel that runs, and asks */
    spsr = SPSR_I;
    call(0x84000000, 0, 0, 0);
    assert_int_equal(apf.dropped, 1); /* one that starts */
    spsr = 0;

    vm.features = 3;
    for (uint32_t id = 0xc6000102; id <= 0xc6000105; id++)
        assert_int_equal(call(id, RAM_BASE, 0, 0), MINUS(1));
    assert_int_equal(call(0xc6000100, 0, 0, 0), 0x10000);
    assert_true(frame.x[1] == 3 && frame.x[2] == 0xb000000 && frame.x[3] == 0);
    vm.identity = IDENTITY_NONE;
    for (uint32_t id = 0xc6000100; id <= 0xc6000105; id++)
        assert_int_equal(call(id, RAM_BASE, 0, 0), MINUS(1));
    assert_int_equal(call(0x8600ff01, 0, 0, 0), MINUS(1));
    assert_int_equal(call(0x84000000, 0, 0, 0), 0x10001); /* standard services are everybody's */
}

static void discovery(void **state)
{
    (void)state;
    assert_int_equal(call(0x86000100, 0, 0, 0), 0xf);
    assert_int_equal(call(0xc6000100, 0, 0, 0), 0x10000);
    assert_true(frame.x[1] == 0xf && frame.x[2] == 0xb000000 && frame.x[3] == 20);
}

/* As Linux and its tools look for it. */
static void as_kvm(void **state)
{
    static const uint8_t uid[16] = {0x28, 0xb4, 0x6f, 0xb6, 0x2e, 0xc5, 0x11, 0xe9,
                                    0xa9, 0xca, 0x4b, 0x56, 0x4d, 0x00, 0x3a, 0x74};

    (void)state;
    vm.identity = IDENTITY_KVM;
    call(0x8600ff01, 0, 0, 0);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(frame.x[i / 4] >> (8 * (i % 4)) & 0xff, uid[i]);
    assert_int_equal(call(0x86000000, 0, 0, 0), 1);
    assert_true(frame.x[1] == 0 && frame.x[2] == 0 && frame.x[3] == 0);
    for (uint32_t id = 0xc6000100; id <= 0xc6000105; id++)
        assert_int_equal(call(id, RAM_BASE, 0, 0), MINUS(1));
    assert_int_equal(call(0x86000100, 0, 0, 0), MINUS(1));
    assert_int_equal(call(0x8600ff03, 0, 0, 0), MINUS(1));
}

/* Its clock, if the machine has one: which counter is asked about is w1. */
static void ptp(void **state)
{
    (void)state;
    assert_int_equal(call(0x86000001, 0, 0, 0), MINUS(1)); /* not ours */
    vm.identity = IDENTITY_KVM;
    assert_int_equal(call(0x86000001, 0, 0, 0), MINUS(1));
    host.rtc = true;
    assert_int_equal(call(0x86000000, 0, 0, 0), 3);
    assert_int_equal(call(0x86000001, 0, 7, 7), 0x18765432);
    assert_true(frame.x[1] == 0xfedcba98 && frame.x[2] == 0x01223343 && frame.x[3] == 0xf5667788);
    assert_int_equal(call(0x86000001, 0xffffffff00000001, 7, 7), 0x18765432);
    assert_true(frame.x[1] == 0xfedcba98 && frame.x[2] == 0x11223344 && frame.x[3] == 0x55667788);
    assert_int_equal(host.asked, 2);
    assert_int_equal(call(0x86000001, 2, 0, 0), MINUS(1));
    assert_int_equal(call(0x86000001, UINT64_MAX, 0, 0), MINUS(1));
    assert_int_equal(call(0xc6000001, 0, 0, 0), MINUS(1));
    assert_int_equal(host.asked, 2);
    vm.identity = IDENTITY_NONE;
    assert_int_equal(call(0x86000001, 0, 0, 0), MINUS(1));
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

static void release(void **state)
{
    static const uint64_t bad[][2] = {
        {RAM_BASE + 1, 1},
        {RAM_BASE - PAGE_SIZE, 1},
        {RAM_BASE - PAGE_SIZE, 2},
        {RAM_BASE + RAM_SIZE, 0},
        {RAM_BASE + RAM_SIZE, 1},
        {RAM_BASE, RAM_SIZE / PAGE_SIZE + 1},
        {RAM_BASE + PAGE_SIZE, RAM_SIZE / PAGE_SIZE},
        {RAM_BASE, UINT64_MAX},
        {RAM_BASE, UINT64_C(1) << 52},
        {RAM_BASE, (UINT64_C(1) << 52) + 1},
        {0, 1},
        {0x090a0000, 1}, /* stolen time */
        {UINT64_MAX - PAGE_SIZE + 1, 1},
        {UINT64_MAX - PAGE_SIZE + 1, 2},
    };
    uint64_t most = GIVE_BACK_BATCH * BLOCK_SIZE;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(call(MW_FN_RELEASE, bad[i][0], bad[i][1], 9), MINUS(3));
        assert_int_equal(frame.x[1], 0);
    }
    assert_int_equal(given.begun, 0);
    assert_int_equal(call(MW_FN_RELEASE, RAM_BASE, 0, 0), 0);
    assert_int_equal(call(MW_FN_RELEASE, RAM_BASE + PAGE_SIZE, 1000, 0), 1000);
    assert_int_equal(frame.x[1], 999);
    assert_true(given.at == RAM_BASE + PAGE_SIZE && given.bytes == 1000 * PAGE_SIZE);
    /* As much as one round takes, up to where a block ends: the next call begins with whole blocks. */
    vm.ram_size = GIB(1);
    assert_int_equal(call(MW_FN_RELEASE, RAM_BASE, GIB(1) / PAGE_SIZE, 0), most / PAGE_SIZE);
    assert_int_equal(call(MW_FN_RELEASE, RAM_BASE + MIB(2), most / PAGE_SIZE + 1, 0), most / PAGE_SIZE);
    assert_int_equal(call(MW_FN_RELEASE, RAM_BASE + MIB(2) + 3 * PAGE_SIZE, most / PAGE_SIZE, 0), most / PAGE_SIZE - 3);
    assert_int_equal(call(MW_FN_RELEASE, RAM_BASE + GIB(1) - PAGE_SIZE, 1, 0), 1);
    vm.ram_size = RAM_SIZE;
    assert_int_equal(given.begun, 6);
    assert_int_equal(given.ended, 6);
    assert_int_equal(cpu[0].stats->given_back.rounds, 6);
    assert_int_equal(cpu[0].stats->given_back.kept, 5);
    assert_true(cpu[0].stats->given_back.freed >= 499);
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
        cmocka_unit_test_setup(affinity_levels, setup),
        cmocka_unit_test_setup(system_suspend, setup),
        cmocka_unit_test_setup(reset2, setup),
        cmocka_unit_test_setup(workarounds, setup),
        cmocka_unit_test_setup(trng, setup),
        cmocka_unit_test_setup(trng_rnd, setup),
        cmocka_unit_test_setup(pv_time, setup),
        cmocka_unit_test_setup(cpu_off_and_suspend, setup),
        cmocka_unit_test_setup(system_end, setup),
        cmocka_unit_test_setup(identity, setup),
        cmocka_unit_test_setup(release, setup),
        cmocka_unit_test_setup(asynchronous, setup),
        cmocka_unit_test_setup(discovery, setup),
        cmocka_unit_test_setup(as_kvm, setup),
        cmocka_unit_test_setup(ptp, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
