/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/string.h"

#include <stdbool.h>
#include <stdint.h>

#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns") /* or memset() becomes a call of memset() */
#endif

/* Both 8-byte aligned: the build is strict about alignment, and bulk copies here are of pages. */
static bool aligned(const void *a, const void *b)
{
    return (((uintptr_t)a | (uintptr_t)b) & 7) == 0;
}

/* Upwards. Each step reads before it writes, and never what an earlier one has written if `to` lies below `from`. */
static void copy_up(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    if (aligned(to, from)) {
        uint64_t *t8 = to;
        const uint64_t *f8 = from;

        for (; n >= 32; n -= 32) {
            uint64_t a = f8[0], b = f8[1], c = f8[2], d = f8[3];

            t8[0] = a, t8[1] = b, t8[2] = c, t8[3] = d;
            t8 += 4, f8 += 4;
        }
        t = (uint8_t *)t8;
        f = (const uint8_t *)f8;
    }
    while (n--)
        *t++ = *f++;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    copy_up(to, from, n);
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    if (t <= f || t >= f + n) {
        copy_up(to, from, n);
        return to;
    }
    while (n--)
        t[n] = f[n];
    return to;
}

void *memset(void *p, int c, size_t n)
{
    uint8_t *b = p;

    if (((uintptr_t)p & 7) == 0) {
        uint64_t *w = p, v = (uint8_t)c * UINT64_C(0x0101010101010101);

        for (; n >= 8; n -= 8)
            *w++ = v;
        b = (uint8_t *)w;
    }
    while (n--)
        *b++ = (uint8_t)c;
    return p;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;

    for (; n; n--, x++, y++) {
        if (*x != *y)
            return *x - *y;
    }
    return 0;
}

void *memchr(const void *p, int c, size_t n)
{
    const uint8_t *b = p;

    for (; n; n--, b++) {
        if (*b == (uint8_t)c)
            return (void *)(uintptr_t)b;
    }
    return NULL;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n])
        n++;
    return n;
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;

    while (n < max && s[n])
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n; n--, a++, b++) {
        if (*a != *b || !*a)
            return (uint8_t)*a - (uint8_t)*b;
    }
    return 0;
}

char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)(uintptr_t)s;
        if (!*s)
            return NULL;
    }
}

char *strrchr(const char *s, int c)
{
    char *found = NULL;

    for (;; s++) {
        if (*s == (char)c)
            found = (char *)(uintptr_t)s;
        if (!*s)
            return found;
    }
}

static unsigned digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a' + 10);
    return 99;
}

/* libfdt reads a unit address with it; signs and overflow do not occur there. */
unsigned long strtoul(const char *s, char **end, int base)
{
    unsigned long v = 0;
    unsigned b = base ? (unsigned)base : 10;

    if ((b == 16 || base == 0) && s[0] == '0' && s[1] == 'x') {
        s += 2;
        b = 16;
    }
    while (digit(*s) < b)
        v = v * b + digit(*s++);
    if (end)
        *end = (char *)(uintptr_t)s;
    return v;
}
