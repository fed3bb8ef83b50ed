/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: vcpu/vgic.c vcpu/vgic_dist.c vcpu/vgic_redist.c vcpu/vgic_lr.c tests/unit/fake/dev/gich.c */
/*
 * Four cores, a thread each, whose guests send one another SGIs and SPIs, change routes, priorities and enables under
 * each other's feet, and go off and on. A core looks at its interrupts only at an exit: when it was signalled, when it
 * trapped by itself, and on maintenance. So a signal that is missing where one was due ends as an interrupt that never
 * comes. Nothing is lost, nothing is taken twice, nothing is in service on two vCPUs.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "dev/fake_gich.h"
#include "dev/gic.h"
#include "vcpu/vm.h"

#define CPUS 4
#define BURSTS 200
#define OPS 500 /* a burst, on each core */
#define SGIS 4
#define EDGE_FIRST 40 /* SPIs 40..47 are edges */
#define EDGES 8
#define LEVEL_FIRST 64 /* SPIs 64..67 are levels */
#define LEVELS 4
#ifndef SECONDS
#define SECONDS 60 /* for what is under way to arrive; far more than it takes */
#endif

#define ISENABLER 0x100
#define ICENABLER 0x180
#define ISPENDR 0x200
#define IPRIORITYR 0x400
#define IROUTER 0x6000

_Thread_local struct core *this_core_ptr;

static struct vm vm;
static struct vcpu cpus[CPUS];
static struct core test_cores[CPUS];
static _Atomic bool kicked[CPUS];

/* How often each was sent; how often it had been when it was last taken; how often it was taken. */
struct tally {
    _Atomic uint64_t sent, seen, taken;
    _Atomic bool in_service;
};
static struct tally sgi[CPUS][SGIS];
static struct tally edge[EDGES];
static struct {
    pthread_mutex_t lock; /* as the emulated device has one: changes of its line are ordered */
    _Atomic uint64_t work;
    _Atomic bool in_service;
} device[LEVELS];
static _Atomic uint32_t finished; /* two for each core and burst: it has sent all; it has seen that all arrived */

#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                   \
        }                                                              \
    } while (0)

void gic_sgi(const struct core *target, uint32_t id)
{
    CHECK(id == SGI_KICK);
    atomic_store(&kicked[target->id], true);
}

void gic_deactivate(uint32_t intid)
{
    CHECK(intid >= 32); /* no physical interrupts here */
}

struct guest {
    struct vcpu *v;
    uint64_t seed;
    struct fake_gich gich;
};

static uint32_t below(struct guest *g, uint32_t n)
{
    g->seed ^= g->seed << 13;
    g->seed ^= g->seed >> 7;
    g->seed ^= g->seed << 17;
    return (uint32_t)((g->seed * 0x2545f4914f6cdd1dull >> 32) % n);
}

/* Before the return from any exit. */
static void leave(struct guest *g)
{
    if (atomic_load(&g->v->vgic.dirty))
        vgic_sync(g->v);
}

/* Interrupts of EL2, which arrive at any moment the guest runs. */
static void exits(struct guest *g)
{
    if (atomic_exchange(&kicked[g->v->index], false))
        leave(g);
    for (unsigned turn = 0; fake_gich_misr(); turn++) {
        CHECK(turn < 1000);
        vgic_sync(g->v);
        leave(g);
    }
}

static void serve(struct guest *g, uint32_t intid)
{
    _Atomic bool *in_service;

    if (intid < SGIS || (intid >= EDGE_FIRST && intid < EDGE_FIRST + EDGES)) {
        struct tally *t = intid < SGIS ? &sgi[g->v->index][intid] : &edge[intid - EDGE_FIRST];
        uint64_t taken = atomic_fetch_add(&t->taken, 1) + 1;
        uint64_t sent = atomic_load(&t->sent);

        CHECK(taken <= sent);
        in_service = &t->in_service;
        CHECK(!atomic_exchange(in_service, true));
        atomic_store(&t->seen, sent);
    } else {
        uint32_t d = intid - LEVEL_FIRST;

        CHECK(d < LEVELS);
        in_service = &device[d].in_service;
        CHECK(!atomic_exchange(in_service, true));
        pthread_mutex_lock(&device[d].lock);
        atomic_store(&device[d].work, 0);
        vgic_set_spi_level(&vm, intid, false);
        pthread_mutex_unlock(&device[d].lock);
        leave(g);
    }
    for (uint32_t i = below(g, 4); i--;)
        exits(g);
    atomic_store(in_service, false);
    fake_gich_eoi(intid);
}

