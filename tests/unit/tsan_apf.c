/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: vcpu/apf.c */
/*
 * Asynchronous page faults between threads: a vCPU's core that injects and collects, a helper that ends what is on its way, the
 * guest's handler, which reads the ring when it is called and not before, and another vCPU that takes tokens back. Each
 * token is answered once, and no call is lost: the guest would wait for ever. (Spin assumes sequential consistency;
 * tests/model has all interleavings, this has the compiler's and the host's memory.)
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dev/gich.h"
#include "mm/guestmem.h"
#include "tests/unit/support.h"
#include "vcpu/abort.h"
#include "vcpu/apf.h"
#include "vcpu/inject.h"
#include "vcpu/vm.h"

#define FAULTS 20000u
#define PAGES 48u /* on their way at once: one less than there is room for makes waits, too */

_Thread_local struct core *this_core_ptr;

static struct vm vm;
static struct vcpu cpu[2];
static struct report_vcpu stats[2];
static union {
    struct apf_page page;
    uint8_t bytes[PAGE_SIZE];
} whole;
#define shared (whole.page)
static struct report_guest vm_stats;

/* ---- what is on its way */

static _Atomic uint32_t rounds[PAGES];
static _Atomic uint32_t on_its_way[PAGES];

bool s2_wait_ticket(struct s2 *s, ipa_t at, struct s2_ticket *t)
{
    (void)s;
    t->number = (uint32_t)(at.v >> PAGE_SHIFT) % PAGES;
    t->round = atomic_load(&rounds[t->number]);
    return true;
}

bool s2_ticket_ended(const struct s2_ticket *t)
{
    return atomic_load_explicit(&rounds[t->number], memory_order_acquire) != t->round;
}

bool s2_is_unreadable(struct s2 *s, ipa_t at)
{
    (void)s;
    return at.v >> PAGE_SHIFT == 7;
}

static _Atomic bool signalled, over;

static void *help(void *arg)
{
    unsigned random = 1;

    (void)arg;
    while (!atomic_load(&over)) {
        uint32_t n = (uint32_t)rand_r(&random) % PAGES;

        if (atomic_exchange(&on_its_way[n], 0)) {
            atomic_fetch_add_explicit(&rounds[n], 1, memory_order_release);
            atomic_store(&signalled, true);
        } else {
            sched_yield();
        }
    }
    return NULL;
}

/* ---- the guest */

static _Atomic bool called;           /* the PPI is pending */
static _Atomic uint64_t told[FAULTS]; /* tokens, in their order */
static _Atomic uint32_t told_count, answers, errors, taken;
static _Atomic uint8_t answered[FAULTS];

void inject_not_present(uint64_t token)
{
    uint32_t n = atomic_load(&told_count);

    atomic_store(&told[n], token);
    atomic_store(&told_count, n + 1);
}

void vgic_set_private_pending(struct vcpu *v, uint32_t intid)
{
    CHECK(v == &cpu[0] && intid == PPI_EVENT);
    atomic_store(&called, true);
}

static void answer(uint64_t token)
{
    uint32_t n = atomic_load(&told_count);

    while (n && atomic_load(&told[n - 1]) != token)
        n--;
    CHECK(n && !atomic_exchange(&answered[n - 1], 1));
    atomic_fetch_add(&answers, 1);
}

static void read_ring(void)
{
    uint32_t at = atomic_load_explicit(&shared.consumer, memory_order_relaxed);

    for (;;) {
        uint32_t to = atomic_load_explicit(&shared.producer, memory_order_acquire);

        if (at == to)
            return;
        CHECK(to - at <= APF_RING);
        for (; at != to; at++) {
            struct apf_entry e = shared.ring[at % APF_RING];

            atomic_fetch_add(&errors, e.status == APF_ERROR);
            answer(e.token);
        }
        atomic_store_explicit(&shared.consumer, at, memory_order_release);
        dmb_ish(); /* our index before the look at theirs */
    }
}

static void *handle(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        if (atomic_exchange(&called, false))
            read_ring();
        else
            sched_yield();
    }
    return NULL;
}

