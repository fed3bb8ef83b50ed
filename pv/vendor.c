/* SPDX-License-Identifier: BSD-2-Clause */
/* Who we are and what we can do, for a guest that has no device tree (DEN0028, general service queries). */
#include "pv/vendor.h"

#include "lib/string.h"
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

/* The information page (pv/abi.h). */
struct info_page {
    uint64_t magic;
    uint32_t revision, size;
    uint64_t features;
    uint32_t event, reserved;
    char build[64];
};

_Static_assert(offsetof(struct info_page, revision) == MW_INFO_REVISION, "");
_Static_assert(offsetof(struct info_page, size) == MW_INFO_SIZE, "");
_Static_assert(offsetof(struct info_page, features) == MW_INFO_FEATURES, "");
_Static_assert(offsetof(struct info_page, event) == MW_INFO_EVENT, "");
_Static_assert(offsetof(struct info_page, build) == MW_INFO_BUILD && sizeof(struct info_page) == MW_INFO_BYTES, "");

uint64_t vendor_choose_features(bool with_helper)
{
    return MW_FEATURE_RELEASE | MW_FEATURE_INFO | (with_helper ? MW_FEATURE_APF | MW_FEATURE_HINT : 0);
}

void vendor_write_info(void *page, const struct vm *vm, const char *build)
{
    struct info_page *i = page;

    memset(page, 0, PAGE_SIZE);
    i->magic = MW_INFO_MAGIC_VALUE;
    i->revision = VENDOR_REVISION;
    i->size = MW_INFO_BYTES;
    i->features = vm->features;
    i->event = vendor_event(vm);
    memcpy(i->build, build, strlen(build) < sizeof(i->build) ? strlen(build) : sizeof(i->build) - 1);
}

uint32_t vendor_event(const struct vm *vm)
{
    return vm->features & MW_FEATURE_APF ? PPI_EVENT : 0;
}

uint64_t vendor_features(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)f, (void)a1, (void)a2, (void)a3;
    return v->vm->features;
}

uint64_t vendor_info(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)a1, (void)a2, (void)a3;
    f->x[1] = v->vm->features;
    f->x[2] = MW_INFO_ADDRESS;
    f->x[3] = vendor_event(v->vm);
    return VENDOR_REVISION;
}
