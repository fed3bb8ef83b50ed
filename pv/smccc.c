/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/smccc.h"

#include "dev/firmware.h"
#include "pv/abi.h"
#include "pv/psci.h"
#include "pv/pv_time.h"
#include "pv/trng.h"

/* A function exists as SMC32 call, as SMC64 call, or as both. */
struct entry {
    smccc_fn *smc32, *smc64;
};

static smccc_fn smccc_version, smccc_arch_features;

/*
 * Standard secure services by function number, PSCI's and the TRNG's: a call costs one subtraction and one load to find
 * (DEN0022 and DEN0098 have the numbers).
 */
static const struct entry standard[] = {
    [PSCI_VERSION] = {psci_version, NULL},
    [PSCI_CPU_SUSPEND] = {psci_cpu_suspend, psci_cpu_suspend},
    [PSCI_CPU_OFF] = {psci_cpu_off, NULL},
    [PSCI_CPU_ON] = {psci_cpu_on, psci_cpu_on},
    [PSCI_AFFINITY_INFO] = {psci_affinity_info, psci_affinity_info},
    [PSCI_MIGRATE_INFO_TYPE] = {psci_migrate_info_type, NULL},
    [PSCI_SYSTEM_OFF] = {psci_system_off, NULL},
    [PSCI_SYSTEM_RESET] = {psci_system_reset, NULL},
    [PSCI_FEATURES] = {psci_features, NULL},
    [PSCI_SYSTEM_SUSPEND] = {psci_system_suspend, psci_system_suspend},
    [PSCI_SYSTEM_RESET2] = {psci_system_reset2, psci_system_reset2},
    [TRNG_VERSION] = {trng_version, NULL},
    [TRNG_FEATURES] = {trng_features, NULL},
    [TRNG_GET_UUID] = {trng_get_uuid, NULL},
    [TRNG_RND] = {trng_rnd32, trng_rnd64},
};

static const struct entry workaround_2_1[] = {{smccc_workaround_2, NULL}, {smccc_workaround_1, NULL}};
static const struct entry workaround_3[] = {{smccc_workaround_3, NULL}};

static const struct entry arch[] = {
    [SMCCC_FN_VERSION & 0xffff] = {smccc_version, NULL},
    [SMCCC_FN_ARCH_FEATURES & 0xffff] = {smccc_arch_features, NULL},
};

static const struct entry pv_time[] = {{NULL, pv_time_features}, {NULL, pv_time_st}};

/* The general queries of the vendor-specific hypervisor range stand at its end (DEN0028, general service queries). */
#define VENDOR_QUERIES 0x8600ff00u

static const struct entry meanwhile_queries[] = {
    [MW_FN_UID - VENDOR_QUERIES] = {vendor_uid, NULL},
    [MW_FN_REVISION - VENDOR_QUERIES] = {vendor_revision, NULL},
};

/* The number of one of our SMC64 calls. */
#define NUMBER(id) (((id) & ~SMCCC_SMC64) - MW_FN_FIRST)

static const struct entry meanwhile[] = {
    [MW_FN_FEATURES - MW_FN_FIRST] = {vendor_features, vendor_info},
    [NUMBER(MW_FN_RELEASE)] = {NULL, vendor_release},
    [NUMBER(MW_FN_APF_ENABLE)] = {NULL, vendor_apf_enable},
    [NUMBER(MW_FN_APF_DISABLE)] = {NULL, vendor_apf_disable},
    [NUMBER(MW_FN_APF_WAIT)] = {NULL, vendor_apf_wait},
    [NUMBER(MW_FN_HINT)] = {NULL, vendor_hint},
};

static const struct entry kvm_queries[] = {[MW_FN_UID - VENDOR_QUERIES] = {kvm_uid, NULL}};
static const struct entry kvm[] = {{kvm_features, NULL}, {kvm_ptp, NULL}};

struct range_of_functions {
    uint32_t first; /* SMC32 identifier of entry 0 */
    uint32_t count;
    const struct entry *entry;
};

