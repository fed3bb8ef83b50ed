/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/smccc.h"

#include "pv/abi.h"
#include "pv/psci.h"

/* A function exists as SMC32 call, as SMC64 call, or as both. */
struct entry {
    smccc_fn *smc32, *smc64;
};

static smccc_fn smccc_version, smccc_arch_features;

/* By function number: a call costs one subtraction and one load to find (DEN0022 has the numbers). */
static const struct entry psci[] = {
    [PSCI_VERSION] = {psci_version, NULL},
    [PSCI_CPU_SUSPEND] = {psci_cpu_suspend, psci_cpu_suspend},
    [PSCI_CPU_OFF] = {psci_cpu_off, NULL},
    [PSCI_CPU_ON] = {psci_cpu_on, psci_cpu_on},
    [PSCI_AFFINITY_INFO] = {psci_affinity_info, psci_affinity_info},
    [PSCI_MIGRATE_INFO_TYPE] = {psci_migrate_info_type, NULL},
    [PSCI_SYSTEM_OFF] = {psci_system_off, NULL},
    [PSCI_SYSTEM_RESET] = {psci_system_reset, NULL},
    [PSCI_FEATURES] = {psci_features, NULL},
};

static const struct entry arch[] = {
    [SMCCC_FN_VERSION & 0xffff] = {smccc_version, NULL},
    [SMCCC_FN_ARCH_FEATURES & 0xffff] = {smccc_arch_features, NULL},
};

/* The general queries of the vendor-specific hypervisor range stand at its end (DEN0028, general service queries). */
#define VENDOR_QUERIES 0x8600ff00u

static const struct entry vendor_queries[] = {
    [MW_FN_UID - VENDOR_QUERIES] = {vendor_uid, NULL},
    [MW_FN_REVISION - VENDOR_QUERIES] = {vendor_revision, NULL},
};

struct range_of_functions {
    uint32_t first; /* SMC32 identifier of entry 0 */
    uint32_t count;
    const struct entry *entry;
};

/* What guests call most comes first. */
static const struct range_of_functions ranges[] = {
    {PSCI_BASE, ARRAY_SIZE(psci), psci},
    {SMCCC_FN_VERSION, ARRAY_SIZE(arch), arch},
    {VENDOR_QUERIES, ARRAY_SIZE(vendor_queries), vendor_queries},
};

smccc_fn *smccc_find(uint32_t id)
{
    uint32_t smc32 = id & ~(uint32_t)SMCCC_SMC64;

    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
        const struct range_of_functions *r = &ranges[i];

        if (smc32 - r->first < r->count) {
            const struct entry *e = &r->entry[smc32 - r->first];

            return id & SMCCC_SMC64 ? e->smc64 : e->smc32;
        }
    }
    return NULL;
}

void smccc_call(struct vcpu *v, struct frame *f)
{
    uint32_t id = (uint32_t)f->x[0] & ~(uint32_t)SMCCC_HINT;
    smccc_fn *fn = smccc_find(id);

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

/* It asks about Arm architecture calls alone (DEN0028). Those of the CPU mitigations are not served: NOT_SUPPORTED. */
static uint64_t smccc_arch_features(struct vcpu *v, struct frame *f, uint64_t id, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a2, (void)a3;
    if (id - SMCCC_FN_VERSION < ARRAY_SIZE(arch) && smccc_find((uint32_t)id))
        return SMCCC_SUCCESS;
    return (uint64_t)SMCCC_NOT_SUPPORTED;
}
