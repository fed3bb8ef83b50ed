/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Work for a Linux guest whose RAM comes and goes.
 *
 *   work mem PAGES TOUCHES [WRITES]   touches pages of its own, all of them in an order that jumps about before it begins again, and
 *                                     looks whether each holds what it wrote there; of a hundred touches so many write
 *   work fetch PAGES TOUCHES          the same, but it runs code that lies in those pages
 *   work pipe PAGES TOUCHES           the kernel does the touching: it copies from the pages to a pipe, and back to others
 *   work cpu ROUNDS                   uses no memory
 *   work read PAGES TOUCHES           it has no memory, but reads pages of the disk /dev/vda, past the kernel's cache
 *   work nap US TOUCHES               it sleeps for so long, again and again
 *   work serve PAGES REQUESTS RATE    answers so many requests a second, by eight threads: each looks at four pages
 *
 * turns=N FILE (mem): N touches with 0 in FILE, twice as many with 1, twice as many with 0 and so on, and says how long those of each took.
 *
 * for=MS: as long as that instead, or until SIGTERM, and says how much it did. latency (mem): says how long touches took. start=FILE: when all is prepared it makes FILE.TID, and begins when FILE
 * is there. seed=N: where it begins, instead of a number of its own.
 *
 * warm=N: it does so many touches or rounds before, and begins anew together with the others, of which each has a warm=: what the kernel
 * needs for the work itself is there by then.
 *
 * With "+" between them several of these are threads of one process, each of which has its own memory, and begin at once.
 *
 * At the end each prints one line: what it did, how long it took in ms, and a sum that depends on all it has read; `serve` also how long requests
 * waited for their answer from when they were due. Latencies are the median, and what 90, 99 and 99.9 % do not exceed, in microseconds.
 * Exits with 1 if it read a wrong word.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define WORDS (PAGE / 8)
#define MAX_TASKS 32u

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* A thread's own. */
static _Thread_local uint64_t *pages;
static _Thread_local uint32_t *version;
static _Thread_local uint64_t count, sum, limit_ms, began, took, seed, warm;
static _Thread_local const char *start_file;
static _Thread_local char *said; /* what is printed when all have ended: a console is work for the kernel, which the others would feel */

static pthread_barrier_t prepared;
static volatile sig_atomic_t told_to_end;

static void end(int signal)
{
    (void)signal;
    told_to_end = 1;
}

