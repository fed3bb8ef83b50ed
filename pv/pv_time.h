/* SPDX-License-Identifier: BSD-2-Clause */
/* Paravirtualized time (DEN0057A): where a vCPU finds how much of its time was not its own. */
#pragma once

#include "pv/smccc.h"

/* SMC64 calls only; these are the identifiers less SMCCC_SMC64. */
#define PV_TIME_BASE 0x85000020u
#define PV_TIME_FEATURES 0xc5000020u
#define PV_TIME_ST 0xc5000021u

smccc_fn pv_time_features, pv_time_st;
