/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: vcpu/apf.c */
/* Asynchronous page faults: who may be told, what a token is, what stands in the ring and when the guest is called, how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dev/gic.h"
#include "dev/gich.h"
#include "lib/sysreg.h"
#include "mm/guestmem.h"
#include "vcpu/abort.h"
#include "vcpu/apf.h"
#include "vcpu/inject.h"
#include "vcpu/vm.h"

_Thread_local struct core *this_core_ptr;

#define PAGES 128u
#define AT UINT64_C(0x40001000)
#define USER UINT64_C(0x0000aaaab0001000)
#define KERNEL UINT64_C(0xffff800010001000)
#define EL0_32 0x10u

static struct vm vm;
static struct vcpu cpu[2];
static struct core core[2];
static struct report_vcpu stats[2];
static union {
    struct apf_page page;
    uint8_t bytes[PAGE_SIZE];
} shared[2];
static uint64_t spsr, sctlr, vmcr, told;
static uint32_t called, looked, kicks, rounds[PAGES], pins, unpins;
static bool comes_now, unpopulated, absent_once;
static uint64_t unreadable;

uint64_t fake_sysreg_read(const char *name)
{
    return strcmp(name, "spsr_el2") == 0 ? spsr : strcmp(name, "sctlr_el1") == 0 ? sctlr : 0;
}

void fake_sysreg_write(const char *name, uint64_t value)
{
    fail_msg("%s %lx", name, value);
}

uint64_t gich_vmcr_read(void)
{
    return vmcr;
}

bool s2_wait_ticket(struct s2 *s, ipa_t at, struct s2_ticket *t)
{
    (void)s;
    t->number = (uint32_t)(at.v >> PAGE_SHIFT) % PAGES;
    t->round = rounds[t->number];
    return !comes_now;
}

bool s2_ticket_ended(const struct s2_ticket *t)
{
    return rounds[t->number] != t->round;
}

bool s2_is_unreadable(struct s2 *s, ipa_t at)
{
    (void)s;
    return at.v == unreadable;
}

void inject_not_present(uint64_t token)
{
    told = token;
}

void vgic_set_private_pending(struct vcpu *v, uint32_t intid)
{
    assert_ptr_equal(v, &cpu[0]);
    assert_int_equal(intid, PPI_EVENT);
    called++;
}

bool abort_populate(struct vcpu *v, ipa_t at, bool write)
{
    (void)v, (void)at;
    assert_true(write);
    return !unpopulated;
}

void abort_starving(struct vcpu *v)
{
    assert_ptr_equal(v, &cpu[0]);
    looked++;
}

enum guestmem_result guestmem_pin(struct s2 *s, ipa_t page, void **out)
{
    (void)s;
    if (absent_once) {
        absent_once = false;
        return GUESTMEM_ABSENT;
    }
    *out = &shared[page.v == AT ? 0 : 1];
    pins++;
    return GUESTMEM_OK;
}

void guestmem_unpin(void)
{
    unpins++;
}

void gic_sgi(const struct core *target, uint32_t sgi)
{
    assert_ptr_equal(target, &core[1]);
    assert_int_equal(sgi, SGI_KICK);
    kicks++;
}

static int setup(void **state)
{
    (void)state;
    memset(rounds, 0, sizeof(rounds));
    memset(shared, 0xa5, sizeof(shared));
    memset(stats, 0, sizeof(stats));
    memset(cpu, 0, sizeof(cpu));
    vm = (struct vm){.vcpus = cpu, .vcpu_count = 2};
    for (uint32_t i = 0; i < 2; i++) {
        cpu[i] = (struct vcpu){.vm = &vm, .index = i, .stats = &stats[i], .core = &core[i]};
        cpu[i].vgic.priv.prio[PPI_EVENT] = 0xa0;
        apf_init(&cpu[i], i);
    }
    spsr = unreadable = told = 0;
    sctlr = SCTLR_M;
    vmcr = field_put(ICH_VMCR_VPMR, 0xf0);
    called = looked = kicks = pins = unpins = 0;
    comes_now = unpopulated = absent_once = false;
    return 0;
}

static bool fault(uint32_t page, uint64_t far)
{
    struct s2_fault f = {.ipa = ipa((uint64_t)page << PAGE_SHIFT), .ipa_valid = true, .far = far, .far_valid = true};

    return apf_inject(&cpu[0], &f);
}

static void end(uint32_t page)
{
    rounds[page]++;
}

/* ---- who may be told (doc/abi.md 3.2) */