/* What guests call most comes first. */
static const struct range_of_functions ranges[] = {
    {PSCI_BASE, ARRAY_SIZE(standard), standard},
    {SMCCC_FN_WORKAROUND_2, ARRAY_SIZE(workaround_2_1), workaround_2_1},
    {SMCCC_FN_WORKAROUND_3, ARRAY_SIZE(workaround_3), workaround_3},
    {SMCCC_FN_VERSION, ARRAY_SIZE(arch), arch},
    {PV_TIME_BASE, ARRAY_SIZE(pv_time), pv_time},
};

/* The vendor-specific hypervisor range is one vendor's: whose, the guest's configuration says. */
#define VENDOR_RANGES 2
static const struct range_of_functions vendor_ranges[IDENTITIES][VENDOR_RANGES] = {
    [IDENTITY_MEANWHILE] = {{MW_FN_FIRST, ARRAY_SIZE(meanwhile), meanwhile},
                            {VENDOR_QUERIES, ARRAY_SIZE(meanwhile_queries), meanwhile_queries}},
    [IDENTITY_KVM] = {{KVM_FN_FEATURES, ARRAY_SIZE(kvm), kvm}, {VENDOR_QUERIES, ARRAY_SIZE(kvm_queries), kvm_queries}},
};

_Static_assert(SMCCC_FN_WORKAROUND_1 == SMCCC_FN_WORKAROUND_2 + 1, "one table");

static ALWAYS_INLINE smccc_fn *find(const struct range_of_functions *r, size_t count, uint32_t id)
{
    uint32_t smc32 = id & ~(uint32_t)SMCCC_SMC64;

    for (; count; count--, r++) {
        if (smc32 - r->first < r->count) {
            const struct entry *e = &r->entry[smc32 - r->first];

            return id & SMCCC_SMC64 ? e->smc64 : e->smc32;
        }
    }
    return NULL;
}

static NOINLINE smccc_fn *find_vendors(enum vm_identity identity, uint32_t id)
{
    return find(vendor_ranges[identity], VENDOR_RANGES, id);
}

/* Inline, since it stands on the way of every call. */
static ALWAYS_INLINE smccc_fn *find_any(enum vm_identity identity, uint32_t id)
{
    smccc_fn *fn = find(ranges, ARRAY_SIZE(ranges), id);

    return fn ? fn : find_vendors(identity, id);
}

smccc_fn *smccc_find(enum vm_identity identity, uint32_t id)
{
    return find_any(identity, id);
}

void smccc_call(struct vcpu *v, struct frame *f)
{
    uint32_t id = (uint32_t)f->x[0] & ~(uint32_t)SMCCC_HINT;
    smccc_fn *fn = find_any(v->vm->identity, id);

    if (!fn)
        f->x[0] = (uint64_t)SMCCC_NOT_SUPPORTED;
    else if (id & SMCCC_SMC64)
        f->x[0] = fn(v, f, f->x[1], f->x[2], f->x[3]);
    else
        f->x[0] = fn(v, f, (uint32_t)f->x[1], (uint32_t)f->x[2], (uint32_t)f->x[3]);
}

static uint64_t smccc_version(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a1, (void)a2, (void)a3;
    return SMCCC_VERSION_1_2;
}

/*
 * It asks about Arm architecture calls, and by DEN0057A about PV time, which is found in no other way. About the CPU
 * mitigations the answer is the firmware's for this core.
 */
static uint64_t smccc_arch_features(struct vcpu *v, struct frame *f, uint64_t id, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a2, (void)a3;
    switch (id) {
    case SMCCC_FN_VERSION:
    case SMCCC_FN_ARCH_FEATURES:
    case PV_TIME_FEATURES:
        return SMCCC_SUCCESS;
    case SMCCC_FN_WORKAROUND_1:
        return (uint64_t)(int64_t)firmware_workaround(WORKAROUND_1);
    case SMCCC_FN_WORKAROUND_2:
        return (uint64_t)(int64_t)firmware_workaround(WORKAROUND_2);
    case SMCCC_FN_WORKAROUND_3:
        return (uint64_t)(int64_t)firmware_workaround(WORKAROUND_3);
    default:
        return (uint64_t)SMCCC_NOT_SUPPORTED;
    }
}
