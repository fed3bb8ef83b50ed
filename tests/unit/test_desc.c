/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: */
/* Descriptors: every kind there and back, and what hardware is to read, in the Arm ARM's bits (DDI 0487 D8.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mm/desc.h"

static void zero_word(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 3; level++)
        assert_int_equal(desc_kind(0, level), DESC_ABSENT_ZERO);
    /* A page of zeroes of source 0, were it written out, would still not be the zero word. */
    assert_int_equal(desc_kind(desc_absent(0, 0), 3), DESC_ABSENT);
}

static void invalid_words(void **state)
{
    static const uint64_t large[] = {0, 1, 511, 512, UINT64_C(0xfffffffffffff), UINT64_C(0x8000000000001)};

    (void)state;
    for (unsigned level = 1; level <= 3; level++) {
        for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
            for (uint32_t small = 0; small < 256; small += 5) {
                uint64_t d = desc_absent(small, large[i]);

                assert_int_equal(desc_kind(d, level), DESC_ABSENT);
                assert_int_equal(desc_small(d), small);
                assert_true(desc_large(d) == large[i]);
                assert_false(d & 1); /* all that hardware looks at */
                d = desc_mmio(small);
                assert_int_equal(desc_kind(d, level), DESC_MMIO);
                assert_int_equal(desc_small(d), small);
                assert_false(d & 1);
            }
            uint64_t d = desc_in_flight((uint32_t)large[i]);

            assert_int_equal(desc_kind(d, level), DESC_IN_FLIGHT);
            assert_true(desc_large(d) == (uint32_t)large[i]);
            assert_false(d & 1);
        }
        assert_int_equal(desc_kind(desc_busy(), level), DESC_BUSY);
        assert_int_equal(desc_kind(desc_nowhere(), level), DESC_NOWHERE);
        assert_int_equal(desc_kind(desc_error(), level), DESC_ERROR);
        assert_false((desc_busy() | desc_nowhere() | desc_error()) & 1);
    }
}

static void valid_words(void **state)
{
    pa_t block = pa(0x0000fffffe000000 & ~(BLOCK_SIZE - 1)), page = pa(0x0000123456789000);
    /* MemAttr 0b1111, S2AP read, SH inner, AF */
    uint64_t attributes = 0xf << 2 | 1 << 6 | 3 << 8 | 1 << 10;

    (void)state;
    assert_true(desc_leaf(page, 3, false) == (page.v | attributes | 3));
    assert_true(desc_leaf(page, 3, true) == (page.v | attributes | 1 << 7 | 3));
    assert_true(desc_leaf(block, 2, false) == (block.v | attributes | 1));
    assert_true(desc_leaf(block, 2, true) == (block.v | attributes | 1 << 7 | 1));
    assert_true(desc_table(page) == (page.v | 3));

    /* A device page: Device-nGnRE, read and write, accessed, never executed. */
    assert_true(desc_device(page) == (page.v | UINT64_C(1) << 54 | 1 << 10 | 3 << 6 | 1 << 2 | 3));
    assert_int_equal(desc_kind(desc_device(page), 3), DESC_PRESENT);
    assert_true(desc_is_device(desc_device(page)) && !desc_is_device(desc_leaf(page, 3, true)));
    assert_true(desc_pa(desc_device(page)).v == page.v);
    assert_int_equal(desc_kind(desc_leaf(page, 3, true), 3), DESC_PRESENT);
    assert_int_equal(desc_kind(desc_leaf(block, 2, false), 2), DESC_PRESENT);
    assert_int_equal(desc_kind(desc_table(page), 1), DESC_TABLE_REF);
    assert_int_equal(desc_kind(desc_table(page), 2), DESC_TABLE_REF);
    assert_true(desc_pa(desc_leaf(page, 3, true)).v == page.v);
    assert_true(desc_pa(desc_leaf(block, 2, false)).v == block.v);
    assert_true(desc_pa(desc_table(page)).v == page.v);
    assert_true(desc_writable(desc_leaf(page, 3, true)) && !desc_writable(desc_leaf(page, 3, false)));
    assert_true((desc_leaf(page, 3, false) | DESC_S2AP_W) == desc_leaf(page, 3, true));
}

static void one_level_down(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < S2_ENTRIES; i++) {
        assert_true(desc_below(0, i) == 0);
        assert_true(desc_below(desc_absent(3, 1000), i) == desc_absent(3, 1000 + i));
    }
}

static void fields(void **state)
{
    (void)state;
    assert_true(FIELD(63, 0) == ~UINT64_C(0));
    assert_true(FIELD(0, 0) == 1 && FIELD(63, 63) == UINT64_C(1) << 63 && FIELD(5, 2) == 0x3c);
    for (unsigned lsb = 0; lsb < 64; lsb++) {
        for (unsigned msb = lsb; msb < 64; msb++) {
            uint64_t most = ~UINT64_C(0) >> (63 - (msb - lsb));

            assert_true(field_put(FIELD(msb, lsb), ~UINT64_C(0)) == FIELD(msb, lsb));
            assert_true(field_get(FIELD(msb, lsb), ~UINT64_C(0)) == most);
            assert_true(field_get(FIELD(msb, lsb), field_put(FIELD(msb, lsb), most / 3)) == most / 3);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_word),      cmocka_unit_test(invalid_words), cmocka_unit_test(valid_words),
        cmocka_unit_test(one_level_down), cmocka_unit_test(fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
