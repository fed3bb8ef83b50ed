/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: dev/firmware.c dev/entropy.c */
/* What EL2 asks of the firmware below it, of old and new firmware, and where entropy comes from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dev/entropy.h"
#include "dev/firmware.h"
#include "lib/arch.h"
#include "lib/core.h"

#define NOT_SUPPORTED (~UINT64_C(0))
#define UNKNOWN_CALL 0x5a5a5a5au /* positive: what very old firmware may answer to what it does not know */

_Thread_local struct core *this_core_ptr;
static struct core own[2];

/* The firmware. Whatever it does not know it answers with `unknown`. */
static struct {
    uint64_t psci_version, smccc_version, trng_version, unknown;
    bool psci_features_smccc, trng_rnd64;
    int32_t workaround[2][3]; /* by core */
    unsigned applied;
    uint64_t applied_id, applied_arg;
    uint64_t rnd_status, uuid0;
    unsigned calls, early; /* `early`: SMCCC calls that it was never said to know */
} fw;

static uint64_t serve(uint64_t function, uint64_t a1)
{
    static const uint32_t ids[3] = {0x80008000, 0x80007fff, 0x80003fff};

    fw.calls++;
    if (function == 0x84000000)
        return fw.psci_version;
    if (fw.psci_version < 0x10000) {
        fw.early++;
        return fw.unknown;
    }
    if (function == 0x8400000a)
        return a1 == 0x80000000 && fw.psci_features_smccc ? 0 : (uint32_t)-1;
    if (!fw.psci_features_smccc) {
        fw.early++;
        return fw.unknown;
    }
    if (function == 0x80000000)
        return fw.smccc_version;
    if (fw.smccc_version < 0x10001) {
        fw.early++;
        return fw.unknown;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (function == 0x80000001 && a1 == ids[i])
            return (uint32_t)fw.workaround[this_core()->id][i]; /* a result of 32 bits */
        if (function == ids[i]) {
            fw.applied++;
            fw.applied_id = function;
            fw.applied_arg = a1;
            return 0;
        }
    }
    if (function == 0x84000050)
        return fw.trng_version;
    if (function == 0x84000051)
        return a1 == 0xc4000053 && fw.trng_rnd64 ? 0 : NOT_SUPPORTED;
    return NOT_SUPPORTED;
}

uint64_t conduit_smc(uint64_t function, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)a2, (void)a3;
    return serve(function, a1);
}

uint64_t conduit_hvc(uint64_t function, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)function, (void)a1, (void)a2, (void)a3;
    fw.early++;
    return NOT_SUPPORTED;
}

void conduit_smc_results(uint64_t x[4])
{
    if (x[0] == 0x84000052) {
        x[0] = fw.uuid0;
        x[1] = 2, x[2] = 3, x[3] = 4;
        return;
    }
    assert_int_equal(x[0], 0xc4000053);
    assert_in_range(x[1], 1, 192);
    x[0] = fw.rnd_status;
    x[1] = x[2] = x[3] = ~UINT64_C(0);
}

/* ---- the CPU */

static bool has_rndr;
static unsigned failures;
static uint64_t counter;

uint64_t fake_sysreg_read(const char *name)
{
    assert_string_equal(name, "id_aa64isar0_el1");
    return has_rndr ? BIT(60) : 0;
}

void fake_sysreg_write(const char *name, uint64_t value)
{
    (void)value;
    fail_msg("%s is written", name);
}

bool fake_random(uint64_t *out)
{
    *out = ~UINT64_C(0);
    if (failures) {
        failures--;
        return false;
    }
    *out = 0xfedcba9876543210 + counter++;
    return true;
}

static int setup(void **state)
{
    (void)state;
    memset(&fw, 0, sizeof(fw));
    memset(fw.workaround, 0xff, sizeof(fw.workaround));
    own[1].id = 1;
    this_core_ptr = &own[0];
    has_rndr = false;
    failures = 0;
    counter = 0;
    return 0;
}

/* A case of its own for each: what was found is for ever, so each starts from what the last one left and finds anew. */
static void boot(enum firmware_conduit c)
{
    firmware_init(c);
    firmware_probe();
    for (uint32_t i = 0; i < 2; i++) {
        this_core_ptr = &own[i];
        firmware_core_init();
    }
    this_core_ptr = &own[0];
}

static void nothing_is_there(void)
{
    for (uint32_t w = 0; w < WORKAROUNDS; w++) {
        assert_int_equal(firmware_workaround(w), -1);
        firmware_apply(w, 1);
    }
    assert_false(firmware_has_trng());
    assert_int_equal(fw.early, 0);
    assert_int_equal(fw.applied, 0);
}

/* Firmware that answers an unknown call with anything is not asked what it cannot know. */
static void old_firmware(void **state)
{
    (void)state;
    fw.unknown = UNKNOWN_CALL;
    boot(FIRMWARE_NONE);
    nothing_is_there();
    assert_int_equal(fw.calls, 0);
    boot(FIRMWARE_HVC);
    nothing_is_there();
    fw.psci_version = 2; /* 0.2 */
    boot(FIRMWARE_SMC);
    nothing_is_there();
    fw.psci_version = (uint32_t)-1;
    boot(FIRMWARE_SMC);
    nothing_is_there();
    fw.psci_version = 0x10001;
    boot(FIRMWARE_SMC);
    nothing_is_there();
    fw.psci_features_smccc = true;
    fw.smccc_version = 0x10000;
    boot(FIRMWARE_SMC);
    nothing_is_there();
    fw.smccc_version = (uint32_t)-1;
    boot(FIRMWARE_SMC);
    nothing_is_there();
}

