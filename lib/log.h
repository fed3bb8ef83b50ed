/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2's own lines on the physical UART, each beginning with "[mw] ". Nothing a guest does in a loop may print here: what
 * a guest can cause is counted, or said once at its end. `log_quiet` silences all but a panic.
 */
#pragma once

#include <stdarg.h>

#include "lib/types.h"

/*
 * Where lines go: installed once by the boot core when it has found the UART. Each comes with its newline and without its
 * mark. `panic_line` waits for nobody, and writes at once.
 */
struct log_sink {
    void (*line)(const char *s, size_t n);
    void (*panic_line)(const char *s, size_t n);
};

extern bool log_quiet;

void log_set_sink(const struct log_sink *sink);

/* One line; the newline is added. Knows %s %c %d %u %x %lu %lx %ld %p %%, a width and a leading 0. */
void log_line(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The same for panic() alone: takes no lock, and is not silenced. */
void log_panic_line(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The same into `buf` of `size` bytes, always terminated. Returns the length written. */
size_t format(char *buf, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);
size_t vformat(char *buf, size_t size, const char *fmt, va_list ap);

/* This core has nothing to do, ever again. */
NORETURN void core_park(void);

/* How the machine ends: handed down at start. Neither returns. */
void panic_set_reset(void (*reset)(void));

/* A broken invariant: dump the core to the console and the report, then reset the machine. */
NORETURN void panic(const char *fmt, ...) PRINTF_LIKE(1, 2);
