/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: lib/crc32.c tests/unit/fake/fake_arch.c */
/* CRC-32: its check values, and the two ways of computing it against one another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/arch.h"
#include "lib/crc32.h"

/* The check value of the catalogues, RFC 1952's algorithm on it, and what `zlib.crc32(bytes(4096))` says. */
static void known(void **state)
{
    static const uint8_t zeroes[4096];

    (void)state;
    for (int i = 0; i < 2; i++) {
        fake_no_crc32 = i == 1;
        assert_int_equal(crc32(0, "123456789", 9), 0xcbf43926);
        assert_int_equal(crc32(0, "a", 1), 0xe8b7be43);
        assert_int_equal(crc32(0, zeroes, sizeof(zeroes)), 0xc71c0011);
        assert_int_equal(crc32(0, zeroes, 0), 0);
        assert_int_equal(crc32(crc32(0, "12345", 5), "6789", 4), 0xcbf43926);
    }
}

/* Any alignment, any length, in one piece or in two. */
static void alike(void **state)
{
    uint8_t *p = malloc(300);

    (void)state;
    srand(7);
    for (size_t i = 0; i < 300; i++)
        p[i] = (uint8_t)rand();
    for (size_t from = 0; from < 9; from++) {
        for (size_t n = 0; n <= 300 - from; n += n < 90 ? 1 : 13) {
            uint32_t instructions, table;
            size_t cut = n / 3;

            fake_no_crc32 = false;
            instructions = crc32(0, p + from, n);
            fake_no_crc32 = true;
            table = crc32(0, p + from, n);
            assert_int_equal(instructions, table);
            fake_no_crc32 = false;
            assert_int_equal(crc32(crc32(0, p + from, cut), p + from + cut, n - cut), table);
        }
    }
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known), cmocka_unit_test(alike)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
