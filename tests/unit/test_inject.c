/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: vcpu/inject.c lib/esr.c */
/* Exceptions in EL1's name, and steps over an instruction: PSTATE in all its forms, ELR, the vector. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vcpu/inject.h"

_Thread_local struct core *this_core_ptr;

static struct reg {
    const char *name;
    uint64_t value;
} regs[] = {
    {"elr_el2", 0},  {"spsr_el2", 0}, {"far_el2", 0},   {"esr_el1", 0},          {"far_el1", 0},         {"elr_el1", 0},
    {"spsr_el1", 0}, {"vbar_el1", 0}, {"sctlr_el1", 0}, {"id_aa64mmfr1_el1", 0}, {"id_aa64pfr1_el1", 0}, {"hcr_el2", 0},
};

static uint64_t *reg(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
        if (!strcmp(regs[i].name, name))
            return &regs[i].value;
    fail_msg("%s", name);
    return NULL;
}

uint64_t fake_sysreg_read(const char *name)
{
    return *reg(name);
}

void fake_sysreg_write(const char *name, uint64_t value)
{
    *reg(name) = value;
}

bool fake_random(uint64_t *out)
{
    (void)out;
    return false;
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
        regs[i].value = 0;
    inject_init();
    *reg("vbar_el1") = 0xffff000012340800;
    *reg("elr_el2") = 0x1000;
    return 0;
}

#define EL0_32 0x10u /* AArch32 user mode */
#define T32 0x20u
#define NZCV 0xf0000000u
#define DIT BIT(24)

/* In every SPSR_ELx DIT is bit 24; bit 21 is SS, which is lost (C5.2.18). */
static void pstate(void **state)
{
    (void)state;
    assert_int_equal(inject_pstate(NZCV | EL0_32, 0, false, false), NZCV | 0x3c5);
    assert_int_equal(inject_pstate(DIT | EL0_32, 0, false, false), DIT | 0x3c5);
    assert_int_equal(inject_pstate(BIT(21) | EL0_32, 0, false, false), 0x3c5);
    assert_int_equal(inject_pstate(DIT | BIT(21), 0, false, false), DIT | 0x3c5);
    /* Q, IT, SSBS, IL, GE, E, T are none of AArch64's, or cleared. */
    assert_int_equal(inject_pstate(0x0e9ffe30 & ~(uint64_t)BIT(22), 0, false, false), 0x3c5);
    assert_int_equal(inject_pstate(BIT(22) | EL0_32, 0, true, false), BIT(22) | 0x3c5);
    assert_int_equal(inject_pstate(EL0_32, 0, true, false), BIT(22) | 0x3c5);
    assert_int_equal(inject_pstate(EL0_32, BIT(23), true, false), 0x3c5);
    assert_int_equal(inject_pstate(EL0_32, BIT(44), false, true), BIT(12) | 0x3c5);
}

static void vectors(void **state)
{
    (void)state;
    assert_int_equal(inject_vector(EL0_32), 0x600);
    assert_int_equal(inject_vector(EL0_32 | T32), 0x600);
    assert_int_equal(inject_vector(0), 0x400);
    assert_int_equal(inject_vector(4), 0);
    assert_int_equal(inject_vector(5), 0x200);
}

static void abort_from_aarch32(void **state)
{
    const uint64_t spsr = NZCV | DIT | 0x0c000000 | 0xfc00 | T32 | EL0_32;

    (void)state;
    *reg("spsr_el2") = spsr;
    *reg("elr_el2") = 0x40100002;
    *reg("far_el2") = 0x7f000000;
    inject_external_abort(0x90000007 | BIT(6)); /* data abort, 16-bit instruction, a write, no ISV */
    assert_int_equal(*reg("spsr_el1"), spsr);
    assert_int_equal(*reg("elr_el1"), 0x40100002);
    assert_int_equal(*reg("far_el1"), 0x7f000000);
    assert_int_equal(*reg("elr_el2"), 0xffff000012340e00);
    assert_int_equal(*reg("spsr_el2"), NZCV | DIT | 0x3c5);
    assert_int_equal(*reg("esr_el1") >> 26, 0x24);
    assert_int_equal(*reg("esr_el1") & 0x7f, 0x50);
}

static void step_over(uint64_t spsr, bool four, uint64_t wanted)
{
    *reg("spsr_el2") = spsr;
    *reg("elr_el2") = 0x1000;
    skip_instruction(four ? BIT(25) : 0);
    assert_int_equal(*reg("elr_el2"), four ? 0x1004 : 0x1002);
    assert_int_equal(*reg("spsr_el2"), wanted);
}

static uint64_t with_it(uint64_t it)
{
    return EL0_32 | T32 | NZCV | (it >> 2) << 10 | (it & 3) << 25;
}

/* AArch32.ITAdvance: the block's remaining conditions shift up; the last instruction ends the block. */
static void it_blocks(void **state)
{
    (void)state;
    step_over(EL0_32 | NZCV, true, EL0_32 | NZCV);
    step_over(with_it(0), false, with_it(0));
    step_over(with_it(0x08), false, with_it(0)); /* IT EQ: the only one */
    step_over(with_it(0xe8), true, with_it(0));
    step_over(with_it(0x0c), false, with_it(0x18)); /* ITE EQ, the first */
    step_over(with_it(0x18), false, with_it(0));
    step_over(with_it(0x01), false, with_it(0x02)); /* four, all EQ */
    step_over(with_it(0x02), false, with_it(0x04));
    step_over(with_it(0x04), false, with_it(0x08));
    step_over(with_it(0xbf), false, with_it(0xbe));
    step_over(with_it(0x08) | BIT(21), false, with_it(0)); /* the step is over */
    /* E and GE stand between; nothing of AArch64's BTYPE is there to be cleared. */
    step_over(EL0_32 | 0xf0000 | BIT(9), true, EL0_32 | 0xf0000 | BIT(9));
    step_over(BIT(10) | BIT(11) | BIT(21) | NZCV, true, NZCV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(pstate, setup),
        cmocka_unit_test_setup(vectors, setup),
        cmocka_unit_test_setup(abort_from_aarch32, setup),
        cmocka_unit_test_setup(it_blocks, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
