/* SPDX-License-Identifier: BSD-2-Clause */
#include "dev/firmware.h"

#define PSCI_CPU_ON 0xc4000003
#define PSCI_SYSTEM_OFF 0x84000008
#define PSCI_SYSTEM_RESET 0x84000009
#define PSCI_NOT_SUPPORTED (-1)

static enum firmware_conduit conduit RO_AFTER_INIT;

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
