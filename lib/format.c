/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/log.h"
#include "lib/string.h"

struct out {
    char *buf;
    size_t size, length;
};

static void put(struct out *o, char c)
{
    if (o->length + 1 < o->size)
        o->buf[o->length++] = c;
}

static void put_string(struct out *o, const char *s, size_t width)
{
    size_t n = strlen(s);

    for (; width > n; width--)
        put(o, ' ');
    while (*s)
        put(o, *s++);
}

static void put_number(struct out *o, uint64_t v, unsigned base, size_t width, char pad, bool negative)
{
    char digits[24];
    size_t n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    if (negative)
        digits[n++] = '-';
    for (; width > n; width--)
        put(o, pad);
    while (n)
        put(o, digits[--n]);
}

static void put_signed(struct out *o, int64_t v, size_t width, char pad)
{
    put_number(o, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, width, pad, v < 0);
}

size_t vformat(char *buf, size_t size, const char *fmt, va_list ap)
{
    struct out o = {buf, size, 0};

    for (; *fmt; fmt++) {
        char pad = ' ';
        size_t width = 0;
        bool wide = false;

        if (*fmt != '%') {
            put(&o, *fmt);
            continue;
        }
        if (*++fmt == '0')
            pad = *fmt++;
        while (*fmt >= '0' && *fmt <= '9')
            width = width * 10 + (size_t)(*fmt++ - '0');
        if (*fmt == 'l') {
            wide = true;
            fmt++;
        }
        switch (*fmt) {
        case 's':
            put_string(&o, va_arg(ap, const char *), width);
            break;
        case 'c':
            put(&o, (char)va_arg(ap, int));
            break;
        case 'd':
            put_signed(&o, wide ? va_arg(ap, long) : va_arg(ap, int), width, pad);
            break;
        case 'u':
            put_number(&o, wide ? va_arg(ap, unsigned long) : va_arg(ap, unsigned int), 10, width, pad, false);
            break;
        case 'x':
            put_number(&o, wide ? va_arg(ap, unsigned long) : va_arg(ap, unsigned int), 16, width, pad, false);
            break;
        case 'p':
            put_number(&o, (uint64_t)(uintptr_t)va_arg(ap, void *), 16, 16, '0', false);
            break;
        case '\0':
            fmt--;
            break;
        default:
            put(&o, *fmt);
        }
    }
    if (size)
        buf[o.length] = '\0';
    return o.length;
}

size_t format(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    size_t n;

    va_start(ap, fmt);
    n = vformat(buf, size, fmt, ap);
    va_end(ap);
    return n;
}
