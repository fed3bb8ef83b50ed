/* SPDX-License-Identifier: BSD-2-Clause */
/* Power State Coordination Interface 1.1 (DEN0022): what EL2 serves to guests. One file per verb. */
#pragma once

#include "pv/smccc.h"

#define PSCI_VERSION_1_1 0x10001

/* Function numbers, from PSCI_BASE for SMC32 and PSCI_BASE | SMCCC_SMC64 for SMC64 calls */
#define PSCI_BASE 0x84000000u
#define PSCI_VERSION 0x00
#define PSCI_CPU_SUSPEND 0x01
#define PSCI_CPU_OFF 0x02
#define PSCI_CPU_ON 0x03
#define PSCI_AFFINITY_INFO 0x04
#define PSCI_MIGRATE_INFO_TYPE 0x06
#define PSCI_SYSTEM_OFF 0x08
#define PSCI_SYSTEM_RESET 0x09
#define PSCI_FEATURES 0x0a
#define PSCI_SYSTEM_SUSPEND 0x0e
#define PSCI_SYSTEM_RESET2 0x12
#define PSCI_NUMBERS 0x20 /* size of the range that is PSCI's */

/* Return codes */
#define PSCI_SUCCESS 0
#define PSCI_NOT_SUPPORTED (-1)
#define PSCI_INVALID_PARAMETERS (-2)
#define PSCI_DENIED (-3)
#define PSCI_ALREADY_ON (-4)
#define PSCI_ON_PENDING (-5)
#define PSCI_INVALID_ADDRESS (-9)

/* An MPIDR as an argument: affinity fields, all else zero. */
#define PSCI_AFFINITY (FIELD(39, 32) | FIELD(23, 0))

smccc_fn psci_version, psci_features, psci_migrate_info_type; /* psci_info.c */
smccc_fn psci_cpu_on, psci_cpu_off, psci_cpu_suspend, psci_affinity_info, psci_system_suspend;
smccc_fn psci_system_off, psci_system_reset, psci_system_reset2; /* psci_system.c */

/* Somewhere a first instruction can be: in the guest's RAM, and where AArch64 code can start. */
static inline bool psci_entry_ok(const struct vm *vm, uint64_t entry)
{
    return entry - vm->ram_base.v < vm->ram_size && entry % 4 == 0;
}