/* Its tasks have moved there: they wait instead. */
static void *take_back(void *arg)
{
    unsigned random = 2;
    ipa_t page;

    (void)arg;
    while (!atomic_load(&over)) {
        uint32_t n = atomic_load(&told_count);

        if (n) {
            uint64_t token = atomic_load(&told[n - 1 - (uint32_t)rand_r(&random) % (n < 16 ? n : 16)]);

            if (apf_take_back(&vm, token, &page)) {
                CHECK(page.v >> PAGE_SHIFT < PAGES);
                answer(token);
                atomic_fetch_add(&taken, 1);
            }
        }
        CHECK(!apf_take_back(&vm, 0, &page) && !apf_take_back(&vm, UINT64_MAX, &page) &&
              !apf_take_back(&vm, (uint64_t)1 << 48 | 77, &page));
        sched_yield();
    }
    return NULL;
}

/* ---- what else vcpu/apf.c calls */

uint64_t fake_sysreg_read(const char *name)
{
    return strcmp(name, "sctlr_el1") == 0 ? SCTLR_M : 0; /* SPSR_EL2: EL0, all unmasked */
}

void fake_sysreg_write(const char *name, uint64_t value)
{
    (void)name, (void)value;
}

uint64_t gich_vmcr_read(void)
{
    return 0;
}

void abort_starving(struct vcpu *v)
{
    (void)v;
}

bool abort_populate(struct vcpu *v, ipa_t at, bool write)
{
    (void)v, (void)at;
    return write;
}

enum guestmem_result guestmem_pin(struct s2 *s, ipa_t page, void **out)
{
    (void)s, (void)page;
    *out = &whole;
    return GUESTMEM_OK;
}

void guestmem_unpin(void) {}

void gic_sgi(const struct core *target, uint32_t sgi)
{
    (void)target, (void)sgi;
}

/* ---- the vCPU's core */

static void collect(void)
{
    if (atomic_exchange(&signalled, false))
        apf_collect(&cpu[0]);
}

static void told_and_answered(void **state)
{
    pthread_t thread[3];
    unsigned random = 3;
    uint32_t full = 0;

    (void)state;
    alarm(300); /* a lost call */
    vm = (struct vm){.vcpus = cpu, .vcpu_count = 2, .stats = &vm_stats};
    for (uint32_t i = 0; i < 2; i++) {
        cpu[i].vm = &vm;
        cpu[i].index = i;
        cpu[i].stats = &stats[i];
        apf_init(&cpu[i], i);
    }
    CHECK(apf_enable(&cpu[0], ipa(PAGE_SIZE), 0) == APF_OK);
    CHECK(!pthread_create(&thread[0], NULL, help, NULL) && !pthread_create(&thread[1], NULL, handle, NULL) &&
          !pthread_create(&thread[2], NULL, take_back, NULL));
    while (atomic_load(&told_count) < FAULTS) {
        uint32_t n = (uint32_t)rand_r(&random) % PAGES;
        struct s2_fault f = {.ipa = ipa((uint64_t)n << PAGE_SHIFT), .ipa_valid = true, .far_valid = true};

        if (apf_inject(&cpu[0], &f))
            atomic_store(&on_its_way[n], 1);
        else if (++full % 64 == 0)
            sched_yield();
        collect();
    }
    while (atomic_load(&answers) < FAULTS) {
        for (uint32_t n = 0; n < PAGES; n++)
            atomic_store(&on_its_way[n], 1);
        collect();
        sched_yield();
    }
    atomic_store(&over, true);
    for (uint32_t i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    printf("%u told, %u taken back, %u unreadable, %u times no room\n", FAULTS, atomic_load(&taken),
           atomic_load(&errors), full);
    CHECK(atomic_load(&taken) && atomic_load(&errors)); /* how many, the scheduler decides */
    CHECK(stats[0].apf.injected == FAULTS && stats[0].apf.ready + atomic_load(&taken) == FAULTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(told_and_answered)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
