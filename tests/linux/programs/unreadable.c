/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Touches pages that have no content any more, in a Linux guest whose swap disk cannot be read where a page says so.
 *
 *   unreadable        by itself, and by system calls that copy from them or to them
 *   unreadable used   uses as much memory as there is beside that, so that pages are used again which others had
 *
 * Each is to end with SIGBUS, and the system calls with EFAULT as well. Exits with 1 if one does otherwise.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096u
#define MIB (1024u * 1024u)

static sigjmp_buf before;
static volatile sig_atomic_t killed;
static volatile int64_t result; /* what a system call would have returned: it is about to, when the signal comes */

static void on_bus(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    killed = 1;
    result = (int64_t)((ucontext_t *)context)->uc_mcontext.regs[0];
    siglongjmp(before, 1);
}

static char *map(size_t bytes)
{
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return p;
}

/* Each page other than the rest, so that it needs a place of its own. */
static void use(size_t bytes)
{
    static uint64_t random = 1;
    volatile uint64_t *word = (uint64_t *)map(bytes);
    for (size_t i = 0; i < bytes / 8; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        word[i] = random ^ random >> 29;
    }
}

static int pipes[2];

#define WAYS 8u
#define FIRST_CALL 2u

static long touch(unsigned how, char *page)
{
    switch (how) {
    case 0:
        return *(volatile char *)page;
    case 1:
        return *(volatile char *)(page + 8) = 1;
    case FIRST_CALL:
        return write(pipes[1], page, PAGE); /* words first, and bytes when those fail */
    case 3:
        return write(pipes[1], page + 16, 8);
    case 4:
        return write(pipes[1], page + 3, 1);
    case 5:
        return open(page, O_RDONLY);
    case 6:
        return read(pipes[0], page + 64, 64);
    default:
        return chdir(page + 5);
    }
}

static const char *const called[WAYS] = {"load", "store", "write", "write 8", "write 1", "open", "read", "chdir"};

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    static unsigned right;
    char *bad;

    if (argc > 1 && strcmp(argv[1], "used") == 0) {
        use(64 * MIB);
        printf("unreadable: 64 MiB used\n");
        return 0;
    }
    sigaction(SIGBUS, &action, NULL);
    bad = map(WAYS * PAGE);
    madvise(bad, WAYS * PAGE, MADV_NOHUGEPAGE);
    for (unsigned n = 0; n < WAYS; n++)
        for (unsigned i = 0; i < PAGE; i += 32)
            snprintf(bad + n * PAGE + i, 32, "%s to be read: %u, %u", "not", n, i); /* which its own text is */
    if (pipe(pipes) || write(pipes[1], called, 64) != 64)
        return perror("pipe"), 1;
    use(96 * MIB);
    for (volatile unsigned how = 0; how < WAYS; how++) {
        killed = 0;
        if (!sigsetjmp(before, 1))
            result = touch(how, bad + how * PAGE);
        printf("unreadable: %s: %s, %ld\n", called[how], killed ? "SIGBUS" : "no signal", (long)result);
        right += killed && (how < FIRST_CALL || result == -EFAULT);
    }
    printf("unreadable: %s of %u as they should\n", right == WAYS ? "all" : "not all", WAYS);
    return right != WAYS;
}
