/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: lib/esr.c */
/* The syndrome decoder, field by field against the encodings of DDI 0487 D19.2.37, and any 32 bits at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/esr.h"

#define DABT (UINT64_C(0x24) << 26)
#define IABT (UINT64_C(0x20) << 26)
#define TRANSLATION_L2 0x06
#define ACCESS_L3 0x0b
#define PERMISSION_L3 0x0f
#define ISV (1u << 24)
#define SSE (1u << 21)
#define SF (1u << 15)
#define FNV (1u << 10)
#define CM (1u << 8)
#define S1PTW (1u << 7)
#define WNR (1u << 6)

#define FAR UINT64_C(0xffff800011223456)
#define HPFAR UINT64_C(0x0000000000456780) /* IPA 0x4567_8000 */

static void classes(void **state)
{
    (void)state;
    assert_int_equal(esr_ec(UINT64_C(0x24) << 26 | 0x3ffffff), EC_DABT_LOW);
    assert_int_equal(esr_ec(UINT64_C(0x20) << 26), EC_IABT_LOW);
    assert_int_equal(esr_ec(UINT64_C(0x16) << 26 | 0xea1), EC_HVC64);
    assert_int_equal(esr_ec(UINT64_C(0xff) << 32 | UINT64_C(0x18) << 26), EC_SYSREG); /* ISS2 is above */
}

static void fault_status(void **state)
{
    (void)state;
    for (unsigned fsc = 0; fsc < 64; fsc++) {
        enum fault_kind kind = s2_fault_decode(DABT | fsc, FAR, HPFAR).kind;

        if (fsc < 8)
            assert_int_equal(kind, FAULT_TRANSLATION); /* address size counts: an IPA beyond stage 2 */
        else if (fsc < 12)
            assert_int_equal(kind, FAULT_ACCESS_FLAG);
        else if (fsc < 16)
            assert_int_equal(kind, FAULT_PERMISSION);
        else if (fsc < 32)
            assert_int_equal(kind, FAULT_EXTERNAL);
        else
            assert_int_equal(kind, FAULT_OTHER);
    }
}

static void translation_fault(void **state)
{
    struct s2_fault f = s2_fault_decode(DABT | TRANSLATION_L2, FAR, HPFAR);

    (void)state;
    assert_true(f.ipa_valid && f.far_valid);
    assert_true(f.ipa.v == 0x45678456);
    assert_true(f.far == FAR);
    assert_false(f.fetch || f.write || f.s1ptw || f.cache_op);

    assert_true(s2_fault_decode(DABT | WNR | TRANSLATION_L2, FAR, HPFAR).write);
    f = s2_fault_decode(IABT | WNR | TRANSLATION_L2, FAR, HPFAR); /* WnR is RES0 there */
    assert_true(f.fetch && !f.write && f.ipa.v == 0x45678456);
    f = s2_fault_decode(DABT | FNV | TRANSLATION_L2, FAR, HPFAR);
    assert_true(!f.far_valid && f.ipa_valid && f.ipa.v == 0x45678000);
    /* All of FIPA, and nothing beside it. */
    assert_true(s2_fault_decode(DABT | FNV | TRANSLATION_L2, FAR, ~UINT64_C(0)).ipa.v == 0x000ffffffffff000);
    assert_true(s2_fault_decode(DABT | ACCESS_L3, FAR, HPFAR).ipa_valid);
}

