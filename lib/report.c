/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/report.h"

#include "lib/arch.h"

struct report report __attribute__((aligned(4096)));

void report_init(uint64_t entry_ticks, uint64_t image_base)
{
    report.magic = REPORT_MAGIC;
    report.version = REPORT_VERSION;
    report.size = sizeof(report);
    report.guest_offset = offsetof(struct report, guest);
    report.guest_stride = sizeof(report.guest[0]);
    report.vcpu_offset = offsetof(struct report, vcpu);
    report.vcpu_stride = sizeof(report.vcpu[0]);
    report.helper_offset = offsetof(struct report, helper);
    report.helper_stride = sizeof(report.helper[0]);
    report.counter_hz = counter_hz();
    report.entry_ticks = entry_ticks;
    report.image_base = image_base;
}
