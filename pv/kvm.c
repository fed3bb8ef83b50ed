/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Identity `kvm`: what KVM answers to the vendor-specific hypervisor range, for guests whose software looks for it. Nothing of
 * ours besides: nobody can say what a guest should do that recognises two hypervisors.
 */
#include "pv/smccc.h"

/* UID 28b46fb6-2ec5-11e9-a9ca-4b564d003a74, as KVM's clients compare it (include/linux/arm-smccc.h in Linux). */
uint64_t kvm_uid(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)a1, (void)a2, (void)a3;
    f->x[1] = 0xe911c52e;
    f->x[2] = 0x564bcaa9;
    f->x[3] = 0x743a004d;
    return 0xb66fb428;
}

/* A bit for each of KVM's functions that there is, 128 of them: this one. */
uint64_t kvm_features(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)a1, (void)a2, (void)a3;
    f->x[1] = f->x[2] = f->x[3] = 0;
    return BIT(0);
}
