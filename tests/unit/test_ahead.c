/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/ahead.c */
/* Read-ahead: when its window grows, closes, and is tried again. */
#include "mm/ahead.h"
#include "tests/unit/support.h"

/* A request, and all that it brings ahead, of which so many of a hundred are touched and the rest evicted. */
static void ask(struct ahead *a, uint64_t n, uint64_t touched, struct ahead_counts *c)
{
    uint64_t offset;

    ahead_asked(a, n * 64 * PAGE_SIZE, *c);
    while (ahead_next(a, &offset)) {
        if (a->brought++ * 37 % 100 < touched)
            c->hits++;
        else
            c->missed++;
    }
}

static void read_ahead_pays_or_closes(void **state)
{
    struct ahead_counts c = {0};
    struct ahead a;
    uint64_t offset, brought;

    (void)state;
    ahead_init(&a, 4096, false);
    for (uint64_t i = 0; i < 100; i++)
        ask(&a, i, 90, &c);
    CHECK(a.window == AHEAD_MOST);
    for (uint64_t i = 0; i < 200; i++) /* neither good nor bad: as it is */
        ask(&a, i, 60, &c);
    CHECK(a.window == AHEAD_MOST);
    for (uint64_t i = 0; i < 200 && a.window; i++)
        ask(&a, i, 30, &c);
    CHECK(a.window == 0);
    for (uint64_t i = 0; i < 2000; i++) /* it notices that they are touched again */
        ask(&a, i, 100, &c);
    CHECK(a.window > 0);
    brought = a.brought;
    for (uint64_t i = 0; i < 2000;
         i++) { /* nobody touches them, and nobody evicts them: that says nothing, and has a bound */
        ahead_asked(&a, i * 64 * PAGE_SIZE, c);
        while (ahead_next(&a, &offset))
            a.brought++;
    }
    CHECK(a.window > 0);
    CHECK(a.brought - brought >= 1024 && a.brought - brought < 1024 + AHEAD_MOST);

    /* At random it soon brings next to nothing; in order, much at once. */
    c = (struct ahead_counts){0};
    ahead_init(&a, 4096, false);
    for (uint64_t i = 0; i < 20000; i++)
        ask(&a, i, 40, &c);
    brought = a.brought;
    for (uint64_t i = 0; i < 100000; i++)
        ask(&a, i, 40, &c);
    assert_in_range(a.brought - brought, 1000, 3000);
    brought = a.brought;
    for (uint64_t at = 0; at < 2000 * PAGE_SIZE; at = a.at) {
        ahead_asked(&a, at, c);
        while (ahead_next(&a, &offset)) {
            a.brought++;
            c.hits++;
        }
    }
    CHECK(a.window == AHEAD_MOST && a.brought - brought > 1500);

    ahead_init(&a, 4096, true);
    ahead_asked(&a, 0, (struct ahead_counts){0});
    CHECK(!ahead_next(&a, &offset));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_ahead_pays_or_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