static void permission_fault(void **state)
{
    struct s2_fault f, g;

    (void)state;
    f = s2_fault_decode(DABT | WNR | PERMISSION_L3, FAR, HPFAR);
    assert_true(f.write && !f.ipa_valid);
    /* HPFAR is UNKNOWN: whatever it holds, nothing of it is in what comes out. */
    g = s2_fault_decode(DABT | WNR | PERMISSION_L3, FAR, 0xdeadbeefdeadbeef);
    assert_true(!g.ipa_valid && g.ipa.v == f.ipa.v);

    /* On a stage-1 walk HPFAR is right, and it is the walker that wants to write, whatever WnR says of the access. */
    f = s2_fault_decode(DABT | S1PTW | PERMISSION_L3, FAR, HPFAR);
    assert_true(f.s1ptw && f.write && f.ipa_valid && f.ipa.v == 0x45678000);
    f = s2_fault_decode(IABT | S1PTW | PERMISSION_L3, FAR, HPFAR);
    assert_true(f.fetch && f.s1ptw && f.write && f.ipa_valid && f.ipa.v == 0x45678000);

    /* Of the walk's reads, a store's WnR says nothing. */
    f = s2_fault_decode(DABT | S1PTW | WNR | TRANSLATION_L2, FAR, HPFAR);
    assert_true(f.s1ptw && !f.write && f.ipa.v == 0x45678000);
}

static void cache_maintenance(void **state)
{
    struct s2_fault f;

    (void)state;
    /* WnR is always set for it (D19.2.37): a page that is only to be cleaned need not become dirty. */
    f = s2_fault_decode(DABT | CM | WNR | TRANSLATION_L2, FAR, HPFAR);
    assert_true(f.cache_op && !f.write);
    /* But every present page is readable: one that lacks permission lacks that of writing, and would fault for ever. */
    f = s2_fault_decode(DABT | CM | WNR | PERMISSION_L3, FAR, HPFAR);
    assert_true(f.cache_op && f.write);
    assert_false(s2_fault_decode(IABT | CM | TRANSLATION_L2, FAR, HPFAR).cache_op);
}

static void instruction_syndrome(void **state)
{
    struct access a;

    (void)state;
    for (unsigned sas = 0; sas < 4; sas++) {
        for (unsigned reg = 0; reg < 32; reg++) {
            a = access_decode(DABT | ISV | sas << 22 | SSE | reg << 16 | SF | TRANSLATION_L2);
            assert_true(a.valid && a.sign_extend && a.reg64 && !a.write && !a.cache_op);
            assert_int_equal(a.size, 1 << sas);
            assert_int_equal(a.reg, reg);
        }
    }
    a = access_decode(DABT | ISV | WNR | TRANSLATION_L2);
    assert_true(a.valid && a.write && !a.sign_extend && !a.reg64);
    assert_false(access_decode(DABT | TRANSLATION_L2).valid);
    assert_false(access_decode(DABT | ISV | S1PTW | TRANSLATION_L2).valid);
    assert_false(access_decode(IABT | TRANSLATION_L2).valid);
    assert_true(access_decode(DABT | CM | WNR | TRANSLATION_L2).cache_op);
    assert_false(access_decode(DABT | CM | WNR | TRANSLATION_L2).valid);
}

/* The page of a translation fault, and nothing below any RAM for every other kind. */
static void page_of_fault(void **state)
{
    (void)state;
    assert_true(s2_fault_page(DABT | TRANSLATION_L2, HPFAR).v == 0x45678000);
    assert_true(s2_fault_page(IABT | S1PTW | 0x04, HPFAR).v == 0x45678000);
    assert_true(s2_fault_page(DABT | PERMISSION_L3, HPFAR).v == UINT64_MAX);
    assert_true(s2_fault_page(DABT | ACCESS_L3, HPFAR).v == UINT64_MAX);
    assert_true(s2_fault_page(DABT | 0x10, HPFAR).v == UINT64_MAX);
    assert_true(esr_instruction_size(DABT) == 2 && esr_instruction_size(DABT | 0x02000000) == 4);
    assert_true(esr_far_valid(DABT) && !esr_far_valid(DABT | FNV | 0x10));
}

