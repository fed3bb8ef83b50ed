/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What asynchronous page faults are worth in this guest: apf MIB. Four tasks touch so much memory, a power of 2, which is to be more than
 * the guest may hold; a fifth one computes. They do so again and again, with the module's parameter off and on by turns.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PARAMETER "/sys/module/meanwhile/parameters/apf"
#define PAGE 4096u
#define TOUCHERS 4u
#define TURNS 6u /* of each kind */
#define TURN_MS 250u

static unsigned char *memory;
static uint64_t pages;
static atomic_ulong touched, computed;
static atomic_bool running;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t *page(uint64_t n)
{
    return (uint64_t *)(memory + n * PAGE);
}

/* All of the pages before one comes again, in an order that nobody foresees: each step has an inverse, for powers of 2. */
static uint64_t place(uint64_t i)
{
    i %= pages;
    i = (i ^ i >> 5) * 0x9e3779b97f4a7c15u % pages;
    return (i ^ i >> 7) * 0xbf58476d1ce4e5b9u % pages;
}

static void *touch(void *unused)
{
    while (running) {
        const uint64_t n = place(touched++);
        if (*page(n) != mix(n + 1)) {
            printf("apf: WRONG content of page %lu\n", n);
            exit(1);
        }
    }
    return unused;
}

static void *compute(void *unused)
{
    uint64_t x = (uintptr_t)unused;
    for (; running; computed++) {
        for (unsigned i = 0; i < 10000; i++)
            x = mix(x + i);
    }
    return (void *)x;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct result {
    double seconds, touched, computed;
};

/* Lets them run for a while, those that touch only if they are to, and adds up what they did. */
static void turn(struct result *r, unsigned touchers)
{
    pthread_t threads[TOUCHERS + 1];
    const double began = seconds();
    const uint64_t from = touched;
    computed = 0;
    running = 1;
    for (unsigned i = 0; i <= touchers; i++) {
        if (pthread_create(&threads[i], NULL, i < touchers ? touch : compute, NULL) != 0)
            exit(2);
    }
    usleep(1000 * TURN_MS);
    r->seconds += seconds() - began;
    r->touched += (double)(touched - from);
    r->computed += (double)computed;
    running = 0;
    for (unsigned i = 0; i <= touchers; i++)
        pthread_join(threads[i], NULL);
}

static void set_parameter(int on)
{
    FILE *f = fopen(PARAMETER, "w");
    if (!f || fputs(on ? "Y" : "N", f) < 0 || fclose(f) != 0) {
        perror("apf: " PARAMETER);
        exit(1);
    }
}

static void show(const char *how, const struct result *r, const struct result *alone)
{
    printf("apf: %s %6.0f pages a second; the fifth does %3.0f %% of what it does alone\n", how,
           r->touched / r->seconds, 100 * r->computed / r->seconds / (alone->computed / alone->seconds));
}

int main(int argc, char **argv)
{
    struct result alone = {0}, r[2] = {0};
    const uint64_t mib = argc == 2 ? strtoull(argv[1], NULL, 0) : 0;
    pages = mib << 8;
    memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!mib || (mib & (mib - 1)) || memory == MAP_FAILED)
        return fprintf(stderr, "apf: apf MIB, which is a power of 2 and fits into memory\n"), 2;
    madvise(memory, mib << 20, MADV_NOHUGEPAGE);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("apf: four tasks touch %lu MiB, more than this guest may have in RAM at once, and a fifth one computes\n",
           mib);
    for (uint64_t n = 0; n < pages; n++)
        *page(n) = mix(n + 1);
    for (unsigned i = 0; i < TURNS; i++) {
        turn(&alone, 0);
        for (int on = 0; on < 2; on++) {
            set_parameter(on);
            turn(&r[on], TOUCHERS);
        }
    }
    show("off, the vCPU waits for each page:", &r[0], &alone);
    show("on, another task runs meanwhile:  ", &r[1], &alone);
    printf("apf: on makes %.2f times the pages and %.2f times the computing\n",
           r[1].touched / r[1].seconds / (r[0].touched / r[0].seconds),
           r[1].computed / r[1].seconds / (r[0].computed / r[0].seconds));
    return 0;
}
