/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: pv/abi.h */
/*
 * Version 1.0 of the paravirtual interface in a copy of its own: what is here once has been promised to guests, and stays. A new
 * version adds lines, and changes none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pv/abi.h"

static const struct {
    const char *name;
    uint64_t is, promised;
} promises[] = {
#define PROMISE(name, value)                       \
    {                                              \
#name, (uint64_t)(name), (uint64_t)(value) \
    }
    PROMISE(MW_NOT_SUPPORTED, -1),
    PROMISE(MW_INVALID_PARAMETER, -3),
    PROMISE(MW_DENIED, -4),
    PROMISE(MW_FN_UID, 0x8600ff01),
    PROMISE(MW_UID_0, 0x6e61656d),
    PROMISE(MW_UID_1, 0x654c6877),
    PROMISE(MW_UID_2, 0x657955a1),
    PROMISE(MW_UID_3, 0x01003f74),
    PROMISE(MW_FN_REVISION, 0x8600ff03),
    PROMISE(MW_REVISION_MAJOR, 1),
    PROMISE(MW_FN_FIRST, 0x86000100),
    PROMISE(MW_FN_FEATURES, 0x86000100),
    PROMISE(MW_FEATURE_RELEASE, 1),
    PROMISE(MW_FEATURE_INFO, 2),
    PROMISE(MW_FEATURE_APF, 4),
    PROMISE(MW_FEATURE_HINT, 8),
    PROMISE(MW_FN_INFO, 0xc6000100),
    PROMISE(MW_FN_RELEASE, 0xc6000101),
    PROMISE(MW_FN_APF_ENABLE, 0xc6000102),
    PROMISE(MW_FN_APF_DISABLE, 0xc6000103),
    PROMISE(MW_FN_APF_WAIT, 0xc6000104),
    PROMISE(MW_FN_HINT, 0xc6000105),
    PROMISE(MW_INFO_ADDRESS, 0x0b000000),
    PROMISE(MW_INFO_MAGIC, 0x00),
    PROMISE(MW_INFO_REVISION, 0x08),
    PROMISE(MW_INFO_SIZE, 0x0c),
    PROMISE(MW_INFO_FEATURES, 0x10),
    PROMISE(MW_INFO_EVENT, 0x18),
    PROMISE(MW_INFO_BUILD, 0x20),
    PROMISE(MW_INFO_BYTES, 0x60),
    PROMISE(MW_INFO_MAGIC_VALUE, 0x656c69776e61656d),
    PROMISE(MW_APF_FLAG_EL1, 1),
    PROMISE(MW_APF_TAKEN, 0),
    PROMISE(MW_APF_TOLD, 1),
    PROMISE(MW_APF_UNREADABLE, 2),
    PROMISE(MW_APF_ESR_EL0, 0x92000034),
    PROMISE(MW_APF_ESR_EL1, 0x96000034),
    PROMISE(MW_APF_TOKEN_VCPU_SHIFT, 48),
    PROMISE(MW_APF_PAGE_MAGIC, 0x000),
    PROMISE(MW_APF_PAGE_REVISION, 0x008),
    PROMISE(MW_APF_PAGE_SIZE, 0x00c),
    PROMISE(MW_APF_PAGE_PRODUCER, 0x100),
    PROMISE(MW_APF_PAGE_CONSUMER, 0x200),
    PROMISE(MW_APF_PAGE_RING, 0x300),
    PROMISE(MW_APF_PAGE_BYTES, 0x700),
    PROMISE(MW_APF_PAGE_MAGIC_VALUE, 0x676e697265746e65),
    PROMISE(MW_APF_ENTRIES, 64),
    PROMISE(MW_APF_ENTRY_TOKEN, 0),
    PROMISE(MW_APF_ENTRY_STATUS, 8),
    PROMISE(MW_APF_ENTRY_BYTES, 16),
    PROMISE(MW_APF_READY, 0),
    PROMISE(MW_APF_ERROR, 1),
    PROMISE(MW_APF_WAKE_ALL, 2),
};

static void kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(promises) / sizeof(promises[0]); i++) {
        if (promises[i].is != promises[i].promised)
            fail_msg("%s is %lx, and was promised to be %lx", promises[i].name, promises[i].is, promises[i].promised);
    }
    assert_string_equal(MW_COMPATIBLE, "meanwhile,hypervisor");
    assert_string_equal(MW_COMPATIBLE_1_0, "meanwhile,hypervisor-1.0");
    /* Writers share no cache line, whatever its size. */
    assert_true(MW_APF_PAGE_PRODUCER % 256 == 0 && MW_APF_PAGE_CONSUMER % 256 == 0 && MW_APF_PAGE_RING % 256 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kept)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