static void modern(uint64_t trng_version, bool rnd64)
{
    fw.psci_version = 0x10001;
    fw.psci_features_smccc = true;
    fw.smccc_version = 0x10002;
    fw.trng_version = trng_version;
    fw.trng_rnd64 = rnd64;
    boot(FIRMWARE_SMC);
}

static void workarounds(void **state)
{
    (void)state;
    fw.workaround[0][0] = 0;
    fw.workaround[0][1] = -2;
    fw.workaround[1][0] = 1;
    fw.workaround[1][1] = 0;
    modern(NOT_SUPPORTED, false);
    assert_int_equal(firmware_workaround(WORKAROUND_1), 0);
    assert_int_equal(firmware_workaround(WORKAROUND_2), -2);
    assert_int_equal(firmware_workaround(WORKAROUND_3), -1);
    firmware_apply(WORKAROUND_2, 1);
    firmware_apply(WORKAROUND_3, 0);
    assert_int_equal(fw.applied, 0);
    firmware_apply(WORKAROUND_1, 0);
    assert_int_equal(fw.applied, 1);
    assert_int_equal(fw.applied_id, 0x80008000);

    this_core_ptr = &own[1]; /* the other core is of another kind */
    assert_int_equal(firmware_workaround(WORKAROUND_1), 1);
    firmware_apply(WORKAROUND_1, 0);
    assert_int_equal(fw.applied, 1); /* not needed here */
    firmware_apply(WORKAROUND_2, 0);
    assert_int_equal(fw.applied_id, 0x80007fff);
    assert_int_equal(fw.applied_arg, 0);
    firmware_apply(WORKAROUND_2, 1);
    assert_int_equal(fw.applied_arg, 1);
}

static void no_entropy(void **state)
{
    (void)state;
    modern(NOT_SUPPORTED, true);
    assert_false(entropy_present());
    modern((uint32_t)-1, true);
    assert_false(entropy_present());
    modern(0x10000, false);
    assert_false(entropy_present());
}

static void firmware_entropy(void **state)
{
    uint64_t out[3];
    uint32_t uuid[4];

    (void)state;
    modern(0x10000, true);
    assert_true(entropy_present());
    fw.uuid0 = 1;
    assert_true(entropy_uuid(uuid));
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(uuid[i], i + 1);
    fw.uuid0 = (uint32_t)-1;
    assert_false(entropy_uuid(uuid));

    /* All ones from the firmware: what was not asked for is cut off. */
    for (uint32_t bits = 1; bits <= ENTROPY_BITS_MAX; bits++) {
        uint32_t ones = 0;

        assert_int_equal(entropy_get(bits, out), ENTROPY_OK);
        for (uint32_t i = 0; i < 3; i++)
            ones += (uint32_t)__builtin_popcountll(out[i]);
        assert_int_equal(ones, bits);
        assert_int_equal(out[(bits - 1) / 64] >> ((bits - 1) % 64), 1);
    }
    fw.rnd_status = (uint32_t)-3;
    assert_int_equal(entropy_get(192, out), ENTROPY_NONE_NOW);
    assert_int_equal(out[0] | out[1] | out[2], 0);
    fw.rnd_status = (uint64_t)-3;
    assert_int_equal(entropy_get(1, out), ENTROPY_NONE_NOW);
}

static void cpu_entropy(void **state)
{
    uint64_t out[3];
    uint32_t uuid[4];

    (void)state;
    modern(NOT_SUPPORTED, false);
    has_rndr = true;
    assert_true(entropy_present());
    assert_true(entropy_uuid(uuid));
    assert_int_not_equal(uuid[0], UINT32_MAX);
    assert_int_equal(entropy_get(192, out), ENTROPY_OK);
    assert_int_equal(counter, 3);
    assert_true(out[0] != out[1] && out[1] != out[2]);
    assert_int_equal(entropy_get(64, out), ENTROPY_OK);
    assert_int_equal(counter, 4); /* no more than needed */
    assert_int_equal(out[1] | out[2], 0);
    assert_int_equal(entropy_get(4, out), ENTROPY_OK);
    assert_in_range(out[0], 0, 15);

    failures = 5; /* slow to reseed */
    assert_int_equal(entropy_get(65, out), ENTROPY_OK);
    assert_in_range(out[1], 0, 1);
    failures = 1000; /* broken: an end to the tries, and nothing handed out */
    assert_int_equal(entropy_get(65, out), ENTROPY_NONE_NOW);
    assert_in_range(failures, 900, 999);
    assert_int_equal(out[0] | out[1] | out[2], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(old_firmware, setup), cmocka_unit_test_setup(workarounds, setup),
        cmocka_unit_test_setup(no_entropy, setup),   cmocka_unit_test_setup(firmware_entropy, setup),
        cmocka_unit_test_setup(cpu_entropy, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
