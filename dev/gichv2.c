/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frame is banked: each core sees its own. It is Device memory, so accesses of one core reach it in program order,
 * and a status register read after a list register was written knows of it.
 */
#include "dev/gichv2.h"

#include "dev/gich.h"
#include "dev/mmio.h"

/* IHI 0048B 5.3 */
#define GICH_HCR 0x000 /* what EL2 uses of it has the same bits as ICH_HCR_EL2 */
#define GICH_VTR 0x004
#define GICH_VMCR 0x008 /* the same: enables and EOImode; the priority mask has five bits of the eight */
#define GICH_EISR0 0x020
#define GICH_ELSR0 0x030
#define GICH_APR 0x0f0
#define GICH_LR 0x100

#define VTR_LISTREGS FIELD(5, 0)
#define VMCR_RESERVED FIELD(26, 24)

/* GICH_LR<n> (5.3.11) */
#define V2_VINTID FIELD(9, 0)
#define V2_PINTID FIELD(19, 10) /* HW = 1 */
#define V2_SOURCE FIELD(12, 10) /* HW = 0 */
#define V2_EOI BIT(19)          /* HW = 0 */
#define V2_PRIORITY FIELD(27, 23)
#define V2_STATE FIELD(29, 28)
#define V2_GROUP1 BIT(30)
#define V2_HW BIT(31)

static pa_t gich RO_AFTER_INIT;

/*
 * QEMU's (hw/intc/arm_gic.c, up to 9.1 at least) clears the physical active state at the guest's EOI, and does not look
 * whether the interrupt is pending again: if its timer has fired once more by then, the core is not told, and sleeps.
 * Its GICC_IIDR has neither product nor revision, as no GIC-400 has (DDI 0471B 3.4.1). On another without both this
 * costs an exit a tick, and nothing else.
 */
#define IIDR_QEMU 0x0002043bu

static bool has_hw RO_AFTER_INIT;

void gichv2_init(pa_t frame, uint32_t cpu_interface_id)
{
    gich = frame;
    has_hw = cpu_interface_id != IIDR_QEMU;
}

bool gichv2_has_hw(void)
{
    return has_hw;
}

uint64_t gichv2_lr_read(uint32_t n)
{
    uint64_t lr = mmio_read32(gich, GICH_LR + 4 * n);
    uint64_t v = field_get(V2_VINTID, lr) | field_put(LR_PRIORITY, field_get(V2_PRIORITY, lr) << 3) |
                 field_put(LR_STATE, field_get(V2_STATE, lr)) | (lr & V2_GROUP1 ? LR_GROUP1 : 0);

    if (lr & V2_HW)
        return v | LR_HW | field_put(LR_PINTID, field_get(V2_PINTID, lr));
    return v | field_put(LR_SOURCE, field_get(V2_SOURCE, lr)) | (lr & V2_EOI ? LR_EOI : 0);
}

void gichv2_lr_write(uint32_t n, uint64_t v)
{
    uint64_t lr = (v & V2_VINTID) | field_put(V2_PRIORITY, field_get(LR_PRIORITY, v) >> 3) |
                  field_put(V2_STATE, field_get(LR_STATE, v)) | (v & LR_GROUP1 ? V2_GROUP1 : 0);

    if (v & LR_HW)
        lr |= V2_HW | field_put(V2_PINTID, field_get(LR_PINTID, v));
    else
        lr |= field_put(V2_SOURCE, field_get(LR_SOURCE, v)) | (v & LR_EOI ? V2_EOI : 0);
    mmio_write32(gich, GICH_LR + 4 * n, (uint32_t)lr);
}

/* A GICv2 may have 64. What is beyond 16 stays empty, as it is after reset. */
uint32_t gichv2_lr_count(void)
{
    uint32_t count = (uint32_t)field_get(VTR_LISTREGS, mmio_read32(gich, GICH_VTR)) + 1;

    return count < 16 ? count : 16;
}

uint64_t gichv2_elrsr(void)
{
    return mmio_read32(gich, GICH_ELSR0);
}

uint64_t gichv2_eisr(void)
{
    return mmio_read32(gich, GICH_EISR0);
}

uint64_t gichv2_hcr_read(void)
{
    return mmio_read32(gich, GICH_HCR);
}

void gichv2_hcr_write(uint64_t v)
{
    mmio_write32(gich, GICH_HCR, (uint32_t)v);
}

uint64_t gichv2_vmcr_read(void)
{
    return mmio_read32(gich, GICH_VMCR) & ~VMCR_RESERVED;
}

void gichv2_vmcr_write(uint64_t v)
{
    mmio_write32(gich, GICH_VMCR, (uint32_t)(v & ~VMCR_RESERVED));
}

void gichv2_apr_clear(void)
{
    mmio_write32(gich, GICH_APR, 0);
}
