/* SPDX-License-Identifier: BSD-2-Clause */
/* The C library's, in the place of lib/string.c. */
#pragma once

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
/*
 * A copy of known size gcc expands in place, and ThreadSanitizer does not see it: a page filled while somebody reads it
 * would go unnoticed. Through a pointer it stays a call, which the sanitizer intercepts.
 */
static inline void *fake_memcpy(void *restrict to, const void *restrict from, size_t n)
{
    void *(*volatile call)(void *restrict, const void *restrict, size_t) = memcpy;

    return call(to, from, n);
}

static inline void *fake_memset(void *p, int c, size_t n)
{
    void *(*volatile call)(void *, int, size_t) = memset;

    return call(p, c, n);
}

#define memcpy fake_memcpy
#define memset fake_memset
#endif
