/* SPDX-License-Identifier: BSD-2-Clause */
/* Who we are and what we can do, for a guest that has no device tree (DEN0028, general service queries). */
#include "pv/abi.h"
#include "pv/smccc.h"

uint64_t vendor_uid(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)a1, (void)a2, (void)a3;
    f->x[1] = MW_UID_1;
    f->x[2] = MW_UID_2;
    f->x[3] = MW_UID_3;
    return MW_UID_0;
}

uint64_t vendor_revision(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)a1, (void)a2, (void)a3;
    f->x[1] = MW_REVISION_MINOR;
    return MW_REVISION_MAJOR;
}

/* What is in the tables, and nothing else. */
uint64_t vendor_features(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a1, (void)a2, (void)a3;
    return smccc_find(MW_FN_RELEASE) ? MW_FEATURE_RELEASE : 0;
}