static void interrupts(struct guest *g)
{
    uint32_t intid;

    exits(g);
    intid = fake_gich_ack();
    if (intid != FAKE_SPURIOUS)
        serve(g, intid);
}

static void cpu_interface_on(struct guest *g)
{
    g->gich.vmcr = ICH_VMCR_VENG0 | ICH_VMCR_VENG1 | field_put(ICH_VMCR_VPMR, 0xf8);
}

static uint32_t some_spi(struct guest *g)
{
    return below(g, 2) ? EDGE_FIRST + below(g, EDGES) : LEVEL_FIRST + below(g, LEVELS);
}

static void trap(struct guest *g)
{
    struct vcpu *v = g->v;
    uint32_t t = below(g, CPUS);
    uint32_t n, d;

    switch (below(g, 12)) {
    case 0:
    case 1:
    case 2:
        n = below(g, SGIS);
        atomic_fetch_add(&sgi[t][n].sent, 1);
        vgic_sgi1r(v, (uint64_t)n << 24 | 1u << t);
        break;
    case 3:
        n = below(g, SGIS);
        for (uint32_t i = 0; i < CPUS; i++)
            if (i != v->index)
                atomic_fetch_add(&sgi[i][n].sent, 1);
        vgic_sgi1r(v, 1ull << 40 | (uint64_t)n << 24);
        break;
    case 4:
    case 5:
        n = EDGE_FIRST + below(g, EDGES);
        atomic_fetch_add(&edge[n - EDGE_FIRST].sent, 1);
        vgicd_write(v, ISPENDR + n / 32 * 4, 4, 1u << n % 32);
        break;
    case 6:
    case 7:
        d = below(g, LEVELS);
        pthread_mutex_lock(&device[d].lock);
        atomic_fetch_add(&device[d].work, 1);
        vgic_set_spi_level(&vm, LEVEL_FIRST + d, true);
        pthread_mutex_unlock(&device[d].lock);
        break;
    case 8:
        vgicd_write(v, IROUTER + 8 * some_spi(g), 8, below(g, 3) ? t : BIT(31));
        break;
    case 9:
        n = some_spi(g);
        vgicd_write(v, ICENABLER + n / 32 * 4, 4, 1u << n % 32);
        leave(g);
        exits(g);
        vgicd_write(v, ISENABLER + n / 32 * 4, 4, 1u << n % 32);
        break;
    case 10:
        n = below(g, SGIS);
        if (below(g, 2))
            vgicr_write(v, t * VIRT_GICR_STRIDE + 0x10000 + IPRIORITYR + n, 1, below(g, 31) * 8);
        else
            vgicd_write(v, IPRIORITYR + some_spi(g), 1, below(g, 31) * 8);
        vgicr_write(v, t * VIRT_GICR_STRIDE + 0x10000 + ICENABLER, 4, 1u << n);
        leave(g);
        exits(g);
        vgicr_write(v, t * VIRT_GICR_STRIDE + 0x10000 + ISENABLER, 4, 1u << n);
        break;
    case 11:
        if (below(g, 8)) {
            vgicd_read(v, ISPENDR + 4 * below(g, 4), 4);
            vgicr_read(v, t * VIRT_GICR_STRIDE + 0x10000 + 0x300, 4);
            break;
        }
        atomic_store(&v->power, VCPU_OFF);
        vgic_cpu_off(v);
        sched_yield();
        atomic_store(&v->power, VCPU_ON);
        vgic_cpu_hw_init(v);
        cpu_interface_on(g);
        break;
    }
    leave(g);
}

