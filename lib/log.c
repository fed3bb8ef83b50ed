/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/log.h"

#define LINE_MAX 160

static const struct log_sink *sink RO_AFTER_INIT;
bool log_quiet RO_AFTER_INIT;

void log_set_sink(const struct log_sink *s)
{
    sink = s;
}

static size_t make_line(char line[static LINE_MAX], const char *fmt, va_list ap)
{
    size_t n = vformat(line, LINE_MAX - 1, fmt, ap);

    line[n++] = '\n';
    return n;
}

void log_line(const char *fmt, ...)
{
    char line[LINE_MAX];
    va_list ap;

    if (!sink || log_quiet)
        return;
    va_start(ap, fmt);
    sink->line(line, make_line(line, fmt, ap));
    va_end(ap);
}

void log_panic_line(const char *fmt, ...)
{
    char line[LINE_MAX];
    va_list ap;

    if (!sink)
        return;
    va_start(ap, fmt);
    sink->panic_line(line, make_line(line, fmt, ap));
    va_end(ap);
}
