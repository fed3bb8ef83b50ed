/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A few words that a person can say to EL2 on the physical console. It runs on the core that takes the UART's interrupt,
 * which is a guest's: it never waits, and what takes longer than a look is left to the cores of the guest concerned.
 */
#pragma once

#include "lib/types.h"

/* Greets, and prompts. */
void monitor_open(void);

/* A byte of input. False: the person has gone back to the guests. */
WARN_UNUSED bool monitor_key(char c);