static void gate(void **state)
{
    static const struct {
        uint64_t spsr, far;
        uint32_t flags, mask;
        bool walk, far_valid;
        enum apf_refusal why;
    } cases[] = {
        {SPSR_M_EL0T, USER, 0, 0xf0, false, true, APF_MAY},
        {SPSR_M_EL0T, USER, 0, 0, false, true, APF_MAY}, /* at EL0 no kernel has its priority mask closed */
        {SPSR_M_EL0T, KERNEL, 0, 0xf0, false, true, APF_MAY},
        {EL0_32, USER, 0, 0xf0, false, true, APF_MAY},
        {SPSR_M_EL0T, USER, 0, 0xf0, true, true, APF_NOT_ON_WALKS},
        {SPSR_M_EL0T | SPSR_I, USER, 0, 0xf0, false, true, APF_NOT_MASKED},
        {EL0_32 | SPSR_I, USER, 0, 0xf0, false, true, APF_NOT_MASKED},
        {SPSR_M_EL1H, USER, APF_FLAG_EL1, 0xf0, false, true, APF_MAY},
        {SPSR_M_EL1H, USER, 0, 0xf0, false, true, APF_NOT_IN_KERNEL},
        {SPSR_M_EL1H, KERNEL, APF_FLAG_EL1, 0xf0, false, true, APF_NOT_IN_KERNEL},
        {SPSR_M_EL1H, USER, APF_FLAG_EL1, 0xf0, false, false, APF_NOT_IN_KERNEL},
        {SPSR_M_EL1H, USER | BIT(55), APF_FLAG_EL1, 0xf0, false, true, APF_NOT_IN_KERNEL},
        {SPSR_M_EL1H, USER | UINT64_C(0xff) << 56, APF_FLAG_EL1, 0xf0, false, true, APF_MAY}, /* a tag */
        {SPSR_M_EL1T, USER, APF_FLAG_EL1, 0xf0, false, true, APF_NOT_IN_KERNEL},
        {SPSR_M_EL1H | SPSR_I, USER, APF_FLAG_EL1, 0xf0, false, true, APF_NOT_MASKED},
        {SPSR_M_EL1H, USER, APF_FLAG_EL1, 0xa0, false, true, APF_NOT_MASKED},
        {SPSR_M_EL1H, USER, APF_FLAG_EL1, 0xa8, false, true, APF_MAY},
        {SPSR_M_EL1H, USER, APF_FLAG_EL1, 0x60, false, true, APF_NOT_MASKED},
        {SPSR_M_EL1H, USER, APF_FLAG_EL1, 0xf0, true, true, APF_NOT_ON_WALKS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct s2_fault f = {.ipa = ipa(PAGE_SIZE),
                             .ipa_valid = true,
                             .far = cases[i].far,
                             .far_valid = cases[i].far_valid,
                             .s1ptw = cases[i].walk};
        bool may = cases[i].why == APF_MAY;

        setup(NULL);
        assert_int_equal(apf_enable(&cpu[0], ipa(AT), cases[i].flags), APF_OK);
        spsr = cases[i].spsr;
        vmcr = field_put(ICH_VMCR_VPMR, cases[i].mask);
        if (apf_inject(&cpu[0], &f) != may || !!told != may || stats[0].apf.injected != may)
            fail_msg("case %zu", i);
        for (uint32_t why = 0; why < APF_MAY; why++) {
            if (stats[0].apf.refused[why] != (why == cases[i].why))
                fail_msg("case %zu, counter %u", i, why);
        }
    }
}

/* What has come meanwhile is nothing to be told, and takes no place. */
static void has_come(void **state)
{
    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    comes_now = true;
    assert_false(fault(1, USER));
    assert_int_equal(cpu[0].apf.outstanding | cpu[0].apf.held | told, 0);
}

/* Of those who are told the guest cannot see what they did; the counters can. */
static void origins(void **state)
{
    static const uint64_t from[] = {SPSR_M_EL0T, SPSR_M_EL1H, EL0_32};
    static const uint32_t index[] = {0, 1, 4};

    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), APF_FLAG_EL1), APF_OK);
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t n = 0; n < 3 + i; n++) {
            struct s2_fault f = {
                .ipa = ipa(PAGE_SIZE), .ipa_valid = true, .far = USER, .far_valid = true, .fetch = n < 2};

            spsr = from[i];
            assert_true(apf_inject(&cpu[0], &f));
        }
        assert_int_equal(stats[0].apf_from[0][index[i]], 1 + i);
        assert_int_equal(stats[0].apf_from[1][index[i]], 2);
    }
    assert_int_equal(stats[0].apf.injected, 12);
}