static bool all_arrived(void)
{
    for (uint32_t i = 0; i < CPUS; i++)
        for (uint32_t n = 0; n < SGIS; n++)
            if (atomic_load(&sgi[i][n].seen) != atomic_load(&sgi[i][n].sent))
                return false;
    for (uint32_t n = 0; n < EDGES; n++)
        if (atomic_load(&edge[n].seen) != atomic_load(&edge[n].sent))
            return false;
    for (uint32_t d = 0; d < LEVELS; d++)
        if (atomic_load(&device[d].work))
            return false;
    return true;
}

static void *run(void *arg)
{
    struct guest *g = arg;
    time_t limit;

    this_core_ptr = g->v->core;
    fake_gich = &g->gich;
    vgic_cpu_hw_init(g->v);
    cpu_interface_on(g);
    for (uint32_t burst = 0; burst < BURSTS; burst++) {
        for (uint32_t op = 0; op < OPS; op++) {
            trap(g);
            for (uint32_t i = below(g, 3); i--;)
                interrupts(g);
        }
        atomic_fetch_add(&finished, 1);
        limit = time(NULL) + SECONDS;
        while (atomic_load(&finished) < CPUS * (2 * burst + 1) || !all_arrived()) {
            CHECK(time(NULL) < limit);
            interrupts(g);
            sched_yield();
        }
        atomic_fetch_add(&finished, 1);
        while (atomic_load(&finished) < CPUS * (2 * burst + 2)) { /* the others still look */
            interrupts(g);
            sched_yield();
        }
    }
    return NULL;
}

static void test_cores_interrupt_one_another(void **state)
{
    static struct guest guests[CPUS];
    pthread_t threads[CPUS];
    uint64_t taken = 0;

    (void)state;
    vm.vcpus = cpus;
    vm.vcpu_count = CPUS;
    vgic_dist_reset(&vm);
    for (uint32_t d = 0; d < LEVELS; d++)
        pthread_mutex_init(&device[d].lock, NULL);
    for (uint32_t i = 0; i < CPUS; i++) {
        test_cores[i].id = i;
        test_cores[i].vcpu = &cpus[i];
        cpus[i].vm = &vm;
        cpus[i].index = i;
        cpus[i].core = &test_cores[i];
        cpus[i].power = VCPU_ON;
        vgic_cpu_reset(&cpus[i]);
        guests[i].v = &cpus[i];
        guests[i].seed = 0x9e3779b97f4a7c15ull * (i + 1);
        guests[i].gich.lrs = 2 + i;
        guests[i].gich.tds = true;
    }
    this_core_ptr = &test_cores[0];
    vgicd_write(&cpus[0], 0, 4, 3);
    for (uint32_t n = EDGE_FIRST; n < EDGE_FIRST + EDGES; n++) {
        vgicd_write(&cpus[0], 0xc00 + n / 16 * 4, 4, 0xaaaaaaaa);
        vgicd_write(&cpus[0], ISENABLER + n / 32 * 4, 4, 1u << n % 32);
        vgicd_write(&cpus[0], IPRIORITYR + n, 1, 0x80);
    }
    for (uint32_t n = LEVEL_FIRST; n < LEVEL_FIRST + LEVELS; n++) {
        vgicd_write(&cpus[0], 0xc00 + n / 16 * 4, 4, 0);
        vgicd_write(&cpus[0], ISENABLER + n / 32 * 4, 4, 1u << n % 32);
        vgicd_write(&cpus[0], IPRIORITYR + n, 1, 0x80);
    }
    for (uint32_t i = 0; i < CPUS; i++)
        vgicr_write(&cpus[0], i * VIRT_GICR_STRIDE + 0x10000 + ISENABLER, 4, 0xf);
    for (uint32_t i = 0; i < CPUS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &guests[i]), 0);
    for (uint32_t i = 0; i < CPUS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(all_arrived());
    for (uint32_t i = 0; i < CPUS; i++)
        for (uint32_t n = 0; n < SGIS; n++)
            taken += atomic_load(&sgi[i][n].taken);
    assert_true(taken > BURSTS * OPS / 10); /* and it was about something */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cores_interrupt_one_another)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
