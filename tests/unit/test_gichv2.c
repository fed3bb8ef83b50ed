/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: dev/gichv2.c */
/* List registers of a GICv2 (IHI 0048B 5.3.11) behind the formats of a GICv3's: GICH is a page of memory here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dev/gich.h"
#include "dev/gichv2.h"
#include "dev/mmio.h"

static uint32_t gich[1024];

uint32_t fake_mmio_read32(pa_t base, uint64_t offset)
{
    return *(uint32_t *)pa_ptr(pa_add(base, offset));
}

void fake_mmio_write32(pa_t base, uint64_t offset, uint32_t v)
{
    *(uint32_t *)pa_ptr(pa_add(base, offset)) = v;
}

static void start(uint32_t iidr)
{
    memset(gich, 0, sizeof gich);
    gichv2_init(ptr_pa(gich), iidr);
}

static uint32_t written(uint64_t lr)
{
    gichv2_lr_write(3, lr);
    return gich[(0x100 + 3 * 4) / 4];
}

static void test_formats(void **state)
{
    (void)state;
    start(0x0202143b);
    assert_int_equal(written(0), 0);
    assert_int_equal(written(LR_PENDING | 33), 1u << 28 | 33);
    assert_int_equal(written(LR_ACTIVE | 33), 1u << 29 | 33);
    assert_int_equal(written(LR_STATE | LR_GROUP1 | 287), 7u << 28 | 287);
    assert_int_equal(written(LR_PENDING | LR_EOI | 40), 1u << 28 | 1u << 19 | 40);
    assert_int_equal(written(LR_PENDING | field_put(LR_PRIORITY, 0xa8) | 40), 1u << 28 | 0x15u << 23 | 40);
    assert_int_equal(written(LR_PENDING | field_put(LR_SOURCE, 5) | 7), 1u << 28 | 5u << 10 | 7);
    assert_int_equal(written(LR_PENDING | LR_HW | field_put(LR_PINTID, 27) | 27), 1u << 31 | 1u << 28 | 27u << 10 | 27);
    /* A physical interrupt without HW: its number is no sender. */
    assert_int_equal(written(LR_PENDING | LR_EOI | field_put(LR_PINTID, 27) | 27), 1u << 28 | 1u << 19 | 27);
    for (unsigned n = 0; n < 1024; n++)
        assert_true(n == (0x100 + 12) / 4 || gich[n] == 0);
}

/* What EL2 writes is what it reads, in all combinations that it uses. */
static void test_round_trip(void **state)
{
    const uint64_t kinds[] = {0, LR_EOI, LR_SOURCE, LR_EOI | field_put(LR_SOURCE, 3), LR_HW | field_put(LR_PINTID, 30)};

    (void)state;
    start(0x0202143b);
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
        for (uint64_t s = 0; s < 4; s++)
            for (uint64_t prio = 0; prio < 256; prio += 8)
                for (uint64_t intid = 0; intid < 288; intid += 7) {
                    uint64_t lr = (kinds[k] & LR_SOURCE ? intid % 16 : intid) | kinds[k] | field_put(LR_STATE, s) |
                                  field_put(LR_PRIORITY, prio) | (intid & 1 ? LR_GROUP1 : 0);

                    gichv2_lr_write(0, lr);
                    assert_int_equal(gichv2_lr_read(0), lr);
                }
}

static void test_registers(void **state)
{
    (void)state;
    start(0x0202143b);
    gich[0x04 / 4] = 0x90000003;
    assert_int_equal(gichv2_lr_count(), 4);
    gich[0x04 / 4] = 63;
    assert_int_equal(gichv2_lr_count(), 16);
    gich[0x20 / 4] = 0x5;
    gich[0x30 / 4] = 0xa;
    assert_int_equal(gichv2_eisr(), 0x5);
    assert_int_equal(gichv2_elrsr(), 0xa);
    gichv2_hcr_write(ICH_HCR_EN | ICH_HCR_NPIE);
    assert_int_equal(gich[0], 9);
    gich[0] = 9 | 3u << 27;
    assert_int_equal(field_get(ICH_HCR_EOICOUNT, gichv2_hcr_read()), 3);
    gich[0x08 / 4] = 0xf8000000u | 1u << 26 | 1u << 9 | 1;
    assert_int_equal(field_get(ICH_VMCR_VPMR, gichv2_vmcr_read()), 0xf8);
    assert_true(gichv2_vmcr_read() & ICH_VMCR_VENG0 && gichv2_vmcr_read() & ICH_VMCR_VEOIM);
    gichv2_vmcr_write(~0ull);
    assert_int_equal(gich[0x08 / 4] & 7u << 24, 0);
    gich[0xf0 / 4] = 1;
    gichv2_apr_clear();
    assert_int_equal(gich[0xf0 / 4], 0);
}

static void test_quirk(void **state)
{
    (void)state;
    start(0x0202143b); /* GIC-400 */
    assert_true(gichv2_has_hw());
    start(0x0002043b); /* QEMU */
    assert_false(gichv2_has_hw());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_quirk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
