/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/pv_time.h"

#include "vcpu/stolen.h"

/* PV_TIME_FEATURES of DEN0057A: about the two functions of it that are left since its revision A. */
uint64_t pv_time_features(struct vcpu *v, struct frame *f, uint64_t id, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a2, (void)a3;
    return (uint32_t)id == PV_TIME_FEATURES || (uint32_t)id == PV_TIME_ST ? SMCCC_SUCCESS
                                                                          : (uint64_t)SMCCC_NOT_SUPPORTED;
}

uint64_t pv_time_st(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)f, (void)a1, (void)a2, (void)a3;
    return stolen_time_at(v).v;
}
