/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: dev/pl031.c tests/unit/fake/fake_arch.c */
/* The real-time clock and the counter put together: what is said of the time, against the time that it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dev/mmio.h"
#include "dev/pl031.h"
#include "lib/arch.h"

#define HZ 62500000u
#define SECOND 1000000000u
#define MS 1000000u
#define START (1800000000 * (int64_t)SECOND + 654321987) /* the time of day when the counter begins */

/* The time that it is since START, in nanoseconds, and how much faster than that the counter runs, in ppm. */
static int64_t t;
static int64_t ppm;
static uint32_t set_back; /* seconds that the clock was set back by */
static bool stopped;
static unsigned writes;

uint32_t fake_mmio_read32(pa_t base, uint64_t offset)
{
    assert_int_equal(base.v, 0x9010000);
    if (offset == 0xc)
        return stopped ? 0 : 1;
    assert_int_equal(offset, 0);
    return (uint32_t)((START + t) / SECOND) - set_back;
}

void fake_mmio_write32(pa_t base, uint64_t offset, uint32_t v)
{
    (void)base, (void)offset, (void)v;
    writes++;
}

static uint64_t counter(void)
{
    return (uint64_t)(t + t / 1000000 * ppm) / (SECOND / HZ);
}

static int setup(void **state)
{
    (void)state;
    fake_second = HZ;
    fake_counter = counter;
    t = ppm = set_back = 0;
    pl031_init(pa(0x9010000));
    assert_true(pl031_present());
    return 0;
}

/* How far behind the time it is, after `ns` more. */
static int64_t behind(int64_t ns)
{
    static uint64_t last;
    static int64_t last_t;
    ticks_t at;
    uint64_t now;

    t += ns;
    now = pl031_now(&at);
    assert_int_equal(at.v, counter());
    if (t > last_t && last) /* of one test */
        assert_true(now >= last);
    last = now;
    last_t = t;
    return START + t - (int64_t)now;
}

static void none(void **state)
{
    (void)state;
    assert_false(pl031_present());
    stopped = true;
    pl031_init(pa(0x9010000));
    assert_false(pl031_present());
    stopped = false;
}

/* As exact as the call that came soonest after an edge, by what has drifted since. */
static void edges(void **state)
{
    (void)state;
    assert_int_equal(behind(0), 654321987);
    assert_in_range(behind(100 * MS), 654321987, 654321987 + 100 * MS / 8192 + 1);
    t = SECOND - 654321987 - 1; /* the last moment of the second */
    assert_in_range(behind(0), 654321987, 654321987 + SECOND / 8192);
    assert_in_range(behind(1), 0, 16); /* and its edge, by a tick of the counter */
    for (unsigned i = 0; i < 10000; i++)
        assert_in_range(behind(7 * MS), 0, 7 * MS + SECOND / 8192);
    /* Nobody asks for a day: never more than what the clock itself says. */
    assert_in_range(behind(86400 * (int64_t)SECOND), 0, SECOND);
    assert_in_range(behind(MS), 0, SECOND);
}

/* Never ahead, whoever of the two runs faster; and not behind by more than a call in time makes it. */
static void drift(void **state)
{
    (void)state;
    for (int64_t d = -100; d <= 100; d += 50) {
        setup(NULL);
        ppm = d;
        for (unsigned i = 0; i < 500000; i++) {
            int64_t b = behind(17 * MS);

            assert_in_range(b + 16, 0, i < 60 ? SECOND : 17 * MS + 2 * SECOND / 4096);
        }
    }
}

static void set(void **state)
{
    ticks_t at;
    uint64_t now, before;

    (void)state;
    behind(SECOND);
    set_back = (uint32_t)-3600; /* forward: at once */
    assert_in_range(behind(MS) + 3600 * (int64_t)SECOND, 0, SECOND);
    set_back = 0; /* back: by and by */
    before = pl031_now(&at);
    for (unsigned i = 0; i < 10000; i++) {
        t += SECOND;
        now = pl031_now(&at);
        assert_in_range(now - before, SECOND - SECOND / 8192 - 16, SECOND - SECOND / 8192 + 16);
        before = now;
    }
    assert_int_equal(writes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none),
        cmocka_unit_test_setup(edges, setup),
        cmocka_unit_test_setup(drift, setup),
        cmocka_unit_test_setup(set, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
