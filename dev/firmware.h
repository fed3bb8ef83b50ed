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

/*
 * Mitigations that only firmware can do (DEN0028 7: SMCCC_ARCH_WORKAROUND_1 to 3). Whether one is there, and needed, can
 * differ from core to core: the answer is that of the core that asks.
 */
enum firmware_workaround { WORKAROUND_1, WORKAROUND_2, WORKAROUND_3, WORKAROUNDS };

/* What ARCH_FEATURES says about it (DEN0028): 0 is there and needed, 1 not needed, negative not there. */
#define WORKAROUND_NEEDED 0

/* Boot core, once, before the others start: what kind of firmware this is. */
void firmware_probe(void);
/* Each core, once, before it answers for itself. */
void firmware_core_init(void);

int32_t firmware_workaround(enum firmware_workaround w);
/* Applies it on this core; nothing where it is not there or not needed. `arg` is WORKAROUND_2's: 0 turns it off. */
void firmware_apply(enum firmware_workaround w, uint64_t arg);

/* The firmware has a true random number generator (DEN0098) that serves 64-bit requests. */
bool firmware_has_trng(void);
/* One of its calls: x0 to x3 in and out. Only with firmware_has_trng(). */
void firmware_trng(uint64_t x[4]);
