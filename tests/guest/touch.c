/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RAM populated on demand, seen from inside: the image's own 16 MiB payload reads as it was built, all other RAM as
 * zero, in whatever order and grain it is touched; and nothing written by two CPUs into the same pages is lost while
 * the rest of their blocks is completed behind their backs. The two checksums are a function of the machine's memory
 * map alone: they are the same with and without a helper core.
 */
#include "tests/guest/lib/guest.h"

#define PAYLOAD_WORDS 2097152UL
#define WEYL 0x9e3779b97f4a7c15UL
#define WORDS (PAGE / 8)

/* Word i of the payload is (i + 1) * WEYL modulo 2^64. */
extern const uint64_t payload[];
__asm__(".pushsection .payload, \"a\"\n"
        ".balign 4096\n"
        ".globl payload\n"
        "payload:\n"
        ".set word, 0\n"
        ".rept 2097152\n"
        ".set word, word + 0x9e3779b97f4a7c15\n"
        ".quad word\n"
        ".endr\n"
        ".popsection\n");

static uint64_t checksum;

static void add(uint64_t position, uint64_t word)
{
    checksum = (checksum << 7 | checksum >> 57) ^ word;
    checksum += position * WEYL;
}

static bool payload_page(const uint64_t *page)
{
    for (unsigned i = 0; i < WORDS; i++) {
        const uint64_t index = (uint64_t)(page + i - payload);
        if (page[i] != (index + 1) * WEYL) {
            fail("payload", "word %lu is %lx", index, page[i]);
            return false;
        }
        add(index, page[i]);
    }
    return true;
}

static bool payload_pages(uint64_t step)
{
    for (uint64_t p = 0; p < PAYLOAD_WORDS * 8; p += step) {
        if (!payload_page(payload + p / 8))
            return false;
    }
    return true;
}

/* What a page holds once it has been touched sparsely: one word, at a place of its own. */
static volatile uint64_t *sparse_word(uint64_t page)
{
    return (volatile uint64_t *)(page + page / PAGE % WORDS * 8);
}

static bool zero_page(uint64_t page, uint64_t except_value)
{
    const volatile uint64_t *const words = (const volatile uint64_t *)page;
    const uint64_t except = page / PAGE % WORDS;
    for (unsigned i = 0; i < WORDS; i++) {
        const uint64_t wanted = i == except ? except_value : 0;
        if (words[i] != wanted) {
            fail("RAM", "%lx is %lx instead of %lx", page + i * 8, words[i], wanted);
            return false;
        }
    }
    add(page, words[except]);
    return true;
}

/* One page of each 2 MiB, at a place that differs from block to block; 0 if the guest itself lies there. */
static uint64_t sparse_page(uint64_t block)
{
    const uint64_t page = block + block / BLOCK * 37 % (BLOCK / PAGE) * PAGE;
    return ram_is_free(page) ? page : 0;
}

static void sparse(struct range ram)
{
    bool right = true;
    for (uint64_t block = ram.base; block < ram.end && right; block += BLOCK) {
        const uint64_t page = sparse_page(block);
        if (!page)
            continue;
        right = zero_page(page, 0);
        *sparse_word(page) = page ^ WEYL;
    }
    if (right)
        pass("one page of every 2 MiB is zero");
}

static void dense(struct range ram)
{
    bool right = true;
    for (uint64_t page = ram.base; page < ram.end && right; page += PAGE) {
        if (!ram_is_free(page))
            continue;
        const bool touched = page == sparse_page(page & ~(BLOCK - 1));
        right = zero_page(page, touched ? page ^ WEYL : 0);
        *sparse_word(page) = 0;
    }
    if (right)
        pass("every page is as it was left");
}

/*
 * ---- two CPUs, each its own words of every page, in opposite directions ----
 * CPU c owns words c, c + 2, ... of the first line, so that both write to the same line too.
 */
struct writer {
    struct range ram;
    unsigned cpu, rounds;
    volatile bool finished, right;
};

static struct writer writers[2];

static uint64_t pattern(uint64_t page, unsigned cpu, unsigned round)
{
    return (page + cpu * 8 + 1) * WEYL + round;
}

static void write_and_verify(void *arg)
{
    struct writer *const w = arg;
    const uint64_t pages = (w->ram.end - w->ram.base) / PAGE;
    w->right = true;
    for (unsigned round = 0; round < w->rounds && w->right; round++) {
        for (uint64_t i = 0; i < pages && w->right; i++) {
            const uint64_t page = w->ram.base + (w->cpu ? pages - 1 - i : i) * PAGE;
            volatile uint64_t *const words = (volatile uint64_t *)page;
            for (unsigned k = w->cpu; k < 8; k += 2) {
                const uint64_t wanted = round ? pattern(page, k, round - 1) : 0;
                if (words[k] != wanted)
                    w->right = false;
                words[k] = pattern(page, k, round);
            }
        }
    }
    dsb();
    w->finished = true;
}

static void both_cpus(struct range ram, const char *name)
{
    const unsigned rounds = 3;
    for (unsigned cpu = 0; cpu < 2; cpu++)
        writers[cpu] = (struct writer){.ram = ram, .cpu = cpu, .rounds = rounds};
    const int64_t on = cpu_on(1, write_and_verify, &writers[1]);
    if (on != 0) {
        fail(name, "CPU_ON returned %ld", on);
        return;
    }
    write_and_verify(&writers[0]);
    bool right = WAIT_FOR(writers[1].finished, 20000) && writers[0].right && writers[1].right;
    for (uint64_t page = ram.base; page < ram.end && right; page += PAGE) {
        const volatile uint64_t *const words = (const volatile uint64_t *)page;
        for (unsigned k = 0; k < 8; k++)
            right = right && words[k] == pattern(page, k, rounds - 1);
        for (unsigned k = 8; k < WORDS; k++)
            right = right && words[k] == 0;
        if (!right)
            fail(name, "page %lx", page);
    }
    if (right)
        pass(name);
    else
        check(writers[0].right && writers[1].right, name, "a CPU read what it had not written: %u, %u",
              writers[0].right, writers[1].right);
    (void)cpu_wait_off(1, 1000);
}

static void wait_for_sweep(unsigned ms)
{
    gic_enable(PPI_VTIMER);
    (void)SLEEP_UNTIL(false, ms);
}

void guest_main(void)
{
    const struct range ram = ram_range();
    struct range spare = free_ram();
    gic_init();
    mmu_on();

    /* A quarter of the free RAM is kept for two CPUs to touch first. */
    const bool two = cpu_exists(1);
    const uint64_t kept = two ? ((spare.end - spare.base) / 4) & ~(BLOCK - 1) : 0;
    const struct range first = {ram.base, spare.end - kept};
    const struct range shared = {spare.end - kept, spare.end};

    if (payload_pages(BLOCK))
        pass("one page of every 2 MiB of the payload");
    sparse(first);
    say("touch: first checksum %lx\n", checksum);
    wait_for_sweep((unsigned)boot_argument("wait-ms", 50));

    if (payload_pages(PAGE))
        pass("every page of the payload");
    dense(first);
    if (two) {
        both_cpus(shared, "two CPUs in fresh pages");
        for (uint64_t page = shared.base; page < shared.end; page += PAGE)
            memset((void *)page, 0, 64);
        both_cpus(shared, "two CPUs in the same pages again");
    }
    wait_for_sweep((unsigned)boot_argument("wait-ms", 50));
    if (payload_pages(PAGE))
        pass("the payload is still there");
    say("touch: checksum %lx\n", checksum);
}
