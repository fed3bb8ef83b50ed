/* SPDX-License-Identifier: BSD-2-Clause */
#include "dev/entropy.h"

#include "dev/firmware.h"
#include "lib/arch.h"
#include "lib/string.h"

#define TRNG_GET_UUID 0x84000052
#define TRNG_RND64 0xc4000053
#define RETRIES 16 /* of RNDRRS, which fails when the generator is not reseeded in time */

/* df2f9928-0e7b-4092-a7b7-d3325465f52e: FEAT_RNG as EL2 passes it on */
static const uint32_t cpu_uuid[4] = {0x28992fdf, 0x92407b0e, 0x32d3b7a7, 0x2ef56554};

static bool cpu_has_random(void)
{
    return field_get(ID_AA64ISAR0_RNDR, sysreg_read(id_aa64isar0_el1)) != 0;
}

bool entropy_present(void)
{
    return firmware_has_trng() || cpu_has_random();
}

static enum entropy_result from_firmware(uint32_t bits, uint64_t out[3])
{
    uint64_t x[4] = {TRNG_RND64, bits};

    firmware_trng(x);
    if (x[0])
        return ENTROPY_NONE_NOW;
    for (uint32_t i = 0; i < 3; i++) /* x3 has the lowest bits (DEN0098, TRNG_RND64) */
        out[i] = x[3 - i];
    return ENTROPY_OK;
}

static enum entropy_result from_cpu(uint32_t bits, uint64_t out[3])
{
    for (uint32_t i = 0; i * 64 < bits; i++) {
        uint32_t tries = RETRIES;

        while (!cpu_random(&out[i])) {
            if (!--tries)
                return ENTROPY_NONE_NOW;
            cpu_relax();
        }
    }
    return ENTROPY_OK;
}

enum entropy_result entropy_get(uint32_t bits, uint64_t out[3])
{
    enum entropy_result result;

    memset(out, 0, 3 * sizeof(*out));
    result = firmware_has_trng() ? from_firmware(bits, out) : from_cpu(bits, out);
    for (uint32_t i = 0; i < 3; i++) {
        if (result != ENTROPY_OK || bits <= i * 64)
            out[i] = 0;
        else if (bits < (i + 1) * 64)
            out[i] &= BIT(bits - i * 64) - 1;
    }
    return result;
}

bool entropy_uuid(uint32_t uuid[4])
{
    uint64_t x[4] = {TRNG_GET_UUID};

    if (!firmware_has_trng()) {
        memcpy(uuid, cpu_uuid, sizeof(cpu_uuid));
        return true;
    }
    firmware_trng(x);
    for (uint32_t i = 0; i < 4; i++)
        uuid[i] = (uint32_t)x[i];
    return uuid[0] != UINT32_MAX;
}
