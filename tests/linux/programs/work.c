/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Work for a Linux guest whose RAM comes and goes.
 *
 *   work mem PAGES TOUCHES [WRITES]   touches pages of its own, all of them in an order that jumps about before it begins again, and
 *                                     looks whether each holds what it wrote there; of a hundred touches so many write
 *   work fetch PAGES TOUCHES          the same, but it runs code that lies in those pages
 *   work pipe PAGES TOUCHES           the kernel does the touching: it copies from the pages to a pipe, and back to others
 *   work cpu ROUNDS                   uses no memory
 *
 * for=MS: as long as that instead, and says how much it did. start=FILE: when all is prepared it makes FILE.PID, and begins when FILE
 * is there.
 *
 * Prints one line: what it did, how long it took in ms, and a sum that depends on all it has read. Exits with 1 if it read a wrong word.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define WORDS (PAGE / 8)

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t *pages;
static uint32_t *version;
static uint64_t count, sum, limit_ms, began;

static const char *start_file;

static uint64_t begin(void)
{
    char mine[256];
    if (start_file) {
        snprintf(mine, sizeof(mine), "%s.%d", start_file, getpid());
        FILE *f = fopen(mine, "w");
        if (f)
            fclose(f);
        while (access(start_file, F_OK) != 0)
            usleep(10000);
    }
    return now_ms();
}

static void die(const char *what, uint64_t page)
{
    printf("work: WRONG %s, page %lu\n", what, page);
    exit(1);
}

static uint64_t word(uint64_t page, unsigned w)
{
    return mix(page * 0x9e3779b97f4a7c15u + version[page] * 8192u + w);
}

static void fill(uint64_t page)
{
    for (unsigned w = 0; w < WORDS; w += 8)
        pages[page * WORDS + w] = word(page, w);
}

static void take(int protection)
{
    pages = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE | protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    version = calloc(count, sizeof(*version));
    if (pages == MAP_FAILED || !version)
        exit(2);
    madvise(pages, count * PAGE, MADV_NOHUGEPAGE);
}

static int over(uint64_t done, uint64_t wanted)
{
    return limit_ms ? (done % 8 == 0 && now_ms() - began >= limit_ms) : done >= wanted;
}

/*
 * Pages by their golden section: none comes again before all others have, so what is short of memory misses it each time, and
 * what is read ahead is of no use.
 */
static uint64_t stride(void)
{
    uint64_t s = (uint64_t)((double)count * 0.6180339887), a, b, t;
    for (;; s++) {
        for (a = s, b = count; b; a = b, b = t)
            t = a % b;
        if (a == 1)
            return s;
    }
}

static uint64_t mem(uint64_t touches, uint64_t writes)
{
    uint64_t rnd = (uint64_t)getpid(), done = 0;
    take(0);
    for (uint64_t p = 0; p < count; p++)
        fill(p);
    uint64_t page = rnd % count;
    const uint64_t step = stride();
    for (began = begin(); !over(done, touches); done++) {
        rnd = mix(rnd + 0x9e3779b97f4a7c15u);
        page = (page + step) % count;
        const unsigned w = (unsigned)(rnd >> 50) / 8 * 8 % WORDS;
        if (pages[page * WORDS + w] != word(page, w))
            die("word", page);
        sum += pages[page * WORDS + w] >> 32;
        if ((rnd >> 32) % 100 < writes) {
            version[page]++;
            fill(page);
        }
    }
    return done;
}

/* Each page: mov w0, #page's number & 0xffff; ret. */
static uint64_t fetch(uint64_t touches)
{
    uint64_t rnd = (uint64_t)getpid(), done = 0;
    take(PROT_EXEC);
    for (uint64_t p = 0; p < count; p++) {
        uint32_t *code = (uint32_t *)(pages + p * WORDS);
        code[0] = 0x52800000u | (uint32_t)(p & 0xffff) << 5;
        code[1] = 0xd65f03c0u;
    }
    __builtin___clear_cache((char *)pages, (char *)(pages + count * WORDS));
    for (began = begin(); !over(done, touches); done++) {
        rnd = mix(rnd + 0x9e3779b97f4a7c15u);
        const uint64_t page = rnd % count;
        const uint32_t got = ((uint32_t(*)(void))(pages + page * WORDS))();
        if (got != (page & 0xffff))
            die("code", page);
        sum += got;
    }
    return done;
}

static uint64_t through_pipe(uint64_t touches)
{
    static uint64_t buffer[WORDS];
    uint64_t rnd = (uint64_t)getpid(), done = 0;
    int ends[2];
    take(0);
    for (uint64_t p = 0; p < count; p++)
        fill(p);
    if (pipe(ends) != 0)
        exit(2);
    for (began = begin(); !over(done, touches); done++) {
        rnd = mix(rnd + 0x9e3779b97f4a7c15u);
        const uint64_t page = rnd % count;
        if (write(ends[1], pages + page * WORDS, PAGE) != PAGE || read(ends[0], buffer, PAGE) != PAGE)
            die("pipe", page);
        for (unsigned w = 0; w < WORDS; w += 8) {
            if (buffer[w] != word(page, w))
                die("copy", page);
            sum += buffer[w] >> 40;
        }
    }
    return done;
}

static uint64_t cpu(uint64_t rounds)
{
    uint64_t rnd = 1, done = 0;
    for (began = begin(); limit_ms ? now_ms() - began < limit_ms : done < rounds; done++) {
        for (unsigned i = 0; i < 100000; i++)
            rnd = mix(rnd + i);
    }
    sum = rnd;
    return done;
}

int main(int argc, char **argv)
{
    uint64_t n[3] = {0}, done;
    for (int i = 2; i < argc && i < 5; i++)
        n[i - 2] = strtoull(argv[i], NULL, 0);
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "for=", 4) == 0)
            limit_ms = strtoull(argv[i] + 4, NULL, 0);
        if (strncmp(argv[i], "start=", 6) == 0)
            start_file = argv[i] + 6;
    }
    count = n[0];
    if (argc > 2 && strcmp(argv[1], "mem") == 0)
        done = mem(n[1], n[2]);
    else if (argc > 2 && strcmp(argv[1], "fetch") == 0)
        done = fetch(n[1]);
    else if (argc > 2 && strcmp(argv[1], "pipe") == 0)
        done = through_pipe(n[1]);
    else if (argc > 2 && strcmp(argv[1], "cpu") == 0)
        done = cpu(n[0]);
    else
        return fprintf(stderr, "work: mem PAGES TOUCHES [WRITES], fetch PAGES TOUCHES, pipe PAGES TOUCHES, cpu ROUNDS; for=MS start=FILE\n"), 2;
    printf("work: %s did %lu in %lu ms, sum %lx\n", argv[1], done, now_ms() - began, sum);
    return 0;
}
