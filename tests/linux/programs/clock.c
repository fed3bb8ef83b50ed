/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM's clock as the kernel has it, /dev/ptp0: read each millisecond for so many, it must not go back; then, with the system's own
 * clock at the same moment (PTP_SYS_OFFSET_PRECISE, which wants the counter that goes with the time), a line for each of 20.
 */
#include <fcntl.h>
#include <linux/ptp_clock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define CLOCK_OF(fd) ((~(clockid_t)(fd) << 3) | 3) /* clock_gettime(2), dynamic clocks */

static int64_t ns(const struct ptp_clock_time *t)
{
    return t->sec * 1000000000 + t->nsec;
}

int main(int argc, char **argv)
{
    const int fd = open("/dev/ptp0", O_RDONLY), count = argc > 1 ? atoi(argv[1]) : 1000;
    struct ptp_sys_offset_precise at = {0}, before;
    struct timespec t, last = {0};

    if (fd < 0) {
        perror("clock: /dev/ptp0");
        return 1;
    }
    for (int i = 0; i < count; i++, usleep(1000)) {
        if (clock_gettime(CLOCK_OF(fd), &t)) {
            perror("clock: clock_gettime");
            return 1;
        }
        if (t.tv_sec < last.tv_sec || (t.tv_sec == last.tv_sec && t.tv_nsec < last.tv_nsec))
            printf("clock: WRONG: %ld.%09ld after %ld.%09ld\n", t.tv_sec, t.tv_nsec, last.tv_sec, last.tv_nsec);
        last = t;
    }
    for (int i = 0; i < 20; i++, usleep(20000)) {
        before = at;
        if (ioctl(fd, PTP_SYS_OFFSET_PRECISE, &at)) {
            perror("clock: PTP_SYS_OFFSET_PRECISE");
            return 1;
        }
        printf("clock: it is %ld\n", ns(&at.device));
        fflush(stdout);
        if (!i)
            continue;
        /* The same span on both: the clock gives way by no more than 1 in 8192, and gains when it comes closer. */
        const int64_t ours = ns(&at.device) - ns(&before.device), raw = ns(&at.sys_monoraw) - ns(&before.sys_monoraw);
        if (ours < raw - raw / 4096 - 1000 || ours > raw + 1000000000)
            printf("clock: WRONG: %ld ns in %ld\n", ours, raw);
    }
    return 0;
}
