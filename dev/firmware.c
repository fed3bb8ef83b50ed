/* SPDX-License-Identifier: BSD-2-Clause */
#include "dev/firmware.h"

#include "lib/core.h"

#define PSCI_VERSION 0x84000000
#define PSCI_CPU_ON 0xc4000003
#define PSCI_SYSTEM_OFF 0x84000008
#define PSCI_SYSTEM_RESET 0x84000009
#define PSCI_FEATURES 0x8400000a
#define PSCI_NOT_SUPPORTED (-1)
#define PSCI_1_0 0x10000

#define SMCCC_VERSION 0x80000000
#define SMCCC_ARCH_FEATURES 0x80000001
#define SMCCC_1_1 0x10001

#define TRNG_VERSION 0x84000050
#define TRNG_FEATURES 0x84000051
#define TRNG_RND64 0xc4000053
#define TRNG_1_0 0x10000

static enum firmware_conduit conduit RO_AFTER_INIT;
static bool has_arch_calls RO_AFTER_INIT; /* SMCCC 1.1: Arm architecture calls are there */
static bool has_trng RO_AFTER_INIT;
static int32_t workarounds[MAX_CORES][WORKAROUNDS]; /* each row written by its core */

static const uint32_t workaround_id[WORKAROUNDS] = {
    [WORKAROUND_1] = 0x80008000,
    [WORKAROUND_2] = 0x80007fff,
    [WORKAROUND_3] = 0x80003fff,
};

void firmware_init(enum firmware_conduit c)
{
    conduit = c;
}

bool firmware_present(void)
{
    return conduit != FIRMWARE_NONE;
}

uint64_t conduit_smc(uint64_t function, uint64_t a1, uint64_t a2, uint64_t a3);
uint64_t conduit_hvc(uint64_t function, uint64_t a1, uint64_t a2, uint64_t a3);
void conduit_smc_results(uint64_t x[4]);

static int64_t call(uint64_t function, uint64_t a1, uint64_t a2, uint64_t a3)
{
    switch (conduit) {
    case FIRMWARE_SMC:
        return (int64_t)conduit_smc(function, a1, a2, a3);
    case FIRMWARE_HVC:
        return (int64_t)conduit_hvc(function, a1, a2, a3);
    default:
        return PSCI_NOT_SUPPORTED;
    }
}

int64_t firmware_cpu_on(uint64_t mpidr, pa_t entry, uint64_t context)
{
    return call(PSCI_CPU_ON, mpidr, entry.v, context);
}

void firmware_off(void)
{
    call(PSCI_SYSTEM_OFF, 0, 0, 0);
}

void firmware_reset(void)
{
    call(PSCI_SYSTEM_RESET, 0, 0, 0);
}

/* A result that is 32 bits wide, as those of SMC32 calls are. */
static int32_t call32(uint64_t function, uint64_t a1)
{
    return (int32_t)call(function, a1, 0, 0);
}

/*
 * SMCCC's own version is only to be asked for where PSCI_FEATURES says so: older firmware may do anything with a call it
 * does not know (DEN0028, "Discovery"). Versions are positive; a negative one is an error code.
 */
void firmware_probe(void)
{
    if (conduit != FIRMWARE_SMC || call32(PSCI_VERSION, 0) < PSCI_1_0 || call32(PSCI_FEATURES, SMCCC_VERSION) < 0)
        return;
    has_arch_calls = call32(SMCCC_VERSION, 0) >= SMCCC_1_1;
    has_trng = has_arch_calls && call32(TRNG_VERSION, 0) >= TRNG_1_0 && call32(TRNG_FEATURES, TRNG_RND64) >= 0;
}

void firmware_core_init(void)
{
    int32_t *own = workarounds[this_core()->id];

    for (uint32_t w = 0; w < WORKAROUNDS; w++)
        own[w] = has_arch_calls ? call32(SMCCC_ARCH_FEATURES, workaround_id[w]) : PSCI_NOT_SUPPORTED;
}

int32_t firmware_workaround(enum firmware_workaround w)
{
    return workarounds[this_core()->id][w];
}

void firmware_apply(enum firmware_workaround w, uint64_t arg)
{
    if (firmware_workaround(w) == WORKAROUND_NEEDED)
        conduit_smc(workaround_id[w], arg, 0, 0);
}

bool firmware_has_trng(void)
{
    return has_trng;
}

void firmware_trng(uint64_t x[4])
{
    conduit_smc_results(x);
}
