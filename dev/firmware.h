/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The firmware below us, by PSCI over SMC (DEN0022F). Without a /psci node with method "smc" there is nobody to answer,
 * and an SMC would take the core away for ever: then these do nothing.
 */
#pragma once

#include "lib/types.h"

enum firmware_conduit { FIRMWARE_NONE, FIRMWARE_SMC, FIRMWARE_HVC };

/* HVC only when EL2 is not where we are, and all there is to do is to say so and go. */
void firmware_init(enum firmware_conduit c);
bool firmware_present(void);

/* Starts the core `mpidr` at `entry` with `context` in x0. Returns PSCI's code: 0 is success. */
WARN_UNUSED int64_t firmware_cpu_on(uint64_t mpidr, pa_t entry, uint64_t context);
void firmware_off(void); /* returns only if nobody answers */
void firmware_reset(void);