/* ---- tokens */

static void tokens(void **state)
{
    uint64_t last, before;

    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    before = last = apf_last_token(&cpu[0]);
    for (uint32_t i = 0; i < APF_RING; i++) {
        assert_true(fault(i, USER));
        assert_true(told > last && told != UINT64_MAX && told >> 48 == 0);
        last = told;
    }
    assert_false(fault(100, USER)); /* the next has no room for its answer */
    assert_int_equal(stats[0].apf.refused[APF_NO_ROOM], 1);
    apf_clear(&cpu[0]);
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    assert_true(apf_last_token(&cpu[0]) >= last && apf_last_token(&cpu[0]) > before);
    assert_true(fault(1, USER));
    assert_true(told > apf_last_token(&cpu[0]) - APF_RING && told > last);
    assert_int_equal(apf_last_token(&cpu[1]) >> 48, 1);
}

static void taken_back(void **state)
{
    uint64_t first;
    ipa_t page;

    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    assert_true(fault(3, USER));
    first = told;
    assert_false(apf_take_back(&vm, 0, &page) || apf_take_back(&vm, UINT64_MAX, &page) ||
                 apf_take_back(&vm, first + 64, &page) || apf_take_back(&vm, first | UINT64_C(1) << 48, &page) ||
                 apf_take_back(&vm, first | UINT64_C(2) << 48, &page));
    assert_true(apf_take_back(&vm, first, &page));
    assert_int_equal(page.v, 3 << PAGE_SHIFT);
    assert_false(apf_take_back(&vm, first, &page)); /* once */
    end(3);
    apf_collect(&cpu[0]);
    assert_int_equal(shared[0].page.producer | called, 0); /* nobody is told of it, and its place is free */
    assert_int_equal(cpu[0].apf.outstanding | cpu[0].apf.held | looked, 0);
    assert_true(fault(4, USER));
    apf_collect(&cpu[0]); /* a signal, and it has not ended: it may wait for room */
    assert_int_equal(looked, 1);
    end(4);
    apf_collect(&cpu[0]);
    assert_false(apf_take_back(&vm, told, &page)); /* told */
}

/* ---- a guest that has nothing else to run */

/* The next token is waited for as soon as it is there. Returns of how many faults it was not told before. */
static uint32_t held_off(void)
{
    uint32_t n = 0;
    ipa_t page;

    while (!fault(5, USER))
        n++;
    apf_waits(&cpu[0], told);
    assert_true(apf_take_back(&vm, told, &page));
    end(5);
    apf_collect(&cpu[0]);
    return n;
}

