/* SPDX-License-Identifier: BSD-2-Clause */
#include "support.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dev/disk.h"
#include "dev/gic.h"

#define WAIT_SECONDS 60

uint64_t seed(uint64_t otherwise)
{
    const char *text = getenv("MW_SEED");
    uint64_t n = text ? strtoull(text, NULL, 0) : otherwise;

    printf("MW_SEED=%llu\n", (unsigned long long)n);
    return n;
}

/* splitmix64 */
uint64_t random64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

bool panics(void (*act)(void))
{
    pid_t child;
    int status;

    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int quiet = open("/dev/null", O_WRONLY);

        dup2(quiet, 1);
        dup2(quiet, 2);
        act();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static uint8_t *arena;
static uint64_t arena_bytes;

uint8_t *arena_make(uint64_t blocks)
{
    uint64_t bytes = blocks * BLOCK_SIZE;
    uint8_t *all = mmap(NULL, bytes + BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *start;

    CHECK(all != MAP_FAILED && !arena);
    start = (uint8_t *)align_up((uint64_t)(uintptr_t)all, BLOCK_SIZE);
    if (start > all)
        munmap(all, (size_t)(start - all));
    if (start + bytes < all + bytes + BLOCK_SIZE)
        munmap(start + bytes, (size_t)(all + BLOCK_SIZE - start));
#if !defined(__SANITIZE_THREAD__) /* whose shadow of it would take several times the memory */
    memset(start, ARENA_POISON, bytes);
#endif
    arena = start;
    arena_bytes = bytes;
    return start;
}

void arena_drop(void)
{
    munmap(arena, arena_bytes);
    arena = NULL;
}

static _Atomic uint32_t sgi_pending[MAX_CORES];
static _Atomic uint64_t sgis[MAX_CORES];
_Atomic bool machine_off;
void (*gic_sgi_hook)(uint32_t core);

void cores_make(uint32_t n)
{
    CHECK(n <= MAX_CORES);
    memset(cores, 0, sizeof(cores));
    for (uint32_t i = 0; i < MAX_CORES; i++) {
        cores[i].id = i;
        atomic_store(&sgi_pending[i], 0);
        atomic_store(&sgis[i], 0);
    }
    core_count = n;
    atomic_store(&machine_off, false);
    gic_sgi_hook = NULL;
    fake_arch_hook = NULL;
    fake_at_s1e1r = NULL;
    fake_wfi = core_wait;
    core_enter(0);
}

uint32_t core_enter(uint32_t id)
{
    uint32_t was = this_core_ptr ? this_core_ptr->id : 0;

    this_core_ptr = &cores[id];
    return was;
}

uint64_t sgi_count(uint32_t core)
{
    return atomic_load(&sgis[core]);
}

bool sgi_take(uint32_t core)
{
    return atomic_exchange(&sgi_pending[core], 0) != 0;
}

/* An SGI orders nothing by itself, so neither does this: a futex, which ThreadSanitizer does not take for a lock. */
void core_wait(void)
{
    _Atomic uint32_t *pending = &sgi_pending[this_core()->id];
    struct timespec second = {.tv_sec = 1};

    for (int i = 0; !atomic_load_explicit(pending, memory_order_relaxed); i++) {
        CHECK(i < WAIT_SECONDS && "a wake-up was lost");
        syscall(SYS_futex, pending, FUTEX_WAIT_PRIVATE, 0, &second, NULL, 0);
    }
}

void gic_sgi(const struct core *target, uint32_t sgi)
{
    CHECK(target && target->id < core_count && sgi == SGI_KICK);
    atomic_fetch_add_explicit(&sgis[target->id], 1, memory_order_relaxed);
    atomic_store_explicit(&sgi_pending[target->id], 1, memory_order_relaxed);
    syscall(SYS_futex, &sgi_pending[target->id], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    if (gic_sgi_hook)
        gic_sgi_hook(target->id);
}

void gic_sgi_cores(uint64_t which, uint32_t sgi)
{
    for (; which; which &= which - 1)
        gic_sgi(&cores[__builtin_ctzll(which)], sgi);
}

uint32_t gic_ack(void)
{
    if (!atomic_exchange_explicit(&sgi_pending[this_core()->id], 0, memory_order_relaxed))
        return GIC_SPURIOUS;
    if (this_core()->role == CORE_HELPER && atomic_load(&machine_off))
        pthread_exit(NULL);
    return SGI_KICK;
}

void gic_eoi(uint32_t intid)
{
    CHECK(intid == SGI_KICK);
}

void gic_deactivate(uint32_t intid)
{
    CHECK(intid == SGI_KICK);
}

/* Most of the tests' machines have no disk, and nothing to say. */
__attribute__((weak)) bool disk_begin(struct disk *d, enum disk_op op, uint64_t sector, void *data, uint32_t bytes,
                                      uint32_t tag)
{
    (void)d, (void)op, (void)sector, (void)data, (void)bytes, (void)tag;
    CHECK(!"there is no disk");
    return false;
}

__attribute__((weak)) void log_line(const char *fmt, ...)
{
    (void)fmt;
}

static uint8_t *guarded;
static void (*guard_act)(void);

static void on_write(int signal, siginfo_t *info, void *context)
{
    void (*act)(void) = guard_act;

    (void)signal;
    (void)context;
    CHECK(act && (uint64_t)((uint8_t *)info->si_addr - guarded) < PAGE_SIZE);
    guard_act = NULL;
    CHECK(mprotect(guarded, PAGE_SIZE, PROT_READ | PROT_WRITE) == 0);
    act();
}

void before_write(const volatile void *p, void (*act)(void))
{
    struct sigaction sa = {.sa_sigaction = on_write, .sa_flags = SA_SIGINFO};

    guarded = (uint8_t *)align_down((uint64_t)(uintptr_t)p, PAGE_SIZE);
    guard_act = act;
    CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
    CHECK(mprotect(guarded, PAGE_SIZE, PROT_READ) == 0);
}

static uint8_t *image;
static uint64_t image_bytes;

uint8_t image_byte(uint64_t offset)
{
    uint64_t n = offset >> 3;

    return (uint8_t)(random64(&n) >> (8 * (offset & 7)));
}

const uint8_t *image_make(uint64_t size, uint64_t misaligned)
{
    image_bytes = align_up(size + misaligned, PAGE_SIZE);
    image = mmap(NULL, image_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(image != MAP_FAILED);
    memset(image, 0x5a, image_bytes); /* what lies around it is nobody's zeroes */
    for (uint64_t i = 0; i < size; i++)
        image[misaligned + i] = image_byte(i);
    CHECK(mprotect(image, image_bytes, PROT_READ) == 0);
    return image + misaligned;
}

void image_drop(void)
{
    munmap(image, image_bytes);
}

struct world world;

static void helper_make(uint32_t i, uint32_t vcpus)
{
    struct helper *h = &helpers[i];
    uint32_t core = vcpus + i;

    h->core = &cores[core];
    cores[core].role = CORE_HELPER;
    cores[core].helper = h;
    populator_init(&h->pop, core, &report.helper[i]);
    if (!world.s2.paging)
        h->spaces[h->space_count++] = &world.s2;
    else if (i == 0)
        h->paged[h->paged_count++] = world.s2.paging;
}

void world_make(const struct world_config *c)
{
    uint8_t *base = arena_make(c->blocks);
    struct range bank = {(uint64_t)(uintptr_t)base, c->blocks * BLOCK_SIZE};

    CHECK(frames_init(&bank, 1, NULL, 0, NULL));
    cores_make(c->vcpus + c->helpers);
    memset(&world, 0, sizeof(world));
    memset(&report, 0, sizeof(report));
    memset(helpers, 0, sizeof(helpers));
    memset(requests, 0, sizeof(requests));
    helper_count = c->helpers;
    CHECK(s2_init(&world.s2, 1, &world.boot, &report.guest[0]));
    CHECK(s2_set_range(&world.s2, &world.boot, ipa(c->ram_base), c->ram_size, 0));
    world.s2.ram_base = ipa(c->ram_base);
    world.s2.ram_size = c->ram_size;
    world.s2.by_page = c->by_page;
    world.vcpus = c->vcpus;
    if (c->limit)
        paging_init(&world.paging, &world.s2, c->limit, &report.guest[0].paging);
    for (uint32_t i = 0; i < c->helpers; i++)
        helper_make(i, c->vcpus);
    for (uint32_t i = 0; i < c->vcpus; i++) {
        struct helper *h = c->helpers ? &helpers[c->limit ? 0 : i % c->helpers] : NULL;

        cores[i].role = CORE_VCPU;
        cores[i].helper = h;
        port_init(&world.port[i], i, h, &report.vcpu[i]);
        populator_init(&world.inline_populator[i], i, &world.inline_stats[i]);
        world.port[i].inline_populator = &world.inline_populator[i];
        world.port[i].paging = world.s2.paging;
        if (h)
            h->ports[h->port_count++] = &world.port[i];
    }
}

void world_drop(void)
{
    arena_drop();
}

struct s2_entry world_walk(uint64_t at)
{
    struct s2_entry e;

    epoch_enter();
    e = s2_walk(&world.s2, ipa(at));
    epoch_leave();
    return e;
}

uint64_t world_page(uint64_t at)
{
    struct s2_entry e = world_walk(at);
    enum desc_kind kind = desc_kind(e.desc, e.level);
    uint64_t index = (at >> PAGE_SHIFT) & (BIT(9 * (3 - e.level)) - 1); /* among the pages below the entry */

    if (kind == DESC_PRESENT)
        return desc_leaf(pa_add(desc_pa(e.desc), index << PAGE_SHIFT), 3, desc_writable(e.desc));
    if (kind == DESC_ABSENT)
        return desc_absent(desc_small(e.desc), desc_large(e.desc) + index);
    return e.desc;
}

enum s2_fault_result world_fault(uint32_t vcpu, uint64_t at, bool write, bool *queued)
{
    enum s2_fault_result result;
    uint32_t was = core_enter(vcpu);
    uint32_t mmio = 0;

    do {
        result = s2_fault(&world.s2, &world.port[vcpu], ipa(at), write, &mmio, queued);
    } while (result == S2_WAIT && !s2_wait_signal(&world.s2, ipa(at))); /* a vCPU that sleeps at once */
    CHECK(atomic_load(&cores[vcpu].epoch) == 0);
    core_enter(was);
    return result;
}

bool world_step(uint32_t h)
{
    uint32_t was = core_enter(world.vcpus + h);
    bool busy = helper_step(&helpers[h]);

    CHECK(atomic_load(&this_core()->epoch) == 0);
    core_enter(was);
    return busy;
}

void world_settle(void)
{
    bool busy = true;

    for (uint64_t i = 0; busy; i++) {
        CHECK(i < 10000000 && "the helpers never rest");
        busy = false;
        for (uint32_t h = 0; h < helper_count; h++)
            busy = world_step(h) || busy;
    }
}

uint8_t *world_touch(uint32_t vcpu, uint64_t at, bool write)
{
    for (uint64_t i = 0;; i++) {
        bool queued = false;
        enum s2_fault_result result = world_fault(vcpu, at, write, &queued);

        CHECK(i < 100000 && "the page never comes");
        if (result == S2_WAIT) {
            for (uint64_t n = 0; !sgi_take(vcpu); n++) {
                CHECK(n < 1000000 && "nobody signals");
                for (uint32_t h = 0; h < helper_count; h++)
                    world_step(h);
            }
            continue;
        }
        CHECK(result == S2_RESUME);
        uint64_t desc = world_page(at);
        if (desc_kind(desc, 3) == DESC_PRESENT && (!write || desc_writable(desc)))
            return (uint8_t *)pa_ptr(desc_pa(desc)) + (at & (PAGE_SIZE - 1));
    }
}

static void audit_table(const struct s2_entry *e, uint64_t block, struct audit *a, uint64_t *frame)
{
    const _Atomic uint64_t *table = pa_ptr(desc_pa(e->desc));
    uint64_t record = atomic_load(frame_record(desc_pa(e->desc)));
    uint64_t present = 0;

    (void)block;
    for (uint32_t i = 0; i < S2_ENTRIES; i++) {
        uint64_t d = atomic_load(&table[i]);

        CHECK(desc_kind(d, 3) != DESC_IN_FLIGHT && desc_kind(d, 3) != DESC_BUSY);
        if (desc_kind(d, 3) != DESC_PRESENT)
            continue;
        CHECK(record & TABLE_RESERVED);
        CHECK(desc_pa(d).v == (record & TABLE_BLOCK) + i * PAGE_SIZE);
        present++;
    }
    CHECK(field_get(TABLE_PRESENT, record) == present);
    a->present += present;
    *frame = record & TABLE_RESERVED ? record & TABLE_BLOCK : 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

struct audit world_audit(void)
{
    uint64_t end = world.s2.ram_base.v + world.s2.ram_size;
    uint64_t *frames = calloc(world.s2.ram_size / BLOCK_SIZE + 2, sizeof(*frames));
    int64_t touched = atomic_load(&report.guest[0].touched), in_block = atomic_load(&report.guest[0].block);
    struct audit a = {0, 0};
    size_t n = 0;

    CHECK(frames);
    epoch_enter();
    for (uint64_t at = align_down(world.s2.ram_base.v, BLOCK_SIZE); at < end; at += BLOCK_SIZE) {
        struct s2_entry e = s2_walk_block(&world.s2, ipa(at));
        uint64_t frame = 0;

        if (e.level == 2 && desc_kind(e.desc, 2) == DESC_TABLE_REF) {
            audit_table(&e, at, &a, &frame);
        } else if (e.level == 2 && desc_kind(e.desc, 2) == DESC_PRESENT) {
            frame = desc_pa(e.desc).v;
            a.present += BLOCK_PAGES;
            a.block += BLOCK_PAGES;
            uint64_t owner = atomic_load(frame_record(pa(frame)));
            CHECK(owner == (OWNER_VALID | field_put(OWNER_GUEST, world.s2.vmid) | at));
        } else {
            CHECK(desc_kind(e.desc, e.level) != DESC_IN_FLIGHT && desc_kind(e.desc, e.level) != DESC_BUSY);
        }
        if (frame) {
            CHECK(frame % BLOCK_SIZE == 0 && frames_owns_block(pa(frame)));
            frames[n++] = frame;
        }
    }
    epoch_leave();
    qsort(frames, n, sizeof(*frames), compare);
    for (size_t i = 1; i < n; i++)
        CHECK(frames[i] != frames[i - 1]);
    free(frames);
    for (uint32_t i = 0; i < world.vcpus; i++) {
        touched += report.vcpu[i].touched;
        in_block += report.vcpu[i].block;
    }
    CHECK(touched == (int64_t)a.present);
    CHECK(in_block == (int64_t)a.block);
    return a;
}
