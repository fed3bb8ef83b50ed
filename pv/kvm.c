/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Identity `kvm`: what KVM answers to the vendor-specific hypervisor range, for guests whose software looks for it. Nothing of
 * ours besides: nobody can say what a guest should do that recognises two hypervisors.
 */
#include "dev/pl031.h"
#include "lib/arch.h"
#include "pv/smccc.h"

/* KVM's functions, by the bits of its feature call. */
#define KVM_FEATURES 0
#define KVM_PTP 1

/* Which counter PTP is asked about. */
#define KVM_PTP_VIRTUAL 0
#define KVM_PTP_PHYSICAL 1

/* UID 28b46fb6-2ec5-11e9-a9ca-4b564d003a74, as KVM's clients compare it (include/linux/arm-smccc.h in Linux). */
uint64_t kvm_uid(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)a1, (void)a2, (void)a3;
    f->x[1] = 0xe911c52e;
    f->x[2] = 0x564bcaa9;
    f->x[3] = 0x743a004d;
    return 0xb66fb428;
}

/* A bit for each of KVM's functions that there is, 128 of them. */
uint64_t kvm_features(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)a1, (void)a2, (void)a3;
    f->x[1] = f->x[2] = f->x[3] = 0;
    return BIT(KVM_FEATURES) | (pl031_present() ? BIT(KVM_PTP) : 0);
}

/*
 * The time of day and the guest's counter at one moment, 32 bits in each of x0 to x3 (ptp_kvm.rst in Linux). x0 is never
 * negative: the clock ends in 2106.
 */
uint64_t kvm_ptp(struct vcpu *v, struct frame *f, uint64_t counter, uint64_t a2, uint64_t a3)
{
    uint64_t ns, count;
    ticks_t at;

    (void)v, (void)a2, (void)a3;
    if (!pl031_present() || counter > KVM_PTP_PHYSICAL)
        return (uint64_t)SMCCC_NOT_SUPPORTED;
    ns = pl031_now(&at);
    count = at.v - (counter == KVM_PTP_VIRTUAL ? sysreg_read(cntvoff_el2) : 0);
    f->x[1] = (uint32_t)ns;
    f->x[2] = count >> 32;
    f->x[3] = (uint32_t)count;
    return ns >> 32;
}