static void alone(void **state)
{
    static const uint32_t between[] = {0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 16, 16};
    uint32_t total = 0;

    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), APF_FLAG_EL1), APF_OK);
    for (size_t i = 0; i < ARRAY_SIZE(between); i++) {
        assert_int_equal(held_off(), between[i]);
        total += between[i];
    }
    assert_int_equal(stats[0].apf.refused[APF_ALONE], total);
    /* What it could not be told of anyway counts for nothing. */
    spsr = SPSR_I;
    assert_false(fault(6, USER));
    spsr = 0;
    assert_int_equal(held_off(), 16);
    /* An interrupt comes while it waits: it is asked once, and no more than that is forgotten. */
    assert_false(fault(6, USER));
    apf_ask_again(&cpu[0].apf);
    assert_int_equal(held_off(), 0);
    assert_int_equal(held_off(), 16);
    /* It goes on with something else. */
    apf_ask_again(&cpu[0].apf);
    assert_true(fault(6, USER));
    end(6);
    apf_collect(&cpu[0]);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(held_off(), 0);
    assert_int_equal(held_off(), 1);
    /* Nor has it been alone in the sense of another registration. */
    apf_clear(&cpu[0]);
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), APF_FLAG_EL1), APF_OK);
    assert_int_equal(held_off(), 0);
}

/* It waits for one of several, or for one that is not the last: it did go on in between. */
static void not_alone(void **state)
{
    uint64_t first;

    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), APF_FLAG_EL1), APF_OK);
    for (uint32_t i = 0; i < 20; i++) {
        assert_true(fault(7, USER));
        first = told;
        assert_true(fault(8, USER));
        apf_waits(&cpu[0], told);
        end(8);
        apf_waits(&cpu[0], first);
        end(7);
        apf_collect(&cpu[0]);
        shared[0].page.consumer = shared[0].page.producer;
    }
    assert_int_equal(stats[0].apf.refused[APF_ALONE], 0);
}

/* ---- ready */

static void one_call_for_many(void **state)
{
    uint64_t token[4];

    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(fault(i, USER));
        token[i] = told;
    }
    unreadable = 1 << PAGE_SHIFT;
    end(0);
    end(1);
    apf_collect(&cpu[0]);
    assert_int_equal(called, 1);
    assert_int_equal(shared[0].page.producer, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(shared[0].page.ring[i].token, token[i]);
        assert_int_equal(shared[0].page.ring[i].status, i == 1 ? APF_ERROR : APF_READY);
        assert_int_equal(shared[0].page.ring[i].reserved, 0);
    }
    end(2);
    apf_collect(&cpu[0]); /* unread entries are there: the guest is on its way */
    assert_int_equal(called, 1);
    assert_int_equal(shared[0].page.producer, 3);
    shared[0].page.consumer = 3;
    end(3);
    apf_collect(&cpu[0]);
    assert_int_equal(called, 2);
    apf_collect(&cpu[0]); /* nothing new */
    assert_int_equal(called, 2);
    assert_int_equal(stats[0].apf.ready, 4);
}

/* Unread entries and what is on its way together never are more than there are places, whatever the guest says of its index. */
static void room(void **state)
{
    static const uint32_t wild[] = {UINT32_MAX, 1, 65, 0x80000000, UINT32_MAX - 63};

    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    for (uint32_t i = 0; i < APF_RING; i++)
        assert_true(fault(i, USER));
    for (uint32_t i = 0; i < 10; i++)
        end(i);
    apf_collect(&cpu[0]);
    assert_int_equal(shared[0].page.producer, 10);
    assert_false(fault(100, USER)); /* none of the ten was read */
    shared[0].page.consumer = 4;
    for (uint32_t i = 0; i < 4; i++)
        assert_true(fault(100 + i, USER));
    assert_false(fault(110, USER));
    for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
        shared[0].page.consumer = wild[i] + 10; /* it has read what was never written, or unread it */
        (void)fault(111 + (uint32_t)i, USER);
        assert_true(cpu[0].apf.held <= APF_RING);
    }
    for (uint32_t i = 0; i < PAGES; i++)
        end(i);
    apf_collect(&cpu[0]);
    assert_int_equal(cpu[0].apf.held, 0);
}

