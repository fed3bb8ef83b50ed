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
    return idregs_read(id >> 3 & 7, id & 7);
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

/* A NULL function: that direction is undefined. */
static const struct handler handlers[] = {
    {SYSREG_ID(3, 0, 12, 11, 5), ~0u, NULL, vgic_sgi1r},       /* ICC_SGI1R_EL1 */
    {SYSREG_ID(3, 0, 0, 0, 0), ~0x3fu, read_id, NULL},         /* S3_0_C0_C0..7: the ID registers */
    {SYSREG_ID(3, 0, 12, 11, 1), ~0u, NULL, vgic_dir},         /* ICC_DIR_EL1 */
    {SYSREG_ID(3, 0, 12, 11, 6), ~0u, NULL, vgic_sgi0r},       /* ICC_ASGI1R_EL1 */
    {SYSREG_ID(3, 0, 12, 11, 7), ~0u, NULL, vgic_sgi0r},       /* ICC_SGI0R_EL1 */
    {SYSREG_ID(3, 0, 1, 0, 1), ~0u, read_zero, write_ignored}, /* ACTLR_EL1: nothing in it */
};

void sysreg_trap(struct vcpu *v, uint64_t esr)
{
    struct sysreg_trap t = sysreg_trap_decode(esr);

    v->stats->exits.sysreg++;
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
        skip_instruction(esr);
        return;
    }
    inject_undefined(esr);
}
