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

static int64_t call(uint64_t function, uint64_t a1, uint64_t a2, uint64_t a3)
{
    register uint64_t x0 __asm__("x0") = function;
    register uint64_t x1 __asm__("x1") = a1;
    register uint64_t x2 __asm__("x2") = a2;
    register uint64_t x3 __asm__("x3") = a3;

/* SMCCC 1.0 lets the callee spoil x4 to x17. */
#define CALL(instruction)                                                                                           \
    __asm__ volatile(instruction                                                                                    \
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)                                                       \
                     :                                                                                              \
                     : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",  \
                       "memory")

    switch (conduit) {
    case FIRMWARE_SMC:
        CALL("smc #0");
        break;
    case FIRMWARE_HVC:
        CALL("hvc #0");
        break;
    default:
        return PSCI_NOT_SUPPORTED;
    }
#undef CALL
    return (int64_t)x0;
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