/* ---- on and off */

static void registration(void **state)
{
    (void)state;
    unpopulated = true;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_BAD);
    unpopulated = false;
    absent_once = true; /* it went between the two */
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    for (size_t i = 0; i < sizeof(shared[0]); i++)
        assert_int_equal(shared[0].bytes[i], 0);
    assert_int_equal(apf_enable(&cpu[0], ipa(AT + PAGE_SIZE), 0), APF_ON);
    assert_int_equal(apf_enable(&cpu[1], ipa(AT), 0), APF_TAKEN);
    assert_int_equal(apf_enable(&cpu[1], ipa(AT + PAGE_SIZE), 0), APF_OK);
    assert_int_equal(vm.apf_vcpus, 2);
    assert_true(apf_disable(&cpu[0]));
    assert_false(apf_disable(&cpu[0]));
    assert_int_equal(vm.apf_vcpus, 1);
    assert_int_equal(pins, 2);
    assert_int_equal(unpins, 1);
    assert_int_equal(shared[0].page.producer | called, 0); /* nobody waited */
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
}

static void wake_all(void **state)
{
    uint64_t token;
    ipa_t page;

    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    assert_true(fault(1, USER));
    token = told;
    assert_true(apf_disable(&cpu[0]));
    assert_int_equal(shared[0].page.producer, 1);
    assert_int_equal(shared[0].page.ring[0].token, UINT64_MAX);
    assert_int_equal(shared[0].page.ring[0].status, APF_WAKE_ALL);
    assert_int_equal(called, 1);
    assert_false(apf_take_back(&vm, token, &page));
    memset(&shared[0], 0x5a, sizeof(shared[0])); /* it is the guest's own again */
    end(1);
    assert_int_equal(cpu[0].apf.outstanding | cpu[0].apf.held, 0);
    assert_int_equal(called, 1);
}

/* A kernel that starts anew: with its MMU off, or since another vCPU has said so. */
static void without_a_word(void **state)
{
    (void)state;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    assert_true(fault(1, USER));
    sctlr = 0;
    assert_false(fault(2, USER));
    assert_null(cpu[0].apf.page);
    sctlr = SCTLR_M;
    assert_int_equal(apf_enable(&cpu[0], ipa(AT), 0), APF_OK);
    assert_int_equal(apf_enable(&cpu[1], ipa(AT + PAGE_SIZE), 0), APF_OK);
    assert_true(fault(1, USER));
    apf_drop_all(&cpu[0]);
    assert_null(cpu[0].apf.page);
    assert_int_equal(kicks, 1);
    assert_non_null(cpu[1].apf.page); /* that core does it itself */
    apf_collect(&cpu[1]);
    assert_null(cpu[1].apf.page);
    assert_int_equal(vm.apf_vcpus, 0);
    assert_int_equal(pins, unpins);
    assert_int_equal(shared[0].page.producer | called, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(gate, setup),       cmocka_unit_test_setup(has_come, setup),
        cmocka_unit_test_setup(origins, setup),    cmocka_unit_test_setup(tokens, setup),
        cmocka_unit_test_setup(taken_back, setup), cmocka_unit_test_setup(one_call_for_many, setup),
        cmocka_unit_test_setup(room, setup),       cmocka_unit_test_setup(registration, setup),
        cmocka_unit_test_setup(alone, setup),      cmocka_unit_test_setup(not_alone, setup),
        cmocka_unit_test_setup(wake_all, setup),   cmocka_unit_test_setup(without_a_word, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
