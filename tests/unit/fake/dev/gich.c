/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_gich.h"

#include <assert.h>

#include "vcpu/irq.h"

_Thread_local struct fake_gich *fake_gich;
_Thread_local uint32_t fake_timer_lines;

uint32_t irq_timer_lines(void)
{
    return fake_timer_lines;
}

uint64_t gich_lr_read(uint32_t n)
{
    assert(n < fake_gich->lrs);
    fake_gich->lr_reads++;
    return fake_gich->lr[n];
}

/* Combinations that the architecture forbids or leaves unpredictable must never be written (IHI 0069H 12.4.7). */
void gich_lr_write(uint32_t n, uint64_t v)
{
    assert(n < fake_gich->lrs);
    assert(!(v & LR_HW && (v & LR_STATE) == LR_STATE));
    for (uint32_t i = 0; i < fake_gich->lrs; i++)
        assert(i == n || !(v & LR_STATE) || !(fake_gich->lr[i] & LR_STATE) ||
               (v & LR_VINTID) != (fake_gich->lr[i] & LR_VINTID));
    fake_gich->lr_writes++;
    fake_gich->lr[n] = v;
}

uint32_t gich_lr_count(void)
{
    return fake_gich->lrs;
}

bool gich_has_hw(void)
{
    return !fake_gich->no_hw;
}

bool gich_has_tdir(void)
{
    return fake_gich->tds;
}

static bool wants_eoi(uint64_t lr)
{
    return (lr & (LR_HW | LR_EOI)) == LR_EOI;
}

uint64_t gich_elrsr(void)
{
    uint64_t bits = 0;

    for (uint32_t i = 0; i < fake_gich->lrs; i++)
        if (!(fake_gich->lr[i] & LR_STATE) && !wants_eoi(fake_gich->lr[i]))
            bits |= BIT(i);
    return bits;
}

uint64_t gich_eisr(void)
{
    uint64_t bits = 0;

    for (uint32_t i = 0; i < fake_gich->lrs; i++)
        if (!(fake_gich->lr[i] & LR_STATE) && wants_eoi(fake_gich->lr[i]))
            bits |= BIT(i);
    return bits;
}

uint64_t gich_hcr_read(void)
{
    return fake_gich->hcr;
}

void gich_hcr_write(uint64_t v)
{
    fake_gich->hcr = v;
}

uint64_t gich_vmcr_read(void)
{
    return fake_gich->vmcr;
}

void gich_vmcr_write(uint64_t v)
{
    fake_gich->vmcr = v;
}

void gich_apr_clear(void)
{
    fake_gich->apr = 0;
}

uint32_t fake_gich_misr(void)
{
    uint64_t hcr = fake_gich->hcr;
    uint64_t vmcr = fake_gich->vmcr;
    uint32_t misr = 0;
    bool pending = false;

    if (!(hcr & ICH_HCR_EN))
        return 0;
    for (uint32_t i = 0; i < fake_gich->lrs; i++)
        pending |= (fake_gich->lr[i] & LR_STATE) == LR_PENDING;
    if (gich_eisr())
        misr |= 1;
    if (hcr & ICH_HCR_LRENPIE && hcr & ICH_HCR_EOICOUNT)
        misr |= 4;
    if (hcr & ICH_HCR_NPIE && !pending)
        misr |= 8;
    if (hcr & ICH_HCR_VGRP0EIE && vmcr & ICH_VMCR_VENG0)
        misr |= 0x10;
    if (hcr & ICH_HCR_VGRP0DIE && !(vmcr & ICH_VMCR_VENG0))
        misr |= 0x20;
    if (hcr & ICH_HCR_VGRP1EIE && vmcr & ICH_VMCR_VENG1)
        misr |= 0x40;
    if (hcr & ICH_HCR_VGRP1DIE && !(vmcr & ICH_VMCR_VENG1))
        misr |= 0x80;
    return misr;
}

static uint32_t running(void)
{
    return fake_gich->apr ? (uint32_t)__builtin_ctz(fake_gich->apr) * 8 : 0xff;
}

static int highest(void)
{
    uint64_t best = 0xff;
    int at = -1;

    for (uint32_t i = 0; i < fake_gich->lrs; i++) {
        uint64_t lr = fake_gich->lr[i];

        if ((lr & LR_STATE) != LR_PENDING || !(fake_gich->vmcr & (lr & LR_GROUP1 ? ICH_VMCR_VENG1 : ICH_VMCR_VENG0)))
            continue;
        if (field_get(LR_PRIORITY, lr) < best) {
            best = field_get(LR_PRIORITY, lr);
            at = (int)i;
        }
    }
    if (!(fake_gich->hcr & ICH_HCR_EN) || best >= field_get(ICH_VMCR_VPMR, fake_gich->vmcr) || best >= running())
        return -1;
    return at;
}

uint32_t fake_gich_highest(void)
{
    int i = highest();

    return i < 0 ? FAKE_SPURIOUS : (uint32_t)field_get(LR_VINTID, fake_gich->lr[i]);
}

uint32_t fake_gich_ack(void)
{
    int i = highest();

    if (i < 0)
        return FAKE_SPURIOUS;
    fake_gich->lr[i] = (fake_gich->lr[i] & ~LR_STATE) | LR_ACTIVE;
    fake_gich->apr |= UINT32_C(1) << (field_get(LR_PRIORITY, fake_gich->lr[i]) / 8);
    return (uint32_t)field_get(LR_VINTID, fake_gich->lr[i]);
}

static void deactivate(uint32_t intid)
{
    for (uint32_t i = 0; i < fake_gich->lrs; i++) {
        uint64_t lr = fake_gich->lr[i];

        if (!(lr & LR_ACTIVE) || field_get(LR_VINTID, lr) != intid)
            continue;
        fake_gich->lr[i] = lr & ~LR_ACTIVE;
        if (lr & LR_HW && fake_gich->deactivated)
            fake_gich->deactivated((uint32_t)field_get(LR_PINTID, lr));
        return;
    }
    fake_gich->hcr = (fake_gich->hcr & ~ICH_HCR_EOICOUNT) |
                     field_put(ICH_HCR_EOICOUNT, field_get(ICH_HCR_EOICOUNT, fake_gich->hcr) + 1);
}

void fake_gich_eoi(uint32_t intid)
{
    fake_gich->apr &= fake_gich->apr - 1;
    if (!(fake_gich->vmcr & ICH_VMCR_VEOIM))
        deactivate(intid);
}

bool fake_gich_dir(uint32_t intid)
{
    if (fake_gich->hcr & ICH_HCR_TDIR)
        return true;
    if (fake_gich->vmcr & ICH_VMCR_VEOIM)
        deactivate(intid);
    return false;
}
