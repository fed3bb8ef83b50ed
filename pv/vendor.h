/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest of identity `meanwhile` is told of us, by call, by the device tree and by the information page. */
#pragma once

#include "pv/abi.h"
#include "vcpu/vm.h"

/* Of the interface, as INFO, the information page and the page of asynchronous page faults have it. */
#define VENDOR_REVISION (MW_REVISION_MAJOR << 16 | MW_REVISION_MINOR)

/* For vm->features: MW_FEATURE_*. `with_helper`: a helper core serves the guest's faults. */
uint64_t vendor_choose_features(bool with_helper);

/* The guest's event interrupt: an INTID, or 0. */
uint32_t vendor_event(const struct vm *vm);

/* The information page (MW_INFO_*), all of it. `build` is for people. */
void vendor_write_info(void *page, const struct vm *vm, const char *build);