static void sysreg(void **state)
{
    /* mrs x5, ICC_IAR1_EL1 (3, 0, 12, 12, 0), as the trap reports it */
    uint64_t iss = 3u << 20 | 0u << 17 | 0u << 14 | 12u << 10 | 5u << 5 | 12u << 1 | 1;
    struct sysreg_trap t = sysreg_trap_decode(UINT64_C(0x18) << 26 | 1u << 25 | iss);

    (void)state;
    assert_int_equal(t.id, SYSREG_ID(3, 0, 12, 12, 0));
    assert_int_equal(t.reg, 5);
    assert_true(t.read);
    /* Each field alone, all its bits. */
    assert_int_equal(sysreg_trap_decode(3u << 20).id, SYSREG_ID(3, 0, 0, 0, 0));
    assert_int_equal(sysreg_trap_decode(7u << 17).id, SYSREG_ID(0, 0, 0, 0, 7));
    assert_int_equal(sysreg_trap_decode(7u << 14).id, SYSREG_ID(0, 7, 0, 0, 0));
    assert_int_equal(sysreg_trap_decode(15u << 10).id, SYSREG_ID(0, 0, 15, 0, 0));
    assert_int_equal(sysreg_trap_decode(15u << 1).id, SYSREG_ID(0, 0, 0, 15, 0));
    t = sysreg_trap_decode(31u << 5);
    assert_true(t.id == 0 && t.reg == 31 && !t.read);
    /* No two registers share a number. */
    assert_int_equal(__builtin_popcount(SYSREG_ID_ALL), 2 + 3 + 4 + 4 + 3);
}

static void made_for_el1(void **state)
{
    (void)state;
    assert_true(esr_make_unknown(0x18 << 26) == 0);
    assert_true(esr_make_unknown(DABT | 0x02000000 | ISV | 0x3f) == 0x02000000);
    assert_true(esr_make_external_abort(DABT | TRANSLATION_L2, false) == 0x96000010);
    assert_true(esr_make_external_abort(DABT | TRANSLATION_L2, true) == 0x92000010);
    assert_true(esr_make_external_abort(IABT | TRANSLATION_L2, false) == 0x86000010);
    assert_true(esr_make_external_abort(IABT | TRANSLATION_L2, true) == 0x82000010);
    /* Length (known with ISV only), direction and maintenance stay; what stage 2 said of itself does not. */
    assert_true(esr_make_external_abort(DABT | ISV | WNR | TRANSLATION_L2, true) == 0x90000050);
    assert_true(esr_make_external_abort(DABT | CM | WNR | PERMISSION_L3, false) == 0x96000150);
    assert_true(esr_make_external_abort(DABT | S1PTW | TRANSLATION_L2, false) == 0x96000017);
}

/* Any bits at all: nothing undefined (the sanitizers look), and what must hold for each of them. */
static void any_bits(void **state)
{
    uint64_t x = 1;

    (void)state;
    for (unsigned i = 0; i < 2000000; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t esr = x >> 16;
        uint64_t far = x * 31, hpfar = x * 37;
        struct s2_fault f = s2_fault_decode(esr, far, hpfar);
        struct s2_fault g = s2_fault_decode(esr, far, ~hpfar);
        struct sysreg_trap t = sysreg_trap_decode(esr);

        struct access a = access_decode(esr);

        assert_true(a.size == 1 || a.size == 2 || a.size == 4 || a.size == 8);
        assert_true(a.reg < 32 && t.reg < 32 && !(t.id & ~SYSREG_ID_ALL));
        assert_true(f.kind <= FAULT_OTHER);
        assert_false(f.fetch && f.cache_op);
        assert_true(!(f.fetch && f.write && f.kind != FAULT_PERMISSION));
        if (!f.ipa_valid)
            assert_true(f.ipa.v == g.ipa.v);
        else
            assert_true(f.ipa.v != g.ipa.v);
        assert_true(f.ipa.v < UINT64_C(1) << 52);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),           cmocka_unit_test(fault_status),
        cmocka_unit_test(translation_fault), cmocka_unit_test(permission_fault),
        cmocka_unit_test(cache_maintenance), cmocka_unit_test(instruction_syndrome),
        cmocka_unit_test(page_of_fault),     cmocka_unit_test(sysreg),
        cmocka_unit_test(made_for_el1),      cmocka_unit_test(any_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