static uint64_t begin(void)
{
    char mine[256];
    pthread_barrier_wait(&prepared);
    if (start_file) {
        snprintf(mine, sizeof(mine), "%s.%d", start_file, gettid());
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

static int over(uint64_t *done, uint64_t wanted)
{
    if (warm && *done >= warm) {
        warm = *done = 0;
        began = begin();
    }
    if (limit_ms)
        return !warm && *done % 8 == 0 && (told_to_end || now_ms() - began >= limit_ms);
    return !warm && *done >= wanted;
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

static int by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_latency(const char *kind, uint32_t *us, uint64_t n)
{
    qsort(us, n, sizeof(*us), by_size);
    said += sprintf(said, "work: %s latency %u %u %u %u us\n", kind, us[n / 2], us[n * 9 / 10], us[n * 99 / 100], us[n * 999 / 1000]);
}

/* What takes turns: a host's speed changes from one second to the next, and is the same for both of them so. */
static _Thread_local struct {
    const char *file;
    uint64_t touches, since, ns[2], done[2];
    unsigned now;
} turns;

static void take_turns(uint64_t done)
{
    const uint64_t n = done / turns.touches;
    if (done % turns.touches)
        return;
    if (done) {
        turns.ns[turns.now] += now_ns() - turns.since;
        turns.done[turns.now] += turns.touches;
    }
    turns.now = (n + 1) / 2 % 2;
    FILE *f = fopen(turns.file, "w");
    if (!f || fprintf(f, "%u\n", turns.now) < 0 || fclose(f) != 0) {
        perror(turns.file);
        exit(2);
    }
    turns.since = now_ns();
}

#define LATENCIES (1u << 16)
static _Thread_local int with_latency;

static uint64_t mem(uint64_t touches, uint64_t writes)
{
    uint64_t rnd = seed, done = 0;
    take(0);
    for (uint64_t p = 0; p < count; p++)
        fill(p);
    uint64_t page = rnd % count;
    const uint64_t step = stride();
    uint32_t *us = with_latency ? calloc(LATENCIES, sizeof(*us)) : NULL;
    uint64_t then, now;
    began = begin();
    then = us ? now_ns() : 0;
    for (; !over(&done, touches); done++) {
        if (turns.touches && !warm)
            take_turns(done);
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
        if (us && done < LATENCIES) {
            now = now_ns();
            us[done] = (uint32_t)((now - then) / 1000);
            then = now;
        }
    }
    took = now_ms() - began;
    if (us && done)
        print_latency("mem", us, done < LATENCIES ? done : LATENCIES);
    if (turns.touches) {
        take_turns(done);
        said += sprintf(said, "work: mem turns %lu in %lu us, %lu in %lu us\n", turns.done[0], turns.ns[0] / 1000, turns.done[1], turns.ns[1] / 1000);
    }
    return done;
}

/* Each page: mov w0, #page's number & 0xffff; ret. */
static uint64_t fetch(uint64_t touches)
{
    uint64_t rnd = seed, done = 0;
    take(PROT_EXEC);
    for (uint64_t p = 0; p < count; p++) {
        uint32_t *code = (uint32_t *)(pages + p * WORDS);
        code[0] = 0x52800000u | (uint32_t)(p & 0xffff) << 5;
        code[1] = 0xd65f03c0u;
    }
    __builtin___clear_cache((char *)pages, (char *)(pages + count * WORDS));
    for (began = begin(); !over(&done, touches); done++) {
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
    uint64_t buffer[WORDS];
    uint64_t rnd = seed, done = 0;
    int ends[2];
    take(0);
    for (uint64_t p = 0; p < count; p++)
        fill(p);
    if (pipe(ends) != 0)
        exit(2);
    for (began = begin(); !over(&done, touches); done++) {
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

static uint64_t read_disk(uint64_t touches)
{
    const int disk = open("/dev/vda", O_RDONLY | O_DIRECT);
    uint64_t *buffer = aligned_alloc(PAGE, PAGE);
    uint64_t page = seed % count, done = 0;
    const uint64_t step = stride();
    if (disk < 0 || !buffer)
        exit(2);
    for (began = begin(); !over(&done, touches); done++) {
        page = (page + step) % count;
        if (pread(disk, buffer, PAGE, (off_t)(page * PAGE)) != PAGE)
            die("read", page);
        sum += buffer[0];
    }
    return done;
}

static uint64_t nap(uint64_t us, uint64_t naps)
{
    const struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};
    uint64_t done = 0;
    for (began = begin(); !over(&done, naps); done++)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
    return done;
}

static uint64_t cpu(uint64_t rounds)
{
    uint64_t rnd = 1, done = 0;
    for (began = begin(); !over(&done, rounds); done++) {
        for (unsigned i = 0; i < 100000; i++)
            rnd = mix(rnd + i);
    }
    sum = rnd;
    return done;
}

/* ---- a server: what is asked of it comes at its own pace, whether or not what came before has been answered */

#define SERVERS 8
#define LOOKS 4

static uint32_t *latency; /* us, of each request */

struct server {
    pthread_t thread;
    int requests; /* a pipe of their due times, in ns */
    uint64_t count, sum, *pages;
    uint32_t *version;
};

static void *server(void *arg)
{
    struct server *s = arg;
    struct {
        uint64_t number, due;
    } request;
    pages = s->pages, version = s->version, count = s->count;
    while (read(s->requests, &request, sizeof(request)) == sizeof(request)) {
        for (uint64_t i = 0; i < LOOKS; i++) {
            const uint64_t at = mix(request.number * LOOKS + i), page = at % count;
            const unsigned w = (unsigned)(at >> 50) / 8 * 8 % WORDS;
            if (pages[page * WORDS + w] != word(page, w))
                die("answer", page);
            s->sum += pages[page * WORDS + w] >> 32;
        }
        latency[request.number] = (uint32_t)((now_ns() - request.due) / 1000);
    }
    return NULL;
}

static uint64_t serve(uint64_t requests, uint64_t rate)
{
    struct server s[SERVERS];
    int ends[2];
    take(0);
    latency = calloc(requests, sizeof(*latency));
    if (!requests || !rate || !latency || pipe(ends) != 0)
        exit(2);
    for (uint64_t p = 0; p < count; p++)
        fill(p);
    for (unsigned i = 0; i < SERVERS; i++) {
        s[i] = (struct server){.requests = ends[0], .count = count, .pages = pages, .version = version};
        if (pthread_create(&s[i].thread, NULL, server, &s[i]) != 0)
            exit(2);
    }
    began = begin();
    uint64_t due = now_ns();
    for (uint64_t n = 0; n < requests; n++) {
        const uint64_t request[2] = {n, due};
        const struct timespec t = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        if (write(ends[1], request, sizeof(request)) != sizeof(request))
            exit(2);
        due += mix(n) % (2 * 1000000000u / rate); /* anything up to twice the mean */
    }
    close(ends[1]);
    for (unsigned i = 0; i < SERVERS; i++) {
        pthread_join(s[i].thread, NULL);
        sum += s[i].sum;
    }
    took = now_ms() - began;
    print_latency("serve", latency, requests);
    return requests;
}

/* ---- */

struct task {
    pthread_t thread;
    uint64_t seed;
    int argc;
    char **argv;
    char said[256];
};

static void *work(void *arg)
{
    struct task *t = arg;
    const char *kind = t->argv[0];
    uint64_t n[3] = {0}, done;
    seed = t->seed;
    said = t->said;
    for (int i = 1; i < t->argc; i++) {
        if (strncmp(t->argv[i], "for=", 4) == 0)
            limit_ms = strtoull(t->argv[i] + 4, NULL, 0);
        else if (strncmp(t->argv[i], "warm=", 5) == 0)
            warm = strtoull(t->argv[i] + 5, NULL, 0);
        else if (strcmp(t->argv[i], "latency") == 0)
            with_latency = 1;
        else if (strncmp(t->argv[i], "seed=", 5) == 0)
            seed = strtoull(t->argv[i] + 5, NULL, 0);
        else if (strncmp(t->argv[i], "turns=", 6) == 0 && i + 1 < t->argc) {
            turns.touches = strtoull(t->argv[i] + 6, NULL, 0);
            turns.file = t->argv[++i];
        } else if (strncmp(t->argv[i], "start=", 6) == 0)
            start_file = t->argv[i] + 6;
        else if (i <= 3)
            n[i - 1] = strtoull(t->argv[i], NULL, 0);
    }
    count = n[0];
    if (strcmp(kind, "mem") == 0)
        done = mem(n[1], n[2]);
    else if (strcmp(kind, "fetch") == 0)
        done = fetch(n[1]);
    else if (strcmp(kind, "pipe") == 0)
        done = through_pipe(n[1]);
    else if (strcmp(kind, "read") == 0)
        done = read_disk(n[1]);
    else if (strcmp(kind, "nap") == 0)
        done = nap(n[0], n[1]);
    else if (strcmp(kind, "serve") == 0)
        done = serve(n[1], n[2]);
    else
        done = cpu(n[0]);
    sprintf(said, "work: %s did %lu in %lu ms, sum %lx\n", kind, done, took ? took : now_ms() - began, sum);
    pthread_barrier_wait(&prepared); /* the end of a thread is work for the kernel, too */
    return NULL;
}

static int is_task(const struct task *t)
{
    static const char *const kinds[] = {"mem", "fetch", "pipe", "read", "nap", "serve", "cpu"};
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (t->argc > 1 && strcmp(t->argv[0], kinds[i]) == 0)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct task tasks[MAX_TASKS];
    unsigned count_of_tasks = 0;
    for (int i = 1, first = 1; i <= argc; i++) {
        if (i < argc && strcmp(argv[i], "+") != 0)
            continue;
        tasks[count_of_tasks] = (struct task){.seed = count_of_tasks, .argc = i - first, .argv = argv + first};
        first = i + 1;
        if (!is_task(&tasks[count_of_tasks]) || ++count_of_tasks == MAX_TASKS)
            return fprintf(stderr, "work: mem PAGES TOUCHES [WRITES], fetch PAGES TOUCHES, pipe PAGES TOUCHES, read PAGES TOUCHES, "
                                   "nap US TOUCHES, serve PAGES REQUESTS RATE, cpu ROUNDS; for=MS start=FILE seed=N warm=N turns=N FILE latency; + TASK...\n"), 2;
    }
    signal(SIGTERM, end);
    pthread_barrier_init(&prepared, NULL, count_of_tasks);
    for (unsigned i = 0; i < count_of_tasks; i++) {
        if (pthread_create(&tasks[i].thread, NULL, work, &tasks[i]) != 0)
            return 2;
    }
    for (unsigned i = 0; i < count_of_tasks; i++)
        pthread_join(tasks[i].thread, NULL);
    for (unsigned i = 0; i < count_of_tasks; i++)
        fputs(tasks[i].said, stdout);
    return 0;
}
