/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/log.h"

#define LINE_MAX 160

static const struct log_sink *sink RO_AFTER_INIT;
bool log_quiet RO_AFTER_INIT;

void log_set_sink(const struct log_sink *s)
{
    sink = s;
}

static void emit(const char *fmt, va_list ap)
{
    char line[LINE_MAX];
    size_t n = format(line, sizeof(line), "[mw] ");

    n += vformat(line + n, sizeof(line) - n - 1, fmt, ap);
    line[n++] = '\n';
    sink->put(line, n);
}

void log_line(const char *fmt, ...)
{
    va_list ap;

    if (!sink || log_quiet)
        return;
    va_start(ap, fmt);
    sink->lock();
    emit(fmt, ap);
    sink->unlock();
    va_end(ap);
}

void log_panic_line(const char *fmt, ...)
{
    va_list ap;

    if (!sink)
        return;
    va_start(ap, fmt);
    emit(fmt, ap); /* no lock: whoever holds it may never let go again */
    va_end(ap);
}
