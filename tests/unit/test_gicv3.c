/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: dev/gicv3.c tests/unit/fake/fake_arch.c */
/* Signals of a GICv3 (IHI 0069H 12.1.10, ICC_SGI1R_EL1): whom they reach, and by how many writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dev/gicv3.h"
#include "dev/mmio.h"

#define SGI 7
#define FIELD_OF(v, low, bits) ((v) >> (low) & ((1u << (bits)) - 1))

static uint32_t writes;
static uint32_t reached[MAX_CORES]; /* how often */

uint64_t fake_sysreg_read(const char *name)
{
    fail_msg("%s is read", name);
    return 0;
}

/* Each core looks whether it is meant, as the architecture has it. */
void fake_sysreg_write(const char *name, uint64_t v)
{
    assert_string_equal(name, "ICC_SGI1R_EL1");
    assert_int_equal(FIELD_OF(v, 24, 4), SGI);
    assert_int_equal(FIELD_OF(v, 40, 1), 0); /* IRM: not all but this one */
    writes++;
    for (uint32_t i = 0; i < core_count; i++) {
        uint64_t m = cores[i].mpidr, aff0 = m & 0xff;

        reached[i] += FIELD_OF(v, 48, 8) == (m >> 32 & 0xff) && FIELD_OF(v, 32, 8) == (m >> 16 & 0xff) &&
                      FIELD_OF(v, 16, 8) == (m >> 8 & 0xff) && FIELD_OF(v, 44, 4) == aff0 / 16 && v >> aff0 % 16 & 1;
    }
}

uint32_t fake_mmio_read32(pa_t base, uint64_t offset)
{
    fail_msg("register %lx is read", base.v + offset);
    return 0;
}

void fake_mmio_write32(pa_t base, uint64_t offset, uint32_t v)
{
    fail_msg("register %lx is written with %x", base.v + offset, v);
}

uint64_t fake_mmio_read64(pa_t base, uint64_t offset)
{
    return fake_mmio_read32(base, offset);
}

void fake_mmio_write64(pa_t base, uint64_t offset, uint64_t v)
{
    fake_mmio_write32(base, offset, (uint32_t)v);
}

/* Two clusters of four, as on many boards; one at Aff0 17, beyond a list of 16; and one each that differs in Aff2 and in Aff3 alone. */
static const uint64_t affinities[] = {
    0x000, 0x001, 0x002, 0x003, 0x100, 0x101, 0x102, 0x103, 0x011, 0x10000, UINT64_C(0x100000000)};
#define CORES (sizeof(affinities) / sizeof(affinities[0]))

static int board(void **state)
{
    (void)state;
    core_count = CORES;
    for (uint32_t i = 0; i < CORES; i++) {
        cores[i].id = i;
        cores[i].mpidr = affinities[i];
    }
    return 0;
}

static void forget(void)
{
    writes = 0;
    memset(reached, 0, sizeof(reached));
}

static void one_core(void **state)
{
    (void)state;
    for (uint32_t to = 0; to < CORES; to++) {
        forget();
        gicv3_sgi(&cores[to], SGI);
        assert_int_equal(writes, 1);
        for (uint32_t i = 0; i < CORES; i++)
            assert_int_equal(reached[i], i == to);
    }
}

/* Every set of them: each of it once, nobody else, and a write for each list that has one. */
static void several_cores(void **state)
{
    (void)state;
    for (uint64_t which = 0; which < 1u << CORES; which++) {
        uint32_t lists = (which & 0xf) != 0;

        lists += (which & 0xf0) != 0;
        for (uint32_t i = 8; i < CORES; i++)
            lists += which >> i & 1;
        forget();
        gicv3_sgi_cores(which, SGI);
        assert_int_equal(writes, lists);
        for (uint32_t i = 0; i < CORES; i++)
            assert_int_equal(reached[i], which >> i & 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_core, board),
        cmocka_unit_test_setup(several_cores, board),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
