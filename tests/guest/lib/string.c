/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/guest.h"

/* Without the attribute the compiler would turn the loops into calls of themselves. */
#define NOT_A_LIBRARY_CALL __attribute__((optimize("no-tree-loop-distribute-patterns")))

#ifdef __clang__
#undef NOT_A_LIBRARY_CALL
#define NOT_A_LIBRARY_CALL __attribute__((no_builtin))
#endif

NOT_A_LIBRARY_CALL void *memset(void *to, int value, size_t size)
{
    for (char *p = to; size--;)
        *p++ = (char)value;
    return to;
}

NOT_A_LIBRARY_CALL void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    const char *f = from;
    for (char *p = to; size--;)
        *p++ = *f++;
    return to;
}
