/* SPDX-License-Identifier: BSD-2-Clause */
#include "vcpu/sysreg.h"

#include "lib/arch.h"
#include "vcpu/idregs.h"
#include "vcpu/inject.h"

struct handler {
    uint32_t id, mask; /* the registers whose ID matches under the mask */
    uint64_t (*read)(struct vcpu *v, uint32_t id);
    void (*write)(struct vcpu *v, uint64_t value);
};

static uint64_t read_id(struct vcpu *v, uint32_t id)
{
    (void)v;
    return idregs_read((uint32_t)field_get(SYSREG_CRM, id), (uint32_t)field_get(SYSREG_OP2, id));
}

static uint64_t read_zero(struct vcpu *v, uint32_t id)
{
    (void)v;
    (void)id;
    return 0;
}

static void write_ignored(struct vcpu *v, uint64_t value)
{
    (void)v;
    (void)value;
}

#define ICC_SGI1R SYSREG_ID(3, 0, 12, 11, 5)

/* A NULL function: that direction is undefined. */
static const struct handler handlers[] = {
    {ICC_SGI1R, SYSREG_ID_ALL, NULL, vgic_sgi1r},
    {SYSREG_ID(3, 0, 0, 0, 0), SYSREG_ID(3, 7, 15, 8, 0), read_id, NULL}, /* S3_0_C0_C0..7: the ID registers */
    {SYSREG_ID(3, 0, 12, 11, 1), SYSREG_ID_ALL, NULL, vgic_dir},          /* ICC_DIR_EL1 */
    {SYSREG_ID(3, 0, 12, 11, 6), SYSREG_ID_ALL, NULL, vgic_sgi0r},        /* ICC_ASGI1R_EL1 */
    {SYSREG_ID(3, 0, 12, 11, 7), SYSREG_ID_ALL, NULL, vgic_sgi0r},        /* ICC_SGI0R_EL1 */
    {SYSREG_ID(3, 0, 1, 0, 1), SYSREG_ID_ALL, read_zero, write_ignored},  /* ACTLR_EL1: nothing in it */
};

static NOINLINE void emulate(struct vcpu *v, uint64_t esr)
{
    struct sysreg_trap t = sysreg_trap_decode(esr);

    for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
        const struct handler *h = &handlers[i];

        if ((t.id & h->mask) != h->id)
            continue;
        if (t.read ? !h->read : !h->write)
            break;
        if (t.read)
            frame_set(v->frame, t.reg, h->read(v, t.id));
        else
            h->write(v, frame_get(v->frame, t.reg));
        skip_instruction64(esr);
        return;
    }
    inject_undefined(esr);
}

void sysreg_trap(struct vcpu *v, uint64_t esr)
{
    struct sysreg_trap t = sysreg_trap_decode(esr);

    v->stats->exits.sysreg++;
    if (t.id == ICC_SGI1R && !t.read) { /* a guest's signals to its CPUs: the only one that is in a hurry */
        skip_instruction(esr);
        vgic_sgi1r(v, frame_get(v->frame, t.reg));
    } else {
        emulate(v, esr);
    }
}
