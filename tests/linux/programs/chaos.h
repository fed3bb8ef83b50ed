/* SPDX-License-Identifier: BSD-2-Clause */
/* What chaos.c and disturb.c share. */
#pragma once

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline void say(const char *format, ...)
{
    char line[512] = "chaos: ";
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line + 7, sizeof(line) - 8, format, args);
    va_end(args);
    strcpy(line + 7 + (n < (int)sizeof(line) - 9 ? n : (int)sizeof(line) - 9), "\n");
    if (write(1, line, strlen(line)) < 0)
        _exit(2);
}

static char who[40]; /* that something is wrong with */

/* Ends its whole group: who waits for this process would wait for ever. */
static inline void wrong(const char *what, uint64_t at)
{
    say("WRONG %s, %" PRIu64 ", %s, errno %d", what, at, who, errno);
    kill(0, SIGKILL);
    _exit(1);
}

#define MUST(condition, what)          \
    do {                               \
        if (!(condition))              \
            wrong(what, __LINE__); \
    } while (0)

static uint64_t random_state;

static inline uint64_t rnd(void)
{
    return mix(random_state += 0x9e3779b97f4a7c15u);
}

static inline uint32_t below(uint32_t n)
{
    return (uint32_t)((rnd() >> 32) * n >> 32);
}

/* NAME=N among the arguments. */
static inline uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise)
{
    const size_t n = strlen(name);
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=')
            return strtoull(argv[i] + n + 1, NULL, 0);
    return otherwise;
}

static inline void sleep_ms(uint32_t ms)
{
    const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* A file of /proc's about it. */
static inline void show(pid_t pid, const char *name)
{
    char path[64], text[1024] = "";
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    const int fd = open(path, O_RDONLY);
    if (fd >= 0) {
        const ssize_t n = read(fd, text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = 0;
        close(fd);
    }
    say("%s: %.400s", path, text);
}
