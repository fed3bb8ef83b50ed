/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: */
/* The ring between two threads: everything arrives, once, in order, with what was written before it was pushed. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/ring.h"

#define ENTRIES 300000u

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition); \
            abort();                                                              \
        }                                                                         \
    } while (0)

static struct ring ring;
static uint64_t payload[2 * RING_SIZE]; /* plain memory, handed over and back by the ring alone */

static void *produce(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < ENTRIES;) {
        if (ring_count(&ring) == RING_SIZE) {
            sched_yield();
            continue;
        }
        payload[i % RING_SIZE] = i * 3;
        CHECK(ring_push(&ring, i)); /* what the producer was told of the room stays true */
        i++;
    }
    return NULL;
}

static void *consume(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < ENTRIES;) {
        uint64_t v;

        if (!ring_count(&ring)) {
            CHECK(!ring_pop(&ring, &v) || v == i++);
            sched_yield();
            continue;
        }
        CHECK(payload[i % RING_SIZE] == i * 3);
        payload[i % RING_SIZE] = 0;
        CHECK(ring_pop(&ring, &v));
        CHECK(v == i);
        i++;
    }
    return NULL;
}

static void between_threads(void **state)
{
    /* The counters wrap on the way. */
    static const uint32_t from[] = {0, UINT32_MAX - 1000};

    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(from); n++) {
        pthread_t thread[2];

        atomic_store(&ring.head, from[n]);
        atomic_store(&ring.tail, from[n]);
        assert_int_equal(pthread_create(&thread[0], NULL, produce, NULL), 0);
        assert_int_equal(pthread_create(&thread[1], NULL, consume, NULL), 0);
        pthread_join(thread[0], NULL);
        pthread_join(thread[1], NULL);
        assert_int_equal(ring_count(&ring), 0);
    }
}

static void full_and_empty(void **state)
{
    uint64_t v = 7;

    (void)state;
    for (uint32_t from = UINT32_MAX - 40; from != 40; from++) {
        atomic_store(&ring.head, from);
        atomic_store(&ring.tail, from);
        assert_false(ring_pop(&ring, &v));
        for (uint64_t i = 0; i < RING_SIZE; i++) {
            assert_int_equal(ring_count(&ring), i);
            assert_true(ring_push(&ring, i + from));
        }
        assert_false(ring_push(&ring, 99));
        for (uint64_t i = 0; i < RING_SIZE; i++) {
            assert_true(ring_pop(&ring, &v));
            assert_true(v == i + from);
        }
        assert_false(ring_pop(&ring, &v));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_and_empty), cmocka_unit_test(between_threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
