/* SPDX-License-Identifier: BSD-2-Clause */
/* Asynchronous page faults: the calls (pv/abi.h, doc/abi.md). What they turn on and off is in vcpu/apf.c. */
#include "vcpu/apf.h"

#include "mm/fault.h"
#include "pv/smccc.h"
#include "pv/vendor.h"
#include "vcpu/abort.h"
#include "vcpu/guest_ram.h"

#define HINTS 32u /* pages looked at by one call */

_Static_assert(offsetof(struct apf_page, magic) == MW_APF_PAGE_MAGIC, "");
_Static_assert(offsetof(struct apf_page, version) == MW_APF_PAGE_REVISION, "");
_Static_assert(offsetof(struct apf_page, size) == MW_APF_PAGE_SIZE, "");
_Static_assert(offsetof(struct apf_page, producer) == MW_APF_PAGE_PRODUCER, "");
_Static_assert(offsetof(struct apf_page, consumer) == MW_APF_PAGE_CONSUMER, "");
_Static_assert(offsetof(struct apf_page, ring) == MW_APF_PAGE_RING && APF_RING == MW_APF_ENTRIES, "");
_Static_assert(sizeof(struct apf_page) == MW_APF_PAGE_BYTES, "");
_Static_assert(offsetof(struct apf_entry, token) == MW_APF_ENTRY_TOKEN, "");
_Static_assert(offsetof(struct apf_entry, status) == MW_APF_ENTRY_STATUS, "");
_Static_assert(sizeof(struct apf_entry) == MW_APF_ENTRY_BYTES, "");
_Static_assert(APF_READY == MW_APF_READY && APF_ERROR == MW_APF_ERROR && APF_WAKE_ALL == MW_APF_WAKE_ALL, "");
_Static_assert(APF_FLAG_EL1 == MW_APF_FLAG_EL1, "");

static bool has(const struct vcpu *v, uint64_t feature)
{
    return v->vm->features & feature;
}

uint64_t vendor_apf_enable(struct vcpu *v, struct frame *f, uint64_t at, uint64_t flags, uint64_t a3)
{
    (void)a3;
    if (!has(v, MW_FEATURE_APF))
        return (uint64_t)SMCCC_NOT_SUPPORTED;
    if (at % PAGE_SIZE || !guest_ram_has(v->vm, ipa(at), PAGE_SIZE) || flags & ~(uint64_t)MW_APF_FLAG_EL1)
        return (uint64_t)MW_INVALID_PARAMETER;
    switch (apf_enable(v, ipa(at), (uint32_t)flags)) {
    case APF_OK:
        break;
    case APF_ON:
    case APF_TAKEN:
        return (uint64_t)MW_DENIED;
    case APF_BAD:
        return (uint64_t)MW_INVALID_PARAMETER;
    }
    f->x[1] = apf_last_token(v);
    v->apf.page->magic = MW_APF_PAGE_MAGIC_VALUE;
    v->apf.page->version = VENDOR_REVISION;
    v->apf.page->size = MW_APF_PAGE_BYTES;
    return SMCCC_SUCCESS;
}

uint64_t vendor_apf_disable(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)f, (void)a1, (void)a2, (void)a3;
    if (!has(v, MW_FEATURE_APF))
        return (uint64_t)SMCCC_NOT_SUPPORTED;
    return apf_disable(v) ? SMCCC_SUCCESS : (uint64_t)MW_DENIED;
}

uint64_t vendor_apf_wait(struct vcpu *v, struct frame *f, uint64_t token, uint64_t a2, uint64_t a3)
{
    ipa_t page;

    (void)f, (void)a2, (void)a3;
    if (!has(v, MW_FEATURE_APF))
        return (uint64_t)SMCCC_NOT_SUPPORTED;
    if (!apf_take_back(v->vm, token, &page))
        return MW_APF_TOLD;
    v->stats->apf.waits++;
    apf_waits(v, token);
    return abort_wait(v, page) ? MW_APF_TAKEN : MW_APF_UNREADABLE;
}

uint64_t vendor_hint(struct vcpu *v, struct frame *f, uint64_t first, uint64_t pages, uint64_t a3)
{
    uint64_t n = pages < HINTS ? pages : HINTS;

    (void)f, (void)a3;
    if (!has(v, MW_FEATURE_HINT))
        return (uint64_t)SMCCC_NOT_SUPPORTED;
    if (first % PAGE_SIZE || pages > v->vm->ram_size >> PAGE_SHIFT ||
        !guest_ram_has(v->vm, ipa(first), pages << PAGE_SHIFT))
        return (uint64_t)MW_INVALID_PARAMETER;
    for (uint64_t i = 0; i < n; i++) {
        if (!s2_hint(&v->vm->s2, &v->port, ipa(first + i * PAGE_SIZE)))
            return i; /* as many are on their way as may be */
    }
    return n;
}
